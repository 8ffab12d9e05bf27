"""Causal graph of one class: the units of each layer that its logit depends on (Ahmad et al., 2023)."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from assay.core import as_generator

INPUT = "input"
"""Name of the layer that the inputs stand for, in edges and in `to_networkx`."""


@dataclass(frozen=True, eq=False)
class CausalGraph:
    """Causes and effects of one class in each layer of a chain.

    Attributes:
        target: The class.
        layers: Layers whose weights hold the edges, in the order in which they run. A search that found no cause in
            some layer ends there: the layers below are left out.
        causes: Chosen units that each layer reads; of the network's first layer, all inputs.
        effects: Chosen units that each layer gives; they are the causes of the next, and the class in the last.
        units: Units that each layer reads.
        columns: Columns of each layer's weight that one of them owns.
        below: Layer whose units the first of `layers` reads; "input" at the bottom of the network.
        p_values: By layer, of each unit that it reads; 1 where it was not tested.
        rules: By layer, what decided: "test", "threshold", "share", or "all" for inputs that were not tested.
    """

    target: int
    layers: tuple[str, ...]
    causes: tuple[tuple[int, ...], ...]
    effects: tuple[tuple[int, ...], ...]
    units: tuple[int, ...]
    columns: tuple[int, ...]
    below: str
    p_values: Mapping[str, Float[Tensor, " j"]]
    rules: Mapping[str, str]

    def __str__(self) -> str:
        sizes = ", ".join(
            f"{len(chosen)} of {count} that {layer!r} reads ({self.rules[layer]})"
            for layer, chosen, count in zip(self.layers, self.causes, self.units, strict=True)
        )
        return f"The logit of class {self.target} has these causes among the units: {sizes or 'none in any layer'}."

    @property
    def selected(self) -> frozenset[tuple[str, int]]:
        """The chosen units by layer that reads them, without inputs that were all taken."""
        chosen = zip(self.layers, self.causes, strict=True)
        return frozenset((name, unit) for name, units in chosen if self.rules[name] != "all" for unit in units)

    def jaccard(self, other: "CausalGraph") -> float:
        r"""Return $|A \cap B| / |A \cup B|$ of the chosen units of all layers; 1 where neither graph has any.

        Args:
            other: Graph of the same network, of this or another class.
        """
        union = self.selected | other.selected
        return len(self.selected & other.selected) / len(union) if union else 1.0

    def edges(self) -> list[tuple[str, int, int]]:
        """List the edges as layer, cause and effect."""
        parts = zip(self.layers, self.causes, self.effects, strict=True)
        return [(name, cause, effect) for name, causes, effects in parts for cause in causes for effect in effects]

    def to_networkx(self) -> Any:
        """Return a `networkx.DiGraph` whose nodes are pairs of a layer and a unit that it gives.

        Edges carry the p-value of their cause as `p_value`.
        """
        from networkx import DiGraph  # imports slowly, and few ask

        graph, giving = DiGraph(target=self.target), dict(zip(self.layers, (self.below, *self.layers), strict=False))
        for layer, cause, effect in self.edges():
            graph.add_edge((giving[layer], cause), (layer, effect), p_value=float(self.p_values[layer][cause]))
        return graph


def random_graph(graph: CausalGraph, *, generator: torch.Generator | None = None) -> CausalGraph:
    """Draw a graph of the same class with as many units in each layer: what a causal graph is compared with.

    Args:
        graph: Graph whose sizes are taken.
        generator: Source of the units; a fixed seed by default.

    Returns:
        The graph, with the p-values of the first one left out.

    Source: Ahmad et al., "Causal Analysis for Robust Interpretability of Neural Networks" (2023), abstract; the
    comparison is ours.

    >>> graph = CausalGraph(1, ("a",), ((0, 2),), ((1,),), (9,), (1,), "input", {"a": torch.ones(9)}, {"a": "test"})
    >>> len(random_graph(graph).causes[0])
    2
    """
    source = as_generator(generator)
    drawn = [
        tuple(sorted(torch.randperm(count, generator=source, device=source.device)[: len(chosen)].tolist()))
        for count, chosen in zip(graph.units, graph.causes, strict=True)
    ]
    return replace(
        graph,
        causes=tuple(drawn),
        effects=(*drawn[1:], *graph.effects[-1:]),
        p_values={name: torch.ones_like(values) for name, values in graph.p_values.items()},
    )
