"""Formulas in place of torch's kernels that have a wrong second derivative, or none."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, no_type_check

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode


class KernelFormulas(TorchFunctionMode):
    """Compute by formulas what torch 2.13 differentiates wrongly, or not at all, a second time.

    The second derivative of the kernel of `weight_norm` is wrong, that of `hardsigmoid` is missing. And the batching
    rules of the normalisations' backward passes take mean and variance for constants: autograd through
    `vmap(grad(...))`, as in an attack on gradients, then misses their share without a word.

    Args:
        mapped: Whether autograd follows derivatives inside `torch.vmap`; the normalisations are then replaced too.

    >>> x = torch.tensor([[1.0, 3.0]])
    >>> with KernelFormulas(mapped=True):
    ...     F.layer_norm(x, (2,), eps=0.0).tolist()
    [[-1.0, 1.0]]
    """

    def __init__(self, *, mapped: bool = False) -> None:
        super().__init__()
        self.formulas: Mapping[Any, Callable[..., Tensor | None]] = _WRONG | _WRONG_MAPPED if mapped else _WRONG

    @no_type_check  # called for every function of torch: the tests' checks would take several times its own time
    def __torch_function__(
        self, func: Callable[..., Any], types: Iterable[type], args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        """Compute a function by its formula; one that has no formula for these arguments as torch does."""
        formula = self.formulas.get(func)
        result = formula(*args, **(kwargs or {})) if formula else None
        return func(*args, **(kwargs or {})) if result is None else result


def _weight_norm(v: Tensor, g: Tensor, dim: int = 0) -> Tensor:
    others = tuple(axis for axis in range(v.ndim) if dim == -1 or axis != dim)
    return v * (g / torch.linalg.vector_norm(v, dim=others, keepdim=True))


def _hardsigmoid(input: Tensor, inplace: bool = False) -> Tensor:
    return F.relu6(input + 3) / 6


def _layer_norm(
    x: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
    cudnn_enable: bool = True,
) -> Tensor:
    dims = tuple(range(-len(normalized_shape), 0))
    return _affine(_standardised(x, dims, eps), weight, bias)


def _instance_norm(
    input: Tensor,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor | None:
    if not use_input_stats:
        return None
    spread = tuple(range(2, input.ndim))
    return _affine(_standardised(input, spread, eps), *_channels(input, weight, bias))


def _batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor | None:
    if not training:
        return None
    spread = (0, *range(2, input.ndim))
    return _affine(_standardised(input, spread, eps), *_channels(input, weight, bias))


def _standardised(x: Tensor, dims: tuple[int, ...], eps: float) -> Tensor:
    wide = x.to(torch.promote_types(x.dtype, torch.float32))  # the kernels too sum in float32
    centred = wide - wide.mean(dims, keepdim=True)
    return (centred * (centred.square().mean(dims, keepdim=True) + eps).rsqrt()).to(x.dtype)


def _channels(x: Tensor, *values: Tensor | None) -> list[Tensor | None]:
    shape = (1, -1, *(1,) * (x.ndim - 2))
    return [None if value is None else value.reshape(shape) for value in values]


def _affine(x: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    scaled = x if weight is None else x * weight
    return scaled if bias is None else scaled + bias


_WRONG: dict[Any, Callable[..., Tensor | None]] = {
    vars(torch)["_weight_norm"]: _weight_norm,  # it has no public name
    F.hardsigmoid: _hardsigmoid,
}
_WRONG_MAPPED: dict[Any, Callable[..., Tensor | None]] = {
    F.layer_norm: _layer_norm,
    torch.layer_norm: _layer_norm,
    F.instance_norm: _instance_norm,
    F.batch_norm: _batch_norm,
}
