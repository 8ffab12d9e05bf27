"""The way back from torch.func: the loop and the double reverse give what forward mode and vmap would."""

import pytest
import torch
from torch import Tensor, nn
from torch.func import grad, jvp

from assay.core import InvalidInputError, batched, gradient, plain_attention, seeded
from assay.core.derivatives import forward_product
from helpers.hard_networks import OldCube


def reads_a_value(x: Tensor) -> Tensor:
    return x**3 if x.sum() > -1e9 else x


def writes_in_place(x: Tensor) -> Tensor:
    out = torch.zeros(2, dtype=x.dtype)
    out += x**3
    return out


@pytest.fixture
def x() -> Tensor:
    return torch.randn(4, 2, dtype=torch.float64, generator=seeded(0))


@pytest.mark.parametrize("cube", [lambda x: x**3, OldCube.apply, reads_a_value, writes_in_place])
def test_every_way_has_the_derivatives_of_the_cube(cube, x) -> None:
    torch.testing.assert_close(batched(cube, 0)(x), x**3)
    torch.testing.assert_close(batched(cube, 1, 1, batch_size=3)(x.T), x.T**3)
    slope = gradient(lambda v: cube(v).sum())
    torch.testing.assert_close(slope(x[0]), 3 * x[0] ** 2)
    torch.testing.assert_close(batched(slope, 0)(x), 3 * x**2)
    second = gradient(lambda v, w: gradient(lambda u: cube(u).sum())(v) @ w)
    torch.testing.assert_close(second(x[0], x[1]), 6 * x[0] * x[1])
    torch.testing.assert_close(batched(second, (0, None))(x, x[1]), 6 * x * x[1])
    value, tangent = forward_product(cube, (x[0],), (x[1],))
    torch.testing.assert_close((value, tangent), (x[0] ** 3, 3 * x[0] ** 2 * x[1]))
    assert not value.requires_grad
    assert not tangent.requires_grad


def test_dictionaries_and_tuples_pass_through_the_loop(x) -> None:
    def both(params: dict[str, Tensor], scale: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        assert not torch._C._functorch.is_batchedtensor(scale)
        return params["a"].sum() * scale.sum(), {"b": params["a"] + params["c"]}

    total, parts = batched(both, (0, None))({"a": x, "c": 2 * x}, torch.ones(2))
    torch.testing.assert_close(total, 2 * x.sum(1))
    torch.testing.assert_close(parts["b"], 3 * x)


def test_what_a_function_does_not_use_has_derivative_zero(x) -> None:
    found = gradient(lambda params: OldCube.apply(params["used"]).sum())({"used": x[0], "unused": x[1]})
    torch.testing.assert_close(found["unused"], torch.zeros_like(x[1]))
    constant = forward_product(lambda u, v: OldCube.apply(u), (x[0], x[1]), (0 * x[0], x[1]))[1]
    torch.testing.assert_close(constant, torch.zeros_like(x[0]))


def test_a_gradient_stays_differentiable_where_its_point_is(x) -> None:
    point = x[0].clone().requires_grad_()
    assert torch.autograd.gradcheck(gradient(lambda v: OldCube.apply(v).sum()), point)


def test_a_loop_never_draws_what_vmap_would_not(x) -> None:
    with pytest.raises(InvalidInputError, match="random draws"):
        batched(lambda v: v + torch.randn(2), 0)(x)


class Marked(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, slope):
        return slope


class Once(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        if x.shape[-1] == 3:
            raise RuntimeError("three columns")
        return Marked.apply(x)


def test_what_torch_refuses_both_ways_is_one_sentence_with_module_and_mend(x) -> None:
    with pytest.raises(
        InvalidInputError, match=r"cannot differentiate the network \(.*once_differentiable.*\); replace"
    ):
        gradient(lambda v: gradient(lambda u: Once()(u).square().sum())(v).square().sum())(x[0])
    with pytest.raises(InvalidInputError, match=r"the module Once of the network \(three columns\)"):
        batched(Once(), 0)(torch.ones(2, 3))


def test_a_full_memory_and_bad_input_are_never_hidden(x) -> None:
    def full(v: Tensor) -> Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory")

    def bad(v: Tensor) -> Tensor:
        raise InvalidInputError("labels from 0 to 9")

    for call in (batched(full, 0), gradient(full), lambda v: forward_product(full, (v,), (v,))):
        with pytest.raises(torch.OutOfMemoryError):
            call(x)
    for call in (batched(bad, 0), gradient(bad), lambda v: forward_product(bad, (v,), (v,))):
        with pytest.raises(InvalidInputError, match=r"^labels from 0 to 9$"):
            call(x)


def test_attention_has_all_derivatives_inside_plain_attention(x) -> None:
    q = torch.randn(1, 2, 5, 4, generator=seeded(1))

    def attend(v: Tensor) -> Tensor:
        return nn.functional.scaled_dot_product_attention(v, v, v, is_causal=True).square().sum()

    with plain_attention():
        second = grad(lambda v: (grad(attend)(v) * q).sum())(q)
        slope = jvp(attend, (q,), (q,))[1]
    torch.testing.assert_close(slope, (grad(attend)(q) * q).sum())
    step = 1e-2
    with plain_attention():
        differences = (grad(attend)(q + step * q) - grad(attend)(q - step * q)) / (2 * step)
    torch.testing.assert_close(second, differences, rtol=1e-2, atol=1e-2)
    assert torch.backends.mha.get_fastpath_enabled()
    torch.testing.assert_close(batched(attend, 0)(q[:, None]), attend(q)[None])
