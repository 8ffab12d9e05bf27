"""State of the gradient ascents of Auto-PGD: each sample's point, its best point, and their gradients."""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from assay.adversarial.attacks.threat import Lp
from assay.core import input_gradient, per_sample

Objective = Callable[[Tensor, Tensor], Tensor]
"""The function to maximise: scores `(n, c)` and one row of labels a sample to values `(n,)`."""

Broken = Callable[[Tensor, Tensor], Tensor]
"""The success criterion: predicted classes `(n,)` and the same labels to a mask."""


class AscentState:
    """The state of an ascent, with one row a sample in every tensor."""

    def __init__(self, x: Tensor, labels: Tensor, start: Tensor, threat: Lp, *, step_size: float) -> None:
        self.threat = threat
        self.index = torch.arange(len(x), device=x.device)
        self.x, self.labels = x, labels
        self.point = self.best = start
        self.gradient = self.best_gradient = torch.zeros_like(x)
        self.value = self.best_value = x.new_full((len(x),), -math.inf)
        self.step_size = x.new_full((len(x),), step_size)

    def keep(self, mask: Tensor) -> None:
        """Drop the samples outside the mask."""
        if not mask.all():
            rows = {name: value[mask] for name, value in vars(self).items() if isinstance(value, Tensor)}
            vars(self).update(rows)

    def evaluate(self, model: nn.Module, objective: Objective, *, differentiate: bool) -> Tensor:
        """Measure the objective and its gradient at the current points; return the predicted classes."""
        seen: list[Tensor] = []

        def measured(logits: Tensor) -> Tensor:
            seen.append(logits.detach())
            return objective(logits, self.labels)

        if differentiate:
            self.value, self.gradient = input_gradient(model, self.point, measured)
        else:
            with torch.no_grad():
                self.value = measured(model(self.point))
        improved = self.value > self.best_value
        rows = per_sample(improved, self.x)
        self.best = torch.where(rows, self.point, self.best)
        self.best_gradient = torch.where(rows, self.gradient, self.best_gradient)
        self.best_value = torch.where(improved, self.value, self.best_value)
        return seen[0].argmax(1)

    def return_to_best(self, mask: Tensor) -> None:
        """Set the samples of the mask back to their best points."""
        rows = per_sample(mask, self.x)
        self.point = torch.where(rows, self.best, self.point)
        self.gradient = torch.where(rows, self.best_gradient, self.gradient)
        self.value = torch.where(mask, self.best_value, self.value)
