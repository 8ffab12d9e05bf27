import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from assay.core import (
    InvalidInputError,
    cross_entropy,
    isolated_rng,
    output_jacobian,
    parameter_gradients,
    per_sample_gradient_norms,
    per_sample_gradients,
    seeded,
    squared_error,
)


def looped_gradients(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    rows = []
    for i in range(len(x)):
        value = cross_entropy(model(x[i : i + 1]), y[i : i + 1])
        pieces = torch.autograd.grad(value, list(model.parameters()))
        rows.append(torch.cat([piece.flatten() for piece in pieces]))
    return torch.stack(rows)


@given(n=st.integers(1, 9), batch_size=st.integers(1, 10), width=st.integers(1, 5))
@settings(max_examples=20)
def test_equal_a_loop_of_backward_passes(n: int, batch_size: int, width: int) -> None:
    with isolated_rng(width):
        model = nn.Sequential(nn.Linear(3, width), nn.ReLU(), nn.Linear(width, 4)).double()
    x = torch.randn(n, 3, dtype=torch.float64, generator=seeded(n))
    y = torch.arange(n) % 4
    expected = looped_gradients(model, x, y)
    actual = per_sample_gradients(model, x, y, cross_entropy, batch_size=batch_size)
    norms = per_sample_gradient_norms(model, x, y, cross_entropy, batch_size=batch_size)
    torch.testing.assert_close(actual, expected)
    torch.testing.assert_close(norms, expected.norm(dim=1))


@pytest.mark.parametrize("per_sample", [True, False])
def test_parameter_gradients_are_those_of_autograd_and_differentiable_in_the_inputs(per_sample: bool) -> None:
    with isolated_rng(0):
        model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Dropout(0.5), nn.Linear(4, 2)).double()
    x, y = torch.randn(4, 3, dtype=torch.float64, generator=seeded(0)), torch.arange(4) % 2
    rows = looped_gradients(model.eval(), x, y)
    model.train()
    actual = parameter_gradients(model, x, y, cross_entropy, per_sample=per_sample)
    torch.testing.assert_close(actual, rows if per_sample else rows.mean(0))
    assert all(module.training for module in model.modules())
    x.requires_grad_()
    assert torch.autograd.gradcheck(
        lambda samples: parameter_gradients(model, samples, y, cross_entropy, per_sample=per_sample), x
    )
    for n, message in ((0, "non-empty batch"), (3, "one target for each of the 3 samples")):
        with pytest.raises(InvalidInputError, match=message):
            parameter_gradients(model, x[:n], y, cross_entropy)


def test_jacobian_of_a_linear_layer_is_its_input() -> None:
    with isolated_rng(0):
        layer = nn.Linear(3, 2).double()
    x = torch.randn(5, 3, dtype=torch.float64, generator=seeded(0))
    jacobian = output_jacobian(layer, x, batch_size=2)
    expected = torch.zeros(5, 2, 8, dtype=torch.float64)
    for c in range(2):
        expected[:, c, 3 * c : 3 * c + 3] = x
        expected[:, c, 6 + c] = 1
    torch.testing.assert_close(jacobian, expected)


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (torch.zeros(0, 2), torch.zeros(0), "non-empty"),
        (torch.zeros(2, 2), torch.zeros(3), "one target for each of the 2 samples"),
        (torch.full((2, 2), float("nan")), torch.zeros(2), "NaN or infinite"),
    ],
)
def test_bad_input_is_named(x: Tensor, y: Tensor, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        per_sample_gradients(nn.Linear(2, 1), x, y, squared_error)
