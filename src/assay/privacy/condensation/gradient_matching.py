"""Gradient matching losses: class-wise (Zhao, Mopuri and Bilen, 2021) and contrastive (Lee et al., 2022)."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Literal, final, get_args

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64, Shaped
from torch import Tensor, nn

from assay.core import (
    InvalidInputError,
    MeanLoss,
    Parameters,
    check_choice,
    check_finite,
    check_follows_parameters,
    check_labels,
    check_pairs,
    check_scores,
    cosine_distance,
    named_parameters,
    parameter_gradients,
    plain_attention,
    preserved,
    unflatten,
)

Metric = Literal["rowwise_cosine", "cosine", "mse"]

_FLOOR = 1e-6
"""Beside the product of the norms, as in the released code."""


def gradient_distance(a: Parameters, b: Parameters, *, metric: Metric = "rowwise_cosine") -> Float[Tensor, ""]:
    r"""Compute the distance of two gradients.

    $$D(A, B) = \sum_{\text{layers}} \sum_{\text{rows } r} 1 - \frac{\langle A_r, B_r\rangle}{\lVert A_r\rVert
    \lVert B_r\rVert + 10^{-6}}$$

    A row holds the weights of one output: `(in)` of a linear layer, `(in * k * k)` of a convolution. Parameters with
    one axis, such as biases and scales, are left out. The row of an inactive unit is zero and has distance one from
    every other row.

    Args:
        a: One gradient, by name of the parameter.
        b: The other gradient.
        metric: "rowwise_cosine" for the formula above, "cosine" for one minus the cosine, or "mse" for the mean squared
            difference, both of all entries as one vector, biases included.

    Raises:
        InvalidInputError: The gradients are empty or have different parameters, the metric is unknown, or no parameter
            has the two axes that "rowwise_cosine" needs.
        NumericalError: The distance is NaN or infinite, as a gradient is.

    Source: Zhao, Mopuri and Bilen, "Dataset Condensation with Gradient Matching" (2021), section 2.3, with the constant
    of the released code.

    >>> gradient = {"weight": torch.eye(3), "bias": torch.ones(3)}
    >>> round(gradient_distance(gradient, {"weight": -torch.eye(3), "bias": torch.ones(3)}).item(), 3)
    6.0
    """
    check_choice(metric, get_args(Metric), "metric")
    shapes = [{name: tuple(value.shape) for name, value in gradient.items()} for gradient in (a, b)]
    if shapes[0] != shapes[1]:
        raise InvalidInputError(f"both must be gradients of one network, got shapes {shapes[0]} and {shapes[1]}")
    if not any(value.numel() for value in a.values()):
        raise InvalidInputError("the gradients have no entry to compare; pass those of a network with parameters")
    a, b = ({name: value.to(_at_least_single(value)) for name, value in gradient.items()} for gradient in (a, b))
    if metric == "rowwise_cosine":
        layers = [(a[name].flatten(1), b[name].flatten(1)) for name in a if a[name].ndim > 1]
        if not layers:
            raise InvalidInputError("no parameter has rows to compare; use metric='cosine' or 'mse'")
        distance = torch.stack([cosine_distance(*rows, floor=_FLOOR).sum() for rows in layers]).sum()
    else:
        one, other = (torch.cat([gradient[name].flatten() for name in a]) for gradient in (a, b))
        distance = cosine_distance(one, other, floor=_FLOOR) if metric == "cosine" else (one - other).square().mean()
    check_finite(distance, "the distance of two gradients")
    return distance


def _at_least_single(value: Tensor) -> torch.dtype:
    return torch.promote_types(value.dtype, torch.float32)  # half precision loses the norms


class _GradientMatching(nn.Module, ABC):
    """Inputs and metric of a gradient matching loss."""

    def __init__(self, metric: Metric = "rowwise_cosine") -> None:
        super().__init__()
        check_choice(metric, get_args(Metric), "metric")
        self.metric: Metric = metric

    def forward(
        self,
        model: nn.Module,
        x: Float[Tensor, "m *d"],
        y: Shaped[Tensor, "m *one"],
        real_x: Float[Tensor, "n ..."],  # shapes are compared below, so that users read a sentence
        real_y: Shaped[Tensor, "n *one"],
    ) -> Float[Tensor, ""]:
        """Return the loss, differentiable in `x`.

        Args:
            model: Network whose gradients are compared, in evaluation mode; it comes back as it was. Frozen parameters
                are left out, unless all are frozen: training does not move them.
            x: Synthetic samples.
            y: Classes of the synthetic samples.
            real_x: Real samples; no gradient reaches them.
            real_y: Classes of the real samples, the same classes as in `y`, in any numbers.

        Raises:
            InvalidInputError: The samples do not fit each other, a class has only real or only synthetic samples, or
                the network returns probabilities or mixes samples.
        """
        return self.matched(model, *_checked(model, x, y, real_x, real_y))

    def matched(
        self, model: nn.Module, x: Tensor, y: Int64[Tensor, " m"], real_x: Tensor, real_y: Int64[Tensor, " n"]
    ) -> Float[Tensor, ""]:
        """Return the loss of samples that were checked before, for loops."""
        with preserved(model), plain_attention():
            return self._distance(_balanced_gradient(model), x, y, real_x, real_y)

    @abstractmethod
    def _distance(
        self, gradient: Callable[[Tensor, Tensor], Parameters], x: Tensor, y: Tensor, real_x: Tensor, real_y: Tensor
    ) -> Tensor:
        """Return the distance between the gradients of synthetic and real samples."""


@final
class ClassWiseGradientMatching(_GradientMatching):
    r"""Compute the distance between the gradients of each class's synthetic and real samples, summed over classes (DC).

    $\sum_c D\big(\nabla_\theta L(S_c), \nabla_\theta L(T_c)\big)$, with L the mean cross-entropy. Features common to
    all classes are a large part of every class's gradient, so that the loss mostly matches them.

    Cost: time O(c) passes forward and backward, c classes; memory of one class's samples, and of the graph of all
    synthetic ones.

    Args:
        metric: See `gradient_distance`.

    Raises:
        InvalidInputError: The metric is unknown.

    Source: Zhao, Mopuri and Bilen, "Dataset Condensation with Gradient Matching" (2021), section 2.3 and algorithm 1.

    >>> x, y = torch.eye(4), torch.arange(4) % 2
    >>> ClassWiseGradientMatching()(nn.Linear(4, 2), x, y, x, y).item() < 0.01
    True
    """

    def _distance(
        self, gradient: Callable[[Tensor, Tensor], Parameters], x: Tensor, y: Tensor, real_x: Tensor, real_y: Tensor
    ) -> Tensor:
        # Not by vmap: in torch 2.13 its second derivative in an instance norm's scale and shift is wrong.
        distances: list[Tensor] = []
        for label in y.unique():
            own, real_own = y == label, real_y == label
            pair = gradient(x[own], y[own]), gradient(real_x[real_own], real_y[real_own])
            distances.append(gradient_distance(*pair, metric=self.metric))
        return torch.stack(distances).sum()


@final
class ContrastiveGradientMatching(_GradientMatching):
    r"""Compute the distance between synthetic and real gradients that are summed over classes first (DCC).

    $D\big(\nabla_\theta L(S), \frac1C \sum_c \nabla_\theta L(T_c)\big)$. In the sum, the gradients of features common
    to all classes cancel, because the softmax probabilities of a sample sum to one, and the differences between classes
    remain. For a linear softmax model with zero weights and balanced classes, row r of the summed gradient is
    $\frac1C(\bar x - \bar x_r)$, the mean of all samples minus that of class r: a vector added to all samples drops
    out.

    All classes have the same weight in both gradients, whatever their numbers of samples. Arguments, errors and calls
    are those of `ClassWiseGradientMatching`.

    Cost: time of one pass forward and backward over all samples, memory of one graph.

    Source: Lee et al., "Dataset Condensation with Contrastive Signals" (2022), main text, the equation above as in the
    released code.

    >>> x, y = torch.eye(4), torch.arange(4) % 2
    >>> ContrastiveGradientMatching()(nn.Linear(4, 2), x, y, x, y).item() < 0.01
    True
    """

    def _distance(
        self, gradient: Callable[[Tensor, Tensor], Parameters], x: Tensor, y: Tensor, real_x: Tensor, real_y: Tensor
    ) -> Tensor:
        return gradient_distance(gradient(x, y), gradient(real_x, real_y), metric=self.metric)


def _checked(
    model: nn.Module, x: Tensor, y: Tensor, real_x: Tensor, real_y: Tensor
) -> tuple[Tensor, Int64[Tensor, " m"], Tensor, Int64[Tensor, " n"]]:
    """Return synthetic and real samples with their labels, checked; the synthetic ones keep their graph."""
    without_graph, y = check_pairs(x, y)
    real_x, real_y = check_pairs(real_x, real_y)
    if x.shape[1:] != real_x.shape[1:]:
        raise InvalidInputError(
            f"synthetic samples have shape {tuple(x.shape[1:])}, real ones {tuple(real_x.shape[1:])}; pass one shape"
        )
    n_classes = check_scores(model, real_x).shape[1]
    check_follows_parameters(model, real_x)
    y, real_y = check_labels(y, n_classes), check_labels(real_y, n_classes, "real_y")
    labels = [each.unique().tolist() for each in (y, real_y)]
    if labels[0] != labels[1]:
        raise InvalidInputError(f"classes {labels[0]} are synthetic, classes {labels[1]} real; give samples of both")
    return x if x.requires_grad else without_graph, y, real_x, real_y


def _balanced_gradient(model: nn.Module) -> Callable[[Tensor, Tensor], Parameters]:
    """Return a function from samples and targets to the gradient of their class-balanced loss."""
    params = named_parameters(model, params="trainable")

    def gradient(samples: Tensor, targets: Tensor) -> Parameters:
        return unflatten(parameter_gradients(model, samples, targets, _BALANCED, per_sample=False), params)

    return gradient


def _balanced_cross_entropy(outputs: Tensor, targets: Tensor) -> Tensor:
    """Return the mean over classes of each one's mean cross-entropy."""
    _, place, count = targets.unique(return_inverse=True, return_counts=True)
    losses = F.cross_entropy(outputs, targets, reduction="none")
    return losses @ (1 / (len(count) * count[place]).to(losses))


_BALANCED = MeanLoss(None, _balanced_cross_entropy)
