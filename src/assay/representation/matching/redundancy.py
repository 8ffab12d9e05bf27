"""Redundancy of the units of a layer: dead units, repeated units, effective rank (Roy and Vetterli, 2007)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from assay.core import (
    InvalidInputError,
    as_generator,
    check_count,
    check_finite,
    check_fraction,
    check_samples,
    find_layer,
    layer_names,
    layer_outputs,
    predict,
    symmetric_eigenvalues,
    track,
)
from assay.representation.matching.correlations import ROUNDING
from assay.representation.matching.rows import unit_rows

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_UNITS = 4096


@dataclass(frozen=True, eq=False)
class LayerRedundancy:
    """Redundancy of the units of one layer.

    Attributes:
        layer: Name of the layer.
        n_units: Units.
        n_dead: Units that are constant on these rows.
        n_repeated: Live units that an earlier unit of the layer stands for: they could be left out.
        largest: Largest absolute correlation of each live unit with another; 0 for a unit without another.
        effective_rank: Exponential of the entropy of the eigenvalues of the live units' correlations, as shares: as
            many uncorrelated units would vary as much.
        n_rows: Rows, samples times positions, that the figures rest on; no rank exceeds it.
    """

    layer: str
    n_units: int
    n_dead: int
    n_repeated: int
    largest: Float[Tensor, " u"]
    effective_rank: float
    n_rows: int

    @property
    def share_superfluous(self) -> float:
        """Share of units that are dead or repeated."""
        return (self.n_dead + self.n_repeated) / self.n_units


@dataclass(frozen=True, eq=False)
class RedundancyReport:
    """Redundancy of the units of several layers.

    Attributes:
        layers: The layers, in the order of the network.
        duplicate: Absolute correlation from which a unit repeats another.
        skipped: Layers with too many units to compare.
    """

    layers: tuple[LayerRedundancy, ...]
    duplicate: float
    skipped: tuple[str, ...]

    def __str__(self) -> str:
        rows = "; ".join(
            f"{each.layer}: {each.n_dead} dead and {each.n_repeated} repeated of {each.n_units} units, effective rank "
            f"{each.effective_rank:.1f}"
            for each in self.layers
        )
        return f"Units repeat another at an absolute correlation of {self.duplicate:g} or more. {rows}."

    def plot(self, ax: "Axes | None" = None) -> "Axes":
        """Draw the shares of dead, repeated and other units of each layer as stacked bars, and return the axes."""
        if ax is None:
            import matplotlib.pyplot as plt

            ax = plt.subplots()[1]
        names = [each.layer for each in self.layers]
        dead = [each.n_dead / each.n_units for each in self.layers]
        repeated = [each.n_repeated / each.n_units for each in self.layers]
        rank = [each.effective_rank / each.n_units for each in self.layers]
        places = range(len(names))
        ax.bar(places, dead, color="0.35", label="dead")
        ax.bar(places, repeated, bottom=dead, color="C1", label="repeat another")
        ax.plot(places, rank, "k_", markersize=14, label="effective rank / units")
        ax.set(ylim=(0, 1.02), ylabel="share of units", xlabel="layer")
        ax.set_xticks(places, names, rotation=90 if len(names) > 6 else 0)
        ax.legend()
        return ax


def hidden_layers(model: nn.Module, x: Shaped[Tensor, "n *d"]) -> list[str]:
    """Name the layers whose outputs are taken as units: activation modules, or all where there is none.

    Layers that give the network's own outputs are left out, unless no other has a name.

    >>> hidden_layers(nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1)), torch.ones(4, 2))
    ['1']
    """
    few = x[:2]
    final = predict(model, few).reshape(len(few), -1)
    every = layer_names(model, x)
    outputs = layer_outputs(model, few, every) if every else {}
    names = [name for name, output in outputs.items() if not torch.equal(output.flatten(1), final)] or every
    activations = [name for name in names if type(find_layer(model, name)).__module__.endswith("modules.activation")]
    return activations or names


def unit_redundancy(
    model: nn.Module,
    x: Shaped[Tensor, "n *d"],
    layers: Sequence[str] | None = None,
    *,
    duplicate: float = 0.95,
    n_rows: int = 4096,
    batch_size: int = 256,
    generator: torch.Generator | None = None,
    progress: bool = False,
) -> RedundancyReport:
    r"""Count the units of each layer that are dead or repeat another, and compute the layer's effective rank.

    A live unit is repeated if its correlation with an earlier unit, itself not repeated, is at least `duplicate` in
    absolute value: the next layer could read the earlier one instead. The effective rank is $\exp(-\sum_k p_k \log
    p_k)$ for the eigenvalues of the correlation matrix of live units, divided by their sum.

    Args:
        model: Network; it comes back as it was.
        x: Inputs; integers for a network that reads tokens.
        layers: Layers by name; by default the activation modules, or all hidden layers where there are none.
        duplicate: Absolute correlation from which a unit repeats another.
        n_rows: Rows of a layer that are kept: of more, positions are drawn at random.
        batch_size: Samples a forward pass.
        generator: Source of the positions; a fixed seed by default.
        progress: Draw a bar on standard error.

    Returns:
        A report for each layer with at most 4096 units; the others are named in `skipped`.

    Raises:
        InvalidInputError: The model, `x`, a layer or an option is unusable, or there is no layer to look at.
        NumericalError: An activation is NaN or infinite.

    Cost: n forward passes; time O(n_rows u² + min(n_rows, u)³) for u units, memory n_rows u and u² for each layer.

    Source: Roy and Vetterli, "The effective rank: a measure of effective dimensionality" (2007), definition 1, here of
    the correlation matrix, so that scales do not count; Li et al., "Convergent Learning" (2016), section 2.2,
    within-net correlations.

    >>> net = nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 1))
    >>> net[0].weight.data[:] = net[0].weight.data[:1]
    >>> net[0].bias.data[:] = 0.0
    >>> found = unit_redundancy(net, torch.randn(50, 2)).layers[0]
    >>> found.n_repeated, round(found.effective_rank, 3)
    (3, 1.0)
    """
    x = check_samples(x, tokens=True)
    check_fraction(duplicate, "duplicate")
    for value, name in ((n_rows, "n_rows"), (batch_size, "batch_size")):
        check_count(value, name)
    names = list(layers) if layers is not None else hidden_layers(model, x)
    if not names:
        raise InvalidInputError(
            "the network has no layer with a name of its own; compute layers in modules that run once"
        )
    source = as_generator(generator)
    per_sample = max(1, n_rows // len(x))
    kept: dict[str, list[Tensor]] = {name: [] for name in names}
    for batch in track(x.split(batch_size), "reading layers", enabled=progress):
        for name, output in layer_outputs(model, batch, names, batch_size=batch_size).items():
            rows = unit_rows(output, find_layer(model, name))
            check_finite(rows, f"the activations of layer {name!r}")
            kept[name].append(_some_positions(rows, len(batch), per_sample, source))
    wide = tuple(name for name, parts in kept.items() if parts[0].shape[1] > MOST_UNITS)
    found = [_layer(name, torch.cat(parts)[:n_rows], duplicate) for name, parts in kept.items() if name not in wide]
    if not found:
        raise InvalidInputError(f"all layers have more than {MOST_UNITS} units; name others in layers")
    return RedundancyReport(tuple(found), duplicate, wide)


def _some_positions(rows: Tensor, n: int, per_sample: int, source: torch.Generator) -> Tensor:
    """Return as many random positions of each sample, the same ones of all: neighbours tell the same twice."""
    positions = len(rows) // n
    if positions <= per_sample:
        return rows
    chosen = torch.randperm(positions, generator=source, device=source.device)[:per_sample].to(rows.device)
    return rows.unflatten(0, (n, positions))[:, chosen].flatten(0, 1)


def _layer(name: str, rows: Tensor, duplicate: float) -> LayerRedundancy:
    wide = rows.double()
    mean, std = wide.mean(0), wide.std(0, correction=0)
    live = std > ROUNDING * mean.abs()
    standard = (wide[:, live] - mean[live]) / std[live]
    correlation = (standard.T @ standard / len(rows)).clamp(-1, 1)
    others = correlation.abs().fill_diagonal_(0.0)
    like = (others >= duplicate).cpu()
    kept = torch.zeros(len(like), dtype=torch.bool)
    for unit, row in enumerate(like):
        kept[unit] = not bool((row & kept).any())
    # Of the two matrices with the same eigenvalues above zero, the smaller.
    smaller = correlation if len(correlation) <= len(rows) else standard @ standard.T / len(rows)
    shares = symmetric_eigenvalues(smaller).clamp(min=0) / max(len(correlation), 1)
    n_live = int(live.sum())
    return LayerRedundancy(
        layer=name,
        n_units=len(live),
        n_dead=len(live) - n_live,
        n_repeated=n_live - int(kept.sum()),
        largest=(others.amax(1) if n_live else others.sum(1)).to(torch.promote_types(rows.dtype, torch.float32)),
        effective_rank=float(torch.exp(torch.special.entr(shares).sum())) if n_live else 0.0,
        n_rows=len(rows),
    )
