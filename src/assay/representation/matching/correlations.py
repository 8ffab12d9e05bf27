"""Correlations of units within and between two networks (Li, Yosinski, Clune, Lipson and Hopcroft, 2016)."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int64, Shaped
from torch import Tensor, nn

from assay.core import InvalidInputError, as_generator, check_samples
from assay.representation.matching.rows import paired_rows

ROUNDING = 1e-6
"""A unit is dead where its standard deviation is below this fraction of its mean: what float32 rounds to."""


@dataclass(frozen=True, eq=False)
class UnitStatistics:
    """Means, standard deviations and correlations of the units of one layer in two networks.

    Attributes:
        mean_a: Mean activation of each unit of network a.
        std_a: Standard deviation of each, with 1/s.
        mean_b: Mean activation of each unit of network b.
        std_b: Standard deviation of each.
        within_a: Correlations between the units of network a; 0 in rows and columns of dead units.
        within_b: Correlations between the units of network b.
        between: Correlations of units of a (rows) with units of b (columns).
        units_a: Place of each unit in its layer.
        units_b: Place of each unit in its layer.
        n_rows: Rows s, samples times positions.
    """

    mean_a: Float[Tensor, " a"]
    std_a: Float[Tensor, " a"]
    mean_b: Float[Tensor, " b"]
    std_b: Float[Tensor, " b"]
    within_a: Float[Tensor, "a a"]
    within_b: Float[Tensor, "b b"]
    between: Float[Tensor, "a b"]
    units_a: Int64[Tensor, " a"]
    units_b: Int64[Tensor, " b"]
    n_rows: int

    @property
    def n_dead(self) -> tuple[int, int]:
        """Units of each network that are constant on these inputs."""
        return int((self.within_a.diagonal() == 0).sum()), int((self.within_b.diagonal() == 0).sum())

    def live(self) -> "UnitStatistics":
        """Return the statistics without dead units; `units_a` and `units_b` say which are left.

        Raises:
            InvalidInputError: All units of a network are dead.
        """
        a, b = (within.diagonal() > 0 for within in (self.within_a, self.within_b))
        if not a.any() or not b.any():
            raise InvalidInputError("all units of a layer are constant on these inputs; there is nothing to compare")
        return replace(
            self,
            mean_a=self.mean_a[a],
            std_a=self.std_a[a],
            mean_b=self.mean_b[b],
            std_b=self.std_b[b],
            within_a=self.within_a[a][:, a],
            within_b=self.within_b[b][:, b],
            between=self.between[a][:, b],
            units_a=self.units_a[a],
            units_b=self.units_b[b],
        )

    def rotated(self, generator: torch.Generator | None = None) -> "UnitStatistics":
        """Return the statistics after a random orthogonal matrix has mixed the centred units of network b.

        A control: the rotated units span the same space, and what they lose in matching is due to the basis. Match them
        by absolute correlation, since a rotation has no sign.

        Args:
            generator: Source of the matrix; a fixed seed by default.
        """
        n = len(self.std_b)
        normal = torch.randn(n, n, generator=as_generator(generator), dtype=torch.float64)
        basis, upper = torch.linalg.qr(normal)
        # With these signs the matrix is uniform over rotations and reflections.
        basis = (basis * upper.diagonal().sign()).to(self.between)
        scale = self.std_b[:, None] * basis
        covariance = scale.T @ self.within_b @ scale
        std = covariance.diagonal().clamp(min=0).sqrt()
        inverse = torch.where(std > 0, 1 / std, 0.0)
        return replace(
            self,
            mean_b=torch.zeros_like(std),
            std_b=std,
            within_b=covariance * inverse[:, None] * inverse,
            between=self.between @ scale * inverse,
        )


def activation_statistics(activations_a: Float[Tensor, "s a"], activations_b: Float[Tensor, "_ b"]) -> UnitStatistics:
    """Compute means, standard deviations and correlations of two matrices of activations.

    Args:
        activations_a: Rows by units of network a.
        activations_b: The same rows by units of network b.

    Raises:
        InvalidInputError: A matrix is unusable, or they have different numbers of rows.

    >>> a = torch.tensor([[0.0, 1.0], [1.0, 0.0], [2.0, 5.0]])
    >>> activation_statistics(a, a.flip(1)).between.diagonal().allclose(torch.tensor(0.7559), atol=1e-4)
    True
    """
    parts = [check_samples(rows, name) for rows, name in ((activations_a, "a"), (activations_b, "b"))]
    shapes = [tuple(rows.shape) for rows in parts]
    if any(rows.ndim != 2 for rows in parts) or len(parts[0]) != len(parts[1]):
        raise InvalidInputError(f"activations must be two matrices with the same rows, got shapes {shapes}")
    return _statistics([parts])


def unit_statistics(
    model_a: nn.Module,
    model_b: nn.Module,
    x: Shaped[Tensor, "n *d"],
    layer: str,
    *,
    layer_b: str | None = None,
    unit_axis: int | None = None,
    shuffle: torch.Generator | None = None,
    batch_size: int = 256,
    progress: bool = False,
) -> UnitStatistics:
    r"""Compute the correlations of the units of two networks on the same inputs.

    $c^{ab}_{ij} = \mathbb E[(x^a_i - \mu^a_i)(x^b_j - \mu^b_j)] / (\sigma^a_i \sigma^b_j)$, and within each network.
    Every position of every sample is a row. Take the layer behind the nonlinearity, as the paper does: before it, the
    sign of a unit is arbitrary. Neighbouring positions are not independent samples.

    Args:
        model_a: First network, in evaluation mode; it comes back as it was.
        model_b: Second network.
        x: Inputs that neither was trained on; integers for networks that read tokens.
        layer: Name of the layer in both networks, one of `named_modules`.
        layer_b: Name in the second network, where it differs.
        unit_axis: Axis of the units, see `unit_rows`.
        shuffle: Source of a permutation of the rows of the second network in each batch, a control whose correlations
            are noise; None leaves them aligned.
        batch_size: Samples a forward pass.
        progress: Draw a bar on standard error.

    Returns:
        The statistics of all units, accumulated in float64; dead units, all of a single row, have correlations 0.

    Raises:
        InvalidInputError: A model, `x` or a layer is unusable.
        NumericalError: An activation is NaN or infinite.

    Cost: n forward passes of both networks; time O(s (a + b)²), memory O((a + b)²) and the rows of a batch.

    Source: Li, Yosinski, Clune, Lipson and Hopcroft, "Convergent Learning: Do different neural networks learn the same
    representations?" (2016), section 2.2, between-net and within-net similarity.

    >>> net = nn.Sequential(nn.Linear(2, 3), nn.Tanh())
    >>> found = unit_statistics(net, net, torch.randn(9, 2), "1")
    >>> found.between.diagonal().allclose(torch.ones(3))
    True
    """
    batches = paired_rows(
        (model_a, model_b), x, (layer, layer_b or layer), unit_axis=unit_axis, batch_size=batch_size, progress=progress
    )
    return _statistics(batches if shuffle is None else _shuffled(batches, shuffle))


def _shuffled(batches: Iterable[list[Tensor]], generator: torch.Generator) -> Iterable[list[Tensor]]:
    for first, second in batches:
        order = torch.randperm(len(second), generator=generator, device=generator.device)
        yield [first, second[order.to(second.device)]]


def _statistics(batches: Iterable[list[Tensor]]) -> UnitStatistics:
    """Merge the means and centred products of batches, which loses no digits where means are large."""
    n, n_a, dtype = 0, 0, torch.float32
    mean = scatter = torch.zeros(())
    for first, second in batches:
        rows = torch.cat([first.double(), second.double()], 1)
        own = rows.mean(0)
        rows = rows - own
        if n == 0:
            n_a, dtype = first.shape[1], torch.promote_types(first.dtype, torch.float32)
            mean, scatter = torch.zeros_like(own), torch.zeros(2 * own.shape, dtype=own.dtype, device=own.device)
        change, total = own - mean, n + len(rows)
        scatter = scatter + rows.T @ rows + torch.outer(change, change) * (n * len(rows) / total)
        mean, n = mean + change * (len(rows) / total), total
    std = (scatter.diagonal() / n).sqrt()
    live = std > ROUNDING * mean.abs()
    inverse = torch.where(live, 1 / std, 0.0)
    correlation = (scatter / n * inverse[:, None] * inverse).clamp(-1, 1)
    correlation.fill_diagonal_(1.0)
    correlation = correlation * live * live[:, None]
    mean, std, correlation = (value.to(dtype) for value in (mean, torch.where(live, std, 0.0), correlation))
    a, b = slice(None, n_a), slice(n_a, None)
    places = torch.arange(len(mean), device=mean.device)
    return UnitStatistics(
        mean_a=mean[a],
        std_a=std[a],
        mean_b=mean[b],
        std_b=std[b],
        within_a=correlation[a, a],
        within_b=correlation[b, b],
        between=correlation[a, b],
        units_a=places[a],
        units_b=places[b] - n_a,
        n_rows=n,
    )
