"""Loss on the straight line between two networks (Goodfellow, Vinyals and Saxe, 2015)."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from assay.core import (
    InvalidInputError,
    LossFunction,
    assign_parameters,
    check_count,
    check_finite,
    check_follows_parameters,
    check_outputs,
    check_pairs,
    copy_network,
    flatten,
    mean_loss,
    mean_over_samples,
    named_parameters,
    track,
    unwrapped,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True, eq=False)
class PathReport:
    r"""The loss along $w(t) = (1 - t)\, w_a + t\, w_b$.

    Attributes:
        positions: Values of t, from 0 to 1.
        losses: Loss at each.
        barrier: $\max_t L(w(t)) - [(1 - t) L(w_a) + t L(w_b)]$, never negative.
        monotone: Whether the loss never turns: it only falls or only rises from a to b.
        distance: $\lVert w_b - w_a \rVert$.
    """

    positions: Float[Tensor, " k"]
    losses: Float[Tensor, " k"]
    barrier: float
    monotone: bool
    distance: float

    def __str__(self) -> str:
        course = "never turns" if self.monotone else "turns"
        return (
            f"Over a distance of {self.distance:.4g} the loss goes from {self.losses[0]:.4g} to {self.losses[-1]:.4g} "
            f"and {course} on the way; the barrier above the chord is {self.barrier:.4g}."
        )

    def plot(self, ax: "Axes | None" = None) -> "Axes":
        """Draw the loss along the line and return the axes."""
        import matplotlib.pyplot as plt

        axes = ax if ax is not None else plt.subplots(layout="constrained")[1]
        axes.plot(self.positions, self.losses, marker="o")
        axes.set_xlabel("position on the line")
        axes.set_ylabel("loss")
        return axes


@torch.inference_mode(False)
def linear_path(
    model_a: nn.Module,
    model_b: nn.Module,
    x: Shaped[Tensor, "n *d"],
    y: Tensor,
    *,
    loss: LossFunction,
    n: int = 11,
    batch_size: int = 256,
    progress: bool = False,
) -> PathReport:
    r"""Evaluate the loss at `n` points on the straight line between two networks' parameters.

    A line without a barrier shows that two points lie in one basin. A barrier does not show the contrary: between
    independent runs a low path often appears only after their hidden units are matched, or along a curve.

    Args:
        model_a: Network at t = 0; it comes back as it was.
        model_b: Network at t = 1, of the same architecture and with the same buffers.
        x: Inputs; integers for a network that reads tokens.
        y: Targets.
        loss: Mean loss over samples; class weights and ignored labels are folded into one mean over all of them.
        n: Points on the line, its ends included.
        batch_size: Samples evaluated at once.
        progress: Draw a bar on standard error.

    Returns:
        The losses along the line, and the barrier.

    Raises:
        InvalidInputError: The networks do not match or keep weights from before, the data are unusable, or
            `n` is below 3.
        NumericalError: A loss is NaN or infinite.

    Cost: time O(n) passes over the data, memory O(p).

    Source: Goodfellow, Vinyals and Saxe (2015), "Qualitatively characterizing neural network optimization problems",
    arXiv 1412.6544, main text; Sagun, Evci, Güney, Dauphin and Bottou (2017), "Empirical Analysis of the Hessian of
    Over-Parametrized Neural Networks", arXiv 1706.04454, main text: the line from large-batch to small-batch solutions.

    >>> from assay.core import squared_error
    >>> x = torch.tensor([[1.0], [2.0]])
    >>> linear_path(nn.Linear(1, 1), nn.Linear(1, 1), x, x, loss=squared_error).barrier
    0.0
    """
    x, y = check_pairs(x, y, tokens=True)
    check_count(n, "n", at_least=3)
    check_outputs(model_a, x)
    start, end = _matching_parameters(model_a, model_b)
    check_outputs(model_b, x)
    loss = mean_over_samples(loss, model_a, x, y)
    walker = copy_network(model_a)
    check_follows_parameters(walker, x)
    positions = torch.linspace(0, 1, n, dtype=torch.float64)
    values = []
    for t in track(positions.tolist(), "walking the line", enabled=progress):
        with torch.no_grad():
            assign_parameters(walker, torch.lerp(start, end, t))
        values.append(mean_loss(walker, x, y, loss, batch_size=batch_size))
    losses = torch.tensor(values, dtype=torch.float64)
    check_finite(losses, "the loss on the line")
    rises = losses.diff()
    return PathReport(
        positions=positions,
        losses=losses,
        barrier=(losses - torch.lerp(losses[0], losses[-1], positions)).max().clamp(min=0).item(),
        monotone=bool((rises <= 0).all() or (rises >= 0).all()),
        distance=(end - start).norm().item(),
    )


def _matching_parameters(model_a: nn.Module, model_b: nn.Module) -> tuple[Float[Tensor, " p"], Float[Tensor, " p"]]:
    sides = [named_parameters(model) for model in (model_a, model_b)]
    kinds_a, kinds_b = ({(name, value.shape, value.dtype) for name, value in side.items()} for side in sides)
    if kinds_a != kinds_b:
        differing = sorted({name for name, *_ in kinds_a ^ kinds_b})
        raise InvalidInputError(
            f"the two networks must have the same parameters; they differ in the presence, shape or type of "
            f"{', '.join(differing[:4])}: build both alike"
        )
    fixed_a, fixed_b = _fixed(model_a), _fixed(model_b)
    differing = [name for name in fixed_a if name not in fixed_b or not torch.equal(fixed_a[name], fixed_b[name])]
    differing += [name for name in fixed_b if name not in fixed_a]
    if differing:
        raise InvalidInputError(
            f"the two networks' buffers or integer parameters differ ({', '.join(differing[:4])}), and batch-norm "
            "statistics do not interpolate between the ends; replace batch-norm by a normalisation without buffers, "
            "or give both networks the same statistics"
        )
    start, end = (flatten(side) for side in sides)
    wide = torch.promote_types(start.dtype, torch.float32)
    return start.to(wide), end.to(wide)


def _fixed(model: nn.Module) -> dict[str, Tensor]:
    """Return what the line leaves as it is: buffers and parameters that are no floating-point numbers."""
    network = unwrapped(model)
    whole = {name: value for name, value in network.named_parameters() if not value.is_floating_point()}
    return whole | dict(network.named_buffers())
