"""Scores of reconstructions against the training set, beside three null distributions (Haim et al., 2022)."""

from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from matplotlib.axes import Axes
from torch import Tensor

from assay.core import InvalidInputError, as_generator, check_finite, check_samples, find_copies, per_sample
from assay.reconstruction.scoring.similarity import normalized_correlation, structural_similarity


@dataclass(frozen=True, eq=False)
class ReconstructionScore:
    """Hold the best reconstruction of each training sample, and the scores of three nulls.

    Attributes:
        train_x: The training samples, mean subtracted.
        best: The candidate nearest to each sample, unscaled.
        index: Its index among the candidates.
        ncc: Its correlation with the sample.
        ssim: Structural similarity of the two, mean added back and the candidate scaled to [0, 1]; None unless images
            of shape (n, channels, height, width) were given. Misleading on black backgrounds: prefer `ncc`.
        mean: The mean that was subtracted.
        random_ncc: Best correlation with as many random vectors of the same subspace.
        row_ncc: Best correlation with a row of the first layer, of either sign; None without rows.
        held_out_ncc: Best correlation of each held-out sample with the same candidates; None without such samples.
        random_ssim: `ssim` of the random vectors.
        row_ssim: `ssim` of the rows.
        held_out_ssim: `ssim` of the held-out samples.
        n_shared: Held-out samples that are copies of a training sample, and so no null.
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
    random_ssim: Float[Tensor, " n"] | None
    row_ssim: Float[Tensor, " n"] | None
    held_out_ssim: Float[Tensor, " h"] | None
    n_shared: int = 0

    @property
    def n75(self) -> int:
        """Training samples with a candidate at NCC > 0.75."""
        return int((self.ncc > 0.75).sum())

    @property
    def n90(self) -> int:
        """Training samples with a candidate at NCC > 0.9."""
        return int((self.ncc > 0.9).sum())

    def nulls(self, threshold: float = 0.75) -> dict[str, int]:
        """Count the matches of each null above a threshold: random candidates, first-layer rows, held-out samples."""
        found = {"random": self.random_ncc, "rows": self.row_ncc, "held out": self.held_out_ncc}
        return {name: int((value > threshold).sum()) for name, value in found.items() if value is not None}

    def ssim_counts(self, threshold: float = 0.4) -> dict[str, int]:
        """Count the matches above a structural similarity, and those of each null; empty without images.

        The papers count at 0.4. The mean image alone can pass it: compare the first count with the nulls.
        """
        found = {"recovered": self.ssim, "random": self.random_ssim, "rows": self.row_ssim}
        found["held out"] = self.held_out_ssim
        return {name: int((value > threshold).sum()) for name, value in found.items() if value is not None}

    def rescaled(self) -> Float[Tensor, "n ..."]:
        """Return the matches as images: at the best-fitting scale, with the mean added back."""
        size = (self.best * self.train_x).flatten(1).sum(1)
        size = size / self.best.flatten(1).square().sum(1).clamp_min(torch.finfo(size.dtype).tiny)
        return self.best * per_sample(size, self.best) + self.mean

    def __str__(self) -> str:
        text = (
            f"Of {len(self.ncc)} training samples, {self.n90} are recovered with NCC > 0.9 and {self.n75} with "
            f"NCC > 0.75 (median best NCC {self.ncc.median():.2f}). Nulls at NCC > 0.75: {_listed(self.nulls())}."
        )
        if self.ssim is not None:
            text += f" SSIM > 0.4: {_listed(self.ssim_counts())}."
        if self.n_shared:
            text += f" {self.n_shared} of the held-out samples are training samples too: they are no null."
        return text

    def plot(self, n: int = 12, *, ax: Axes | None = None) -> Axes:
        """Show the best recovered samples above their reconstructions, one pair per column.

        Args:
            n: Columns.
            ax: Axes to draw on; a new figure when None.

        Raises:
            InvalidInputError: The samples are not images.
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
    half_resolution: bool = False,
    vote: bool = False,
    generator: torch.Generator | None = None,
) -> ReconstructionScore:
    r"""Match every training sample with its nearest candidate by normalised correlation, and score the nulls alike.

    The best of m correlations rises with m and falls with the dimension by chance alone, so that the count means
    nothing without the nulls.

    Cost: time O(n m d), memory O(n m).

    Args:
        candidates: Reconstructions or a whole pool, in the input space of the network.
        train_x: Training samples before the mean is subtracted.
        mean: Mean that was subtracted from the training samples; zero when None.
        basis: Rows that span the search space of the candidates; all of input space when None.
        first_layer: Weight of the first layer, whose rows are the naive leak.
        held_out_x: Held-out samples of the same distribution, treated like `train_x`.
        half_resolution: Correlate images at half their height and width, by bicubic interpolation: the paper's
            choice for CIFAR-10.
        vote: Replace the nearest candidate by the mean of all candidates whose distance $2 (1 - \mathrm{NCC})$ is
            within 1.1 times the smallest: an option of the paper's code. `index` stays the nearest.
        generator: Source of the random candidates; seeded with 0 when None.

    Returns:
        The matches, the counts and the nulls; in float32 where the training samples are in half precision.

    Raises:
        InvalidInputError: Shapes differ, an argument is empty or not finite, or `half_resolution` is set for samples
            that are not images of shape (n, channels, height, width).

    Source: Haim et al., Reconstructing Training Data from Trained Neural Networks (2022), section on results
    (evaluation of the reconstructions); the nulls are ours.

    >>> x = torch.eye(4)
    >>> print(score_reconstructions(2 * x, x).n90)
    4
    """
    check_samples(train_x, "train_x")
    train_x = train_x.detach().to(torch.promote_types(train_x.dtype, torch.float32))
    candidates = _samples(candidates, train_x, "candidates")
    if half_resolution and train_x.ndim != 4:
        raise InvalidInputError(
            f"half_resolution needs images of shape (n, channels, height, width), got {tuple(train_x.shape)}"
        )
    mean = torch.zeros_like(train_x[0]) if mean is None else _samples(mean[None], train_x, "mean")[0]
    if basis is not None and (basis.ndim != 2 or basis.shape[1] != train_x[0].numel()):
        raise InvalidInputError(
            f"basis has shape {tuple(basis.shape)}, but a training sample has {train_x[0].numel()} values; give rows "
            "of that length"
        )
    match = partial(_match, mean=mean, half_resolution=half_resolution, vote=vote)
    found = match(train_x, candidates)
    check_finite(found.ncc, "the correlation with the candidates")
    held_out = rows = None
    shared = 0
    if held_out_x is not None:
        held_out_x = _samples(held_out_x, train_x, "held_out_x")
        shared = sum(map(bool, find_copies(held_out_x, train_x)))
        held_out = match(held_out_x, candidates)
    if first_layer is not None:
        leak = _samples(first_layer, train_x, "first_layer")
        rows = match(train_x, torch.cat([leak, -leak]))
    random = match(train_x, _random_candidates(len(candidates), train_x, basis, as_generator(generator)))
    nulls = [(None, None) if null is None else (null.ncc, null.ssim) for null in (random, rows, held_out)]
    nccs, ssims = zip(*nulls, strict=True)
    score = ReconstructionScore(train_x - mean, found.best, found.index, found.ncc, found.ssim, mean, *nccs, *ssims)
    return replace(score, n_shared=shared)


