"""Inspection of a model for problems that make measurements invalid."""

from collections.abc import Collection, Iterator
from typing import get_args

import torch
from torch import Tensor, nn

from assay.core.errors import InvalidInputError
from assay.core.parameters import preserved, unwrapped
from assay.core.problems import Kind, Problem, unusable_weights
from assay.core.purity import look_at
from assay.core.recording import random_state_kept

_DROPOUT = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout)
_BATCH_NORM = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)


def inspect_model(
    model: nn.Module, x: Tensor | None = None, *, input_range: tuple[float, float] | None = None
) -> list[Problem]:
    """List all problems of a model and of a batch of inputs; neither is changed.

    Args:
        model: Network to inspect.
        x: Batch of inputs; without it, only the modules and their weights are inspected.
        input_range: Smallest and largest value an input may take.

    Returns:
        The problems; empty if there are none.

    >>> [problem.kind for problem in inspect_model(nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.5)))]
    ['dropout']
    """
    network = unwrapped(model)
    problems = [*unusable_weights(network), *_modes(network), *_in_place(network), *_tied(network)]
    if x is not None:
        problems += [*_input_type(network, x), *_input_range(x, input_range)]
        if not any(problem.kind in ("weights", "type") for problem in problems):
            problems += [*look_at(model, x).problems, *_reused(network, x)]
    return problems


def require_inspected(
    model: nn.Module,
    x: Tensor | None = None,
    *,
    input_range: tuple[float, float] | None = None,
    kinds: Collection[Kind] = get_args(Kind),
) -> None:
    """Require a model without problems of the given kinds.

    Args:
        model: Network to inspect.
        x: Batch of inputs.
        input_range: Smallest and largest value an input may take.
        kinds: Kinds of problem to check; all by default.

    Raises:
        InvalidInputError: There are problems; the message lists all of them.

    >>> require_inspected(nn.Linear(2, 1))
    """
    problems = [p for p in inspect_model(model, x, input_range=input_range) if p.kind in kinds]
    if problems:
        raise InvalidInputError("the model cannot be measured as it is: " + " | ".join(map(str, problems)))


def _modes(model: nn.Module) -> Iterator[Problem]:
    for name, module in model.named_modules():
        if not module.training:
            continue
        if isinstance(module, _DROPOUT) and module.p > 0:
            yield Problem("dropout", name, "dropout is on (training mode)", "call model.eval() first")
        if isinstance(module, _BATCH_NORM):
            yield Problem("batch-norm", name, "batch-norm mixes samples (training mode)", "call model.eval() first")


def _in_place(model: nn.Module) -> Iterator[Problem]:
    for name, module in model.named_modules():
        if getattr(module, "inplace", False):
            yield Problem("in-place", name, "overwrites its input", "rebuild it with inplace=False")


def _tied(model: nn.Module) -> Iterator[Problem]:
    seen: dict[int, str] = {}
    for name, value in model.named_parameters(remove_duplicate=False):
        first = seen.setdefault(id(value), name)
        if first != name:
            yield Problem("tied", name, f"is the same tensor as {first}", "give each layer its own weights")


def _input_type(model: nn.Module, x: Tensor) -> Iterator[Problem]:
    weights = [value for value in model.parameters() if value.is_floating_point()]
    if not weights or not x.is_floating_point():
        return
    first = next((value for value in weights if value.dtype == x.dtype and value.device == x.device), weights[0])
    if first.dtype != x.dtype or first.device != x.device:
        yield Problem(
            "type",
            "inputs",
            f"are {x.dtype} on {x.device}, the weights {first.dtype} on {first.device}",
            "move them with x.to(weight)",
        )


def _input_range(x: Tensor, input_range: tuple[float, float] | None) -> Iterator[Problem]:
    low, high = float(x.min()), float(x.max())
    if input_range is not None and (low < input_range[0] or high > input_range[1]):
        yield Problem(
            "range",
            "inputs",
            f"span [{low:g}, {high:g}], outside the stated range [{input_range[0]:g}, {input_range[1]:g}]",
            "put normalisation inside the model and pass raw inputs, or state the range that holds",
        )


def _reused(model: nn.Module, x: Tensor) -> list[Problem]:
    calls = dict.fromkeys((name for name, module in model.named_modules() if not list(module.children())), 0)

    def count(name: str) -> None:
        calls[name] += 1

    handles = [model.get_submodule(name).register_forward_pre_hook(lambda *_, name=name: count(name)) for name in calls]
    try:
        with preserved(model), torch.no_grad(), random_state_kept(x.device):
            model(x[:3])
    except Exception:  # what the network does not accept is named by the look
        return []
    finally:
        for handle in handles:
            handle.remove()
    return [
        Problem("reused", name, f"is called {n} times in one forward pass", "use a separate module for each call")
        for name, n in calls.items()
        if n > 1
    ]
