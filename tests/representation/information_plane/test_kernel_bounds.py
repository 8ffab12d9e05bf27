import math

import numpy as np
import pytest
import torch
from scipy.special import logsumexp
from scipy.stats import multivariate_normal

from assay.core import InvalidInputError, seeded
from assay.representation import kde_information


def layer(n: int = 120, d: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    values = torch.randn(n, d, generator=seeded(0), dtype=torch.float64)
    return values, (values[:, 0] > 0).long()


def mixture(values: np.ndarray, variance: float) -> float:
    squares = ((values[:, None] - values) ** 2).sum(2)
    return -float(np.mean(logsumexp(-squares / (2 * variance), axis=1) - np.log(len(values)))) / math.log(2)


@pytest.mark.parametrize(("bound", "factor"), [("upper", 1), ("lower", 4)])
def test_bounds_are_those_of_the_formula(bound, factor) -> None:
    values, labels = layer()
    variance = factor * 0.01 * values.std(correction=0).item() ** 2
    found = kde_information(values, labels, noise_variance=0.01, scale="std", bound=bound, batch_size=50)
    parts = [values[labels == label].numpy() for label in (0, 1)]
    within = sum(len(part) / len(values) * mixture(part, variance) for part in parts)
    whole = mixture(values.numpy(), variance)
    assert found.input_bits == pytest.approx(whole, rel=1e-10)
    assert found.label_bits == pytest.approx(whole - within, rel=1e-9)


def test_bounds_enclose_the_entropy_of_the_mixture() -> None:
    values, labels = layer(d=1)
    variance = 0.3
    noise = math.sqrt(variance) * torch.randn(200, 120, 1, generator=seeded(1), dtype=torch.float64)
    points = (values + noise).reshape(-1)
    logs = -((points[:, None] - values[:, 0]) ** 2) / (2 * variance) - 0.5 * math.log(2 * math.pi * variance)
    entropy = -(torch.logsumexp(logs, 1) - math.log(len(values))).mean().item()
    exact = (entropy - multivariate_normal(cov=variance).entropy()) / math.log(2)
    upper, lower = (
        kde_information(values, labels, noise_variance=variance, scale=None, bound=bound).input_bits
        for bound in ("upper", "lower")
    )
    assert lower - 0.02 < exact < upper + 0.02  # 24,000 draws have a standard error below 0.01 bits


def test_bounds_do_not_change_with_the_scale_of_a_layer() -> None:
    values, labels = layer()
    for scale in ("max", "std"):
        expected = kde_information(values, labels, scale=scale)
        for factor in (1e-6, 1e5):
            found = kde_information(factor * values, labels, scale=scale)
            assert found.input_bits == pytest.approx(expected.input_bits, abs=1e-10)
            assert found.label_bits == pytest.approx(expected.label_bits, abs=1e-10)


def test_far_clusters_are_counted() -> None:
    values = 1000.0 * torch.arange(8.0).repeat(4)[:, None]
    found = kde_information(values, torch.arange(32) % 2, scale=1.0)
    assert (found.input_bits, found.label_bits) == (pytest.approx(3.0), pytest.approx(1.0))
    assert kde_information(torch.zeros(4, 2), torch.arange(4) % 2).input_bits == 0


def test_an_unknown_scale_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="scale"):
        kde_information(*layer(), scale=-1.0)
