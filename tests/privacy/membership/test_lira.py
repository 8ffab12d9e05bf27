import math
from statistics import median

import numpy as np
import pytest
import torch
from scipy.stats import norm

from assay.core import InvalidInputError, NumericalError, roc, seeded
from assay.privacy import LiRA


def draw(n, m, q=1, *, shift=1.5, seed=0):
    """Return the phi of m shadows and of a target, normal around means that differ by sample, and who saw what."""
    source = seeded(seed)
    seen = torch.rand(m, n, generator=source).argsort(0) < m // 2
    members = torch.rand(n, generator=source) < 0.5
    base = torch.randn(n, 1, generator=source, dtype=torch.float64)
    shadow = base + shift * seen[:, :, None] + torch.randn(m, n, q, generator=source, dtype=torch.float64)
    target = base + shift * members[:, None] + torch.randn(n, q, generator=source, dtype=torch.float64)
    return target, shadow, seen, members


def naive(lira, target, shadow, seen):
    """Score by loops over the formula."""
    m, n, q = shadow.shape
    groups = {
        side: [[[shadow[k, i, j].item() for k in range(m) if seen[k, i] == side] for j in range(q)] for i in range(n)]
        for side in (True, False)
    }

    def spread(side, i, j):
        if lira.variance == "per_sample":
            return np.std(groups[side][i][j], ddof=1)
        cells = [cell for row in groups[side] for cell in row]
        values = [value - (median(cell) if lira.variance == "residual" else 0) for cell in cells for value in cell]
        return np.std(values, ddof=1)

    def cell(i, j):
        phi, out = target[i, j].item(), norm(median(groups[False][i][j]), spread(False, i, j))
        if lira.online:
            return norm(median(groups[True][i][j]), spread(True, i, j)).logpdf(phi) - out.logpdf(phi)
        return out.logcdf(phi) if lira.tail == "one" else -out.logpdf(phi) - math.log(2 * math.pi) / 2

    return [np.mean([cell(i, j) for j in range(q)]) for i in range(n)]


@pytest.mark.parametrize("variance", ["global", "residual", "per_sample"])
@pytest.mark.parametrize(("online", "tail"), [(True, "one"), (False, "one"), (False, "two")])
def test_agrees_with_loops_over_the_formula(online, tail, variance):
    target, shadow, seen, _ = draw(5, 8, 3)
    lira = LiRA(online, variance, tail)
    assert lira.score(target, shadow, seen).tolist() == pytest.approx(naive(lira, target, shadow, seen), rel=1e-9)


@pytest.mark.parametrize(("online", "shift"), [(True, 1.5), (False, 1.5), (True, 0.0)])
def test_reaches_the_analytic_auc_where_scores_are_normal(online, shift):
    # With the means known the score is monotone in phi - base: AUC = Phi(shift / sqrt 2). Medians of 50 shadows cost
    # 0.004 of it, and 20,000 samples have a standard error of 0.003 (0.004 where there is nothing to tell).
    target, shadow, seen, members = draw(20_000, 100, shift=shift)
    scores = LiRA(online, "residual").score(target, shadow, seen)
    expected = norm.cdf(shift / math.sqrt(2))
    assert roc(scores[members].tolist(), scores[~members].tolist()).auc == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize("lira", [LiRA(), LiRA(False), LiRA(variance="per_sample")])
def test_the_order_of_the_shadows_does_not_matter(lira):
    target, shadow, seen, _ = draw(20, 8, 2)
    order = torch.randperm(8, generator=seeded(1))
    torch.testing.assert_close(
        lira.score(target, shadow[order], seen[order]), lira.score(target, shadow, seen), rtol=1e-12, atol=1e-12
    )


def test_several_targets_are_scored_as_one_by_one():
    target, shadow, seen, _ = draw(6, 8, 2)
    both = torch.stack([target, target.flip(0)])
    expected = torch.stack([LiRA().score(each, shadow, seen) for each in both])
    torch.testing.assert_close(LiRA().score(both, shadow, seen), expected, rtol=0, atol=0)


def test_one_tail_takes_low_confidence_for_a_non_member_and_two_tails_do_not():
    shadow, seen = torch.tensor([-1.0, 0.0, 1.0]).view(3, 1, 1), torch.zeros(3, 1, dtype=torch.bool)
    low, mid, high = (torch.tensor([[value]]) for value in (-5.0, 0.0, 5.0))
    one, two = LiRA(False), LiRA(False, tail="two")
    assert one.score(low, shadow, seen) < one.score(mid, shadow, seen) < one.score(high, shadow, seen)
    assert two.score(low, shadow, seen) == two.score(high, shadow, seen) > two.score(mid, shadow, seen)


def test_samples_that_no_shadow_saw_need_the_offline_score():
    target, shadow, seen, _ = draw(4, 6)
    with pytest.raises(InvalidInputError, match=r"0 shadow models trained on it.*offline"):
        LiRA().score(target, shadow, torch.zeros_like(seen))
    assert torch.isfinite(LiRA(False).score(target, shadow, torch.zeros_like(seen))).all()
    with pytest.raises(InvalidInputError, match="not trained on it"):
        LiRA(False).score(target, shadow, torch.ones_like(seen))


def test_bad_options_and_numbers():
    target, shadow, seen, _ = draw(4, 6)
    with pytest.raises((InvalidInputError, TypeError), match="variance"):
        LiRA(variance="none")
    with pytest.raises((InvalidInputError, TypeError), match="tail"):
        LiRA(tail="three")
    with pytest.raises(NumericalError, match="agree exactly"):
        LiRA().score(target, torch.zeros_like(shadow), seen)
    with pytest.raises(NumericalError, match="NaN"):
        LiRA().score(target, shadow / 0, seen)
    with pytest.raises(NumericalError, match="NaN"):
        LiRA().score(target / 0, shadow, seen)
