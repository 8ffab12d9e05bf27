"""Starts drawn from a seed, as a script draws them: by a factory, or by the initialisers of the layers."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

from assay.core import InvalidInputError, Parameters, copy_network, named_parameters, unwrapped

Skip: TypeAlias = int | Callable[[], object]
Fill: TypeAlias = Callable[[Tensor], object]

LAYERS = (
    nn.Linear,
    nn.Conv1d,
    nn.Conv2d,
    nn.Conv3d,
    nn.ConvTranspose1d,
    nn.ConvTranspose2d,
    nn.ConvTranspose3d,
)
"""Layers whose weights scripts initialise by name."""

STREAMS: dict[str, Fill] = {"uniform": partial(nn.init.uniform_, a=-1.0), "normal": nn.init.normal_}
"""Numbers that initialisers are made of: those of one stream correlate whatever their scale."""

INITIALIZERS: dict[str, tuple[str, Fill]] = {
    "kaiming_uniform": ("uniform", nn.init.kaiming_uniform_),
    "kaiming_uniform_fan_out": ("uniform", partial(nn.init.kaiming_uniform_, mode="fan_out")),
    "xavier_uniform": ("uniform", nn.init.xavier_uniform_),
    "kaiming_normal": ("normal", nn.init.kaiming_normal_),
    "kaiming_normal_fan_out": ("normal", partial(nn.init.kaiming_normal_, mode="fan_out")),
    "xavier_normal": ("normal", nn.init.xavier_normal_),
    "normal_0.01": ("normal", partial(nn.init.normal_, std=0.01)),
    "normal_0.02": ("normal", partial(nn.init.normal_, std=0.02)),
    "orthogonal": ("normal", nn.init.orthogonal_),
}
"""Initialisers by name, each with its stream; orthogonal matrices correlate with the normal ones they are made of."""


@dataclass(frozen=True, eq=False)
class StartDraw(ABC):
    """A way to draw a network's start from a seed.

    Attributes:
        skip: Numbers drawn before the network, or a function that is called before it.
        device: Device of the generator.
        dtype: Default type while the network is built.
        initializer: "build", "default", or the name of the initialiser or stream that draws the weights again.
    """

    skip: Skip
    device: str
    dtype: torch.dtype
    initializer: str

    @abstractmethod
    def network(self, seed: int, until: str | None = None) -> nn.Module:
        """Return the network that a seed starts; layers after the parameter `until` need not be drawn."""

    @abstractmethod
    def compared(self, drawn: list[str]) -> list[str]:
        """Return those tensors, of all that vary with the seed, whose draws tell this initialiser from others."""

    @contextmanager
    def _seeded(self, seed: int) -> Iterator[None]:
        before = torch.get_default_dtype()
        try:
            torch.set_default_dtype(self.dtype)
            torch.manual_seed(seed)
            np.random.seed(seed % 2**32)  # noqa: NPY002 (a user's factory may draw from it)
            with torch.device(self.device) if self.device != "cpu" else nullcontext():
                if callable(self.skip):
                    self.skip()
                elif self.skip:
                    torch.rand(self.skip)
                yield
        finally:
            torch.set_default_dtype(before)


@dataclass(frozen=True, eq=False)
class BuiltStart(StartDraw):
    """A start that the user's own factory draws."""

    build: Callable[[], nn.Module]

    def network(self, seed: int, until: str | None = None) -> nn.Module:
        """Call the factory."""
        with self._seeded(seed):
            try:
                network = self.build()
            except Exception as error:
                reason = (str(error).strip().splitlines() or [""])[0][:200].rstrip(".")
                raise InvalidInputError(
                    f"build raised {type(error).__name__} ({reason}); pass a function without arguments that returns "
                    "the network as it was before training"
                ) from error
        if not isinstance(network, nn.Module):
            raise InvalidInputError(
                f"build must return a torch.nn.Module, got {type(network).__name__}; pass a function without arguments "
                "that returns the network as it was before training"
            )
        return unwrapped(network)

    def compared(self, drawn: list[str]) -> list[str]:
        """Return all of them."""
        return drawn


