"""Groups of training samples with opposing signals (Rosenfeld and Risteski, 2024)."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
from jaxtyping import Float, Int64, Shaped
from torch import Tensor, nn

from assay.core import (
    LossFunction,
    as_generator,
    check_choice,
    check_count,
    check_outputs,
    check_pairs,
    check_positive,
    mean_over_samples,
)
from assay.landscape.opposing.changes import per_sample_loss_change, per_sample_losses
from assay.landscape.opposing.clusters import classes_of, embed, main_pair, nearest
from assay.landscape.opposing.contrast import Compare, Contrast, contrasts, mean_gradient_of
from assay.landscape.opposing.drawing import draw_changes, draw_images, is_image
from assay.landscape.opposing.features import last_layer_inputs
from assay.landscape.opposing.steps import largest_curvature, step_length, stepped

if TYPE_CHECKING:
    from matplotlib.axes import Axes

OPPOSED = -0.3  # cosine of the held-out groups' gradients
OUTSIZE = 2.0  # mean loss change of the held-out groups, relative to that of all samples
SHOWN = 8  # samples of each group that a picture shows


@dataclass(frozen=True, eq=False)
class OpposingGroups:
    r"""Two groups of samples that one step moves most, in opposite directions, with controls.

    Selection alone makes gradients opposed: the samples that a step moves most up and most down have opposed gradients
    in any data, and samples of high loss move more than others. So the size of the effect is measured on held-out
    samples: groups are found in one random half, and their nearest samples by class and feature in the other half.

    Attributes:
        pair: The groups: main clusters of the samples whose loss rises most and falls most.
        held_out: Nearest samples of the groups of one half in the other half, both halves together, divided by the sign
            of their loss change.
        random: As many random samples as the pair has, divided in the same way.
        high_loss: As many samples of highest loss, divided in the same way.
        loss_change: $D_i$ of every sample.
        sign_flip: Whether the next gradient step moves both groups the other way; None where the step was along the
            eigenvector.
        top_share: Share of the pair in the list of as many samples with the largest $|D_i|$ as there are candidates.
        class_shares: Share of the most frequent class in each group; None where targets are no classes.
        input_norm: Mean distance of the pair's inputs from the mean input, relative to that of all samples.
        feature_norm: The same of the penultimate features.
        sharpness: Largest eigenvalue of the Hessian.
        length: Learning rate of the gradient step, or length of the step along the eigenvector.
        examples: Inputs of the first few samples of each group.
    """

    pair: Contrast
    held_out: Contrast
    random: Contrast
    high_loss: Contrast
    loss_change: Float[Tensor, " n"]
    sign_flip: bool | None
    top_share: float
    class_shares: tuple[float, float] | None
    input_norm: float
    feature_norm: float
    sharpness: float
    length: float
    examples: tuple[Tensor, Tensor]

    @property
    def found(self) -> bool:
        """Whether held-out samples show the groups.

        Their losses change at least twice as much as those of all samples, and the gradients of those that rise and of
        those that fall are opposed: with a cosine of at most -0.3, and more strongly than in both controls.
        """
        held_out = self.held_out
        return (
            held_out.outsize >= OUTSIZE
            and held_out.gradient_cosine <= OPPOSED
            and held_out.opposition > max(self.random.opposition, self.high_loss.opposition)
        )

    def share_of(self, index: Int64[Tensor, " m"]) -> float:
        """Return the share of given samples among as many samples with the largest loss change.

        Args:
            index: Samples that are known to be a pair, for example planted ones.
        """
        check_count(len(index), "the number of samples")
        return _share(self.loss_change, index, len(index))

    def __str__(self) -> str:
        pair, held_out = self.pair, self.held_out
        verdict = "show the same" if self.found else "do not show the same: no opposing groups"
        words = {
            None: "",
            True: ", and the next step reverses both",
            False: ", and the next step does not reverse both",
        }
        return (
            f"One step raises the loss of {len(pair.rising)} samples and lowers that of {len(pair.falling)}, with "
            f"{pair.outsize:.1f} times the mean change (random {self.random.outsize:.1f}, high loss "
            f"{self.high_loss.outsize:.1f}); their gradients have a cosine of {pair.gradient_cosine:.2f}, their "
            f"difference one of {pair.alignment:.2f} with the direction of largest curvature{words[self.sign_flip]}. "
            f"Held-out samples like these (cosine {held_out.gradient_cosine:.2f}, {held_out.outsize:.1f} times "
            f"the mean change) {verdict}."
        )

    def plot(self, ax: "Axes | None" = None) -> "Axes":
        """Draw the first samples of each group where inputs are images, else all loss changes; return the axes."""
        import matplotlib.pyplot as plt

        axes = ax if ax is not None else plt.subplots(layout="constrained")[1]
        if all(len(part) and is_image(tuple(part.shape[1:])) for part in self.examples):
            draw_images(axes, {"rises": self.examples[0], "falls": self.examples[1]})
        else:
            draw_changes(axes, self.loss_change, self.pair.rising, self.pair.falling)
        return axes


@torch.inference_mode(False)
def find_opposing_groups(
    model: nn.Module,
    x: Shaped[Tensor, "n *d"],
    y: Tensor,
    *,
    loss: LossFunction,
    direction: Literal["gradient", "eigenvector"] = "gradient",
    lr: float | None = None,
    k: int = 20,
    distance: float = 2**0.5,
    params: Literal["trainable", "all"] = "trainable",
    batch_size: int | None = None,
    generator: torch.Generator | None = None,
) -> OpposingGroups:
    r"""Find the two groups of samples that one step moves most, up and down, $D_i = \ell_i(w') - \ell_i(w)$.

    A copy of the network takes one full-batch step. The k samples that rise most and the k that fall most are clustered
    by class and penultimate feature, and the main cluster of each side makes the pair.

    Args:
        model: Trained network; evaluated in evaluation mode, it comes back as it was.
        x: Training inputs; integers for a network that reads tokens.
        y: Targets.
        loss: Mean loss over samples; class weights and ignored labels are folded into one mean over all of them.
        direction: "gradient" steps down the full-batch gradient, as in the paper; "eigenvector" steps along the top
            eigenvector of the Hessian, on the side down the gradient, which also moves a network that has converged.
        lr: Learning rate of the gradient step, by default $2/\lambda_{\max}$, the edge of stability; length of the step
            along the eigenvector, by default such that the loss rises by a thousandth to
            second order.
        k: Most samples a group has; at most a quarter of all samples.
        distance: Clusters are merged up to this mean distance, in units of the samples' root mean square distance
            from their mean; two random samples are 1.4 apart. Two classes never share a cluster.
        params: "trainable" leaves out parameters with `requires_grad=False`, unless all have it; "all" takes all.
        batch_size: Samples worked on at once; by default as many as keep the activations within about 1 GB.
        generator: Source of the random group, the halves and the starting vector; one seeded with 0 by default.

    Returns:
        The pair with its controls; `found` says whether there are such groups.

    Raises:
        InvalidInputError: The model, the data or an option is unusable, or the curvature is nowhere positive and `lr`
            is None.
        NumericalError: A loss, the curvature or the weights after the step are NaN or infinite.

    Cost: the top eigenvector (some tens of Hessian products), three passes over the data and their gradients, and
    O(k²) for clustering; memory O(p + n (c + h)) for h penultimate features.

    Source: Rosenfeld and Risteski, "Outliers with Opposing Signals Have an Outsized Effect on Neural Network
    Optimization" (2024), arXiv 2311.04163, section 2 and its figures of groups. Deviations: clusters replace the
    authors' eye; the held-out groups and the controls are ours.

    >>> from assay.core import squared_error
    >>> from assay.landscape.opposing import make_opposing_outliers
    >>> from assay.nets import mlp
    >>> data = make_opposing_outliers(100, n_outliers=5)
    >>> groups = find_opposing_groups(mlp((20, 8, 1)), data.x.float(), data.y, loss=squared_error, k=5)
    >>> groups.pair.rise > 0 > groups.pair.fall
    True
    """
    x, y = check_pairs(x, y, tokens=True)
    _check_options(direction, lr, k, distance)
    check_outputs(model, x)
    mean = mean_over_samples(loss, model, x, y)
    source, size = as_generator(generator), 256 if batch_size is None else batch_size
    losses = per_sample_losses(model, x, y, mean, batch_size=size)
    curve = largest_curvature(model, x, y, mean, params=params, batch_size=batch_size, generator=source)
    length = step_length(direction, lr, curve.sharpness, losses.mean().item())
    features, classes = last_layer_inputs(model, x, batch_size=size), classes_of(y)
    points, most, everything = embed(features, classes), min(k, max(1, len(x) // 4)), torch.arange(len(x)).to(x.device)

    def step(network: nn.Module) -> tuple[nn.Module, Tensor]:
        along = curve.eigenvector if direction == "eigenvector" else None
        slope = mean_gradient_of(network, x, y, mean, params=params, batch_size=size)(everything)
        after = stepped(network, x, slope, params=params, along=along, length=length)
        return after, per_sample_loss_change(network, after, x, y, loss=mean, batch_size=size)

    after, change = step(model)
    rising, falling = main_pair(everything, change, points, most, distance)
    again = step(after)[1] if direction == "gradient" else None
    flips = None if again is None else _mean(again, rising) < 0 < _mean(again, falling)
    gradient = mean_gradient_of(model, x, y, mean, params=params, batch_size=size)
    compare = contrasts(change, gradient, curve.eigenvector)
    pair = compare(rising, falling)
    return OpposingGroups(
        pair=pair,
        **_controls(compare, change, points, losses, len(pair.samples), most, distance, source),
        loss_change=change,
        sign_flip=flips,
        top_share=_share(change, pair.samples, 2 * most),
        class_shares=None if classes is None else (_purity(classes, rising), _purity(classes, falling)),
        input_norm=_relative_norm(x, pair.samples),
        feature_norm=_relative_norm(features, pair.samples),
        sharpness=curve.sharpness,
        length=length,
        examples=(x[rising[:SHOWN]], x[falling[:SHOWN]]),
    )


def _check_options(direction: str, lr: float | None, k: int, distance: float) -> None:
    check_choice(direction, ("gradient", "eigenvector"), "direction")
    check_count(k, "k")
    check_positive(distance, "distance")
    if lr is not None:
        check_positive(lr, "lr")


def _controls(
    compare: Compare,
    change: Tensor,
    points: Tensor,
    losses: Tensor,
    n: int,
    most: int,
    distance: float,
    source: torch.Generator,
) -> dict[str, Contrast]:
    """Return the held-out groups, and the random and the high-loss samples, n of each."""
    return {
        "held_out": _held_out(compare, change, points, most, distance, source),
        "random": _by_sign(compare, change, _order(len(change), source)[:n].to(change.device)),
        "high_loss": _by_sign(compare, change, losses.argsort(descending=True, stable=True)[:n]),
    }


def _held_out(
    compare: Compare, change: Tensor, points: Tensor, most: int, distance: float, source: torch.Generator
) -> Contrast:
    """Find groups in each random half, and contrast their nearest samples in the other half."""
    order = _order(len(change), source).to(change.device)
    halves = order[::2].sort().values, order[1::2].sort().values
    alike = []
    for mine, other in (halves, halves[::-1]):
        groups = main_pair(mine, change, points, max(1, most // 2), distance)
        alike += [nearest(group, points, other) for group in groups]
    return _by_sign(compare, change, torch.cat(alike).unique())


def _by_sign(compare: Compare, change: Tensor, index: Tensor) -> Contrast:
    return compare(index[change[index] > 0], index[change[index] < 0])


def _order(n: int, source: torch.Generator) -> Tensor:
    return torch.randperm(n, generator=source, device=source.device)


def _share(change: Tensor, index: Tensor, n: int) -> float:
    """Return the share of some samples in the list of the n with the largest change."""
    top = change.abs().topk(min(n, len(change))).indices
    return torch.isin(top, index).double().mean().item()


def _mean(change: Tensor, group: Tensor) -> float:
    return change[group].mean().item() if len(group) else 0.0


def _purity(classes: Tensor, group: Tensor) -> float:
    return (torch.bincount(classes[group]).max() / len(group)).item() if len(group) else 0.0


def _relative_norm(values: Tensor, group: Tensor) -> float:
    """Return the mean distance from the mean of all samples, relative to that of all samples."""
    flat = values.reshape(len(values), -1).double()
    distance = (flat - flat.mean(0)).norm(dim=1)
    typical = distance.mean()
    return (distance[group].mean() / typical).item() if len(group) and typical > 0 else 0.0
