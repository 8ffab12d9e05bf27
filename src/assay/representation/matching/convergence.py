"""Convergent learning: units of networks from different seeds side by side (Li et al., 2016)."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from assay.core import InvalidInputError, as_generator
from assay.representation.matching.assignment import UnitMatching, match_units
from assay.representation.matching.clusters import UnitClusters, cluster_units
from assay.representation.matching.correlations import UnitStatistics, unit_statistics
from assay.representation.matching.prediction import PENALTIES, SparsePredictionPath, sparse_prediction

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True, eq=False)
class PairAlignment:
    """The three alignments of the live units of two networks.

    Attributes:
        networks: Places of the networks.
        statistics: Correlations of live units.
        n_dead: Units of each network that are constant on these inputs.
        bipartite: One-to-one matching.
        semi: Best partner of each unit of the first network.
        shuffled: One-to-one matching after the rows of the second network were shuffled, the level of noise.
        prediction: Sparse linear prediction of the second network's units from the first's.
        clusters: Clusters of the units of both.
    """

    networks: tuple[int, int]
    statistics: UnitStatistics
    n_dead: tuple[int, int]
    bipartite: UnitMatching
    semi: UnitMatching
    shuffled: UnitMatching
    prediction: SparsePredictionPath
    clusters: UnitClusters

    @property
    def one_to_one_error(self) -> float:
        """Error of predicting each unit from its partner alone, as a fraction of variance: 1 - mean(c²)."""
        return 1 - float(self.bipartite.scores.square().mean())


@dataclass(frozen=True, eq=False)
class ConvergentLearningReport:
    """Alignments of one layer between all pairs of networks.

    Attributes:
        layer: Name of the layer.
        pairs: The alignments of each pair of networks.
    """

    layer: str
    pairs: tuple[PairAlignment, ...]

    @property
    def matches(self) -> Float[Tensor, " pairs"]:
        """Mean matched correlation of each pair."""
        return torch.tensor([pair.bipartite.mean for pair in self.pairs])

    def __str__(self) -> str:
        errors = torch.stack([pair.prediction.errors.mean(1) for pair in self.pairs]).mean(0)
        sources = torch.stack([pair.prediction.n_sources.mean(1) for pair in self.pairs]).mean(0)
        one = sum(pair.one_to_one_error for pair in self.pairs) / len(self.pairs)
        noise = sum(pair.shuffled.mean for pair in self.pairs) / len(self.pairs)
        penalties = self.pairs[0].prediction.penalties
        return (
            f"Layer {self.layer!r}, {len(self.pairs)} pairs of networks: matched units correlate by "
            f"{float(self.matches.mean()):.2f} on average ({noise:.2f} with shuffled rows). One partner leaves "
            f"{one:.2f} of a unit's variance unexplained, {float(sources[0]):.1f} linear sources leave "
            f"{float(errors[0]):.2f} (penalty {penalties[0]:g}), {float(sources[-1]):.1f} leave "
            f"{float(errors[-1]):.2f} (penalty {penalties[-1]:g})."
        )

    def plot(self, ax: "Axes | None" = None) -> "Axes":
        """Draw the sorted matched correlations of each pair, with those of shuffled rows, and return the axes."""
        if ax is None:
            import matplotlib.pyplot as plt

            ax = plt.subplots()[1]
        for place, pair in enumerate(self.pairs):
            drawn = ((pair.semi, "C0"), (pair.bipartite, "C1"), (pair.shuffled, "0.6"))
            for (matching, color), label in zip(drawn, ("semi-matching", "one to one", "shuffled rows"), strict=True):
                scores = matching.scores.sort(descending=True).values.cpu().numpy()
                ax.plot(scores, color=color, linewidth=1, label=label if place == 0 else None)
        ax.set(xlabel="unit, in the order of its matched correlation", ylabel="matched correlation", ylim=(None, 1.02))
        ax.legend()
        return ax


def convergent_learning(
    models: Sequence[nn.Module],
    x: Shaped[Tensor, "n *d"],
    layer: str,
    *,
    penalties: Sequence[float] = PENALTIES,
    n_clusters: int | None = None,
    unit_axis: int | None = None,
    batch_size: int = 256,
    generator: torch.Generator | None = None,
    progress: bool = False,
) -> ConvergentLearningReport:
    """Align the units of one layer between networks of the same architecture: one to one, one to few, many to many.

    Networks that share data order or initial weights are more alike than those from different seeds. Compare with
    networks before training: a random layer's units correlate as well.

    Args:
        models: Two networks or more; they come back as they were.
        x: Inputs that none was trained on.
        layer: Name of the layer, behind its nonlinearity.
        penalties: Penalties of the sparse prediction, see `sparse_prediction`.
        n_clusters: Clusters of units, see `cluster_units`.
        unit_axis: Axis of the units, see `unit_rows`.
        batch_size: Samples a forward pass.
        generator: Source of the shuffled rows and of the clusters' start; a fixed seed by default.
        progress: Draw a bar on standard error.

    Returns:
        The alignments of each pair, in the order (0, 1), (0, 2), ...; dead units are left out and counted.

    Raises:
        InvalidInputError: There are fewer than two networks, or a model, `x`, the layer or an option is unusable.
        NumericalError: An activation is NaN or infinite, or a penalty is too small for coordinate descent.

    Cost: four forward passes of x for each pair, and the costs of `match_units`, `sparse_prediction` and
    `cluster_units`.

    Source: Li, Yosinski, Clune, Lipson and Hopcroft, "Convergent Learning: Do different neural networks learn the same
    representations?" (2016), arXiv 1511.07543, sections 3 to 5.

    >>> from assay.nets import mlp
    >>> nets = [mlp((4, 6, 2), generator=torch.Generator().manual_seed(seed)) for seed in (0, 1)]
    >>> report = convergent_learning(nets, torch.randn(64, 4), "1")
    >>> len(report.pairs), report.pairs[0].networks
    (1, (0, 1))
    """
    models = list(models)
    if len(models) < 2:
        raise InvalidInputError(f"convergence is between networks, and {len(models)} was given; give two or more")
    source = as_generator(generator)
    options = {"unit_axis": unit_axis, "batch_size": batch_size, "progress": progress}
    pairs = []
    for a, b in combinations(range(len(models)), 2):
        everything = unit_statistics(models[a], models[b], x, layer, **options)
        shuffled = unit_statistics(models[a], models[b], x, layer, shuffle=source, **options)
        statistics = everything.live()
        seed = int(torch.randint(2**31 - 1, (1,), generator=source, device=source.device))
        pairs.append(
            PairAlignment(
                networks=(a, b),
                statistics=statistics,
                n_dead=everything.n_dead,
                bipartite=match_units(statistics.between),
                semi=match_units(statistics.between, method="semi"),
                shuffled=match_units(shuffled.live().between),
                prediction=sparse_prediction(statistics, penalties=penalties),
                clusters=cluster_units(statistics, n_clusters, random_state=seed),
            )
        )
    return ConvergentLearningReport(layer, tuple(pairs))
