"""Record of a forward pass: the functions that draw random numbers or take the batch's statistics, and their module."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from assay.core.parameters import unwrapped


class Recorder(TorchFunctionMode):
    """Record within the block.

    Attributes:
        draws: Functions that advanced a global generator, each with the module that called it.
        batch_statistics: Modules that called batch-norm with the batch's own statistics.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.draws: list[tuple[str, str]] = []
        self.batch_statistics: list[str] = []
        self._network = unwrapped(model)
        self._names = ["the network"]
        self._states: tuple[object, ...] = ()
        self._handles: list[Any] = []

    def __enter__(self) -> "Recorder":
        for name, module in self._network.named_modules():
            if name:
                self._handles.append(module.register_forward_pre_hook(lambda *_, name=name: self._names.append(name)))
                self._handles.append(module.register_forward_hook(lambda *_: self._leave()))
        self._states = random_states()
        return super().__enter__()

    def _leave(self) -> None:
        self._names.pop()

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        for handle in self._handles:
            handle.remove()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Call the function and record it."""
        self._note_draws("random or numpy.random")
        value = func(*args, **(kwargs or {}))
        name = getattr(func, "__name__", str(func))
        self._note_draws(name)
        if name == "batch_norm" and (kwargs or {}).get("training"):
            self.batch_statistics.append(self._names[-1])
        return value

    def _note_draws(self, name: str) -> None:
        states = random_states()
        if states != self._states:
            self.draws.append((name, self._names[-1]))
        self._states = states


def random_states() -> tuple[object, ...]:
    """Return the states of the global generators of torch, NumPy and Python, to be compared.

    >>> before = random_states()
    >>> _ = torch.rand(1)
    >>> random_states() == before
    False
    """
    devices = [torch.cuda.get_rng_state()] if torch.cuda.is_initialized() else []
    states = [bytes(state.numpy()) for state in (torch.get_rng_state(), *devices)]
    numpy = np.random.get_state(legacy=False)["state"]  # noqa: NPY002
    return *states, bytes(numpy["key"]), numpy["pos"], random.getstate()


@contextmanager
def random_state_kept(device: torch.device) -> Iterator[None]:
    """Leave the global generators of torch, NumPy and Python as they were.

    >>> before = torch.get_rng_state()
    >>> with random_state_kept(torch.device("cpu")):
    ...     _ = torch.rand(1)
    >>> torch.equal(before, torch.get_rng_state())
    True
    """
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002
    try:
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002


@contextmanager
def global_seed(seed: int) -> Iterator[None]:
    """Seed the global generators of torch, NumPy and Python inside the block, and leave them as they were.

    For code of others that draws from any of them.

    >>> with global_seed(0):
    ...     first = np.random.rand(), random.random()
    >>> with global_seed(0):
    ...     first == (np.random.rand(), random.random())
    True
    """
    with random_state_kept(torch.device("cuda" if torch.cuda.is_initialized() else "cpu")):
        torch.manual_seed(seed)
        np.random.seed(seed % 2**32)  # noqa: NPY002
        random.seed(seed)
        yield
