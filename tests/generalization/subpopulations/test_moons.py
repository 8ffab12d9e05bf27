import math

import numpy as np
import pytest
import torch
from scipy.stats import f as f_distribution
from scipy.stats import norm

from assay.core import InvalidInputError, seeded
from assay.generalization.subpopulations import moon_shape

SIZES = {"n_majority": 1000, "n_minority": 1000}


def noisy_moon(n=40, seed=0):
    source = seeded(seed)
    a = 0.5 + 0.5 * torch.rand(n, generator=source, dtype=torch.float64)
    b = 0.4 + 1.5 * (a - 0.6) ** 2 + 0.03 * torch.randn(n, generator=source, dtype=torch.float64)
    return a, b.clamp(0, 1)


def test_fits_and_test_are_those_of_ordinary_least_squares():
    """The normal equations of each degree, and F from their errors."""
    a, b = noisy_moon()
    found = moon_shape(a, b, **SIZES)
    errors, solutions = [], []
    for degree in (1, 2, 3):
        design = torch.stack([a**power for power in range(degree + 1)], 1)
        solution = torch.linalg.solve(design.T @ design, design.T @ b)
        errors.append(float(((b - design @ solution) ** 2).sum()))
        solutions.append(solution)
    total = float(((b - b.mean()) ** 2).sum())
    fits = found.fits
    assert (fits.r2_linear, fits.r2_quadratic, fits.r2_cubic) == pytest.approx([1 - e / total for e in errors])
    assert fits.curvature == pytest.approx(float(solutions[1][2]))
    statistic = (errors[0] - errors[1]) / (errors[1] / 37)
    assert fits.f_statistic == pytest.approx(statistic)
    assert fits.p_value == pytest.approx(float(f_distribution.sf(statistic, 1, 37)))
    assert found.is_moon
    assert "Over 40 models" in str(found)


def test_a_line_on_probit_axes_is_found_to_be_one():
    scores = torch.linspace(-1, 2, 30, dtype=torch.float64)
    a, b = (torch.from_numpy(norm.cdf(values.numpy())) for values in (scores, 0.7 * scores - 0.5))
    found = moon_shape(a, b, n_majority=10**6, n_minority=10**6)
    assert found.probit.r2_linear == pytest.approx(1.0, abs=1e-12)
    assert found.fits.r2_linear < 0.995


def test_probit_clips_by_the_size_of_the_test_set():
    a, b = noisy_moon()
    a[:5], b[:3] = 1.0, 0.0
    found = moon_shape(a, b, n_majority=50, n_minority=20)
    clipped = norm.ppf(a.numpy().clip(0.01, 0.99)), norm.ppf(b.numpy().clip(0.025, 0.975))
    expected = np.corrcoef(*clipped)[0, 1] ** 2
    assert found.probit.r2_linear == pytest.approx(expected)
    assert found.n_ceiling == 5


def test_deviation_from_the_chord_of_a_parabola():
    """b = a^2 on [0, 1]: the chord is a, the deviation a - a^2, whose mean over even places tends to 1/6."""
    a = torch.linspace(0, 1, 2001, dtype=torch.float64)
    found = moon_shape(a, a**2, **SIZES)
    low, high = a[:100], a[-100:]
    start, end = (low.mean(), (low**2).mean()), (high.mean(), (high**2).mean())
    middle = a[100:-100]
    chord = start[1] + (middle - start[0]) * (end[1] - start[1]) / (end[0] - start[0])
    assert found.chord_deviation == pytest.approx(float((chord - middle**2).mean()), abs=1e-12)
    assert found.weakest == pytest.approx([float(value) for value in start])


def test_coin_mixtures_lie_on_the_chord_and_ties_do_not_depend_on_the_order():
    """Answers chosen by coin between two models with 10,000 test samples a group: three standard errors."""
    source, n = seeded(8), 10_000
    right = torch.rand(2, 2, n, generator=source) < torch.tensor([[[0.6], [0.45]], [[0.97], [0.85]]])
    points = []
    for p in torch.linspace(0, 1, 21):
        coin = torch.rand(2, n, generator=source) < p
        points.append(torch.where(coin, right[1], right[0]).double().mean(1))
    a, b = torch.stack(points).T
    found = moon_shape(a, b, n_majority=n, n_minority=n)
    slope = (found.best[1] - found.weakest[1]) / (found.best[0] - found.weakest[0])
    error = math.sqrt((0.25 + slope**2 * 0.25) / n)
    assert float(found.deviation.abs().max()) < 4 * error  # of 19 points
    assert abs(found.chord_deviation) < 3 * error
    order = torch.randperm(21, generator=source)
    assert moon_shape(a[order], b[order], n_majority=n, n_minority=n).chord_deviation == pytest.approx(
        found.chord_deviation
    )


def test_all_ties_at_the_ceiling_belong_to_the_end_of_the_chord():
    a = torch.cat([torch.linspace(0.5, 0.99, 20), torch.ones(20)]).double()
    b = torch.cat([torch.full((20,), 0.4), torch.linspace(0.4, 0.8, 20)]).double()
    found = moon_shape(a, b, **SIZES)
    assert found.best == (1.0, pytest.approx(0.6))
    assert found.n_ceiling == 20
    trimmed = moon_shape(a, torch.where(a < 1, b + 0.001 * a, b), trim=0.995, **SIZES)
    assert len(trimmed.majority) == 20
    assert (trimmed.n_models, trimmed.n_ceiling) == (40, 20)


def test_the_knee_is_where_two_segments_meet():
    a = torch.linspace(0.5, 1, 26, dtype=torch.float64)
    found = moon_shape(a, 0.45 - 0.1 * (a - 0.5) + 4 * (a - 0.9).clamp(min=0), **SIZES)
    assert found.knee.place == pytest.approx(0.9)
    assert (found.knee.before, found.knee.after) == pytest.approx((-0.1, 3.9))
    assert found.knee.r2 == pytest.approx(1.0)
    assert found.knee.at(np.array([0.5, 1.0])).tolist() == pytest.approx([0.45, 0.8])


def test_the_figure_has_the_models_and_the_chord():
    axes = moon_shape(*noisy_moon(), **SIZES).plot()
    names = axes.get_legend_handles_labels()[1]
    assert names == ["equal accuracy", "coin between the ends", "two segments", "model"]


@pytest.mark.parametrize(
    ("a", "b", "options", "message"),
    [
        (torch.rand(9), torch.rand(8), {}, "9 majority accuracies came with 8"),
        (torch.rand(9) * 100, torch.rand(9), {}, "divide counts"),
        (torch.ones(9), torch.rand(9), {}, "5 distinct accuracies"),
        (torch.linspace(0, 1, 9), torch.ones(9), {}, "minority that differ"),
        (torch.linspace(0, 1, 9), torch.rand(9), {"trim": 0.0}, "trim must be"),
        (torch.linspace(0, 1, 9), torch.rand(9), {"n_minority": 0}, "n_minority"),
    ],
)
def test_what_does_not_fit_is_refused(a, b, options, message):
    with pytest.raises(InvalidInputError, match=message):
        moon_shape(a, b, **(SIZES | options))
