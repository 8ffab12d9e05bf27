import pytest
import torch
from torch import nn

from assay.core import HessianOperator, InvalidInputError, cross_entropy, mean_loss, seeded, squared_error
from assay.generalization.capacity import minimum_check
from assay.nets import mlp


class Saddle(nn.Module):
    """The loss of which is (a^2 - b^2) / 2 with squared errors of targets zero and one output a sample."""

    def __init__(self, a, b):
        super().__init__()
        self.ab = nn.Parameter(torch.tensor([a, b], dtype=torch.float64))

    def forward(self, x):
        return x[:, :1] * (self.ab[0] ** 2 - self.ab[1] ** 2) / 2


def first_output(outputs, y):
    return outputs[:, 0].mean()


def classifier(dtype=torch.float64):
    source = seeded(0)
    x = torch.randn(30, 5, generator=source, dtype=dtype)
    y = torch.randint(3, (30,), generator=source)
    return mlp((5, 9, 3), generator=source).to(dtype), x, y


@pytest.mark.parametrize("batch_size", [None, 7])
def test_the_figures_are_those_of_autograd_and_the_dense_hessian(batch_size):
    model, x, y = classifier()
    found = minimum_check(model, x, y, loss=cross_entropy, batch_size=batch_size)
    gradients = torch.autograd.grad(cross_entropy(model(x), y), list(model.parameters()))
    norm = torch.cat([gradient.flatten() for gradient in gradients]).norm().item()
    values = torch.linalg.eigvalsh(HessianOperator(model, x, y, cross_entropy).to_dense())
    assert len(values) > 40  # more than are computed densely
    assert found.gradient_norm == pytest.approx(norm, rel=1e-9)
    assert found.loss == pytest.approx(mean_loss(model, x, y, cross_entropy), rel=1e-9)
    assert found.largest_eigenvalue == pytest.approx(values[-1].item(), rel=1e-3)
    assert found.smallest_eigenvalue == pytest.approx(values[0].item(), abs=1e-3 * values[-1].item())
    assert found.is_saddle == bool(values[0] < -1e-3 * values[-1])


def test_a_spectrum_whose_larger_end_is_negative():
    model, x, y = classifier()
    values = torch.linalg.eigvalsh(HessianOperator(model, x, y, cross_entropy).to_dense())
    found = minimum_check(model, x, y, loss=lambda outputs, targets: -cross_entropy(outputs, targets))
    assert found.smallest_eigenvalue == pytest.approx(-values[-1].item(), rel=1e-3)
    assert found.largest_eigenvalue == pytest.approx(-values[0].item(), abs=1e-3 * values[-1].item())
    assert found.is_saddle


def test_a_saddle_and_a_minimum_are_told_apart():
    x, y = torch.ones(2, 1, dtype=torch.float64), torch.zeros(2)
    saddle = minimum_check(Saddle(0.0, 0.0), x, y, loss=first_output)
    assert (saddle.smallest_eigenvalue, saddle.largest_eigenvalue) == pytest.approx((-1, 1))
    assert saddle.gradient_norm == 0
    assert saddle.is_saddle
    assert "a saddle" in str(saddle)
    layer = nn.Linear(2, 1).double()
    assert not minimum_check(layer, torch.eye(2).double(), y.double(), loss=squared_error).is_saddle


def test_the_slope_is_the_relative_decrease_over_the_window():
    model, x, y = classifier()
    history = [9.0] * 90 + [2.0] * 5 + [1.5] * 5
    found = minimum_check(model, x, y, loss=cross_entropy, history=history, eigenvalues=False)
    assert found.loss_slope == pytest.approx(0.25)
    assert found.is_saddle is None
    assert "not looked at" in str(found)
    with pytest.raises(InvalidInputError, match="four steps"):
        minimum_check(model, x, y, loss=cross_entropy, history=[1.0, 2.0])
    with pytest.raises(InvalidInputError, match="NaN"):
        minimum_check(model, x, y, loss=cross_entropy, history=[float("nan")] * 9)


def test_frozen_parameters_are_left_out():
    model, x, y = classifier()
    for parameter in model[0].parameters():
        parameter.requires_grad_(False)
    (weight, bias) = torch.autograd.grad(cross_entropy(model(x), y), list(model[2].parameters()))
    norm = torch.cat([weight.flatten(), bias]).norm().item()
    assert minimum_check(model, x, y, loss=cross_entropy).gradient_norm == pytest.approx(norm)
