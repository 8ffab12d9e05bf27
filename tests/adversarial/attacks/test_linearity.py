import math

import pytest
import torch
from torch import nn

from assay.adversarial import almost_linearity
from assay.adversarial.attacks import LinearityCurve, expected_gradient_change
from assay.core import InvalidInputError, NumericalError, seeded
from helpers.adversarial_networks import linear, points, random_linear, random_mlp


def test_a_linear_model_is_linear():
    source = seeded(0)
    model, x, direction = random_linear(6, 4, source), points(5, 6, source), points(5, 6, source)
    pairs = torch.tensor([[1, 0], [2, 3], [0, 1], [3, 2], [1, 2]])
    curve = almost_linearity(model, x, direction, torch.tensor([0.5, 10.0], dtype=torch.float64), pairs)
    assert curve.gradient_change.max() == 0
    assert curve.logit_error.max() < 1e-12


def test_both_measures_against_one_sample_at_a_time():
    source = seeded(1)
    model, x, direction = random_mlp([6, 16, 4], source), points(5, 6, source), points(5, 6, source)
    pairs = torch.tensor([[1, 0], [2, 3], [0, 1], [3, 2], [1, 2]])
    radii = torch.tensor([0.3, 1.5], dtype=torch.float64)
    curve = almost_linearity(model, x, direction, radii, pairs)
    for row, (k, y) in enumerate(pairs.tolist()):

        def gap(point, k=k, y=y):
            return model(point[None])[0, k] - model(point[None])[0, y]

        gradient = torch.func.grad(gap)(x[row])
        for column, radius in enumerate(radii):
            moved = x[row] + radius * direction[row]
            change = (torch.func.grad(gap)(moved) - gradient).norm() / gradient.norm()
            error = abs(gap(moved) - gap(x[row]) - radius * gradient @ direction[row])
            torch.testing.assert_close(curve.gradient_change[row, column], change)
            torch.testing.assert_close(curve.logit_error[row, column], error.detach())
    assert curve.gradient_change.max() > 0.1, "the test must see a change"


@pytest.mark.parametrize("n_features", [400, 1600])
@pytest.mark.parametrize("radius", [1.0, 5.0])
def test_random_two_layer_networks_follow_the_formula(n_features, radius):
    source = seeded(2)
    width = 4000
    hidden = torch.randn(width, n_features, generator=source, dtype=torch.float64) / n_features**0.5
    signs = torch.randint(2, (width,), generator=source) * 2.0 - 1
    output = torch.stack([torch.zeros(width), signs / width**0.5]).double()
    model = nn.Sequential(linear(hidden), nn.ReLU(), linear(output))
    x = points(10, n_features, source)
    x = x / x.norm(dim=1, keepdim=True) * n_features**0.5
    direction = points(10, n_features, source)
    direction = direction / direction.norm(dim=1, keepdim=True)
    pairs = torch.tensor([[1, 0]] * 10)
    curve = almost_linearity(model, x, direction, torch.tensor([radius], dtype=torch.float64), pairs)
    assert curve.gradient_change.mean().item() == pytest.approx(expected_gradient_change(radius, n_features), rel=0.1)


def test_the_summary_and_the_picture():
    curve = LinearityCurve(torch.tensor([1.0, 2.0]), torch.tensor([[0.1, 0.25]] * 3), torch.tensor([[0.0, 1.0]] * 3))
    assert "25.0%" in str(curve)
    axes = curve.plot()
    assert axes.lines[0].get_ydata().tolist() == pytest.approx([0.1, 0.25])
    assert curve.plot(axes) is axes
    axes.figure.clear()


@pytest.mark.usefixtures("as_users_run_it")
def test_bad_input_is_refused():
    model, x = random_linear(3, 2, seeded(3)), points(2, 3, seeded(3))
    pairs, radii = torch.tensor([[1, 0], [0, 1]]), torch.ones(1, dtype=torch.float64)
    with pytest.raises(InvalidInputError, match="direction must have the shape"):
        almost_linearity(model, x, x[:, :2], radii, pairs)
    with pytest.raises(InvalidInputError, match="class_pair"):
        almost_linearity(model, x, x, radii, pairs + torch.tensor([5, 0]))
    with pytest.raises(NumericalError, match="vanishes at 2 samples"):
        almost_linearity(model, x, x, radii, torch.tensor([[0, 0], [1, 1]]))
    assert math.isfinite(expected_gradient_change(0.0, 10))
