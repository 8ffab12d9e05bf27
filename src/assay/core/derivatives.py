"""Derivatives of a user's network by `torch.func`, and by plain autograd where `torch.func` refuses it."""

import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import grad, jvp, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel

from assay.core.errors import AssayError, InvalidInputError
from assay.core.kernel_formulas import KernelFormulas
from assay.core.parameters import first_line

# What the message of a refusal says, and its mend.
_MENDS = {
    "random": "take the random draws out of its forward pass, or hold their values fixed",
    "heckpoint|saved tensor|None of the inputs have requires_grad": (
        "pass use_reentrant=False to torch.utils.checkpoint, or take the checkpoints off"
    ),
    "once_differentiable|not implemented|ouble back": "replace that part by one that torch can differentiate twice",
    "does not require grad": (
        "remove torch.no_grad(), .detach(), .data, rounding and comparisons such as (x > 0).float() from its forward"
    ),
}


class RefusedDerivative(InvalidInputError):
    """A derivative of a network that torch does not compute; the message names the module and the mend."""


def batched(
    function: Callable[..., Any],
    in_dims: int | Sequence[int | None] | None,
    out_dims: int = 0,
    *,
    batch_size: int | None = None,
    alone: Callable[..., Any] | None = None,
) -> Callable[..., Any]:
    """Map a function over an axis of its arguments: `torch.vmap`, or one row after the other where it refuses.

    A loop serves recurrent networks, custom functions without a rule for `vmap`, and networks that read values or write
    into tensors. Both ways give the same answer; random draws, which they would make differently, are refused.

    Args:
        function: Function of tensors and of dictionaries of tensors, with such a result or a tuple of such results.
        in_dims: Axis to map over, for each argument or for all; None passes an argument as it is.
        out_dims: Axis of the results.
        batch_size: Rows mapped at once; all by default.
        alone: The same function in a form for one row that does without `torch.func`; `function` by default.

    Returns:
        The mapped function. It raises `InvalidInputError` if torch refuses a single row too.

    >>> batched(lambda x, w: (x * w).sum(), (0, None))(torch.eye(2), torch.tensor([1.0, 2.0])).tolist()
    [1.0, 2.0]
    """
    dims: Any = tuple(in_dims) if isinstance(in_dims, Sequence) else in_dims
    mapped = vmap(function, dims, out_dims, chunk_size=batch_size)

    def call(*args: Any) -> Any:
        try:
            with _fit_for_vmap(args):
                return mapped(*args)
        except Exception as error:
            _pass_on(error)
            if "called random operation" in str(error):
                with refusals():
                    raise
        return one_by_one(alone or function, dims, out_dims)(*args)

    return call


def one_by_one(
    function: Callable[..., Any], in_dims: int | Sequence[int | None] | None, out_dims: int = 0
) -> Callable[..., Any]:
    """Map a function by a loop over an axis of its arguments, which are those of `batched`.

    >>> one_by_one(lambda x: x.sum(), 0)(torch.eye(2)).tolist()
    [1.0, 1.0]
    """

    def call(*args: Any) -> Any:
        dims = in_dims if isinstance(in_dims, Sequence) else [in_dims] * len(args)
        pairs = list(zip(args, dims, strict=True))
        n = next(_leaves(value)[0].shape[dim] for value, dim in pairs if dim is not None)
        with refusals():
            return _stacked([function(*(_row(value, dim, i) for value, dim in pairs)) for i in range(n)], out_dims)

    return call


def gradient(function: Callable[..., Tensor]) -> Callable[..., Any]:
    """Return the gradient of a scalar function in its first argument: `torch.func.grad`, or plain autograd.

    What the function does not use has gradient zero.

    Args:
        function: Function of a tensor or a dictionary of tensors, and of other arguments.

    Returns:
        A function with the same arguments. It raises `InvalidInputError` if torch refuses both ways.

    >>> gradient(lambda x: x.square().sum())(torch.tensor([1.0, 2.0])).tolist()
    [2.0, 4.0]
    """

    def call(point: Any, *args: Any) -> Any:
        try:
            return grad(function)(point, *args)
        except Exception as error:
            _pass_on(error)
        with refusals(), torch.enable_grad():
            start = _start(point)
            slopes = pull_back([function(start, *args)], _leaves(start), create_graph=True)
        return dict(zip(start, slopes, strict=True)) if isinstance(start, dict) else slopes[0]

    return call