def _samples(value: Tensor, like: Tensor, name: str) -> Tensor:
    """Return samples in the type and shape of others."""
    check_samples(value, name)
    if value[0].numel() != like[0].numel():
        raise InvalidInputError(
            f"{name} has samples of shape {tuple(value.shape[1:])}, training samples have {tuple(like.shape[1:])}; "
            "reshape one of them"
        )
    return value.detach().to(like).reshape(-1, *like.shape[1:])


@dataclass(frozen=True, eq=False)
class _Match:
    """The best candidate of each sample."""

    best: Tensor
    index: Tensor
    ncc: Tensor
    ssim: Tensor | None


def _match(x: Tensor, candidates: Tensor, mean: Tensor, half_resolution: bool, vote: bool) -> _Match:
    """Find the candidate nearest to each sample minus the mean."""
    centred = x - mean
    compare = _correlation_at_half if half_resolution else normalized_correlation
    correlation = compare(centred, candidates)
    ncc, index = correlation.max(1)
    best = candidates[index]
    if vote:
        near = (1 - correlation <= 1.1 * (1 - ncc)[:, None]).to(x)
        best = (near @ candidates.flatten(1) / near.sum(1, keepdim=True)).reshape(x.shape)
        ncc = compare(centred, best).diagonal()
    ssim = structural_similarity(x, _unit_range(best + mean)) if x.ndim == 4 else None
    return _Match(best, index, ncc, ssim)


def _correlation_at_half(a: Tensor, b: Tensor) -> Tensor:
    a, b = (F.interpolate(images, scale_factor=0.5, mode="bicubic") for images in (a, b))
    return normalized_correlation(a, b)


def _random_candidates(m: int, like: Tensor, basis: Tensor | None, generator: torch.Generator) -> Tensor:
    width = like[0].numel() if basis is None else len(basis)
    draws = torch.randn(m, width, generator=generator).to(like)
    return (draws if basis is None else draws @ basis.to(like)).reshape(m, *like.shape[1:])


def _unit_range(images: Tensor) -> Tensor:
    """Scale each image to [0, 1]."""
    flat = images.flatten(1)
    low, high = flat.amin(1, keepdim=True), flat.amax(1, keepdim=True)
    return ((flat - low) / (high - low).clamp_min(torch.finfo(flat.dtype).eps)).reshape(images.shape)


def _listed(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items())


def _images(x: Tensor) -> Tensor:
    """Return samples as (n, channels, height, width); flat ones must be square."""
    if x.ndim == 4:
        return x
    side = round(x[0].numel() ** 0.5)
    if side * side != x[0].numel():
        raise InvalidInputError(
            f"samples of shape {tuple(x.shape[1:])} are not images; score samples of shape (channels, height, width)"
        )
    return x.reshape(len(x), 1, side, side)
