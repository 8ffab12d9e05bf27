"""Similarity of each layer of one network with each layer of another."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from jaxtyping import Float
from torch import Tensor

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_LABELS = 40


@dataclass(frozen=True, eq=False)
class SimilarityMap:
    """Layer-by-layer similarity of two networks, with what chance gives.

    Attributes:
        method: Name of the similarity.
        layers_a: Layers of the first network, the rows.
        layers_b: Layers of the second network, the columns.
        values: Similarity of each pair of layers.
        null: Similarities after the samples of the second network were permuted, one slice a permutation.
        n_rows: Samples that were compared.
        batch_size: Samples of the largest mini-batch; all where nothing was averaged over batches.
    """

    method: str
    layers_a: tuple[str, ...]
    layers_b: tuple[str, ...]
    values: Float[Tensor, "a b"]
    null: Float[Tensor, "k a b"]
    n_rows: int
    batch_size: int

    @property
    def p_values(self) -> Float[Tensor, "a b"]:
        """Probability of a value as high by chance, from the permutations: (1 + those as high) / (1 + all)."""
        return (1 + (self.null >= self.values).sum(0)).to(self.values) / (1 + len(self.null))

    @property
    def null_level(self) -> Float[Tensor, "a b"]:
        """The 95% level of the permutations of each cell, between two of them the higher."""
        return self.null.double().quantile(0.95, dim=0, interpolation="higher").to(self.values)

    def __str__(self) -> str:
        best = self.values.max(1)
        partners = ", ".join(
            f"{name} with {self.layers_b[int(place)]} ({float(value):.2f})"
            for name, place, value in list(zip(self.layers_a, best.indices, best.values, strict=True))[:8]
        )
        above = int((self.values > self.null_level).sum())
        more = ", ..." if len(self.layers_a) > 8 else ""
        return (
            f"Similarity by {self.method} on {self.n_rows} samples. Most alike: {partners}{more}. "
            f"{above} of {self.values.numel()} pairs of layers exceed the 95% level of {len(self.null)} permutations."
        )

    def plot(self, ax: "Axes | None" = None) -> "Axes":
        """Draw the map as a heat map, the first layers at the bottom left; cells that chance explains have a cross."""
        if ax is None:
            import matplotlib.pyplot as plt

            ax = plt.subplots()[1]
        values = self.values.cpu().float().numpy()
        image = ax.imshow(values, origin="lower", vmin=0, vmax=1, cmap="magma", aspect="auto", interpolation="nearest")
        chance = (self.values <= self.null_level).nonzero().cpu().numpy()
        if len(chance):
            ax.plot(chance[:, 1], chance[:, 0], "x", color="0.7", markersize=4)
        for axis, names in ((ax.yaxis, self.layers_a), (ax.xaxis, self.layers_b)):
            if len(names) <= MOST_LABELS:
                axis.set_ticks(range(len(names)), labels=list(names), fontsize="x-small")
        ax.tick_params(axis="x", rotation=90)
        ax.set(ylabel="layer of network a", xlabel="layer of network b")
        ax.figure.colorbar(image, ax=ax, label=self.method)
        return ax
