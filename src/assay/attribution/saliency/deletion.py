"""Deletion and insertion curves: the class score as pixels are removed or shown in the order of a map."""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from assay.attribution.saliency.class_scores import Target, class_rows, log_probability, read_classes, read_inputs
from assay.core import InvalidInputError, check_choice, check_count, check_finite, preserved


@dataclass(frozen=True)
class DeletionInsertionCurve:
    """Class probability of each sample after shares of its positions were replaced.

    Attributes:
        shares: Share of positions replaced by the baseline (deletion), or still shown (insertion).
        probabilities: Of the class.
    """

    shares: Float[Tensor, " t"]
    probabilities: Float[Tensor, "n t"]

    @property
    def auc(self) -> Float[Tensor, " n"]:
        """Area under the curve: small is good for deletion, large for insertion."""
        return torch.trapezoid(self.probabilities, self.shares.to(self.probabilities), dim=1)


def deletion_insertion_curve(
    model: nn.Module,
    x: Shaped[Tensor, "n *d"],
    saliency: Float[Tensor, "n *positions"],
    target: Target = None,
    *,
    mode: Literal["deletion", "insertion"] = "deletion",
    baseline: Shaped[Tensor, "*sample"] | None = None,
    n_iter: int = 20,
    batch_size: int = 256,
) -> DeletionInsertionCurve:
    """Replace positions by a baseline, the most salient first, and record the probability of the class.

    With "insertion", the baseline comes first and positions are shown in the same order. Equal values are taken in
    the order of positions: break ties at random before, where they matter.

    Cost: (n_iter + 1) n forward passes.

    Args:
        model: Network of class scores; it comes back as it was.
        x: Samples: images, with all channels of a pixel replaced together, or rows of tokens or features.
        saliency: One value a position, as (n, 1, h, w) or (n, h, w) for images, (n, 1, t) or (n, t) for rows.
        target: As for `NormGrad.attribute`; the class of the highest score on x by default.
        mode: "deletion" or "insertion".
        baseline: What replaces a position, of the shape of one sample or of x; zero by default.
        n_iter: Steps from none to all positions.
        batch_size: Samples a forward pass.

    Raises:
        InvalidInputError: The model or the samples are unusable, or the saliency has other positions.

    Source: Petsiuk, Das, Saenko, RISE: Randomized Input Sampling for Explanation of Black-box Models (2018), section
    4.3, deletion and insertion.

    >>> model = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    >>> x = torch.rand(3, 1, 2, 2, generator=torch.Generator().manual_seed(0))
    >>> deletion_insertion_curve(model, x, x, n_iter=4).probabilities.shape
    torch.Size([3, 5])
    """
    check_choice(mode, ("deletion", "insertion"), "mode")
    check_count(n_iter, "n_iter")
    check_count(batch_size, "batch_size")
    x, classes = read_inputs(model, x, target)
    places = x.shape[2:] if x.ndim > 2 else x.shape[1:]
    if saliency.numel() != len(x) * places.numel() or len(saliency) != len(x):
        raise InvalidInputError(
            f"saliency of shape {tuple(saliency.shape)} has other positions than x, {tuple(x.shape)}; bring the maps "
            "to the size of the samples with upsample_saliency"
        )
    check_finite(saliency, "the saliency")
    filled = torch.zeros_like(x[0]) if baseline is None else baseline.to(x)
    if filled.shape not in (x.shape, x.shape[1:]):
        raise InvalidInputError(f"baseline of shape {tuple(filled.shape)} does not fit samples of {tuple(x.shape[1:])}")
    order = saliency.reshape(len(x), -1).argsort(dim=1, descending=True, stable=True)
    rank = torch.empty_like(order).scatter_(1, order, torch.arange(order.shape[1], device=x.device).expand_as(order))
    rank = rank.reshape(len(x), *([1] if x.ndim > 2 else []), *places)
    shares = torch.linspace(0, 1, n_iter + 1, dtype=torch.float64)
    start, end = (x, filled) if mode == "deletion" else (filled.expand_as(x), x)
    rows = range(0, len(x), batch_size)
    with preserved(model), torch.no_grad():
        first = torch.cat([class_rows(model(x[i : i + batch_size]), classes)[0] for i in rows])
        found = read_classes(first, classes[-1] if isinstance(classes, tuple) else classes)
        columns = []
        for share in shares.tolist():
            moved = torch.where(rank < round(share * order.shape[1]), end, start)
            scores = [class_rows(model(moved[i : i + batch_size]), classes)[0] for i in rows]
            columns.append(log_probability(torch.cat(scores), found).exp())
    curve = torch.stack(columns, 1)
    check_finite(curve, "the class probability")
    return DeletionInsertionCurve(shares.to(curve), curve)
