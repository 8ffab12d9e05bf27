"""Modules of TorchScript, as networks whose weights can be differentiated, replaced and trained."""

import copy
from functools import reduce
from typing import Any

import torch
from torch import Tensor, nn

from assay.core import InvalidInputError


class ScriptedNetwork(nn.Module):
    """A module of TorchScript as a plain network: the same function, of parameters and buffers with the same names.

    A module of TorchScript takes neither hooks nor other weights for one call, as derivatives for single samples need
    them. This one hands it whatever stands for its weights at each call, and takes it back afterwards.

    Args:
        script: The module, as `torch.jit.load`, `torch.jit.script` and `torch.jit.trace` return it, in evaluation mode.

    Raises:
        InvalidInputError: It is in training mode, or holds no weights.
    """

    def __init__(self, script: torch.jit.ScriptModule) -> None:
        super().__init__()
        if any(getattr(module, "training", False) for module in script.modules()):
            raise InvalidInputError("the module of TorchScript is in training mode; call model.eval() first")
        weights = _shared(dict(script.named_parameters(remove_duplicate=False)))
        if not weights:
            raise InvalidInputError(
                "the module of TorchScript holds no weights, as after torch.jit.freeze; give it as before freezing"
            )
        self._script = [script]  # in a list, which keeps it from becoming a child of this module
        self._usual: dict[str, Tensor] = weights | dict(script.named_buffers(remove_duplicate=False))
        for name, value in self._usual.items():
            place, _, last = name.rpartition(".")
            holder = self._holder(place)
            if isinstance(value, nn.Parameter):
                holder.register_parameter(last, value)
            else:
                holder.register_buffer(last, value)
            _put(script, name, value)  # else a loaded module would hold another object than this one
        for module in self.modules():
            module.training = False

    def _holder(self, place: str) -> nn.Module:
        """Return the empty module at a place, made on first use."""
        module: nn.Module = self
        for name in filter(None, place.split(".")):
            if name not in dict(module.named_children()):
                module.add_module(name, nn.Module())
            module = module.get_submodule(name)
        return module

    def forward(self, x: Tensor) -> Any:
        """Return what the module of TorchScript returns."""
        (script,) = self._script
        now = _tensors(self)
        others = [name for name, value in self._usual.items() if now[name] is not value]
        try:
            for name in others:
                _put(script, name, now[name])
            # One operation after the other, as autograd records them: it would compile derivatives of its own.
            with torch.jit.optimized_execution(False):  # pyright: ignore[reportPrivateImportUsage]
                return script(x)
        finally:
            for name in others:
                _put(script, name, self._usual[name])

    def extra_repr(self) -> str:
        """Return the name of the class that was scripted."""
        return self._script[0].original_name

    def __deepcopy__(self, memo: dict[int, Any]) -> "ScriptedNetwork":
        twin, own = ScriptedNetwork(copy.deepcopy(self._script[0])), _tensors(self)
        for name, value in _tensors(twin).items():
            value.data = own[name].detach().clone()
            value.requires_grad_(own[name].requires_grad)
        memo[id(self)] = twin
        return twin


def _tensors(module: nn.Module) -> dict[str, Tensor]:
    return dict(module.named_parameters(remove_duplicate=False)) | dict(module.named_buffers(remove_duplicate=False))


def _shared(weights: dict[str, Tensor]) -> dict[str, nn.Parameter]:
    """Return one parameter for each tensor: of a loaded module, tied weights are several tensors."""
    first: dict[tuple[int, torch.Size], nn.Parameter] = {}
    for value in weights.values():
        own = value if isinstance(value, nn.Parameter) else nn.Parameter(value, requires_grad=value.requires_grad)
        first.setdefault((value.data_ptr(), value.shape), own)
    return {name: first[value.data_ptr(), value.shape] for name, value in weights.items()}


def _put(script: nn.Module, name: str, value: Tensor) -> None:
    *places, last = name.split(".")
    setattr(reduce(getattr, places, script), last, value)  # get_submodule is refused there
