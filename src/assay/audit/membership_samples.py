"""Samples of the membership probe, and what forbids an answer."""

import torch
from torch import Tensor

from assay.audit.assumptions import percent
from assay.audit.membership_figures import RATES
from assay.audit.probe import Context, SkipProbe
from assay.audit.subject import Subject
from assay.core import find_copies
from assay.privacy import membership_metrics

MEMBERS, _NONMEMBERS = 250, 1000  # samples of each kind at most; a rate of 0.1% needs 1000 non-members
_LEAST = 20  # samples of each kind; with fewer, rates mean nothing
_SWAPPED_LEVEL = 0.99  # confidence that a score is below chance


def draw_samples(subject: Subject, context: Context) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor], int]:
    """Draw training samples and held-out ones that are no training samples; return how many of these were."""
    inside, outside = context.sample(subject.train, MEMBERS), context.sample(subject.test, _NONMEMBERS)
    if inside[1].ndim > 1 and inside[1].shape[1] > 1:
        raise SkipProbe("it needs one label for each sample")
    known = subject.train[0] if subject.train is not None else inside[0]
    shared = torch.tensor([bool(places) for places in find_copies(outside[0], known)], device=known.device)
    n_shared, n_outside = int(shared.sum()), len(shared)
    outside = outside[0][~shared], outside[1][~shared]
    if n_shared and len(outside[0]) < _LEAST:
        raise SkipProbe(
            f"{n_shared} of {n_outside} held-out samples are training samples too, so that there is nobody to tell "
            f"members from; give at least {_LEAST} held-out samples that the network was not trained on"
        )
    if min(len(inside[0]), len(outside[0])) < _LEAST:
        raise SkipProbe(
            f"it needs at least {_LEAST} training and {_LEAST} held-out samples to estimate rates, and there are "
            f"{len(inside[0])} and {len(outside[0])}"
        )
    return inside, outside, n_shared


def check_not_swapped(confidence: Tensor, members: Tensor) -> None:
    """Refuse held-out samples that the network is surer of than of its training samples."""
    auc = membership_metrics(confidence, members, fpr=RATES, level=_SWAPPED_LEVEL).auc
    if auc.high < 0.5:
        raise SkipProbe(
            f"the network is surer of held-out samples than of training samples, in {percent(1 - auc.mean)} of pairs "
            f"(at least {percent(1 - auc.high)}): are the two swapped, or is one of them easier? Give training samples "
            "that it was trained on, and held-out samples of the same distribution"
        )