@dataclass(frozen=True, eq=False)
class LayerStart(StartDraw):
    """A start that each layer's `reset_parameters` draws, in the order of the modules; weights are then drawn again.

    Attributes:
        model: Network whose layers are drawn.
        fill: The initialiser or stream that draws the weights again; None by default.
    """

    model: nn.Module
    fill: Fill | None = None
    _twin: nn.Module = field(init=False, repr=False)

    def __post_init__(self) -> None:
        twin, copies = copy_network(self.model), {}
        for module in twin.modules():
            for name, value in list(module.named_parameters(recurse=False)):
                if value.is_floating_point() and id(value) not in copies:
                    # NaN shows what no layer draws.
                    empty = torch.full(value.shape, math.nan, dtype=self.dtype, device=self.device)
                    copies[id(value)] = nn.Parameter(empty, requires_grad=False)
                if id(value) in copies:
                    setattr(module, name, copies[id(value)])
            for name, value in list(module.named_buffers(recurse=False)):
                setattr(module, name, value.to(self.device))
        object.__setattr__(self, "_twin", twin)

    def compared(self, drawn: list[str]) -> list[str]:
        """Return the weights that are drawn again, or all tensors by default."""
        filled = {f"{name}.weight".removeprefix(".") for name, layer in self._twin.named_modules() if _is_layer(layer)}
        return drawn if self.fill is None else [name for name in drawn if name in filled]

    def network(self, seed: int, until: str | None = None) -> nn.Module:
        """Draw the layers into the same network at each call."""
        last = None if until is None else self._twin.get_parameter(until)
        with self._seeded(seed), torch.no_grad():
            _reset(self._twin, None if self.fill is not None else last)
            if self.fill is not None:
                for name, layer in self._twin.named_modules():
                    if _is_layer(layer):
                        weight = self._twin.get_parameter(f"{name}.weight".removeprefix("."))
                        self.fill(weight)
                        if weight is last:
                            break
        if until is None:
            _require_drawn(self._twin)
        return self._twin


def _is_layer(module: nn.Module) -> bool:
    return isinstance(module, LAYERS)


def _reset(network: nn.Module, last: Tensor | None) -> None:
    """Draw the layers by their own rule, up to the one that holds `last`; shared weights keep what came first."""
    seen: set[int] = set()
    for module in network.modules():
        own = [value for value in module.parameters(recurse=False) if value.is_floating_point()]
        reset = getattr(module, "reset_parameters", None)
        if not own or not callable(reset) or is_parametrized(module):  # which draws other weights than it holds
            continue
        kept = [(value, value.clone()) for value in own if id(value) in seen]
        reset()
        for value, before in kept:
            value.copy_(before)
        seen.update(map(id, own))
        if any(value is last for value in own):
            return


def _require_drawn(network: nn.Module) -> None:
    left = [name for name, value in named_parameters(network).items() if bool(value.isnan().any())]
    if left:
        raise InvalidInputError(
            f"no layer's reset_parameters draws {', '.join(left[:4])}; pass build, a function that returns the network "
            "as it was before training"
        )


def drawn_tensors(start: StartDraw, model: Parameters, seed: int) -> list[str]:
    """Return the names of the parameters that vary with the seed, in the order of the network.

    Raises:
        InvalidInputError: The start is that of another architecture, or does not depend on the seed alone.
    """
    found = named_parameters(start.network(seed))
    _require_same(model, found)
    first = {name: value.clone() for name, value in found.items()}
    again = named_parameters(start.network(seed))
    if any(not torch.equal(value, again[name]) for name, value in first.items()):
        raise InvalidInputError(
            "build gives other weights at a second call under the same seed; let it draw from the global generators of "
            "torch and NumPy only, and from nothing that another call has changed"
        )
    other = named_parameters(start.network(seed + 1))
    drawn = [name for name, value in first.items() if not torch.equal(value, other[name])]
    if not drawn:
        raise InvalidInputError(
            "the start does not vary with the seed: nothing in the network is drawn from torch's global generator; let "
            "build set no seed of its own, and where the start is known, use InitialState.from_checkpoint"
        )
    return drawn


def _require_same(model: Parameters, found: Parameters) -> None:
    lacking = [name for name in model if name not in found]
    unknown = [name for name in found if name not in model]
    shapes = [
        f"{name} is {tuple(found[name].shape)} in place of {tuple(value.shape)}"
        for name, value in model.items()
        if name in found and found[name].shape != value.shape
    ]
    if lacking or unknown or shapes:
        parts = [f"lacks {', '.join(lacking[:3])}"] * bool(lacking) + [f"has {', '.join(unknown[:3])}"] * bool(unknown)
        raise InvalidInputError(
            f"build returns another architecture than the model ({', '.join([*parts, *shapes[:3]])}); pass the "
            "function that built this model"
        )


def layer_stages(
    model: nn.Module, names: Sequence[str], ways: Sequence[dict[str, Any]]
) -> tuple[int, list[Iterator[StartDraw]]]:
    """Return the ways to draw the layers, first by default, then by the streams of the named initialisers.

    Returns:
        The number of draws for each of the ways, and the stages, whose networks are built when they come up.
    """
    streams = list(dict.fromkeys(INITIALIZERS[name][0] for name in names if name != "default"))
    default = ["default"] * ("default" in names)

    def draws(kinds: list[str]) -> Iterator[StartDraw]:
        for kind in kinds:
            for way in ways:
                yield LayerStart(model=model, initializer=kind, fill=STREAMS.get(kind), **way)

    return len(default) + len(streams), [draws(default), draws(streams)]
