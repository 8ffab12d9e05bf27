import math

import numpy as np
import pytest
import torch

from assay.core import InvalidInputError, NumericalError, seeded
from assay.generalization.double_descent import (
    AdamDescent,
    FeatureModes,
    GradientDescent,
    LeastSquares,
    StochasticGradientDescent,
    preconditioned_condition_number,
    sgd_noise_floor,
)
from assay.generalization.double_descent.procedures import slowest_factor

N_SAMPLES = 30


def problem(d):
    source = seeded(d)
    draw = lambda *shape: torch.randn(*shape, generator=source, dtype=torch.float64)  # noqa: E731
    phi = draw(N_SAMPLES, d) / d**0.5
    return phi, draw(N_SAMPLES, 2), FeatureModes.of(phi), draw(d, 2)


def loss(phi, y, weights):
    return ((phi @ weights - y).square().sum() / (2 * len(phi))).item()


@pytest.mark.parametrize("d", [12, 50])
def test_batches_of_all_samples_are_gradient_descent(d):
    phi, y, modes, init = problem(d)
    for momentum in (0.0, 0.9):
        closed = GradientDescent(100, relative_lr=0.5, momentum=momentum)(phi, y, modes, init)
        looped = StochasticGradientDescent(100, N_SAMPLES, 0.5, momentum)(phi, y, modes, init)
        torch.testing.assert_close(looped.weights, closed.weights, rtol=0, atol=1e-10)


def test_batches_in_the_coordinates_of_the_modes_are_batches_of_the_weights():
    phi, y, modes, init = problem(50)
    found = StochasticGradientDescent(40, 5, 0.2)(phi, y, modes, init, seeded(4)).weights
    source, weights, lr = seeded(4), init.clone(), 0.2 / modes.eigenvalues[0]
    for _ in range(40):
        rows = torch.randint(N_SAMPLES, (5,), generator=source)
        weights -= lr * phi[rows].T @ (phi[rows] @ weights - y[rows]) / 5
    torch.testing.assert_close(found, weights, rtol=0, atol=1e-10)


def test_decaying_steps_end_below_the_floor_of_constant_ones():
    phi, y, modes, init = problem(12)
    least = loss(phi, y, LeastSquares()(phi, y, modes, init).weights)
    constant, decayed = (
        loss(phi, y, StochasticGradientDescent(2000, 2, 0.1, cosine=cosine)(phi, y, modes, init, seeded(1)).weights)
        for cosine in (False, True)
    )
    assert decayed - least < 0.2 * (constant - least)


def test_the_noise_floor_is_where_constant_steps_stay():
    phi, y, modes, init = problem(8)
    lr, size = 0.02 / modes.eigenvalues[0].item(), 4
    source, weights, minimum = seeded(2), LeastSquares()(phi, y, modes, init).weights, 0.0
    minimum, excess = loss(phi, y, weights), []
    for _ in range(12_000):
        rows = torch.randint(N_SAMPLES, (size,), generator=source)
        weights = weights - lr * phi[rows].T @ (phi[rows] @ weights - y[rows]) / size
        excess.append(0.5 * (phi @ weights - y).square().sum().item() / N_SAMPLES - minimum)
    batches = np.array(excess[2000:]).reshape(10, -1).mean(1)
    deviation = batches.std(ddof=1) / math.sqrt(10)
    # Four standard errors of ten batch means, and two percent for the noise away from the minimum, of order lr.
    floor = sgd_noise_floor(phi, y, lr=lr, batch_size=size)
    assert abs(batches.mean() - floor) <= 4 * deviation + 0.05 * floor
    assert deviation < 0.1 * floor


def test_features_that_interpolate_have_no_noise_floor():
    phi, y, _, _ = problem(50)
    assert sgd_noise_floor(phi, y, lr=0.1, batch_size=1) == pytest.approx(0, abs=1e-20)


