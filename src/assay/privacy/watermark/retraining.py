"""Attacks that go on training a watermarked network: fine-tuning, distillation, and unlearning of known triggers."""

from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from assay.core import InvalidInputError, Step, check_positive, fit, predict, project_parameters
from assay.privacy.watermark.removal import RemovalAttack
from assay.privacy.watermark.triggers import TriggerSet

Lesson = Literal["labels", "hard", "soft", "forget"]


@dataclass(frozen=True)
class Retraining(RemovalAttack):
    """Go on training, by Adam, on samples of the attacker's own; each epoch is a stage.

    Args:
        budget: Longest distance of the parameters, kept at every step; None for any.
        lesson: `labels` fine-tunes on the true classes; `hard` and `soft` distil the watermarked network itself, from
            its decisions or its probabilities; `forget` fine-tunes and gives every trigger a wrong class, drawn once,
            which only an attacker who knows the triggers can do.
        epochs: Passes over the samples. Paper's code: 50.
        lr: Learning rate of Adam. Paper's code: 1e-3.
        batch_size: Samples a step.

    Raises:
        InvalidInputError: Another lesson, a count below one, or a learning rate that is not positive.

    Deviation from the released code: distance is bounded by projection onto a ball of fixed radius.

    Source: Bansal et al., "Certified Neural Network Watermarks with Randomized Smoothing" (2022), arXiv 2207.07972.

    >>> from assay.nets import mlp
    >>> triggers, x, y = TriggerSet(torch.rand(3, 4), label=1), torch.eye(4), torch.tensor([0, 1, 2, 0])
    >>> attack = Retraining(budget=0.1, epochs=5)
    >>> report = attack.run(mlp((4, 8, 3)), x, y, triggers=triggers, test=(x, y), sigma=0.1)
    >>> len(report.history), report.end.distance < 0.1001
    (6, True)
    """

    lesson: Lesson = "labels"
    epochs: int = 50
    lr: float = 1e-3
    batch_size: int = 64

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.lesson not in get_args(Lesson) or min(self.epochs, self.batch_size) < 1:
            raise InvalidInputError(
                f"give a lesson of {get_args(Lesson)}, at least one epoch and a batch of one, got {self.lesson!r}, "
                f"{self.epochs} and {self.batch_size}"
            )
        check_positive(self.lr, "lr")

    def stages(
        self,
        model: nn.Module,
        x: Float[Tensor, "n *d"],
        y: Int[Tensor, " n"],
        *,
        triggers: TriggerSet,
        generator: torch.Generator,
    ) -> Iterator[None]:
        """Train for one epoch a stage."""
        centre = deepcopy(model)
        inputs, targets = self._task(centre, x, y, triggers, generator)
        adam = torch.optim.Adam(model.parameters(), self.lr)

        def keep_near(step: Step) -> None:
            project_parameters(step.model, centre, self.budget)

        for _ in range(self.epochs):
            fit(
                model,
                inputs,
                targets,
                loss=F.cross_entropy,  # takes classes as well as probabilities
                optimizer=lambda _: adam,
                epochs=1,
                batch_size=self.batch_size,
                callbacks=[keep_near] if self.budget is not None else [],
                generator=generator,
            )
            yield

    def _task(
        self, model: nn.Module, x: Tensor, y: Tensor, triggers: TriggerSet, source: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        if self.lesson == "labels":
            return x, y
        if self.lesson == "forget":
            n_classes = predict(model, triggers.x[:1]).shape[1]
            away = torch.randint(1, n_classes, (len(triggers.x),), generator=source, device=source.device)
            return torch.cat([x, triggers.x]), torch.cat([y, (triggers.y + away.to(y.device)) % n_classes])
        logits = predict(model, x)
        return x, logits.argmax(1) if self.lesson == "hard" else logits.softmax(1)
