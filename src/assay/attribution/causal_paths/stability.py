"""Stability of causal graphs under soft interventions, and of attributions under noise (Ahmad et al., 2023)."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from assay.attribution.causal_paths.graph import CausalGraph
from assay.attribution.causal_paths.search import find_causal_graph
from assay.core import InvalidInputError, as_generator, check_count, check_finite, check_positive, check_samples, track

WIDTH = 0.01  # of the interval from which a soft intervention draws


@dataclass(frozen=True, eq=False)
class GraphStability:
    """Likeness of the graphs of soft interventions to that of the hard one.

    Attributes:
        graph: Graph with weights set to zero.
        values: Lower ends beta of the drawn weights.
        jaccard: Likeness to `graph` of each graph that was found with weights between beta and beta + 0.01.
    """

    graph: CausalGraph
    values: tuple[float, ...]
    jaccard: Float[Tensor, "b r"]

    def __str__(self) -> str:
        worst = int(self.jaccard.mean(1).argmin())
        return (
            f"Graphs of weights drawn above {min(self.values):g} to {max(self.values):g} share "
            f"{self.jaccard.mean():.0%} of their units with that of zero weights, the least at {self.values[worst]:g} "
            f"({self.jaccard[worst].mean():.0%})."
        )


def graph_stability(
    model: nn.Module,
    x: Shaped[Tensor, "n *d"],
    target: int,
    *,
    values: Sequence[float] = tuple(beta / 100 for beta in range(51)),
    n_repeats: int = 10,
    generator: torch.Generator | None = None,
    progress: bool = False,
    **options: Any,
) -> GraphStability:
    r"""Compare the graphs of soft interventions $u \sim U(\beta, \beta + 0.01)$ with that of $u = 0$.

    Args:
        model: Network; it comes back as it was.
        x: Samples of the class.
        target: Class.
        values: Lower ends beta. Paper's implementation: 0 to 0.5 in steps of 0.01.
        n_repeats: Draws for each. Paper's implementation: 10.
        generator: Source of the draws; a fixed seed by default.
        progress: Draw a bar on standard error.
        **options: Of `find_causal_graph`, but for `value`.

    Raises:
        InvalidInputError: As `find_causal_graph`, or there are no values.
        NumericalError: As `find_causal_graph`.

    Cost: 1 + values times repeats searches.

    Source: Ahmad et al., "Causal Analysis for Robust Interpretability of Neural Networks" (2023), abstract; the scheme
    is that of a published implementation.

    >>> model, x = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)), torch.rand(9, 3)
    >>> found = graph_stability(model, x, int(model(x)[0].argmax()), values=(0.0, 0.1), n_repeats=2)
    >>> found.jaccard.shape
    torch.Size([2, 2])
    """
    check_count(n_repeats, "n_repeats")
    if not values or "value" in options:
        raise InvalidInputError("give values=(...) the lower ends of the drawn weights, and no value=")
    source = as_generator(generator)
    hard = find_causal_graph(model, x, target, **options)
    rows = []
    for beta in track(values, "intervening softly", enabled=progress):
        soft = (float(beta), float(beta) + WIDTH)
        graphs = (
            find_causal_graph(model, x, target, value=soft, generator=source, **options) for _ in range(n_repeats)
        )
        rows.append([hard.jaccard(graph) for graph in graphs])
    return GraphStability(hard, tuple(values), torch.tensor(rows, dtype=x.dtype if x.is_floating_point() else None))


@torch.inference_mode(False)
def local_lipschitz(
    attribute: Callable[[Tensor], Tensor],
    x: Float[Tensor, "n *d"],
    *,
    n_neighbours: int = 10,
    noise_mean: float = 0.1,
    noise_std: float = 0.1,
    normalize: bool = True,
    generator: torch.Generator | None = None,
) -> Float[Tensor, " n"]:
    r"""Estimate how much an attribution changes near each input.

    $L(x) = \max_k \lVert A(x) - A(x_k) \rVert / \lVert x - x_k \rVert$ over random neighbours $x_k$.

    Args:
        attribute: Attribution of a batch of inputs, one map of any shape a row.
        x: Inputs.
        n_neighbours: Neighbours $x_k = x + \epsilon$. Paper's implementation: 10.
        noise_mean: Mean of the normal noise. Paper's implementation: 0.1.
        noise_std: Its standard deviation. Paper's implementation: 0.1.
        normalize: Scale each map to the norm 1 first, so that attributions of several units can be compared.
        generator: Source of the noise; a fixed seed by default.

    Returns:
        One estimate an input.

    Raises:
        InvalidInputError: The inputs or an option are unusable, or the attribution does not give one map an input.
        NumericalError: A map is NaN or infinite.

    Cost: 1 + `n_neighbours` attributions an input.

    Source: Ahmad et al., "Causal Analysis for Robust Interpretability of Neural Networks" (2023), abstract; the noise
    is that of a published implementation.

    >>> local_lipschitz(lambda x: 3 * x, torch.eye(2), normalize=False).allclose(torch.tensor(3.0))
    True
    """
    x = check_samples(x)
    check_count(n_neighbours, "n_neighbours")
    check_positive(noise_std, "noise_std")
    if not math.isfinite(noise_mean):
        raise InvalidInputError(f"noise_mean must be a finite number, got {noise_mean!r}")
    source = as_generator(generator)
    first = _maps(attribute, x, normalize)
    largest = torch.zeros(len(x), dtype=first.dtype, device=first.device)
    for _ in range(n_neighbours):
        drawn = torch.randn(x.shape, generator=source, device=source.device, dtype=torch.float64).to(x)
        step = noise_mean + noise_std * drawn
        change = (_maps(attribute, x + step, normalize) - first).norm(dim=1)
        largest = torch.maximum(largest, change / step.flatten(1).norm(dim=1).to(change))
    return largest


def _maps(attribute: Callable[[Tensor], Tensor], x: Tensor, normalize: bool) -> Float[Tensor, "n p"]:
    maps = attribute(x)
    if not isinstance(maps, Tensor) or maps.ndim < 1 or len(maps) != len(x):
        got = f"shape {tuple(maps.shape)}" if isinstance(maps, Tensor) else type(maps).__name__
        raise InvalidInputError(f"attribute must return one map for each of {len(x)} inputs, got {got}")
    maps = maps.detach().reshape(len(x), -1)
    check_finite(maps, "the attribution")
    return maps / maps.norm(dim=1, keepdim=True).clamp_min(torch.finfo(maps.dtype).tiny) if normalize else maps
