import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import linregress

from assay.adversarial import logit_differences
from assay.adversarial.logit_gaps import gap_exponent
from assay.core import InvalidInputError, PowerLawFit, seeded
from assay.core.power_law import log_log_line
from helpers.adversarial_networks import points


@settings(max_examples=20)
@given(st.integers(1, 5), st.integers(2, 7), st.integers(2, 8), st.integers(0, 10**6))
def test_differences_are_those_of_the_sorted_scores(n, c, max_rank, seed):
    logits = points(n, c, seeded(seed))
    differences = logit_differences(logits, max_rank=max_rank)
    assert differences.shape == (n, min(max_rank, c) - 1)
    for row, found in zip(logits.tolist(), differences.tolist(), strict=True):
        ordered = sorted(row, reverse=True)
        assert found == [ordered[0] - ordered[j] for j in range(1, min(max_rank, c))]


LAWS = {
    "Gaussian": lambda source: torch.randn(400_000, 10, generator=source, dtype=torch.float64),
    "uniform": lambda source: torch.rand(400_000, 10, generator=source, dtype=torch.float64),
    "Gumbel": lambda source: -(-torch.rand(400_000, 10, generator=source, dtype=torch.float64).log()).log(),
}


@pytest.mark.parametrize("law", LAWS)
def test_independent_scores_have_one_power_more_a_rank(law):
    differences = logit_differences(LAWS[law](seeded(0)))
    for column, power in enumerate((1, 2, 3)):
        fit = gap_exponent(differences[:, column])
        assert fit.exponent == pytest.approx(power, abs=0.25)
        assert fit.r2 > 0.99
        assert fit.n_points == 32


@pytest.mark.parametrize("power", [0.5, 1.0, 3.0])
def test_an_exact_power_law_is_read_back(power):
    # Quantiles of Pr(D <= t) = (t/2)^b at k/n: the line is exact, so nothing but rounding is allowed.
    n = 4000
    exact = 2 * (torch.arange(1, n + 1, dtype=torch.float64) / n) ** (1 / power)
    fit = gap_exponent(exact[torch.randperm(n, generator=seeded(1))], quantiles=(0.01, 0.5))
    assert fit.exponent == pytest.approx(power, rel=1e-9)
    assert fit.prefactor == pytest.approx(2**-power, rel=1e-9)
    assert fit.r2 == pytest.approx(1.0)
    assert fit.interval.low < power < fit.interval.high
    assert str(fit).startswith(f"{2**-power:.3g} x^{power:.3f}")


def test_the_line_is_scipys():
    x, y = points(12, 2, seeded(2)).exp().T
    line = linregress(x.log().numpy(), y.log().numpy())
    slope, prefactor, r2 = log_log_line(x, y)
    assert slope.item() == pytest.approx(line.slope)
    assert prefactor.log().item() == pytest.approx(line.intercept)
    assert r2.item() == pytest.approx(line.rvalue**2)


def test_the_interval_is_of_the_width_of_the_fits_own_scatter():
    fits = [gap_exponent(torch.rand(2000, generator=seeded(s)).double(), quantiles=(0.01, 0.2)) for s in range(40)]
    scatter = torch.tensor([fit.exponent for fit in fits]).std().item()
    width = torch.tensor([(fit.interval.high - fit.interval.low) / 3.92 for fit in fits]).mean().item()
    # The window's upper end is held fixed, which leaves out a part of the scatter; 40 fits know theirs to 11%.
    assert 0.5 < width / scatter < 1.5


def test_the_draws_are_the_generators():
    gaps = torch.rand(2000, generator=seeded(0))
    assert gap_exponent(gaps) == gap_exponent(gaps, generator=seeded(0)) != gap_exponent(gaps, generator=seeded(1))
    assert isinstance(gap_exponent(gaps), PowerLawFit)


def test_bad_input_is_named():
    with pytest.raises(InvalidInputError, match="at least 2 classes"):
        logit_differences(torch.zeros(3, 1))
    with pytest.raises(InvalidInputError, match="max_rank >= 2, got 3 and 1"):
        logit_differences(torch.zeros(3, 3), max_rank=1)
    with pytest.raises(InvalidInputError, match="10 are needed"):
        gap_exponent(torch.rand(100))
    with pytest.raises(InvalidInputError, match="low < high"):
        gap_exponent(torch.rand(100), quantiles=(0.5, 0.1))
    with pytest.raises(InvalidInputError, match="different positive points"):
        gap_exponent(torch.zeros(1000), quantiles=(0.0, 0.5))
