"""Classifier of raw inputs, made from a subject for adversarial attacks."""

import torch
from torch import Tensor, nn

from assay.audit.probe import SkipProbe
from assay.audit.subject import Subject
from assay.core import loss_kind, single_logit


class RawClassifier(nn.Module):
    """Wrap a subject's network as a classifier of raw inputs, with any mean subtracted inside and one score a class.

    Args:
        subject: A subject trained with a cross-entropy, of classes or of one logit, by whoever's function.

    Raises:
        SkipProbe: It was trained with another loss.
    """

    def __init__(self, subject: Subject) -> None:
        super().__init__()
        self.kind = loss_kind(subject.loss) or ""
        if self.kind not in ("cross_entropy", "binary_cross_entropy"):
            raise SkipProbe("it needs a classifier, trained with cross_entropy or binary_cross_entropy")
        self.subject = subject
        self.model = subject.model

    def forward(self, x: Tensor) -> Tensor:
        """Return one score for each class."""
        scores = self.model(x if self.subject.mean is None else x - self.subject.mean)
        if self.kind == "cross_entropy":
            return scores
        positive = single_logit(scores.reshape(len(x), -1))  # a network may squeeze a single row
        return torch.stack([-positive / 2, positive / 2], 1)
