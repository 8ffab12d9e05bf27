import pytest
import torch
from scipy import stats
from torch import nn

from assay.core import InvalidInputError, seeded
from assay.generalization.subpopulations import (
    SubgroupAccuracy,
    accuracy_gap,
    accuracy_gap_theorem,
    count_cells,
    mixture_accuracy,
    subgroup_accuracy,
)


def cells(right, count):
    right, count = torch.tensor(right), torch.tensor(count)
    return SubgroupAccuracy(right, count, tuple(range(len(count))), tuple(range(count.shape[1])))


def test_the_theorem_is_exact_on_discrete_distributions():
    """Random P(Y), pi, P(X | Y) and classifiers of X: the gap is summed over all values of X, Y and Z."""
    source = seeded(3)
    for _ in range(50):
        p_y, pi_1, pi_0 = torch.rand(3, generator=source, dtype=torch.float64).tolist()
        p_x = torch.rand(2, 6, generator=source, dtype=torch.float64)
        p_x = p_x / p_x.sum(1, keepdim=True)
        answers = torch.randint(2, (6,), generator=source)
        right = torch.stack([answers == 0, answers == 1]).double()
        joint = p_x.new_tensor([[(1 - p_y) * (1 - pi_0), (1 - p_y) * pi_0], [p_y * (1 - pi_1), p_y * pi_1]])
        joint = joint[:, :, None] * p_x[:, None]  # y, z, x
        correct = (joint * right[:, None]).sum((0, 2)) / joint.sum((0, 2))
        tnr, tpr = (p_x * right).sum(1).tolist()
        predicted = accuracy_gap_theorem(p_y, pi_1, pi_0, tpr, tnr)
        assert float(correct[1] - correct[0]) == pytest.approx(predicted, abs=1e-12)


def drawn(n, *, dependent, generator):
    """A label, an attribute that goes with it, and answers that depend on the label, or on both."""
    y = torch.rand(n, generator=generator) < 0.4
    z = torch.rand(n, generator=generator) < torch.where(y, 0.8, 0.3)
    chance = torch.where(y, 0.9, 0.7) - (0.3 * (z != y) if dependent else 0.0)
    return torch.rand(n, generator=generator) < chance, y.long(), z.long()


def test_the_parts_of_the_gap_add_up_and_show_a_broken_assumption():
    for dependent in (False, True):
        found = accuracy_gap(count_cells(*drawn(200_000, dependent=dependent, generator=seeded(0))), 1, 0)
        assert found.gap == pytest.approx(found.label_mix + found.residual, abs=1e-12)
        assert found.strength == pytest.approx(0.5, abs=0.01)
        # standard error of the residual: about 0.002
        assert (abs(found.residual) > 0.02) if dependent else (abs(found.residual) < 0.01)
        assert "differences at the same label" in str(found)
    independent = accuracy_gap(count_cells(*drawn(200_000, dependent=False, generator=seeded(0))), 1, 0)
    assert independent.label_mix == pytest.approx(accuracy_gap_theorem(0.4, 0.8, 0.3, 0.9, 0.7), abs=0.005)


def test_the_label_mix_is_the_theorem_and_the_rest_the_sum_over_cells():
    """Brute force from the counts, labels balanced or not, one cell empty."""
    counts = cells([[30, 4], [11, 0]], [[50, 9], [16, 0]])
    found = accuracy_gap(counts, 1, 0)
    p_y, pi_1, pi_0, tpr, tnr = 16 / 75, 0.0, 9 / 59, 11 / 16, 34 / 59
    assert found.label_mix == pytest.approx(accuracy_gap_theorem(p_y, pi_1, pi_0, tpr, tnr), abs=1e-12)
    assert found.gap == pytest.approx(4 / 9 - 41 / 66, abs=1e-12)
    weight = 9 / 9 * 50 / 59 + 50 / 66 * 9 / 59  # P(y|1) P(0|y) + P(y|0) P(1|y) for y = 0
    assert found.within_labels.tolist() == pytest.approx([weight * (4 / 9 - 30 / 50), 0.0], abs=1e-12)


def test_three_labels_and_three_subgroups_split_exactly():
    source = seeded(4)
    count = torch.randint(1, 40, (3, 3), generator=source)
    right = (count * torch.rand(3, 3, generator=source)).long()
    found = accuracy_gap(SubgroupAccuracy(right, count, (0, 1, 2), (5, 6, 7)), 7, 5)
    direct = right[:, 2].sum() / count[:, 2].sum() - right[:, 0].sum() / count[:, 0].sum()
    assert found.gap == pytest.approx(float(direct), abs=1e-6)
    assert found.label_mix + found.residual == pytest.approx(found.gap, abs=1e-12)


