"""The bound beside its formula, and above the gap that replacing a sample of a linear model makes."""

import math

import pytest
import torch

from assay.core import InvalidInputError, seeded
from assay.generalization import stability_bound


def test_the_sum_is_that_of_the_formula() -> None:
    lrs, alphas, lipschitz, smoothness, n = [0.1, 0.3, 0.05, 0.2], [0.0, 0.2, 0.9, 1.0], 1.5, 0.7, 12
    total = 0.0
    for t in range(4):
        growth = math.prod(1 + lrs[k] * smoothness for k in range(t + 1, 4))
        total += growth * lrs[t] * math.sqrt(2 * (1 - alphas[t]))
    found = stability_bound(lrs, alphas, lipschitz=lipschitz, smoothness=smoothness, n_samples=n)
    assert found == pytest.approx(lipschitz**2 / n * total)


def test_weights_move_less_than_the_bound_when_a_sample_is_replaced() -> None:
    """Gradient descent on logistic losses: L is the longest sample, and beta a quarter of its square."""
    source = seeded(0)
    pool = torch.randn(400, 3, generator=source).double() + 1.0
    lipschitz = float(pool.norm(dim=1).max())
    smoothness, n, rate, n_iter = lipschitz**2 / 4, 20, 0.05, 30
    moved, alphas = torch.zeros(n_iter), torch.zeros(n_iter)

    def gradients(w: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        return -torch.sigmoid(-(x @ w))[:, None] * x

    for draw in range(40):
        x = pool[torch.randint(400, (n,), generator=source)]
        other = x.clone()
        other[draw % n] = pool[int(torch.randint(400, (1,), generator=source))]
        pair = [torch.zeros(3).double(), torch.zeros(3).double()]
        for t in range(n_iter):
            rows = gradients(pair[0], pool)
            alphas[t] += rows.mean(0).square().sum() / rows.square().sum(1).mean() / 40
            pair = [w - rate * gradients(w, data).mean(0) for w, data in zip(pair, (x, other), strict=True)]
            moved[t] += (pair[0] - pair[1]).norm() / 40
    bound = stability_bound([rate] * n_iter, alphas, lipschitz=lipschitz, smoothness=smoothness, n_samples=n)
    assert float(moved[-1]) * lipschitz <= bound


def test_bad_input_is_named() -> None:
    constants = {"lipschitz": 1.0, "smoothness": 1.0, "n_samples": 5}
    for lrs, alphas, message in (
        ([0.1], [0.1, 0.2], "give one a step"),
        ([0.1], [1.1], "between 0 and 1"),
        ([-0.1], [0.1], "not negative"),
    ):
        with pytest.raises(InvalidInputError, match=message):
            stability_bound(lrs, alphas, **constants)