def forward_product(
    function: Callable[..., Tensor], primals: Sequence[Any], tangents: Sequence[Any]
) -> tuple[Tensor, Tensor]:
    r"""Compute $f(x)$ and $J v$: in forward mode, or where it is refused as the derivative of $u \mapsto J^\top u$.

    Args:
        function: Function of tensors or dictionaries of tensors.
        primals: Its arguments $x$.
        tangents: Directions $v$, of the arguments' shapes.

    Raises:
        InvalidInputError: Torch refuses both ways.

    >>> value, slope = forward_product(lambda x: x.square(), (torch.tensor([3.0]),), (torch.tensor([1.0]),))
    >>> value.tolist(), slope.tolist()
    ([9.0], [6.0])
    """
    with plain_attention():
        try:
            value, slope = jvp(function, tuple(primals), tuple(tangents))[:2]
            return value, slope
        except Exception as error:
            _pass_on(error)
        with refusals(), torch.enable_grad():
            starts = [_start(primal) for primal in primals]
            value = function(*starts)
            inputs = [leaf for start in starts for leaf in _leaves(start)]
            slope = push_forward(value, inputs)([leaf for tangent in tangents for leaf in _leaves(tangent)])
    followed = any(leaf.requires_grad for point in (*primals, *tangents) for leaf in _leaves(point))
    return (value, slope) if followed else (value.detach(), slope.detach())


def pull_back(
    outputs: Sequence[Tensor],
    inputs: Sequence[Tensor],
    cotangents: Sequence[Tensor] | None = None,
    *,
    create_graph: bool = False,
) -> list[Tensor]:
    r"""Compute $J^\top u$ on a graph that exists and is kept; zero for an input that the outputs do not use.

    >>> x = torch.ones(2, requires_grad=True)
    >>> pull_back([(3 * x).sum()], [x])[0].tolist()
    [3.0, 3.0]
    """
    weights = [None] * len(outputs) if cotangents is None else cotangents
    used = [(output, weight) for output, weight in zip(outputs, weights, strict=True) if output.requires_grad]
    if not used:
        return [torch.zeros_like(value) for value in inputs]
    _check_no_dead_end([output for output, _ in used])
    found = torch.autograd.grad(
        [output for output, _ in used],
        inputs,
        [weight for _, weight in used],
        retain_graph=True,
        create_graph=create_graph,
        allow_unused=True,
    )
    return [torch.zeros_like(value) if slope is None else slope for value, slope in zip(inputs, found, strict=True)]


def push_forward(outputs: Tensor, inputs: Sequence[Tensor]) -> Callable[[Sequence[Tensor]], Tensor]:
    r"""Return $v \mapsto J v$ on a graph that exists: the derivative of $u \mapsto J^\top u$ along $v$.

    >>> x = torch.ones(2, requires_grad=True)
    >>> push_forward(3 * x, [x])([torch.tensor([1.0, 2.0])]).tolist()
    [3.0, 6.0]
    """
    with torch.enable_grad():
        cotangent = torch.zeros_like(outputs).requires_grad_()
        slopes = pull_back([outputs], inputs, [cotangent], create_graph=True)
    return lambda directions: pull_back(slopes, [cotangent], directions)[0]


def _check_no_dead_end(outputs: Sequence[Tensor]) -> None:
    """Require a graph without nodes that only raise: autograd goes around them, and their share would be missing."""
    nodes: list[Any] = [output.grad_fn for output in outputs]
    seen = set()
    while nodes:
        node = nodes.pop()
        if node is None or node in seen:
            continue
        if node.name() == "torch::autograd::Error":
            raise RuntimeError("a second derivative of a function that is marked with @once_differentiable")
        seen.add(node)
        nodes.extend(following for following, _ in node.next_functions)


