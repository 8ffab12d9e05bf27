"""Effect of an intervention on the weights between units of two layers (Ahmad et al., 2023)."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from assay.attribution.causal_paths.chain import dense_weight, unit_axis, weighted_layer
from assay.core import (
    InvalidInputError,
    as_generator,
    check_count,
    check_finite,
    check_samples,
    check_scores,
    preserved,
    track,
    unwrapped,
    watch_layers,
)

Value = float | tuple[float, float]
"""A weight set by hand, or the ends of the interval from which it is drawn."""

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


@dataclass(frozen=True, eq=False)
class PathEffect:
    r"""Effect of one intervention for each cause j on the class logit of each sample i.

    Attributes:
        total: Total effect $Y_{ji} - y_i$, in logits.
        relative: $(Y_{ji} - y_i) / |y_i|$; zero where nothing changes, and large where the logit is near zero.
        divergence: $\mathrm{KL}(P_{ji} \Vert P_i)$ of the class probabilities, in nats.
        observed: Logit without intervention $y_i$.
    """

    total: Float[Tensor, "j n"]
    relative: Float[Tensor, "j n"]
    divergence: Float[Tensor, "j n"]
    observed: Float[Tensor, " n"]


def path_intervention_effect(
    model: nn.Module,
    layer: str,
    causes: Sequence[int],
    effects: Sequence[int],
    x: Shaped[Tensor, "n *d"],
    target: int,
    *,
    value: Value = 0.0,
    columns: int = 1,
    cut: bool = False,
    batch_size: int = 2000,
    generator: torch.Generator | None = None,
    progress: bool = False,
) -> PathEffect:
    r"""Compute the effect of $do(W_{ej} := u \text{ for all } e \in E)$ on a class logit, one cause j at a time.

    Only the edges from j to the effects are set; other units of the layer still read j. The layer is linear in its
    weight, so that its new output is the old one plus $(u - W_{ej}) * a_j$: no weight is written, and many
    interventions run as one batch.

    Args:
        model: Network; it comes back as it was.
        layer: Name of a dense or convolution layer.
        causes: Units that the layer reads, one intervention each; channels of a convolution.
        effects: Units that the layer gives.
        x: Samples.
        target: Class.
        value: Weight u in place of all these weights; two ends draw each of them uniformly in between.
        columns: Columns of a dense weight that a unit owns: the pixels of a channel that was flattened.
        cut: Whether the layer's output alone decides the logits, for any number of rows: the part below then runs once.
        batch_size: Pairs of a sample and an intervention that run at once.
        generator: Source of drawn weights; a fixed seed by default.
        progress: Draw a bar on standard error.

    Returns:
        Effects on all samples.

    Raises:
        InvalidInputError: The model or the samples are unusable, or there is no such layer, unit or class.
        NumericalError: The logits of an intervention are NaN or infinite.

    Cost: as many forward passes as pairs of a cause and a sample, of the part above the layer where it is a cut;
    memory that of `batch_size` passes, and O(causes n).

    Source: Ahmad et al., "Causal Analysis for Robust Interpretability of Neural Networks" (2023), abstract; the formula
    is derived here. Deviation: the relative effect is over the absolute value of the logit, which keeps its sign.

    >>> model = nn.Linear(2, 2, bias=False)
    >>> _ = model.weight.data.copy_(torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
    >>> model = nn.Sequential(model)
    >>> path_intervention_effect(model, "0", [0, 1], [1], torch.ones(1, 2), target=1).total.tolist()
    [[-3.0], [-4.0]]
    """
    x = check_samples(x, tokens=True)
    n_classes = check_scores(model, x).shape[1]
    for name, count in (("batch_size", batch_size), ("columns", columns)):
        check_count(count, name)
    if isinstance(target, bool) or not isinstance(target, int) or not 0 <= target < n_classes:
        raise InvalidInputError(f"target must be a class from 0 to {n_classes - 1}, got {target!r}")
    module = weighted_layer(model, layer)
    with preserved(model), torch.no_grad():
        change = _weight_change(module, causes, effects, columns, value, as_generator(generator))
        parts = [
            _effects_on(model, layer, batch, change, list(causes), list(effects), target, cut, batch_size)
            for batch in track(x.split(batch_size), "intervening", enabled=progress)
        ]
    total, divergence, observed = (torch.cat(part, -1) for part in zip(*parts, strict=True))
    check_finite(total, "the effect of an intervention")
    floor = torch.finfo(observed.dtype).tiny
    return PathEffect(total, total / observed.abs().clamp_min(floor), divergence, observed)


def _weight_change(
    module: nn.Module,
    causes: Sequence[int],
    effects: Sequence[int],
    columns: int,
    value: Value,
    generator: torch.Generator,
) -> Float[Tensor, "e j *k"]:
    """Return what the intervention adds to the weights between effects and causes; a unit's columns are axis 2."""
    low, high = value if isinstance(value, tuple) else (value, value)
    if not (math.isfinite(low) and math.isfinite(high) and low <= high):
        raise InvalidInputError(f"value must be a finite weight or the two ends of an interval, got {value!r}")
    weight, exists = dense_weight(module)
    if isinstance(module, nn.Linear):
        if weight.shape[1] % columns:
            raise InvalidInputError(f"{weight.shape[1]} columns of the layer cannot be {columns} for each unit")
        weight = weight.unflatten(1, (-1, columns))
    elif columns != 1:
        raise InvalidInputError(f"columns={columns} is for dense layers that read flattened channels; leave it out")
    for what, units, size in (("causes", causes, weight.shape[1]), ("effects", effects, len(weight))):
        if len(units) == 0 or len(set(units)) < len(units) or not all(0 <= unit < size for unit in units):
            raise InvalidInputError(f"{what} must be different units from 0 to {size - 1}, got {list(units)[:8]}")
    chosen = weight[list(effects)][:, list(causes)]
    if isinstance(value, tuple):
        drawn = torch.rand(chosen.shape, generator=generator, device=generator.device, dtype=torch.float64)
        change = (low + (high - low) * drawn).to(chosen) - chosen
    else:
        change = low - chosen
    if exists is not None:
        there = exists[list(effects)][:, list(causes)]
        change = change * there.reshape(*there.shape, *(1 for _ in change.shape[2:]))
    return change


def _effects_on(
    model: nn.Module,
    layer: str,
    x: Tensor,
    change: Tensor,
    causes: list[int],
    effects: list[int],
    target: int,
    cut: bool,
    batch_size: int,
) -> tuple[Tensor, Tensor, Tensor]:
    model = unwrapped(model)  # compiled code calls no hooks
    module = weighted_layer(model, layer)
    with watch_layers(model, [layer]) as watch:
        observed = _rows(model(x), len(x))
        read, given = watch.inputs[layer], watch.outputs[layer]
    before = observed.double().log_softmax(1)  # small divergences are differences of numbers near each other
    total, divergence = [], []
    n_together = max(1, batch_size // len(x))
    for part, chosen in zip(change.split(n_together, 1), _split(causes, n_together), strict=True):
        output = _changed_output(module, read, given, part, chosen, effects)
        rows = x[:1] if cut else x.repeat(len(chosen), *(1 for _ in x.shape[1:]))
        with watch_layers(model, (), replace={layer: lambda _, output=output: output}):
            after = _rows(model(rows), len(output)).unflatten(0, (len(chosen), len(x)))
        total.append(after[..., target] - observed[:, target])
        after = after.double().log_softmax(2)
        divergence.append((after.exp() * (after - before)).sum(2).clamp_min(0).to(observed))
    return torch.cat(total), torch.cat(divergence), observed[:, target]


def _split(units: list[int], size: int) -> Iterator[list[int]]:
    for start in range(0, len(units), size):
        yield units[start : start + size]


def _rows(outputs: Tensor, n: int) -> Tensor:
    return outputs.reshape(n, -1)


def _changed_output(
    module: nn.Module, read: Tensor, given: Tensor, change: Tensor, causes: list[int], effects: list[int]
) -> Float[Tensor, "jn *h"]:
    """Return the layer's output under each intervention, one block of rows each."""
    if isinstance(module, nn.Linear):
        activation = read.unflatten(-1, (-1, change.shape[2]))[..., causes, :]
        added = torch.einsum("n...jk,ejk->jn...e", activation, change)
    else:
        added = channel_responses(module, read[:, causes], change).transpose(0, 1)
    axis = unit_axis(module)
    axis = axis if axis < 0 else axis + 1
    output = given.expand(len(causes), *given.shape).clone()
    index = torch.tensor(effects, device=given.device)
    return output.index_add_(axis, index, added.to(output)).flatten(0, 1)


def channel_responses(
    module: nn.Module, activation: Float[Tensor, "n j *s"], kernels: Float[Tensor, "e j *k"]
) -> Float[Tensor, "n j e *t"]:
    """Convolve each channel with its own kernels, with the strides and the padding of a convolution layer."""
    kind: Callable[..., nn.Module] = next(kind for kind in _CONVOLUTIONS if isinstance(module, kind))
    n_effects, n_causes = kernels.shape[:2]
    options = {name: getattr(module, name) for name in ("kernel_size", "stride", "padding", "dilation", "padding_mode")}
    apart = kind(n_causes, n_causes * n_effects, groups=n_causes, bias=False, device="meta", **options)
    weights = kernels.transpose(0, 1).flatten(0, 1)[:, None]
    found = torch.func.functional_call(apart, {"weight": weights}, (activation,))
    return found.unflatten(1, (n_causes, n_effects))
