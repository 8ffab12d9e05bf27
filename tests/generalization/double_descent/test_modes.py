import math
from decimal import Decimal, getcontext

import numpy as np
import pytest
import torch

from assay.core import InvalidInputError, seeded
from assay.generalization.double_descent import FeatureModes, gradient_descent_path

N_SAMPLES, N_OUTPUTS = 40, 3


def descend_two(phi, y, optimizer):
    return descend(phi, y, torch.zeros(2, 1, dtype=torch.float64), optimizer, 200)


def problem(d, seed=0):
    source = seeded(seed)
    draw = lambda *shape: torch.randn(*shape, generator=source, dtype=torch.float64)  # noqa: E731
    return draw(N_SAMPLES, d) / d**0.5, draw(N_SAMPLES, N_OUTPUTS), draw(d, N_OUTPUTS)


def descend(phi, y, weights, optimizer, n_iter):
    """Take steps with torch's own optimiser and autograd."""
    weights = weights.clone().requires_grad_()
    run = optimizer([weights])
    for _ in range(n_iter):
        run.zero_grad()
        ((phi @ weights - y).square().sum() / (2 * len(phi))).backward()
        run.step()
    return weights.detach()


@pytest.mark.parametrize("d", [10, 40, 90])
@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.95])
def test_the_closed_form_is_where_torch_arrives(d, momentum):
    phi, y, init = problem(d)
    lr = 1 / torch.linalg.eigvalsh(phi.T @ phi / N_SAMPLES)[-1].item()
    found = gradient_descent_path(phi, y, n_iter=(0, 1, 200), momentum=momentum, init=init)
    for weights, steps in zip(found, (0, 1, 200), strict=True):
        run = lambda params: torch.optim.SGD(params, lr=lr, momentum=momentum)  # noqa: E731
        torch.testing.assert_close(weights, descend(phi, y, init, run, steps), rtol=0, atol=1e-8)


@pytest.mark.parametrize("d", [10, 90])
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_the_limit_is_least_squares_of_least_norm(d, momentum):
    phi, y, init = problem(d)
    (limit,) = gradient_descent_path(phi, y, n_iter=(math.inf,), momentum=momentum)
    np.testing.assert_allclose(limit, np.linalg.lstsq(phi, y)[0], atol=1e-8)
    late, last = gradient_descent_path(phi, y, n_iter=(10**7, math.inf), momentum=momentum, init=init)
    torch.testing.assert_close(late, last, rtol=0, atol=1e-6)


def test_above_one_over_lambda_the_sign_alternates():
    phi, y = torch.eye(2, dtype=torch.float64), torch.ones(2, 1, dtype=torch.float64)
    found = gradient_descent_path(phi, y, n_iter=(1, 2, 3), lr=3.0)  # lambda = 1/2: the factor is -1/2
    assert found[:, 0, 0].tolist() == pytest.approx([1.5, 0.75, 1.125])


def test_half_the_learning_rate_is_half_the_steps_where_steps_are_small():
    phi, y, _ = problem(60)
    top = FeatureModes.of(phi).eigenvalues[0].item()
    (slow,), (fast,) = (
        gradient_descent_path(phi, y, n_iter=(steps,), lr=rate / top) for steps, rate in ((2000, 0.01), (1000, 0.02))
    )
    assert (slow - fast).norm() <= 0.02 * fast.norm()


def test_shares_of_very_slow_modes_keep_their_digits():
    getcontext().prec = 40
    phi = torch.diag(torch.tensor([1.0, 1e-5], dtype=torch.float64)) * 2**0.5
    modes = FeatureModes.of(phi)
    share = modes.fitted_share(lr=1.0, n_iter=(3, 10**8))[:, 1]
    step = Decimal(modes.eigenvalues[1].item())
    exact = [float(1 - (1 - step) ** t) for t in (3, 10**8)]
    np.testing.assert_allclose(share, exact, rtol=1e-12)


def test_modes_are_the_eigenvectors_of_the_hessian():
    phi, _, _ = problem(90)
    modes = FeatureModes.of(phi)
    dense = torch.linalg.eigvalsh(phi.T @ phi / N_SAMPLES).flip(0)
    torch.testing.assert_close(modes.eigenvalues, dense[:N_SAMPLES])
    assert modes.condition_number == pytest.approx((dense[0] / dense[N_SAMPLES - 1]).item())


def test_modes_that_are_rounding_errors_are_left_out():
    phi, _, _ = problem(10)
    twice = torch.cat([phi, phi @ torch.randn(10, 5, generator=seeded(1), dtype=torch.float64)], 1)
    assert len(FeatureModes.of(twice).singular_values) == 10
    assert len(FeatureModes.of(twice.float()).singular_values) == 10
    assert 0 < FeatureModes.of(phi, rtol=0.9).significant.sum() < 10


def test_nearly_zero_modes_count_in_finite_steps_and_not_in_the_limit():
    phi = torch.diag(torch.tensor([1.0, 1e-7], dtype=torch.float64))
    y = torch.tensor([[1.0], [1e9]], dtype=torch.float64)
    early, limit = gradient_descent_path(phi, y, n_iter=(200, math.inf))
    run = lambda params: torch.optim.SGD(params, lr=2.0)  # noqa: E731
    torch.testing.assert_close(early, descend_two(phi, y, run), rtol=1e-10, atol=0)
    assert early[1, 0] > 1e3
    assert limit.flatten().tolist() == pytest.approx([1.0, 0.0])
    assert FeatureModes.of(phi).condition_number == 1


def test_effective_modes_are_those_whose_residual_fell_below_one_over_e():
    phi, y, init = problem(90)
    modes, lr = FeatureModes.of(phi), 1e-2
    counts = modes.effective_modes(lr=lr, n_iter=(0, 3000, 10_000, 10**9)).tolist()
    assert counts[0] == 0
    assert 0 < counts[1] < counts[2] < counts[3] == N_SAMPLES
    for count, steps in zip(counts, (0, 3000, 10_000, 10**9), strict=True):
        (weights,) = gradient_descent_path(phi, y, n_iter=(steps,), lr=lr, init=init)
        # (1 - x)^T and exp(-x T) part by a relative x / 2, here at most 0.1 %: one mode at the edge.
        assert abs(modes.fitted_modes(y - phi @ init, y - phi @ weights) - count) <= 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_iter": (1.5,)}, "whole numbers"),
        ({"n_iter": ()}, "whole numbers"),
        ({"n_iter": (-1,)}, "whole numbers"),
        ({"n_iter": (5,), "lr": 1e6}, "diverges"),
        ({"n_iter": (5,), "lr": -1.0}, "lr"),
        ({"n_iter": (5,), "momentum": 1.0}, "momentum"),
        ({"n_iter": (5,), "init": torch.zeros(2, 2)}, "init"),
        ({"n_iter": (5,), "rtol": 0.0}, "rtol"),
    ],
)
@pytest.mark.usefixtures("as_users_run_it")
def test_bad_options_are_refused(options, message):
    phi, y, _ = problem(10)
    with pytest.raises(InvalidInputError, match=message):
        gradient_descent_path(phi, y, **options)


def test_features_that_are_zero_are_refused():
    with pytest.raises(InvalidInputError, match="zero"):
        FeatureModes.of(torch.zeros(3, 2))
