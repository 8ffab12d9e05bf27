"""Per-sample losses over training steps, and how two groups of samples move in them."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from assay.core import InvalidInputError

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True, eq=False)
class OpposingTrace:
    r"""Losses of all samples at every step of training, and the two groups that are followed.

    A step rises where the mean loss of all samples does. Shares over such steps are zero where there is none.

    Attributes:
        losses: Loss of each sample before the first step and after each.
        rising: Samples of group A.
        falling: Samples of group B.
        measured_at: Steps after which sharpness and gradients were measured.
        sharpness: Largest eigenvalue of the Hessian at these.
        gradient_cosine: $\cos(g_A, g_B)$ of the groups' mean gradients at these.
        diverged: Whether training stopped since a loss was no longer finite; that step is left out.
        model: The trained network, in evaluation mode.
    """

    losses: Float[Tensor, "t n"]
    rising: Int64[Tensor, " a"]
    falling: Int64[Tensor, " b"]
    measured_at: Int64[Tensor, " m"]
    sharpness: Float[Tensor, " m"]
    gradient_cosine: Float[Tensor, " m"]
    diverged: bool
    model: nn.Module

    @property
    def total(self) -> Float[Tensor, " t"]:
        """Mean loss of all samples."""
        return self.losses.mean(1)

    @property
    def group_losses(self) -> tuple[Float[Tensor, " t"], Float[Tensor, " t"]]:
        """Mean loss of group A and of group B; zeros for an empty group."""
        first, second = (
            self.losses[:, group].mean(1) if len(group) else torch.zeros_like(self.losses[:, 0])
            for group in (self.rising, self.falling)
        )
        return first, second

    @property
    def rises(self) -> Bool[Tensor, " s"]:
        """Whether the mean loss rises at each step."""
        return self.total.diff() > 0

    @property
    def opposite_share(self) -> float:
        """Share of the rising steps in which the mean losses of the two groups move in opposite directions."""
        first, second = (part.diff() for part in self.group_losses)
        return self._over_rises((first * second < 0).double())

    @property
    def flip_share(self) -> float:
        """Share of the rising steps after which the mean losses of both groups turn around at the next step."""
        turned = [part.diff()[1:] * part.diff()[:-1] < 0 for part in self.group_losses]
        chosen = (turned[0] & turned[1])[self.rises[:-1]]
        return chosen.double().mean().item() if len(chosen) else 0.0

    def hit_share(self, index: Int64[Tensor, " m"]) -> float:
        """Return the share of given samples in the list of as many with the largest $|D_i|$, over rising steps.

        Args:
            index: Samples that are known to be a pair, for example planted ones.
        """
        self._check(index)
        top = self.losses.diff(dim=0).abs().topk(len(index), dim=1).indices
        return self._over_rises(torch.isin(top, index).double().mean(1))

    def outsize(self, index: Int64[Tensor, " m"]) -> float:
        """Return the mean $|D_i|$ of given samples relative to that of all, over rising steps.

        Args:
            index: The samples.
        """
        self._check(index)
        change = self.losses.diff(dim=0).abs()
        return self._over_rises(change[:, index].mean(1) / change.mean(1))

    def _over_rises(self, values: Tensor) -> float:
        chosen = values[self.rises]
        return chosen.mean().item() if len(chosen) else 0.0

    def _check(self, index: Tensor) -> None:
        if not 0 < len(index) <= self.losses.shape[1]:
            raise InvalidInputError(
                f"index must hold between 1 and {self.losses.shape[1]} samples, got {len(index)}; pass their places"
            )

    def __str__(self) -> str:
        n_rises = int(self.rises.sum())
        end = "Training diverged. " if self.diverged else ""
        return (
            f"{end}The mean loss rises in {n_rises} of {len(self.rises)} steps, from {self.total[0]:.3g} to "
            f"{self.total[-1]:.3g} in all; in {self.opposite_share:.0%} of these rises the two groups of "
            f"{len(self.rising)} and {len(self.falling)} samples move in opposite directions, and in "
            f"{self.flip_share:.0%} both turn around at the next step."
        )

    def plot(self, ax: "Axes | None" = None, *, start: int = 0, stop: int | None = None) -> "Axes":
        """Draw the loss of each group and of all samples against the step, and return the axes.

        Args:
            ax: Axes to draw on.
            start: First step to show.
            stop: Step to end before.
        """
        import matplotlib.pyplot as plt

        axes = ax if ax is not None else plt.subplots(layout="constrained")[1]
        first, second = self.group_losses
        step = torch.arange(len(self.losses))[start:stop]
        for values, label, style in ((first, "group A", "C3-"), (second, "group B", "C0-"), (self.total, "all", "k--")):
            axes.plot(step, values[start:stop].cpu(), style, linewidth=1, label=label)
        axes.set(xlabel="step", ylabel="mean loss", yscale="log")
        axes.legend()
        return axes