def test_adam_takes_the_steps_of_its_definition():
    phi, y, modes, init = problem(12)
    found = AdamDescent(50, lr=0.05)(phi, y, modes, init)
    weights, first, second = init.clone(), torch.zeros_like(init), torch.zeros_like(init)
    for t in range(1, 51):
        gradient = phi.T @ (phi @ weights - y) / N_SAMPLES
        first, second = 0.9 * first + 0.1 * gradient, 0.999 * second + 0.001 * gradient.square()
        weights -= 0.05 * (first / (1 - 0.9**t)) / ((second / (1 - 0.999**t)).sqrt() + 1e-8)
    torch.testing.assert_close(found.weights, weights, rtol=0, atol=1e-10)
    diagonal = (second / (1 - 0.999**50)).sqrt() + 1e-8
    each = []
    for d in diagonal.T:
        values = torch.linalg.eigvalsh(phi.T @ phi / N_SAMPLES / (d[:, None] * d).sqrt())
        each.append((values[-1] / values[0]).item())
    assert found.effective_condition_number == pytest.approx(torch.tensor(each).median().item(), rel=1e-6)
    assert preconditioned_condition_number(phi, torch.ones(12, dtype=torch.float64)) == pytest.approx(
        modes.condition_number
    )


@pytest.mark.parametrize("momentum", [0.0, 0.3, 0.9, 0.999])
def test_the_slowest_factor_is_the_spectral_radius_of_the_companion_matrices(momentum):
    steps = torch.logspace(-4, 0, 9, dtype=torch.float64)
    radii = [
        abs(np.linalg.eigvals(np.array([[1 + momentum - step, -momentum], [1, 0]]))).max() for step in steps.tolist()
    ]
    assert slowest_factor(steps, momentum) == pytest.approx(max(radii), rel=1e-7)


def test_momentum_divides_the_condition_number_and_the_best_one_takes_its_root():
    phi = torch.diag(torch.logspace(0, -3, N_SAMPLES, dtype=torch.float64))
    y, modes = torch.ones(N_SAMPLES, 1, dtype=torch.float64), FeatureModes.of(phi)
    kappa = modes.condition_number
    assert kappa == pytest.approx(1e6)
    found = [GradientDescent(9, momentum=mu)(phi, y, modes, 0 * y) for mu in (0.0, 0.9, (1 - 1e-3) ** 2)]
    plain, some, best = (each.effective_condition_number for each in found)
    assert plain == pytest.approx(kappa, rel=1e-6)
    assert some == pytest.approx(0.1 * kappa, rel=0.01)
    assert best == pytest.approx(1e3, rel=1e-3)


def test_divergence_is_an_error():
    phi, y, modes, init = problem(12)
    with pytest.raises(InvalidInputError, match="diverges"):
        GradientDescent(10, relative_lr=2.5)(phi, y, modes, init)
    with pytest.raises(NumericalError, match="learning rate"):
        StochasticGradientDescent(5000, 1, 30.0)(phi, y, modes, init)


@pytest.mark.parametrize(
    ("procedure", "message"),
    [
        (StochasticGradientDescent(0, 5), "n_iter"),
        (StochasticGradientDescent(5, 0), "batch_size"),
        (StochasticGradientDescent(5, 5, -1.0), "relative_lr"),
        (AdamDescent(5, lr=0.0), "lr"),
    ],
)
def test_bad_options_are_refused(procedure, message):
    phi, y, modes, init = problem(12)
    with pytest.raises(InvalidInputError, match=message):
        procedure(phi, y, modes, init)


@pytest.mark.usefixtures("as_users_run_it")
def test_a_diagonal_must_be_positive_and_fit():
    phi, *_ = problem(12)
    with pytest.raises(InvalidInputError, match="positive"):
        preconditioned_condition_number(phi, torch.zeros(12, dtype=torch.float64))
    with pytest.raises(InvalidInputError, match="one entry a feature"):
        preconditioned_condition_number(phi, torch.ones(3, dtype=torch.float64))
