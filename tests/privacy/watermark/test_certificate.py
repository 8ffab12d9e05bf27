import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from assay.core import InvalidInputError, NumericalError, seeded
from assay.privacy import certify_watermark
from assay.privacy.watermark import percentile_bounds


def test_the_median_moves_by_the_normal_distribution():
    for eps in (0.0, 0.3, 1.0, 2.5):
        low, high = percentile_bounds(0.5, eps, 0.7)
        assert low == pytest.approx(norm.cdf(-eps / 0.7), rel=1e-12)
        assert high == pytest.approx(1 - low, rel=1e-12)
    low, high = percentile_bounds(0.3, 0.4, 2.0)
    assert norm.ppf(low) == pytest.approx(norm.ppf(0.3) - 0.2)
    assert norm.ppf(high) == pytest.approx(norm.ppf(0.3) + 0.2)


def test_too_few_samples_certify_nothing_and_say_so():
    certificate = certify_watermark(torch.ones(5), 1.0, [0.0, 2.0])
    assert certificate.ranks.tolist() == [0, 0]
    assert certificate.bounds.tolist() == [0.0, 0.0]
    assert "nothing within 2" in str(certificate)
    assert certificate.radius(0.5) == 0.0


def test_what_a_network_without_the_watermark_shows_is_no_evidence():
    samples = torch.full((1000,), 0.8)
    alone, same, lower = (
        certify_watermark(samples, 1.0, [0.1], control=control)
        for control in (None, torch.full((9,), 0.8), torch.tensor([0.0, 0.2, 0.9]))
    )
    assert (alone.control, same.control) == (None, pytest.approx(0.8))
    assert lower.control == pytest.approx(0.2)
    assert "Not compared with samples without the trigger" in str(alone)
    assert "0.8 within 0.1" in str(alone)
    assert "nothing within 0.1" in str(same)
    assert "0.8 within 0.1" in str(lower)
    assert "does not hold the watermark" not in str(lower)


def test_a_network_that_never_learnt_the_trigger_is_named():
    certificate = certify_watermark(torch.zeros(1000), 1.0, [0.1])
    assert certificate.ranks.item() > 0
    assert "nothing within 0.1" in str(certificate)
    assert "does not hold the watermark" in str(certificate)


@settings(max_examples=30)
@given(
    values=st.lists(st.integers(0, 20), min_size=30, max_size=300),
    sigma=st.floats(0.01, 10),
    scale=st.sampled_from([0.25, 2.0, 8.0]),
)
def test_bounds_fall_with_distance_and_only_its_ratio_to_sigma_counts(values, sigma, scale):
    samples = torch.tensor(values, dtype=torch.float64) / 20
    radii = [sigma * step / 4 for step in range(10)]
    certificate = certify_watermark(samples, sigma, radii)
    assert (certificate.bounds.diff() <= 0).all()
    assert (certificate.ranks.diff() <= 0).all()
    scaled = certify_watermark(samples, scale * sigma, [scale * radius for radius in radii])
    assert torch.equal(scaled.bounds, certificate.bounds)
    assert (certificate.bounds <= certificate.value).all()


@settings(max_examples=40)
@given(values=st.lists(st.integers(0, 20), min_size=50, max_size=200), level=st.integers(1, 20), p=st.floats(0.3, 0.7))
def test_radius_is_where_the_bound_falls_below_the_accuracy(values, level, p):
    samples = torch.tensor(values, dtype=torch.float64)
    radius = certify_watermark(samples, 0.5, [], percentile=p).radius(float(level))
    inside, outside = max(0.0, radius - 1e-6), radius + 1e-6
    certificate = certify_watermark(samples, 0.5, [inside, outside], percentile=p)
    if radius > 1e-6:
        assert certificate.bounds[0] >= level
    assert certificate.bounds[1] < level


COORDINATES = torch.linspace(-0.4, 1.6, 40, dtype=torch.float64)


def counted(theta, n, source):
    """f(theta + G), the share of 40 coordinates above zero, for sigma one; the percentiles of f are hardly tied."""
    return (theta + torch.randn(n, 40, generator=source, dtype=torch.float64) > 0).double().mean(1)


def test_bounds_hold_and_are_tight_for_a_score_whose_shifted_median_is_known():
    # All of the budget goes evenly against all coordinates. How many are above zero is a sum of independent coins.
    eps, n, repetitions = 0.7, 1000, 200
    chances = np.ones(1)
    for p in norm.cdf(COORDINATES - eps / math.sqrt(40)):
        chances = np.convolve(chances, [1 - p, p])
    shifted = np.searchsorted(chances.cumsum(), 0.5) / 40
    source = seeded(0)
    bounds = torch.tensor(
        [certify_watermark(counted(COORDINATES, n, source), 1.0, [eps]).bounds.item() for _ in range(repetitions)]
    )
    # If bounds failed with the allowed chance of 1%, more than eight of 200 would fail with a chance of 0.02%.
    assert (bounds > shifted).sum() <= 8
    assert shifted - bounds.mean() < 0.05


def test_a_score_along_one_direction_is_certified_exactly_up_to_its_hyperplane():
    # f = 1[w.theta > t] with |w| = 1 is certified to be one exactly as far as theta is from the plane.
    distance, sigma, n = 0.8, 0.5, 200_000
    noise = torch.randn(n, generator=seeded(1), dtype=torch.float64)
    samples = (distance + sigma * noise > 0).double()
    certificate = certify_watermark(samples, sigma, [0.98 * distance, 1.02 * distance])
    assert certificate.bounds.tolist() == [1.0, 0.0]
    assert certificate.radius(1.0) == pytest.approx(distance, rel=0.02)
    assert certificate.radius(1.0) < distance


def test_the_smoothed_value_is_the_percentile_of_the_samples():
    samples = torch.tensor([0.4, 0.1, 0.3, 0.2])
    assert certify_watermark(samples, 1.0, []).value == pytest.approx(0.3)
    assert certify_watermark(samples, 1.0, [], percentile=0.25).value == pytest.approx(0.2)
    assert certify_watermark(samples, 1.0, [], percentile=0.999).value == pytest.approx(0.4)


def test_the_figure_shows_the_bounds():
    certificate = certify_watermark(torch.linspace(0, 1, 500), 1.0, [0.0, 0.5])
    (line,) = certificate.plot().lines
    assert line.get_ydata().tolist() == certificate.bounds.tolist()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: percentile_bounds(0.0, 1.0, 1.0), "percentile"),
        (lambda: percentile_bounds(0.5, -1.0, 1.0), "radius"),
        (lambda: percentile_bounds(0.5, math.nan, 1.0), "radius"),
        (lambda: percentile_bounds(0.5, 1.0, 0.0), "sigma"),
        (lambda: certify_watermark(torch.zeros(0), 1.0, [1.0]), "no samples"),
        (lambda: certify_watermark(torch.ones(9), -1.0, []), "sigma"),
        (lambda: certify_watermark(torch.ones(9), 1.0, 0.5), r"pass a single one as \[radius\]"),
        (lambda: certify_watermark(-torch.ones(9), 1.0, [5.0]), "samples fall to -1.*subtract the lowest value"),
        (lambda: certify_watermark(torch.ones(9), 1.0, [], control=-torch.ones(9)), "control fall to -1"),
    ],
)
@pytest.mark.usefixtures("as_users_run_it")
def test_bad_input(call, message):
    with pytest.raises(InvalidInputError, match=message):
        call()


def test_a_sample_that_is_no_number_is_an_error():
    with pytest.raises(NumericalError):
        certify_watermark(torch.tensor([0.5, math.nan]), 1.0, [1.0])