def test_counts_follow_the_network():
    """A loop over samples, for class scores and for one logit with signs as labels."""
    source = seeded(5)
    x, y, groups = torch.randn(60, 3, generator=source).double(), torch.arange(60) % 2, torch.arange(60) % 3
    net: nn.Module = nn.Linear(3, 1).double()
    sides = nn.Linear(1, 2, bias=False).double()
    with torch.no_grad():
        sides.weight.copy_(torch.tensor([[-1.0], [1.0]]))
    both = nn.Sequential(net, sides)
    found, signed = subgroup_accuracy(both, x, y, groups=groups), subgroup_accuracy(net, x, 2 * y - 1, groups=groups)
    expected = torch.zeros(2, 3, dtype=torch.long)
    for sample, label, group in zip(x, y, groups, strict=True):
        expected[label, group] += int((net(sample) > 0) == (label == 1))
    assert torch.equal(found.right, expected)
    assert torch.equal(signed.right, expected)
    assert signed.labels == (0, 1)
    interval = found.accuracy(2)
    exact = stats.binomtest(int(expected[:, 2].sum()), 20).proportion_ci(method="exact")
    assert (interval.low, interval.high) == pytest.approx((exact.low, exact.high))
    assert "the lowest accuracy of 3 subgroups" in str(found)


def test_a_difference_of_labels_alone_makes_no_deficit():
    counts = cells([[90, 9], [5, 50]], [[100, 10], [10, 100]])
    assert counts.accuracy(0).mean - counts.accuracy(1).mean > 0.3
    deficit = counts.deficit(1)
    assert deficit.mean == pytest.approx(0.0, abs=1e-12)
    assert deficit.low < 0 < deficit.high


def test_the_deficit_covers_the_truth_as_often_as_it_says():
    """400 draws of two labels and two groups; a true coverage of 95% gives over 92.5% with 99% confidence."""
    source, covered, n = seeded(6), 0, torch.tensor([[40, 15], [30, 25]])
    truth = torch.tensor([[0.9, 0.7], [0.8, 0.75]])
    weight = n[:, 1] / n[:, 1].sum()
    gap = float((weight * (truth[:, 0] - truth[:, 1])).sum())
    for _ in range(400):
        right = torch.binomial(n.float(), truth, generator=source).long()
        interval = SubgroupAccuracy(right, n, (0, 1), (0, 1)).deficit(1)
        covered += interval.low <= gap <= interval.high
    assert covered > 0.925 * 400


def test_the_identities_of_mixtures():
    source = seeded(7)
    right = torch.randint(0, 50, (2, 2), generator=source)
    counts, aligned = SubgroupAccuracy(right, torch.full((2, 2), 50), (0, 1), (0, 1)), torch.eye(2).bool()
    a, b = (torch.tensor([counts.balanced(part)], dtype=torch.float64) for part in (aligned, ~aligned))
    weights = 0.05 + 0.4 * aligned.double()  # nine samples of the majority to one of the minority
    assert float(mixture_accuracy(a, b, 0.9)) == pytest.approx(float((weights * right / 50).sum()), abs=1e-12)
    assert float(mixture_accuracy(a, b, 0.5)) == pytest.approx(float(right.double().mean() / 50), abs=1e-12)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: accuracy_gap_theorem(0.5, 1.0, 1.0, 0.8, 0.6), "one subgroup is empty"),
        (lambda: accuracy_gap_theorem(0.5, 1.2, 1.0, 0.8, 0.6), "pi_1 must be a probability"),
        (lambda: accuracy_gap(cells([[1, 1]], [[2, 2]]), 0, 3), "between two of the subgroups"),
        (lambda: cells([[1, 1]], [[2, 2]]).accuracy(4), "group must be one of"),
        (lambda: cells([[1, 0], [0, 1]], [[2, 0], [0, 2]]).deficit(1), "labels that both have"),
        (lambda: cells([[1, 0], [0, 1]], [[2, 0], [0, 2]]).balanced(torch.eye(2) < 1), "has no sample in these cells"),
        (lambda: count_cells(torch.ones(2), torch.zeros(2).long(), torch.zeros(2).long()), "a truth value for each"),
        (lambda: mixture_accuracy(torch.zeros(2), torch.zeros(3), 0.5), "as many accuracies"),
    ],
)
def test_what_does_not_fit_is_refused(call, message):
    with pytest.raises(InvalidInputError, match=message):
        call()
