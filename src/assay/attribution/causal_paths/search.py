"""Search for the causal graph of a class, from the output down (Ahmad et al., 2023)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor, nn

from assay.attribution.causal_paths.chain import LayerChain, dense_weight, layer_chain, weighted_layer
from assay.attribution.causal_paths.effects import PathEffect, Value, path_intervention_effect
from assay.attribution.causal_paths.graph import INPUT, CausalGraph
from assay.attribution.causal_paths.selection import CauseSelection, Correction, Sign, Test, select_causes
from assay.core import InvalidInputError, as_generator, check_count, check_samples, check_scores, predict, track


@torch.inference_mode(False)
def find_causal_graph(
    model: nn.Module,
    x: Shaped[Tensor, "n *d"],
    target: int,
    *,
    layers: Sequence[str] | None = None,
    n_samples: int = 100,
    alpha: float = 0.05,
    value: Value = 0.0,
    test: Test = "welch",
    sign: Sign = "positive",
    correction: Correction = "none",
    inputs: bool = False,
    most_tested: int | None = None,
    batch_size: int = 2000,
    generator: torch.Generator | None = None,
    progress: bool = False,
) -> CausalGraph:
    r"""Find the units of each layer whose edges to the units already found carry the logit of a class.

    From the last layer down: with E the chosen units of a layer, at first the class alone, each unit j below is tried
    by $do(W_{ej} := u \text{ for all } e \in E)$ on samples of the class, and chosen where the logit falls
    (`select_causes`). An intervention sets edges, not the unit: what else reads it still does.

    Args:
        model: Network; it comes back as it was. Its dense and convolution layers must form a chain, unless `layers`
            names one. Batch norms and other layers with one weight a unit are left as they are.
        x: Samples of the class; those that the network classifies otherwise are left out.
        target: Class.
        layers: Names of layers, in the order in which they run, the last gives the logits. What named layers have
            between them is then up to the caller, such as residuals.
        n_samples: Samples to take at most, the first ones. Paper's implementation: 100.
        alpha: Level of the test. Paper's implementation: 0.05.
        value: Weight in place of an edge's; two ends draw it uniformly, as `(beta, beta + 0.01)` does.
        test: See `select_causes`.
        sign: "both" also takes units that lower the logit.
        correction: "holm" corrects for the number of units of a layer.
        inputs: Test what the first layer reads too, instead of taking all of it.
        most_tested: In layers that read more units than that, test a fifth of them: those of the highest (10%), lowest
            (5%) and middle (5%) mean weight to the effects. None tests all.
        batch_size: Pairs of a sample and an intervention that run at once.
        generator: Source of drawn weights; a fixed seed by default.
        progress: Draw a bar on standard error.

    Returns:
        The graph.

    Raises:
        InvalidInputError: The model, the samples or an option are unusable, the layers are no chain, or no sample is
            classified as the class.
        NumericalError: The logits of an intervention are NaN or infinite.

    Cost: for each layer, units times samples forward passes of the part above it; of the whole network where a named
    layer has a branch around it. Memory that of `batch_size` passes.

    Source: Ahmad et al., "Causal Analysis for Robust Interpretability of Neural Networks" (2023),
    abstract; the algorithm is that of a published implementation. Deviations: layers are found in the order in which
    they run, not by names.

    >>> model = nn.Sequential(nn.Linear(2, 3, bias=False), nn.ReLU(), nn.Linear(3, 2, bias=False))
    >>> _ = model[0].weight.data.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]))
    >>> _ = model[2].weight.data.copy_(torch.tensor([[2.0, 0.0, 0.0], [0.0, 2.0, 0.0]]))
    >>> find_causal_graph(model, torch.tensor([[2.0, 1.0], [2.1, 1.0], [2.2, 1.1]]), target=0).causes
    ((0, 1), (0,))
    """
    x = check_samples(x, tokens=True)
    for name, count in (("n_samples", n_samples), ("batch_size", batch_size)):
        check_count(count, name)
    if most_tested is not None:
        check_count(most_tested, "most_tested")
    logits = check_scores(model, x)
    n_classes = logits.shape[1]
    kept = _of_class(model, x, target, n_classes, batch_size)[:n_samples]
    chain = layer_chain(model, kept, layers, n_classes=n_classes)
    intervene = partial(
        path_intervention_effect,
        model,
        x=kept,
        target=target,
        value=value,
        batch_size=batch_size,
        generator=as_generator(generator),
    )
    select = partial(select_causes, alpha=alpha, test=test, sign=sign, correction=correction)
    found: list[_Step] = []
    effects: tuple[int, ...] = (target,)
    for place in track(list(reversed(range(len(chain.layers)))), "searching causes", enabled=progress):
        tested = _tested(model, chain, place, effects, most_tested, inputs)
        step = _layer_causes(chain, place, effects, tested, intervene, select, logits.dtype)
        if not step.causes:
            break
        found.append(step)
        effects = step.causes
    return _graph(target, chain, found[::-1])


@dataclass(frozen=True, eq=False)
class _Step:
    place: int
    causes: tuple[int, ...]
    effects: tuple[int, ...]
    p_values: Tensor
    rule: str


def _layer_causes(
    chain: LayerChain,
    place: int,
    effects: tuple[int, ...],
    tested: Bool[Tensor, " j"],
    intervene: Callable[..., PathEffect],
    select: Callable[[PathEffect], CauseSelection],
    dtype: torch.dtype,
) -> _Step:
    """Test the marked units that a layer reads; where none is marked, take all."""
    index = tested.nonzero()[:, 0]
    if len(index) == 0:
        untested = torch.ones(len(tested), dtype=dtype, device=tested.device)
        return _Step(place, tuple(range(len(tested))), effects, untested, "all")
    options = {"columns": chain.columns[place], "cut": chain.cuts[place]}
    effect = intervene(chain.layers[place], index.tolist(), effects, **options)
    selection = select(effect)
    p_values = torch.ones(len(tested), dtype=dtype, device=tested.device)
    p_values[index] = selection.p_values
    return _Step(place, tuple(index[list(selection.places)].tolist()), effects, p_values, selection.rule)


def _graph(target: int, chain: LayerChain, found: Sequence[_Step]) -> CausalGraph:
    names = {step.place: chain.layers[step.place] for step in found}
    first = min(names, default=len(chain.layers))
    return CausalGraph(
        target=target,
        layers=tuple(names.values()),
        causes=tuple(step.causes for step in found),
        effects=tuple(step.effects for step in found),
        units=tuple(chain.units[place] for place in names),
        columns=tuple(chain.columns[place] for place in names),
        below=chain.layers[first - 1] if first else INPUT,
        p_values={names[step.place]: step.p_values for step in found},
        rules={names[step.place]: step.rule for step in found},
    )


def _of_class(model: nn.Module, x: Tensor, target: int, n_classes: int, batch_size: int) -> Tensor:
    if isinstance(target, bool) or not isinstance(target, int) or not 0 <= target < n_classes:
        raise InvalidInputError(f"target must be a class from 0 to {n_classes - 1}, got {target!r}")
    if n_classes < 2:
        raise InvalidInputError(
            "the network has one output; wrap it so that it gives a logit for each class: "
            "torch.cat([torch.zeros_like(score), score], 1)"
        )
    right = predict(model, x, batch_size=batch_size, look=False).argmax(1) == target
    if not right.any():
        raise InvalidInputError(
            f"the network classifies none of the {len(x)} samples as {target}; pass samples of that class"
        )
    return x[right]


def _tested(
    model: nn.Module, chain: LayerChain, place: int, effects: Sequence[int], most: int | None, inputs: bool
) -> Bool[Tensor, " j"]:
    """Mark the units that a layer reads and that are to be tested: none of the inputs unless they are asked for."""
    weight, _ = dense_weight(weighted_layer(model, chain.layers[place]))
    count = chain.units[place]
    if place == 0 and not inputs:
        return torch.zeros(count, dtype=torch.bool, device=weight.device)
    if most is None or count <= most:
        return torch.ones(count, dtype=torch.bool, device=weight.device)
    return _ends_and_middle(weight[list(effects)].transpose(0, 1).reshape(count, -1).mean(1))


def _ends_and_middle(strength: Float[Tensor, " j"]) -> Bool[Tensor, " j"]:
    """Mark the highest tenth, the lowest twentieth and the middle twentieth."""
    count, order = len(strength), strength.argsort(descending=True)
    twentieth = max(1, count // 20)
    middle = (count - twentieth) // 2
    marked = torch.cat([order[: 2 * twentieth], order[middle : middle + twentieth], order[-twentieth:]])
    return torch.zeros(count, dtype=torch.bool, device=strength.device).index_fill_(0, marked, True)
