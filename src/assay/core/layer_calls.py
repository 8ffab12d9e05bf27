"""Recorder of the layer operations in which a network uses its parameters."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias, no_type_check

import torch.nn.functional as F
from torch import Tensor
from torch.autograd.graph import GradientEdge, get_gradient_edge
from torch.overrides import TorchFunctionMode

from assay.core.parameters import Parameters

Role: TypeAlias = Literal["weight", "bias"]

_CONVOLUTION = ("input", "weight", "bias", "stride", "padding", "dilation", "groups")

# The arguments of each operation in order: functions of torch that are built in have no signature to read.
OPERATIONS: dict[Any, tuple[str, ...]] = {
    F.linear: ("input", "weight", "bias"),
    F.conv1d: _CONVOLUTION,
    F.conv2d: _CONVOLUTION,
    F.embedding: ("input", "weight", "padding_idx", "max_norm", "norm_type", "scale_grad_by_freq", "sparse"),
    F.layer_norm: ("input", "normalized_shape", "weight", "bias", "eps"),
    F.rms_norm: ("input", "normalized_shape", "weight", "eps"),
    F.group_norm: ("input", "num_groups", "weight", "bias", "eps"),
    F.batch_norm: ("input", "running_mean", "running_var", "weight", "bias", "training", "momentum", "eps"),
    F.instance_norm: (
        *("input", "running_mean", "running_var", "weight", "bias"),
        *("use_input_stats", "momentum", "eps"),
    ),
}


@dataclass(frozen=True, eq=False)
class LayerCall:
    """One call of an operation: its arguments by name, its output's shape, and that output's place in the graph.

    The place is where the output was made: what later writes into the output does not move it.
    """

    operation: Any
    arguments: Mapping[str, Any]
    shape: tuple[int, ...]
    edge: GradientEdge | None


@dataclass(eq=False)
class LayerCalls(TorchFunctionMode):
    """Record the calls in which parameters are weight or bias of a known operation, and all that have another use.

    Attributes:
        own: The parameters.
        uses: Calls by name of the parameter, with its role.
        others: Names of parameters that something else has read.
    """

    own: Parameters
    uses: dict[str, list[tuple[LayerCall, Role]]] = field(default_factory=dict)
    others: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        super().__init__()
        self.names = {id(value): name for name, value in self.own.items()}

    @no_type_check  # called for every function of torch: the tests' checks would take several times its own time
    def __torch_function__(
        self, func: Callable[..., Any], types: Iterable[type], args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        """Call a function of torch, and record which parameters it reads and what it is."""
        result = func(*args, **(kwargs or {}))
        read = [self.names[id(value)] for value in _tensors((args, kwargs)) if id(value) in self.names]
        if read:
            self._record(func, dict(zip(OPERATIONS.get(func, ()), args, strict=False)) | (kwargs or {}), read, result)
        return result

    def _record(self, func: Any, arguments: dict[str, Any], read: list[str], result: Any) -> None:
        slots: dict[Role, Any] = {"weight": arguments.get("weight"), "bias": arguments.get("bias")}
        roles: dict[str, Role] = {
            self.names[id(value)]: role for role, value in slots.items() if id(value) in self.names
        }
        if func not in OPERATIONS or sorted(roles) != sorted(read):
            if any(value.requires_grad for value in _tensors(result)):
                self.others.update(read)
            return
        edge = get_gradient_edge(result) if result.requires_grad else None
        call = LayerCall(func, arguments, tuple(result.shape), edge)
        for name, role in roles.items():
            self.uses.setdefault(name, []).append((call, role))


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (list, tuple)):
        for part in value:
            yield from _tensors(part)
    elif isinstance(value, dict):
        yield from _tensors(list(value.values()))
