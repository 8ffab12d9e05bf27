"""How many training samples were recovered, beside what chance would have recovered."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from matplotlib.axes import Axes
from torch import Tensor

from assay.core import InvalidInputError, check_finite, check_samples, generator
from assay.reconstruction.similarity import normalized_correlation, structural_similarity


@dataclass(frozen=True, eq=False)
class ReconstructionScore:
    """Hold each training sample's best reconstruction and what three nulls reach.

    Attributes:
        train_x: The training samples, mean taken out.
        best: The candidate most like each of them, as it came.
        index: Its index among the candidates.
        ncc: Its correlation with the sample.
        ssim: Structural similarity of the two, mean put back and the candidate scaled to [0, 1]; None unless images
            of shape (n, channels, height, width) were given. Misleading on black backgrounds: look at `ncc`.
        mean: What was taken out.
        random_ncc: Best correlation with as many random vectors of the same subspace.
        row_ncc: Best correlation with a row of the first layer, either sign; None where no rows were given.
        held_out_ncc: Best correlation of each held-out sample with the same candidates; None where none were given.
    """

    train_x: Float[Tensor, "n ..."]
    best: Float[Tensor, "n ..."]
    index: Int[Tensor, " n"]
    ncc: Float[Tensor, " n"]
    ssim: Float[Tensor, " n"] | None
    mean: Float[Tensor, "..."]
    random_ncc: Float[Tensor, " n"]
    row_ncc: Float[Tensor, " n"] | None
    held_out_ncc: Float[Tensor, " h"] | None

    @property
    def n75(self) -> int:
        """Training samples with a candidate at NCC > 0.75."""
        return int((self.ncc > 0.75).sum())

    @property
    def n90(self) -> int:
        """Training samples with a candidate at NCC > 0.9."""
        return int((self.ncc > 0.9).sum())

    def nulls(self, threshold: float = 0.75) -> dict[str, int]:
        """Count what each null brings above a threshold: random candidates, first-layer rows, held-out samples."""
        found = {"random": self.random_ncc, "rows": self.row_ncc, "held out": self.held_out_ncc}
        return {name: int((value > threshold).sum()) for name, value in found.items() if value is not None}

    def rescaled(self) -> Float[Tensor, "n ..."]:
        """Return the matches as images: at the scale that fits best, which the weights leave open, mean put back."""
        size = (self.best * self.train_x).flatten(1).sum(1)
        size = size / self.best.flatten(1).square().sum(1).clamp_min(torch.finfo(size.dtype).tiny)
        return self.best * size.reshape(-1, *[1] * (self.best.ndim - 1)) + self.mean

    def __str__(self) -> str:
        nulls = ", ".join(f"{name} {count}" for name, count in self.nulls().items())
        return (
            f"Of {len(self.ncc)} training samples, {self.n90} are recovered with NCC > 0.9 and {self.n75} with "
            f"NCC > 0.75 (median best NCC {self.ncc.median():.2f}). Nulls at NCC > 0.75: {nulls}."
        )

    def plot(self, n: int = 12, *, ax: Axes | None = None) -> Axes:
        """Show the best recovered samples above their reconstructions, one column each.

        Args:
            n: Columns.
            ax: Where to draw; a new figure when None.

        Raises:
            InvalidInputError: The samples are no images.
        """
        from matplotlib import pyplot as plt

        order = self.ncc.argsort(descending=True)[:n]
        pair = torch.stack([self.train_x[order] + self.mean, self.rescaled()[order]])
        picture = _images(pair.flatten(0, 1))
        columns = picture.reshape(2, len(order), *picture.shape[1:]).clamp(0, 1).cpu()
        canvas = torch.cat([torch.cat(list(row), -1) for row in columns], -2)
        if ax is None:
            ax = plt.subplots(figsize=(len(order), 2.4))[1]
        ax.imshow(np.moveaxis(canvas.numpy(), 0, -1).squeeze(), cmap="gray", vmin=0, vmax=1)
        width = columns.shape[-1]
        labels = [f"{value:.2f}" for value in self.ncc[order].tolist()]
        ax.set_xticks([(k + 0.5) * width for k in range(len(order))], labels=labels)
        ax.set_yticks([0.5 * columns.shape[-2], 1.5 * columns.shape[-2]], labels=["training image", "recovered"])
        ax.set_xlabel("NCC")
        return ax


def score_reconstructions(
    candidates: Float[Tensor, "m ..."],
    train_x: Float[Tensor, "n ..."],
    *,
    mean: Float[Tensor, "..."] | None = None,
    basis: Float[Tensor, "r d"] | None = None,
    first_layer: Float[Tensor, "h d"] | None = None,
    held_out_x: Float[Tensor, "k ..."] | None = None,
    random_state: int = 0,
) -> ReconstructionScore:
    r"""Match every training sample with its nearest candidate, and every null with the same freedom.

    Nearest by normalised correlation after the mean image was taken out of the training samples. Best-of-m rises
    with m and falls with the dimension by chance alone, so the count means nothing without its nulls.

    Args:
        candidates: Reconstructions or a whole pool, as the network takes its inputs.
        train_x: Training samples before the mean is taken out.
        mean: What was taken out of the training samples for the network; nothing when None.
        basis: Rows that span where the candidates were searched; all of input space when None.
        first_layer: First layer's weight, the naive leak.
        held_out_x: Samples of the same kind that the network was not trained on, treated as `train_x` is.
        random_state: Seed of the random candidates.

    Returns:
        The matches, the counts and the nulls.

    Raises:
        InvalidInputError: Shapes differ or something is empty or not finite.

    Source: Haim et al. (2022); the nulls are ours.

    >>> x = torch.eye(4)
    >>> print(score_reconstructions(2 * x, x).n90)
    4
    """
    check_samples(candidates, "candidates")
    check_samples(train_x, "train_x")
    shape = train_x.shape[1:]
    if candidates[0].numel() != train_x[0].numel():
        raise InvalidInputError(
            f"candidates have shape {tuple(candidates.shape[1:])}, training samples {tuple(shape)}; reshape one of them"
        )
    candidates = candidates.reshape(-1, *shape).to(train_x)
    mean = torch.zeros_like(train_x[0]) if mean is None else mean.to(train_x).reshape(shape)
    centred = train_x - mean
    ncc, index = normalized_correlation(centred, candidates).max(1)
    check_finite(ncc, "the correlation with the candidates")
    best = candidates[index]
    held_out = None
    if held_out_x is not None:
        check_samples(held_out_x, "held_out_x")
        held_out = normalized_correlation(held_out_x.to(train_x).reshape(-1, *shape) - mean, candidates).amax(1)
    rows = None
    if first_layer is not None:
        rows = normalized_correlation(centred, first_layer.detach().to(train_x).reshape(-1, *shape)).abs().amax(1)
    chance = _random_candidates(len(candidates), train_x, basis, random_state)
    random = normalized_correlation(centred, chance).amax(1)
    ssim = None
    if train_x.ndim == 4:
        ssim = structural_similarity(train_x, _unit_range(best + mean))
    return ReconstructionScore(centred, best, index, ncc, ssim, mean, random, rows, held_out)


def _random_candidates(m: int, like: Tensor, basis: Tensor | None, seed: int) -> Tensor:
    width = like[0].numel() if basis is None else len(basis)
    draws = torch.randn(m, width, generator=generator(seed)).to(like)
    return (draws if basis is None else draws @ basis.to(like)).reshape(m, *like.shape[1:])


def _unit_range(images: Tensor) -> Tensor:
    """Scale each image to [0, 1]."""
    flat = images.flatten(1)
    low, high = flat.amin(1, keepdim=True), flat.amax(1, keepdim=True)
    return ((flat - low) / (high - low).clamp_min(torch.finfo(flat.dtype).eps)).reshape(images.shape)


def _images(x: Tensor) -> Tensor:
    """Return samples as (n, channels, height, width); flat ones must be square."""
    if x.ndim == 4:
        return x
    side = round(x[0].numel() ** 0.5)
    if side * side != x[0].numel():
        raise InvalidInputError(
            f"samples of shape {tuple(x.shape[1:])} are no images; score samples of shape (channels, height, width)"
        )
    return x.reshape(len(x), 1, side, side)
