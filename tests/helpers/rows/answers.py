"""Answers as named tensors, and comparisons of answers and of everything that a method must leave alone."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from numbers import Integral, Real
from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator
from torch import Tensor, nn

Answer = dict[str, Tensor]


@torch.inference_mode(False)  # what is made here is the battery's own
def named_tensors(value: Any, like: Tensor, name: str = "answer") -> Answer:
    """Return all figures in a result by name: tensors as they are, numbers in the type and on the device of `like`.

    Beside integers, such as tokens, numbers are in float64.

    Dataclasses are read by field, mappings by key, sequences by place, modules by their state, fitted estimators by
    their attributes that end in an underscore. Strings, functions and None hold no figure.
    """
    like = like if like.is_floating_point() else like.double()
    if isinstance(value, Tensor):
        return {name: value}
    if isinstance(value, np.ndarray):
        return {name: torch.from_numpy(value.copy()).to(like.device)}
    if isinstance(value, Integral):
        return {name: torch.tensor(int(value), device=like.device)}
    if isinstance(value, Real):
        return {name: like.new_tensor(float(value))}
    if isinstance(value, (list, tuple)) and value and all(isinstance(part, float) for part in value):
        return {name: like.new_tensor(value)}
    joined: Answer = {}
    for part, inner in _parts(value).items():
        joined |= named_tensors(inner, like, f"{name}.{part}")
    return joined


def _parts(value: Any) -> dict[str, Any]:
    if isinstance(value, nn.Module):
        return dict(value.state_dict())
    if isinstance(value, BaseEstimator):
        return {key: inner for key, inner in vars(value).items() if key.endswith("_") and not key.startswith("_")}
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): inner for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return {str(place): inner for place, inner in enumerate(value)}
    return {}


def assert_near(answer: Answer, expected: Answer, tolerance: float, *, noise: float = 0.0) -> None:
    """Compare each figure, relative to the largest finite entry of what is expected; infinities must agree.

    Figures whose entries are all below `noise` times the largest of all figures count as its rounding errors: they are
    compared relative to that.
    """
    assert answer.keys() == expected.keys()
    sizes = [_size(value) for value in expected.values()]
    for (key, value), size in zip(expected.items(), sizes, strict=True):
        value, found = value.detach().double().cpu(), answer[key].detach().double().cpu()
        scale = max(size, noise * max(sizes))
        close = {"rtol": 0, "atol": tolerance * (scale or 1.0), "equal_nan": True}
        torch.testing.assert_close(found, value, **close, msg=lambda text, key=key: f"{key}: {text}")


def _size(value: Tensor) -> float:
    finite = value.detach().double()[value.isfinite()].abs()
    return float(finite.max()) if finite.numel() else 1.0


def assert_same(before: Any, after: Any, what: str = "state") -> None:
    """Compare nested states entry by entry, tensors bit by bit."""
    if isinstance(before, Tensor):
        assert after.dtype == before.dtype, what
        assert torch.equal(after, before), what
    elif isinstance(before, dict):
        assert after.keys() == before.keys(), what
        for key, value in before.items():
            assert_same(value, after[key], str(key))
    elif isinstance(before, (list, tuple)):
        assert len(after) == len(before), what
        for one, other in zip(before, after, strict=True):
            assert_same(one, other, what)
    else:
        assert after == before, what


def state(model: nn.Module, *inputs: Tensor) -> dict[str, Any]:
    """Copy everything that a method must leave alone."""
    return {
        "inputs": [(value.clone(), value.requires_grad, value.grad if value.is_leaf else None) for value in inputs],
        "parameters": [value.detach().clone() for value in model.parameters()],
        "identities": [id(value) for value in model.parameters()],
        "requires_grad": [value.requires_grad for value in model.parameters()],
        "gradients": [None if value.grad is None else value.grad.clone() for value in model.parameters()],
        "buffers": [value.clone() for value in model.buffers()],
        "modes": [module.training for module in model.modules()],
        "attributes": [sorted(vars(module)) for module in model.modules()],
        **global_state(),
    }


def global_state() -> dict[str, Any]:
    """Copy the settings and the random state that all code shares."""
    return {
        # Python's own `random` is left out: beartype draws from it while the tests run.
        "random": (torch.get_rng_state(), [str(part) for part in np.random.get_state()]),  # noqa: NPY002
        "settings": (torch.is_grad_enabled(), torch.get_default_dtype(), torch.get_num_threads()),
    }
