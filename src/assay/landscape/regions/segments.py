"""Distance to the decision boundary, and class changes between samples (Somepalli et al., 2022)."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from assay.core import (
    InvalidInputError,
    as_generator,
    check_count,
    check_outputs,
    check_samples,
    predict,
    track,
)
from assay.landscape.regions.predictions import predicted_class

_STEPS = ((11, 0.01), (20, 0.1), (51, 0.5), (76, 1.0), (101, 10.0), (200, 20.0))  # size of step i below each count


@dataclass(frozen=True, eq=False)
class DirectionalMargins:
    """Distances of samples to the decision boundary towards other samples.

    Attributes:
        margins: Mean distance over the directions that hit a boundary, of the samples that are kept.
        kept: Which samples have a boundary in at least half of their directions.
        hits: Directions of each sample that hit a boundary.
    """

    margins: Float[Tensor, " k"]
    kept: Bool[Tensor, " n"]
    hits: Int64[Tensor, " n"]

    def __str__(self) -> str:
        if len(self.margins) == 0:
            return f"None of {len(self.kept)} samples meets a boundary in half of its directions."
        return (
            f"The mean distance to the decision boundary is {self.margins.mean():.4g} (standard deviation "
            f"{self.margins.std(correction=0):.4g}), over {len(self.margins)} of {len(self.kept)} samples."
        )


@torch.inference_mode(False)
def directional_margin(
    model: nn.Module,
    x: Float[Tensor, "n *d"],
    targets: Float[Tensor, "m *d"],
    *,
    n_directions: int = 10,
    deltas: Float[Tensor, " s"] | None = None,
    batch_size: int = 2500,
    generator: torch.Generator | None = None,
    progress: bool = False,
) -> DirectionalMargins:
    r"""Measure how far each sample is from a change of its prediction, towards random other samples.

    Along $x_i + \delta\,\frac{x_j - x_i}{\lVert x_j - x_i \rVert}$, the first $\delta$ at which the prediction is not
    that at $x_i$, averaged over the directions that hit a boundary. The distance is rounded up to the grid of deltas.

    Args:
        model: A classifier with one row of scores a sample; it comes back as it was.
        x: Samples whose margins are measured.
        targets: Samples towards which the directions point.
        n_directions: Random targets of each sample. Paper: 10.
        deltas: Distances to try, positive and increasing. Default: the paper's 200, from 0.01 to about 2300.
        batch_size: Points evaluated at once.
        generator: Source of the targets; a fixed seed by default.
        progress: Draw a bar on standard error.

    Returns:
        The margins of samples with a boundary in at least half of their directions.

    Raises:
        InvalidInputError: The samples do not fit the network or each other, or the deltas do not increase from above 0.
        NumericalError: A score is NaN or infinite.

    Cost: time n q s forward passes for q directions and s distances, memory that of one batch.

    Source: Somepalli et al. (2022), arXiv 2203.08124, section 5, distances to the decision boundary; the distances are
    those of the authors' code.

    >>> sign = nn.Linear(1, 1, bias=False)
    >>> _ = nn.init.ones_(sign.weight)
    >>> x, deltas = torch.tensor([[1.0]]), torch.linspace(0.1, 3, 30)
    >>> found = directional_margin(sign, x, -x, n_directions=1, deltas=deltas)
    >>> round(found.margins.item(), 2)
    1.0
    """
    x, targets = check_samples(x), check_samples(targets, "targets")
    if x.shape[1:] != targets.shape[1:]:
        raise InvalidInputError(f"x holds samples of shape {tuple(x.shape[1:])}, targets of {tuple(targets.shape[1:])}")
    check_count(n_directions, "n_directions")
    check_count(batch_size, "batch_size")
    deltas = _checked(_paper_deltas() if deltas is None else deltas).to(x)
    check_outputs(model, x)
    source = as_generator(generator)
    chosen = torch.randint(len(targets), (len(x), n_directions), generator=source, device=source.device).to(x.device)
    start = x[:, None].expand(-1, n_directions, *x.shape[1:]).flatten(0, 1).flatten(1)
    towards = targets[chosen.flatten()].flatten(1) - start
    length = towards.norm(dim=1, keepdim=True)
    direction = towards / length.clamp_min(torch.finfo(x.dtype).tiny)
    now = predicted_class(predict(model, x, batch_size=batch_size)).repeat_interleave(n_directions)
    first, hit = [], []
    rows = max(1, batch_size // len(deltas))
    parts = list(zip(start.split(rows), direction.split(rows), now.split(rows), strict=True))
    for begin, step, before in track(parts, "directions", enabled=progress):
        points = (begin[:, None] + deltas[:, None] * step[:, None]).reshape(-1, *x.shape[1:])
        found = predicted_class(predict(model, points, batch_size=batch_size, look=False)).reshape(len(begin), -1)
        changed = found != before[:, None]
        first.append(deltas[changed.int().argmax(1)])
        hit.append(changed.any(1))
    distances, hits = torch.cat(first).reshape(len(x), -1), torch.cat(hit).reshape(len(x), -1)
    n_hits = hits.sum(1)
    kept = 2 * n_hits >= n_directions
    mean = (distances * hits).sum(1)[kept] / n_hits[kept]
    return DirectionalMargins(mean, kept, n_hits)


@torch.inference_mode(False)
def path_class_changes(
    model: nn.Module,
    xa: Float[Tensor, "k *d"],
    xb: Float[Tensor, "k *d"],
    *,
    n: int = 50,
    batch_size: int = 2500,
) -> Int64[Tensor, " k"]:
    """Count the changes of the prediction along the segment between each pair of samples.

    Args:
        model: A classifier with one row of scores a sample; it comes back as it was.
        xa: Samples at one end.
        xb: As many samples at the other.
        n: Points on each segment, both ends included; changes between two points cancel where they are even.
        batch_size: Points evaluated at once.

    Returns:
        The number of changes for each pair.

    Raises:
        InvalidInputError: The samples differ in shape or do not fit the network, or `n` is below 2.
        NumericalError: A score is NaN or infinite.

    Cost: time k n forward passes, memory that of one batch.

    Source: Somepalli et al. (2022), arXiv 2203.08124, section 5: the straight lines are those of the
    authors' code.

    >>> path_class_changes(nn.Linear(1, 1, bias=False), torch.tensor([[-1.0]]), torch.tensor([[1.0]])).item()
    1
    """
    xa, xb = check_samples(xa, "xa"), check_samples(xb, "xb")
    if xa.shape != xb.shape:
        raise InvalidInputError(f"xa is of shape {tuple(xa.shape)}, xb of {tuple(xb.shape)}; pass pairs of samples")
    check_count(n, "n", at_least=2)
    check_count(batch_size, "batch_size")
    check_outputs(model, xa)
    places = torch.linspace(0, 1, n, dtype=xa.dtype, device=xa.device).reshape(-1, *[1] * (xa.ndim - 1))
    found = []
    rows = max(1, batch_size // n)
    for begin, end in zip(xa.split(rows), xb.split(rows), strict=True):
        points = torch.lerp(begin[:, None], end[:, None], places).flatten(0, 1)
        classes = predicted_class(predict(model, points, batch_size=batch_size, look=False)).reshape(len(begin), n)
        found.append((classes.diff(dim=1) != 0).sum(1))
    return torch.cat(found)


def _paper_deltas() -> Tensor:
    sizes, before = [], 0
    for count, size in _STEPS:
        sizes += [size] * (count - before)
        before = count
    return torch.tensor(sizes, dtype=torch.float64).cumsum(0)


def _checked(deltas: Tensor) -> Tensor:
    good = isinstance(deltas, Tensor) and deltas.ndim == 1 and len(deltas) > 0 and bool(deltas.isfinite().all())
    if not good or deltas[0] <= 0 or (deltas.diff() <= 0).any():
        raise InvalidInputError("deltas must be a vector of finite, positive and increasing distances")
    return deltas
