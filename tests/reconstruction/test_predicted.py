import pytest
import torch
from torch import nn

from assay.core import (
    InvalidInputError,
    binary_cross_entropy,
    cross_entropy,
    flatten,
    named_parameters,
    output_jacobian,
    signs,
    squared_error,
)
from assay.reconstruction import oracle_multipliers, predicted_multipliers, train_to_stationarity

DECAY = 1e-2


def huber(outputs, targets):
    return nn.functional.huber_loss(outputs.squeeze(1), targets, delta=0.5)


def problem(n=14, d=8, seed=0):
    """Centred samples with alternating labels."""
    x = torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return x - x.mean(0), torch.arange(n) % 2


def smooth(*widths, seed=0):
    generator = torch.Generator().manual_seed(seed)
    model = nn.Sequential(nn.Linear(*widths[:2]), nn.Softplus(), nn.Linear(*widths[1:])).double()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=widths[0] ** -0.5, generator=generator)
    return model


def explained(model, x, multipliers):
    """Sum the samples' gradients, weighted: the right-hand side of the claim."""
    return torch.einsum("ncp,nc->p", output_jacobian(model, x), multipliers.reshape(len(x), -1))


def relative_residual(model, x, multipliers):
    weights = flatten(named_parameters(model))
    return float((weights - explained(model, x, multipliers)).norm() / weights.norm())


# --- The formula ----------------------------------------------------------------------------------------------------


def test_closed_forms():
    x, y = problem()
    model, targets = smooth(8, 5, 1), y.double()
    outputs, n = model(x).squeeze(1).detach(), len(x)
    miss = targets - outputs
    sign = signs(y)
    cases = {
        squared_error: (targets, 2 * miss),
        huber: (targets, miss.clamp(-0.5, 0.5)),
        binary_cross_entropy: (y, sign * torch.sigmoid(-sign * outputs)),
    }
    for loss, (target, expected) in cases.items():
        found = predicted_multipliers(model, x, target, loss=loss, weight_decay=DECAY)
        torch.testing.assert_close(found, expected / (DECAY * n))


def test_cross_entropy_gives_every_output_its_own_multiplier():
    x, _ = problem()
    y = torch.arange(14) % 3
    model = smooth(8, 5, 3)
    found = predicted_multipliers(model, x, y, loss=cross_entropy, weight_decay=DECAY)
    probabilities = model(x).softmax(1).detach()
    torch.testing.assert_close(found, (nn.functional.one_hot(y, 3) - probabilities) / (DECAY * 14))


def test_ridge_regression_is_the_sum_of_its_samples():
    x, y = problem()
    model = nn.Linear(8, 1, bias=False).double()
    normal = 2 / 14 * x.T @ x + DECAY * torch.eye(8, dtype=torch.float64)
    solution = torch.linalg.solve(normal, 2 / 14 * x.T @ y.double())
    model.load_state_dict({"weight": solution[None]})
    found = predicted_multipliers(model, x, y, loss=squared_error, weight_decay=DECAY)
    assert relative_residual(model, x, found) < 1e-12


# --- At the end of training ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", [squared_error, huber, binary_cross_entropy])
def test_a_smooth_network_is_the_sum_of_its_samples_gradients(loss):
    x, y = problem()
    targets = y if loss is binary_cross_entropy else signs(y).double()
    model = smooth(8, 20, 1)
    report = train_to_stationarity(model, x, targets, loss=loss, weight_decay=DECAY)
    assert report.gradient_norm < 1e-8
    found = predicted_multipliers(model, x, targets, loss=loss, weight_decay=DECAY)
    assert relative_residual(model, x, found) < 1e-6
    # The same multipliers come out of the weights alone, by least squares on the samples' gradients.
    gradients = output_jacobian(model, x).squeeze(1)
    fitted = torch.linalg.lstsq(gradients.T, flatten(named_parameters(model))[:, None]).solution.squeeze(1)
    assert torch.corrcoef(torch.stack([found, fitted]))[0, 1] > 0.99
    if loss is binary_cross_entropy:  # never negative along the label's sign, as non-negative least squares finds
        nonnegative, _ = oracle_multipliers(model, x, y)
        assert torch.corrcoef(torch.stack([signs(y) * found, nonnegative]))[0, 1] > 0.99
        assert (signs(y) * found > 0).all()


def test_several_outputs():
    x, _ = problem()
    y = torch.arange(14) % 3
    model = smooth(8, 12, 3)
    train_to_stationarity(model, x, y, loss=cross_entropy, weight_decay=DECAY)
    found = predicted_multipliers(model, x, y, loss=cross_entropy, weight_decay=DECAY)
    assert relative_residual(model, x, found) < 1e-6
    # One multiplier for the sum of all outputs, the tempting mistake, explains next to nothing.
    assert relative_residual(model, x, found.sum(1, keepdim=True).expand(-1, 3)) > 0.9


def test_a_head_on_embeddings():
    x, y = problem(n=20, d=64)
    model = smooth(64, 100, 1)
    report = train_to_stationarity(model, x, y, loss=binary_cross_entropy, weight_decay=1e-3)
    assert report.gradient_norm < 1e-8
    found = predicted_multipliers(model, x, y, loss=binary_cross_entropy, weight_decay=1e-3)
    assert relative_residual(model, x, found) < 1e-6


def test_bad_input():
    x, y = problem()
    with pytest.raises(InvalidInputError, match="weight_decay"):
        predicted_multipliers(smooth(8, 5, 1), x, y, loss=squared_error, weight_decay=0.0)
    with pytest.raises(InvalidInputError, match="one target for each"):
        predicted_multipliers(smooth(8, 5, 1), x, y[1:], loss=squared_error, weight_decay=DECAY)
