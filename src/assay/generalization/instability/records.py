"""Record of one step of training: sizes of logits, activations, gradients and updates (Wortsman et al., 2023)."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Adam, Optimizer


@dataclass(frozen=True)
class StabilityRecord:
    r"""What a `StabilityMonitor` measured at one step.

    Attributes:
        step: Optimiser steps, or forward passes where no optimiser is watched, before this one.
        max_logits: Largest $|z|$ of the attention logits on a few rows, by attention layer; masked ones are left out.
        entropies: Mean entropy of attention, $-\sum_j a_j \log a_j$, by attention layer.
        output_rms: Root mean square of the output, by block.
        gradient_rms: Root mean square of the gradient as the optimiser receives it, by parameter.
        update_rms: Root mean square of Adam's $\hat m / (\sqrt{\hat v} + \epsilon)$, by parameter; empty for other
            optimisers.
        parameter_rms: Root mean square after the step, by parameter.
        log_z: Mean $\log Z$ of the network's output over its last axis; None where the output is no tensor.
        lowest_output: Smallest entry of the output.
    """

    step: int
    max_logits: Mapping[str, float] = field(default_factory=dict)
    entropies: Mapping[str, float] = field(default_factory=dict)
    output_rms: Mapping[str, float] = field(default_factory=dict)
    gradient_rms: Mapping[str, float] = field(default_factory=dict)
    update_rms: Mapping[str, float] = field(default_factory=dict)
    parameter_rms: Mapping[str, float] = field(default_factory=dict)
    log_z: float | None = None
    lowest_output: float | None = None

    def __str__(self) -> str:
        parts = [f"Step {self.step}"]
        if self.max_logits:
            name = _largest(self.max_logits)
            parts.append(f"largest attention logit {self.max_logits[name]:.3g} ({name or 'the model'})")
        else:
            parts.append("no attention layer was seen")
        if self.log_z is not None:
            parts.append(f"mean log Z of the output {self.log_z:.3g}")
        for label, found in (("gradient", self.gradient_rms), ("update", self.update_rms)):
            if found:
                name = min(found, key=lambda each: found[each])
                parts.append(f"smallest {label} RMS {found[name]:.3g} ({name})")
        return "; ".join(parts) + "."


def average_records(records: Sequence[StabilityRecord]) -> StabilityRecord:
    """Return the mean of each figure; the step is that of the last record.

    Figures that some of the records lack are averaged over the others.
    """
    means: dict[str, Any] = {"step": records[-1].step}
    for one in fields(StabilityRecord)[1:]:
        values = [getattr(record, one.name) for record in records]
        if isinstance(values[-1], Mapping):
            names = dict.fromkeys(name for value in values for name in value)
            means[one.name] = {name: _mean([value[name] for value in values if name in value]) for name in names}
        else:
            known = [value for value in values if value is not None]
            means[one.name] = _mean(known) if known else None
    return StabilityRecord(**means)


@torch.no_grad()
def rms(values: Mapping[str, Tensor]) -> dict[str, float]:
    """Return the root mean square of each tensor, also where squares would underflow."""
    if not values:
        return {}
    # One transfer for all: each by itself would wait for the device.
    found = torch.stack([_rms(value) for value in values.values()]).tolist()
    return dict(zip(values, found, strict=True))


@torch.no_grad()
def adam_updates(optimizer: Optimizer, names: Mapping[int, str]) -> dict[str, Tensor]:
    r"""Return $\hat m / (\sqrt{\hat v} + \epsilon)$ of each parameter from the state of Adam and its subclasses.

    Args:
        optimizer: Any optimiser; the result is empty for one that is not Adam.
        names: Parameters' names by `id`.
    """
    found: dict[str, Tensor] = {}
    for group in optimizer.param_groups if isinstance(optimizer, Adam) else ():
        beta1, beta2 = group["betas"]
        for parameter in group["params"]:
            state = optimizer.state.get(parameter, {})
            if id(parameter) in names and "exp_avg" in state:
                step = float(state["step"])
                second = state["max_exp_avg_sq"] if group["amsgrad"] else state["exp_avg_sq"]
                root = (second / (1 - beta2**step)).sqrt()
                found[names[id(parameter)]] = state["exp_avg"] / (1 - beta1**step) / (root + group["eps"])
    return found


def find_blocks(model: nn.Module) -> dict[str, nn.Module]:
    """Return the members of the outermost `nn.ModuleList`s and `nn.Sequential`s, by name."""
    if isinstance(model, (nn.ModuleList, nn.Sequential)):
        return dict(model.named_children())
    found: dict[str, nn.Module] = {}
    for name, child in model.named_children():
        found |= {f"{name}.{inner}": module for inner, module in find_blocks(child).items()}
    return found


def first_tensor(output: Any) -> Tensor | None:
    """Return the tensor of an output: itself, its logits, or the first of its entries."""
    if isinstance(output, Tensor):
        return output if output.is_floating_point() and output.numel() else None
    logits = getattr(output, "logits", None)
    if isinstance(logits, Tensor):
        return logits
    entries = output.values() if isinstance(output, Mapping) else output
    if isinstance(entries, (list, tuple)) or isinstance(output, Mapping):
        return next((found for entry in entries if (found := first_tensor(entry)) is not None), None)
    return None


def merged(values: Mapping[str, Sequence[float]], how: Callable[[Sequence[float]], float]) -> dict[str, float]:
    """Return one figure for each list of figures."""
    return {name: how(found) for name, found in values.items()}


def highest(values: Sequence[float]) -> float:
    """Return the largest value, NaN where one is."""
    return math.nan if any(math.isnan(value) for value in values) else max(values)


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values) if all(map(math.isfinite, values)) else sum(values) / len(values)


def _largest(values: Mapping[str, float]) -> str:
    return max(values, key=lambda name: math.inf if math.isnan(values[name]) else values[name])


def _rms(value: Tensor) -> Tensor:
    value = value.to_dense() if value.is_sparse else value
    value = value.detach().to(torch.promote_types(value.dtype, torch.float32))
    peak = value.abs().amax().clamp_min(torch.finfo(value.dtype).tiny)
    return ((value / peak).square().mean().sqrt() * peak).double()
