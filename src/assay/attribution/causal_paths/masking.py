"""Networks with only the edges of a causal graph, or without them (Ahmad et al., 2023)."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor, nn

from assay.attribution.causal_paths.chain import weighted_layer
from assay.attribution.causal_paths.graph import CausalGraph, random_graph
from assay.core import (
    InvalidInputError,
    as_generator,
    check_choice,
    check_count,
    check_samples,
    check_scores,
    copy_network,
    predict,
)


def edge_masks(
    model: nn.Module,
    graph: CausalGraph,
    *,
    layers: Collection[str] | None = None,
    without: CausalGraph | None = None,
) -> dict[str, Bool[Tensor, "e j *k"]]:
    """Mark the weights that are edges of a graph, by the parameter's name, as to let fine-tuning move these alone.

    Args:
        model: Network that the graph was found in.
        graph: Causal graph.
        layers: Layers of the graph to mark; all by default.
        without: Graph whose edges are left unmarked.

    Returns:
        Masks in the shape of the weights.

    Raises:
        InvalidInputError: The network has no such layers, or a layer is not of the graph.

    Source: Ahmad et al., "Causal Analysis for Robust Interpretability of Neural Networks" (2023), abstract; the masks
    follow from its interventions.

    >>> graph = CausalGraph(1, ("0",), ((0,),), ((1,),), (2,), (1,), "input", {"0": torch.ones(2)}, {"0": "test"})
    >>> edge_masks(nn.Sequential(nn.Linear(2, 2)), graph)["0.weight"].tolist()
    [[False, False], [True, False]]
    """
    chosen = graph.layers if layers is None else tuple(layers)
    if missing := [name for name in chosen if name not in graph.layers]:
        raise InvalidInputError(
            f"the graph has no layer {', '.join(missing)}; it has {', '.join(graph.layers) or 'none'}"
        )
    masks = {}
    for name in chosen:
        mask = _mask(weighted_layer(model, name), graph, name)
        if without is not None and name in without.layers:
            mask &= ~_mask(weighted_layer(model, name), without, name)
        masks[f"{name}.weight"] = mask
    return masks


def mask_model(
    model: nn.Module,
    graph: CausalGraph,
    *,
    keep: bool = True,
    layers: Collection[str] | None = None,
    without: CausalGraph | None = None,
    factor: float = 0.0,
) -> nn.Module:
    """Return a copy of a network with only the edges of a graph in the graph's layers, or with all others.

    Biases stay: where only edges are kept, the last layer gives the other classes their biases as logits, which makes
    the class easy to recall. Compare with `random_graph`.

    Args:
        model: Network that the graph was found in; it stays as it is.
        graph: Causal graph.
        keep: Keep the graph's edges; otherwise remove exactly these.
        layers: Layers of the graph to change; all by default.
        without: Graph whose edges do not count as edges of `graph`, as to remove what one input uses and another not.
        factor: Factor of the weights that are removed; other numbers than 0 re-weight them.

    Returns:
        The copy.

    Raises:
        InvalidInputError: The network has no such layers, or computes a weight from other parameters.

    Source: Ahmad et al., "Causal Analysis for Robust Interpretability of Neural Networks" (2023), abstract; the masks
    are those of a published implementation.

    >>> model = nn.Sequential(nn.Linear(2, 2))
    >>> graph = CausalGraph(1, ("0",), ((0,),), ((1,),), (2,), (1,), "input", {"0": torch.ones(2)}, {"0": "test"})
    >>> (mask_model(model, graph)[0].weight != 0).tolist()
    [[False, False], [True, False]]
    """
    masks = edge_masks(model, graph, layers=layers, without=without)
    masked = copy_network(model)
    parameters = dict(masked.named_parameters())
    for name, mask in masks.items():
        if name not in parameters:
            raise InvalidInputError(
                f"{name} is computed from other parameters; remove the parametrisation first, as by "
                "torch.nn.utils.parametrize.remove_parametrizations"
            )
        with torch.no_grad():
            parameters[name].mul_(torch.where(mask == keep, 1.0, factor).to(parameters[name]))
    return masked


def _mask(layer: nn.Module, graph: CausalGraph, name: str) -> Tensor:
    place = graph.layers.index(name)
    weight: Tensor = layer.weight  # pyright: ignore[reportAssignmentType]
    columns, groups = graph.columns[place], int(getattr(layer, "groups", 1))
    reads = torch.zeros(graph.units[place], dtype=torch.bool, device=weight.device)
    reads[list(graph.causes[place])] = True
    gives = torch.zeros(len(weight), dtype=torch.bool, device=weight.device)
    gives[list(graph.effects[place])] = True
    # In a convolution with groups, row e holds the channels of its own group.
    own = reads.repeat_interleave(columns).reshape(groups, -1).repeat_interleave(len(weight) // groups, 0)
    mask = gives[:, None] & own
    if mask.shape != weight.shape[:2]:
        raise InvalidInputError(f"the graph does not fit layer {name!r}; pass the network that it was found in")
    return mask.reshape(*mask.shape, *(1 for _ in weight.shape[2:])).expand(weight.shape).clone()


@dataclass(frozen=True, eq=False)
class GraphFaithfulness:
    """Share of samples that are classified as the class, under edits of the network.

    Attributes:
        original: Without an edit.
        kept: With the graph's edges alone.
        dropped: Without them.
        random_kept: With the edges alone of random graphs of the same size.
        random_dropped: Without these.
        logits: Mean logit of the class without an edit, with the edges alone, and without them.
    """

    original: float
    kept: float
    dropped: float
    random_kept: Float[Tensor, " r"]
    random_dropped: Float[Tensor, " r"]
    logits: tuple[float, float, float]

    def __str__(self) -> str:
        return (
            f"With the graph's edges alone the network recalls {self.kept:.0%} of the class (random graphs: "
            f"{self.random_kept.mean():.0%}), without them {self.dropped:.0%} ({self.random_dropped.mean():.0%}); "
            f"unedited {self.original:.0%}."
        )


def graph_faithfulness(
    model: nn.Module,
    graph: CausalGraph,
    x: Shaped[Tensor, "n *d"],
    *,
    drop: Literal["last", "all"] = "last",
    n_random: int = 20,
    batch_size: int = 256,
    generator: torch.Generator | None = None,
) -> GraphFaithfulness:
    """Measure whether a class needs the edges of its graph, and needs no others, against random graphs of its size.

    Args:
        model: Network that the graph was found in; it comes back as it was.
        graph: Causal graph.
        x: Samples of the class, best others than the graph was found on.
        drop: Layers that lose their edges: the last one, or all, where the first takes the chosen units all inputs.
        n_random: Random graphs.
        batch_size: Samples a forward pass.
        generator: Source of the random graphs; a fixed seed by default.

    Raises:
        InvalidInputError: The model or the samples are unusable, or the graph is empty or does not fit the network.

    Cost: 3 + 2 `n_random` passes over the samples.

    Source: Ahmad et al., "Causal Analysis for Robust Interpretability of Neural Networks" (2023), abstract; the edits
    are those of a published implementation, the random graphs are ours.

    >>> from assay.attribution import find_causal_graph
    >>> model, x = nn.Sequential(nn.Linear(3, 2, bias=False)), torch.ones(2, 3)
    >>> _ = model[0].weight.data.copy_(torch.tensor([[2.0, 1.0, 1.0], [1.0, 1.0, 1.0]]))
    >>> graph_faithfulness(model, find_causal_graph(model, x, target=0), x).kept
    1.0
    """
    x = check_samples(x, tokens=True)
    check_choice(drop, ("last", "all"), "drop")
    check_count(n_random, "n_random")
    check_count(batch_size, "batch_size")
    check_scores(model, x)
    if not graph.layers:
        raise InvalidInputError("the graph is empty: no unit of the last layer lowers the logit of its class")
    lost = graph.layers if drop == "all" else graph.layers[-1:]
    source = as_generator(generator)

    def measured(network: nn.Module) -> tuple[float, float]:
        logits = predict(network, x, batch_size=batch_size, look=False)
        return (logits.argmax(1) == graph.target).double().mean().item(), logits[:, graph.target].mean().item()

    def edited(of: CausalGraph) -> tuple[tuple[float, float], tuple[float, float]]:
        return measured(mask_model(model, of)), measured(mask_model(model, of, keep=False, layers=lost))

    (original, logit), (kept, dropped) = measured(model), edited(graph)
    others = [edited(random_graph(graph, generator=source)) for _ in range(n_random)]
    return GraphFaithfulness(
        original=original,
        kept=kept[0],
        dropped=dropped[0],
        random_kept=torch.tensor([each[0][0] for each in others], dtype=x.dtype if x.is_floating_point() else None),
        random_dropped=torch.tensor([each[1][0] for each in others], dtype=x.dtype if x.is_floating_point() else None),
        logits=(logit, kept[1], dropped[1]),
    )