@contextmanager
def plain_attention() -> Iterator[None]:
    """Compute attention, and what `KernelFormulas` names, in forms that torch can differentiate forward and twice.

    >>> with plain_attention():
    ...     torch.backends.mha.get_fastpath_enabled()
    False
    """
    fast = torch.backends.mha.get_fastpath_enabled()
    try:
        torch.backends.mha.set_fastpath_enabled(False)
        with sdpa_kernel(SDPBackend.MATH), KernelFormulas():
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)


@contextmanager
def refusals() -> Iterator[None]:
    """Turn what torch raises on a derivative into one sentence that names the module and the mend.

    >>> with refusals():  # doctest: +IGNORE_EXCEPTION_DETAIL
    ...     raise RuntimeError("derivative for op is not implemented")
    Traceback (most recent call last):
    RefusedDerivative: torch cannot differentiate the network (derivative for op is not implemented); replace ...
    """
    try:
        # A checkpoint of the reentrant kind loses the gradient of its weights where its input has none.
        with warnings.catch_warnings():
            warnings.filterwarnings("error", message="None of the inputs have requires_grad")
            yield
    except Exception as error:
        _pass_on(error)
        if isinstance(error, RefusedDerivative):
            raise
        reason = first_line(error)
        mends = (mend for pattern, mend in _MENDS.items() if re.search(pattern, reason))
        mend = next(mends, "replace that part by standard torch operations")
        raise RefusedDerivative(f"torch cannot differentiate {_place(error)} ({reason}); {mend}") from error


def _pass_on(error: Exception) -> None:
    """Raise again what is no refusal of torch: a full memory, and bad input that was named already."""
    full = isinstance(error, (torch.OutOfMemoryError, MemoryError)) or "allocate memory" in str(error)
    if full or (isinstance(error, AssayError) and not isinstance(error, RefusedDerivative)):
        raise error


def _place(error: Exception) -> str:
    """Return the innermost module whose code raised an error."""
    place, trace = "the network", error.__traceback__
    while trace is not None:
        module = trace.tb_frame.f_locals.get("self")
        if isinstance(module, nn.Module):
            place = f"the module {type(module).__name__} of the network"
        trace = trace.tb_next
    return place


@contextmanager
def _fit_for_vmap(args: Sequence[Any]) -> Iterator[None]:
    followed = any(leaf.requires_grad for value in args for leaf in _leaves(value))
    with warnings.catch_warnings(), KernelFormulas(mapped=True) if followed else nullcontext():
        # Torch's own loop over an operation without a batching rule is as good as ours.
        warnings.filterwarnings("ignore", message="There is a performance drop")
        yield


def _start(point: Any) -> Any:
    """Return a tensor or dictionary at which a graph starts; it goes on to the point's own graph, if there is one."""
    if isinstance(point, dict):
        return {name: _start(value) for name, value in point.items()}
    return point.view_as(point) if point.requires_grad else point.detach().requires_grad_()


def _leaves(point: Any) -> list[Tensor]:
    return list(point.values()) if isinstance(point, dict) else [point]


def _row(value: Any, dim: int | None, row: int) -> Any:
    if dim is None:
        return value
    if isinstance(value, dict):
        return {name: _row(part, dim, row) for name, part in value.items()}
    return value.select(dim, row)


def _stacked(rows: Sequence[Any], dim: int) -> Any:
    first = rows[0]
    if isinstance(first, dict):
        return {name: _stacked([row[name] for row in rows], dim) for name in first}
    if isinstance(first, (tuple, list)):
        return type(first)(_stacked(parts, dim) for parts in zip(*rows, strict=True))
    return torch.stack(list(rows), dim) if len(rows) > 1 else first.unsqueeze(dim)
