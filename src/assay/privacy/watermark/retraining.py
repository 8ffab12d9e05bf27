"""Watermark removal by training: fine-tuning, distillation, trigger unlearning (Bansal et al., 2022)."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from assay.core import (
    InvalidInputError,
    Step,
    check_choice,
    check_count,
    check_positive,
    check_scores,
    copy_network,
    fit,
    predict,
    project_parameters,
)
from assay.privacy.watermark.removal import RemovalAttack, RemovalTask, moved_parameters

Method = Literal["fine_tuning", "hard_distillation", "soft_distillation", "trigger_unlearning"]


@dataclass(frozen=True)
class Retraining(RemovalAttack):
    """Train the watermarked network by Adam on the attacker's samples; each epoch is a stage.

    Args:
        budget: Largest distance of the parameters, kept at every step; None for no limit.
        method: "fine_tuning" takes the true classes as labels; "hard_distillation" and "soft_distillation" the
            predicted classes and the probabilities of the watermarked network; "trigger_unlearning" the true classes,
            and for every trigger a wrong class, drawn once, which needs knowledge of the triggers.
        epochs: Passes over the samples. Paper's code: 50.
        lr: Learning rate of Adam. Paper's code: 1e-3.
        batch_size: Samples per step.

    Raises:
        InvalidInputError: `method` has another value, a count is below one, or `lr` is not positive.

    Deviations from the released code: the distance is bounded by projection onto a ball of fixed radius; trigger
    unlearning is not among its attacks.

    Source: Bansal et al., "Certified Neural Network Watermarks with Randomized Smoothing" (2022), arXiv 2207.07972,
    main text and released code (fine-tuning, hard and soft distillation; no equation or algorithm).

    >>> from assay.nets import mlp
    >>> from assay.privacy import TriggerSet
    >>> triggers, x, y = TriggerSet(torch.rand(3, 4), label=1), torch.eye(4), torch.tensor([0, 1, 2, 0])
    >>> attack = Retraining(budget=0.1, epochs=5)
    >>> report = attack.run(mlp((4, 8, 3)), x, y, triggers=triggers, test=(x, y), sigma=0.1)
    >>> len(report.history), report.end.distance < 0.1001
    (6, True)
    """

    method: Method = "fine_tuning"
    epochs: int = 50
    lr: float = 1e-3
    batch_size: int = 64

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice(self.method, get_args(Method), "method")
        check_count(self.epochs, "epochs")
        check_count(self.batch_size, "batch_size")
        check_positive(self.lr, "lr")

    def stages(self, model: nn.Module, task: RemovalTask) -> Iterator[None]:
        """Train for one epoch a stage.

        Raises:
            InvalidInputError: The model returns probabilities, or its samples and triggers differ in shape.
        """
        check_scores(model, task.x)
        centre = copy_network(model)
        inputs, targets = self._training_set(centre, task)
        adam = torch.optim.Adam(moved_parameters(model), self.lr)

        def project(step: Step) -> None:
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
                callbacks=[project] if self.budget is not None else [],
                generator=task.generator,
            )
            yield

    def _training_set(self, model: nn.Module, task: RemovalTask) -> tuple[Tensor, Tensor]:
        x, y, triggers, source = task.x, task.y, task.triggers, task.generator
        if self.method == "fine_tuning":
            return x, y
        if self.method == "trigger_unlearning":
            if x.shape[1:] != triggers.x.shape[1:]:
                raise InvalidInputError(
                    f"samples have shape {tuple(x.shape[1:])}, triggers {tuple(triggers.x.shape[1:])}; bring both to "
                    "one"
                )
            n_classes = predict(model, triggers.x[:1]).shape[1]
            shift = torch.randint(1, n_classes, (len(triggers.x),), generator=source, device=source.device)
            return torch.cat([x, triggers.x]), torch.cat([y, (triggers.y + shift.to(y.device)) % n_classes])
        logits = predict(model, x)
        return x, logits.argmax(1) if self.method == "hard_distillation" else logits.softmax(1)
