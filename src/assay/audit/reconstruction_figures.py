"""Figures of the reconstruction probe: recovered samples beside the training data, and the ROC."""

import torch
from torch import Tensor

from assay.audit.pictures import is_image, plot_picture, sample_picture, stretch
from assay.audit.probe import Figure
from assay.audit.reading import Reading
from assay.audit.recovered import Recovered
from assay.audit.subject import Subject
from assay.reconstruction import ReconstructionROC, ReconstructionScore

_SHOWN = 30


def pattern_figures(reading: Reading, recovered: Recovered) -> tuple[Figure, ...]:
    """Show the patterns that most restarts agree on, where they are images."""
    patterns = reading.unscaled(recovered.agreed)[:_SHOWN]
    if not len(patterns) or not is_image(tuple(patterns.shape[1:])):
        return ()
    figures = []
    for number, (pattern, count, tightness) in enumerate(
        zip(patterns, recovered.support.tolist(), recovered.cohesion, strict=False), 1
    ):
        picture = sample_picture(f"{number:02}", stretch(pattern), f"Pattern {number}, from the weights alone")
        agreed = f"found by {count} of {recovered.attack.n_restarts} restarts, tightness {tightness:.2f}"
        caption = "solved for by exact equations" if number <= len(recovered.exact) else agreed
        figures.append(Figure((picture,), caption, tile=True))
    return tuple(figures)


def candidate_figures(candidates: Tensor, votes: Tensor) -> tuple[Figure, ...]:
    """Show candidates, those that restarts agree on most first, where they are images."""
    if not len(candidates) or not is_image(tuple(candidates.shape[1:])):
        return ()
    figures = []
    for number, (pattern, vote) in enumerate(zip(candidates[:_SHOWN], votes.tolist(), strict=False), 1):
        alt = f"Candidate {number}, from the trained weights and the start"
        picture = sample_picture(f"{number:02}", stretch(pattern), alt)
        figures.append(Figure((picture,), f"brightness stretched, restarts agree to NCC {vote:.2f}", tile=True))
    return tuple(figures)


def recovered_figures(subject: Subject, score: ReconstructionScore, *, own_scale: bool = False) -> tuple[Figure, ...]:
    """Show the training images, the best recovered first, each beside the candidate closest to it.

    Candidates are given the brightness and the contrast of the image, unless they come at a scale of their own.
    """
    if score.ssim is None or not is_image(tuple(score.train_x.shape[1:])):
        return ()
    lowest, highest = subject.input_range
    figures = []
    for number, index in enumerate(score.ncc.argsort(descending=True)[:_SHOWN].tolist(), 1):
        sample, ncc, ssim = score.train_x[index], score.ncc[index].item(), score.ssim[index].item()
        recovered = score.best[index] if own_scale else _with_contrast_of(sample, score.best[index])
        shown = [(image + score.mean - lowest) / (highest - lowest) for image in (recovered, sample)]
        figures.append(
            Figure(
                (
                    sample_picture(f"{number:02}-recovered", shown[0], f"Recovered from the weights, NCC {ncc:.2f}"),
                    sample_picture(f"{number:02}-training", shown[1], "The training image closest to it"),
                ),
                f"recovered from the weights (left) and training image (right), NCC {ncc:.2f}, SSIM {ssim:.2f}",
                tile=True,
            )
        )
    return tuple(figures)


def roc_figure(curve: ReconstructionROC | None) -> tuple[Figure, ...]:
    """Draw the ROC of membership by the best candidate, where there are held-out samples."""
    if curve is None:
        return ()
    alt = f"ROC of membership by the best candidate, area {curve.curve.auc:.2f}, beside the diagonal of chance"
    picture = plot_picture("roc", lambda ax: curve.plot(ax=ax), alt)
    return (
        Figure(
            (picture,),
            f"ROC of telling training samples from {len(curve.nonmembers)} held-out ones by their best candidate.",
        ),
    )


def _with_contrast_of(sample: Tensor, candidate: Tensor) -> Tensor:
    """Give a candidate the mean and the standard deviation of a sample, which NCC does not see."""
    spread = candidate.std().clamp_min(torch.finfo(candidate.dtype).tiny)
    return (candidate - candidate.mean()) / spread * sample.std() + sample.mean()
