"""Trace of gradient coherence during training (Chatterjee and Zielinski, 2022)."""

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Literal

import torch
from jaxtyping import Bool, Shaped
from torch import Tensor, nn

from assay.core import InvalidInputError, LossFunction, Step, check_count, check_pairs
from assay.generalization.coherence.measure import GradientCoherence, gradient_coherence

if TYPE_CHECKING:
    from matplotlib.axes import Axes


class CoherenceTracker:
    """Measure the coherence of fixed samples every few steps of training, as a callback of `core.fit`.

    In a loop of your own call `record(model, step)`. Only groups of equal size can be compared with each other.

    Args:
        x: Evaluation samples.
        y: Their targets.
        loss: Mean loss over samples.
        every: Steps between two measurements.
        groups: Masks of samples to measure apart, such as those with correct and with wrong labels.
        params: As for `gradient_coherence`.
        batch_size: Samples differentiated at once.

    Attributes:
        steps: Steps at which coherence was measured.
        history: Coherence of all samples at these steps.
        group_history: That of each group.

    Raises:
        InvalidInputError: The data do not fit each other, or a mask chooses no sample or is none.

    Cost: that of `gradient_coherence` without alignments, at each measurement, for all samples and each group.

    Source: Chatterjee and Zielinski, On the Generalization Mystery in Deep Learning (2022), arXiv 2203.10036, figures
    of coherence during training.

    >>> from functools import partial
    >>> from assay.core import fit, squared_error
    >>> x = torch.eye(2)
    >>> tracker = CoherenceTracker(x, torch.ones(2), loss=squared_error, every=2)
    >>> sgd = partial(torch.optim.SGD, lr=0.1)
    >>> layer = nn.Linear(2, 1)
    >>> _ = fit(layer, x, torch.ones(2), loss=squared_error, optimizer=sgd, n_iter=4, callbacks=[tracker])
    >>> tracker.steps
    [2, 4]
    """

    def __init__(
        self,
        x: Shaped[Tensor, "n *d"],
        y: Tensor,
        *,
        loss: LossFunction,
        every: int,
        groups: Mapping[str, Bool[Tensor, " n"]] | None = None,
        params: Literal["trainable", "all"] | Collection[str] = "trainable",
        batch_size: int = 64,
    ) -> None:
        check_count(every, "every")
        self.x, self.y = check_pairs(x, y, tokens=True)
        self.loss, self.every, self.params, self.batch_size = loss, every, params, batch_size
        self.groups = dict(groups or {})
        for name, mask in self.groups.items():
            if mask.dtype != torch.bool or mask.shape != (len(self.x),) or not mask.any():
                raise InvalidInputError(
                    f"group {name!r} must be a Boolean mask over the {len(self.x)} samples that chooses some of them, "
                    f"got {mask.dtype} of shape {tuple(mask.shape)}"
                )
        self.steps: list[int] = []
        self.history: list[GradientCoherence] = []
        self.group_history: dict[str, list[GradientCoherence]] = {name: [] for name in self.groups}

    def __call__(self, step: Step) -> None:
        """Measure where the number of steps is a multiple of `every`."""
        if step.number % self.every == 0:
            self.record(step.model, step.number)

    def record(self, model: nn.Module, step: int) -> GradientCoherence:
        """Measure the coherence now, and keep it under a number of steps; the model comes back as it was.

        Raises:
            InvalidInputError: The model cannot be measured.
            NumericalError: All gradients are zero, NaN or infinite.
        """
        found = self._measure(model, self.x, self.y)
        apart = {name: self._measure(model, self.x[mask], self.y[mask]) for name, mask in self.groups.items()}
        self.steps.append(step)
        self.history.append(found)
        for name, value in apart.items():
            self.group_history[name].append(value)
        return found

    def _measure(self, model: nn.Module, x: Tensor, y: Tensor) -> GradientCoherence:
        options = {"params": self.params, "batch_size": self.batch_size}
        return gradient_coherence(model, x, y, loss=self.loss, alignments=False, **options)

    def plot(self, ax: "Axes | None" = None) -> "Axes":
        """Draw m-coherence against steps, of all samples and of each group, and return the axes."""
        import matplotlib.pyplot as plt

        axes = plt.subplots()[1] if ax is None else ax
        for name, values in {"all samples": self.history, **self.group_history}.items():
            axes.plot(self.steps, [value.m_coherence for value in values], label=name)
        axes.axhline(1, color="0.5", linestyle="--", linewidth=0.8, label="orthogonal gradients")
        axes.set(xlabel="steps", ylabel="m-coherence", yscale="log")
        axes.legend()
        return axes
