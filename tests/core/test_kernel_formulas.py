"""Formulas give what torch's kernels give, with their first derivatives."""

from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from assay.core import seeded
from assay.core.kernel_formulas import KernelFormulas


def draw(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=seeded(sum(shape)), dtype=torch.float64)


WEIGHT, BIAS = draw(3), draw(3)
STATISTICS = {"running_mean": draw(3), "running_var": draw(3).square() + 0.5}

CALLS = {
    "layer": lambda x: F.layer_norm(x, (4, 5), draw(4, 5), draw(4, 5)),
    "layer without bias": lambda x: torch.layer_norm(x, (5,), draw(5)),
    "layer without weight": lambda x: F.layer_norm(x, (3, 4, 5), eps=0.1),
    "instance": lambda x: F.instance_norm(x, weight=WEIGHT, bias=BIAS),
    "instance without weight": lambda x: F.instance_norm(x, eps=0.1),
    "instance, own statistics": lambda x: F.instance_norm(x, **STATISTICS, use_input_stats=False),
    "batch in training": lambda x: F.batch_norm(x, None, None, WEIGHT, BIAS, training=True),
    "batch, own statistics": lambda x: F.batch_norm(x, **STATISTICS, weight=WEIGHT, bias=BIAS),
    "hardsigmoid": lambda x: F.hardsigmoid(4 * x),
    "Hardsigmoid in place": lambda x: nn.Hardsigmoid(inplace=True)(4 * x),
}


@pytest.mark.parametrize("name", CALLS)
def test_values_and_slopes_are_those_of_the_kernels(name: str) -> None:
    x = draw(2, 3, 4, 5).requires_grad_()
    expected = CALLS[name](x)
    with KernelFormulas(mapped=True):
        found = CALLS[name](x)
    torch.testing.assert_close(found, expected)
    u = draw(*expected.shape)
    torch.testing.assert_close(torch.autograd.grad(found, x, u), torch.autograd.grad(expected, x, u))


@pytest.mark.parametrize("dim", [0, 1, 2, -1, None])
def test_weight_norm_is_taken_along_any_axis(dim: int | None) -> None:
    layer = nn.Conv1d(3, 2, 4).double()
    layer.weight.data = draw(2, 3, 4)
    normed = nn.utils.parametrizations.weight_norm(layer, dim=dim)
    x, values = draw(1, 3, 6), list(normed.parameters())
    expected = normed(x)
    with KernelFormulas():
        found = normed(x)
    torch.testing.assert_close(found, expected)
    slopes = partial(torch.autograd.grad, inputs=values, grad_outputs=torch.ones_like(found))
    torch.testing.assert_close(slopes(found), slopes(expected))


def test_half_precision_is_summed_in_float32() -> None:
    x = 100 + draw(2, 512).to(torch.bfloat16)
    with KernelFormulas(mapped=True):
        found = F.layer_norm(x, (512,))
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found, F.layer_norm(x, (512,)), rtol=0, atol=0.02)
