"""How far the gradients of synthetic samples are from those of real ones, class by class or over all classes."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Literal, final

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from assay.core import (
    InvalidInputError,
    Parameters,
    check_labels,
    check_logits,
    check_pairs,
    functional,
    named_parameters,
    preserved,
)

Metric = Literal["rowwise_cosine", "cosine", "mse"]


def gradient_distance(a: Parameters, b: Parameters, *, metric: Metric = "rowwise_cosine") -> Float[Tensor, ""]:
    r"""Return how far two gradients are apart.

    $$D(A, B) = \sum_{\text{layers}} \sum_{\text{rows } r} 1 - \frac{\langle A_r, B_r\rangle}{\lVert A_r\rVert
    \lVert B_r\rVert + 10^{-6}}$$

    A row is what leads to one output: `(in)` of a linear layer, `(in * k * k)` of a convolution. Parameters with one
    axis, such as biases and scales, are left out. A row of zeros, that of a unit which no sample turns on, is at
    distance one from everything.

    Args:
        a: One gradient, by name of the parameter.
        b: The other one.
        metric: "rowwise_cosine" is the above; "cosine" is one minus the cosine and "mse" the mean squared difference
            of all entries as one vector, biases included.

    Raises:
        InvalidInputError: The gradients are of different parameters, the metric is unknown, or "rowwise_cosine" is
            asked for where no parameter has two axes.

    Source: Zhao, Mopuri and Bilen, "Dataset Condensation with Gradient Matching" (2021).

    >>> gradient = {"weight": torch.eye(3), "bias": torch.ones(3)}
    >>> round(gradient_distance(gradient, {"weight": -torch.eye(3), "bias": torch.ones(3)}).item(), 3)
    6.0
    """
    shapes = [{name: tuple(value.shape) for name, value in gradient.items()} for gradient in (a, b)]
    if shapes[0] != shapes[1]:
        raise InvalidInputError(f"gradients of one network are compared, got shapes {shapes[0]} and {shapes[1]}")
    if metric == "rowwise_cosine":
        layers = [(a[name].flatten(1), b[name].flatten(1)) for name in a if a[name].ndim > 1]
        if not layers:
            raise InvalidInputError("no parameter has rows to compare; use metric='cosine' or 'mse'")
        return torch.stack([_one_minus_cosine(*rows).sum() for rows in layers]).sum()
    one, other = (torch.cat([gradient[name].flatten() for name in a]) for gradient in (a, b))
    if metric == "cosine":
        return _one_minus_cosine(one, other)
    if metric == "mse":
        return (one - other).square().mean()
    raise InvalidInputError(f"metric must be 'rowwise_cosine', 'cosine' or 'mse', got {metric!r}")


def _one_minus_cosine(a: Float[Tensor, "*r d"], b: Float[Tensor, "*r d"]) -> Float[Tensor, "*r"]:
    return 1 - (a * b).sum(-1) / (a.norm(dim=-1) * b.norm(dim=-1) + 1e-6)


class _GradientMatching(nn.Module, ABC):
    """What both losses share: the metric, the samples that they take, and whose gradients are compared."""

    def __init__(self, metric: Metric = "rowwise_cosine") -> None:
        super().__init__()
        self.metric: Metric = metric

    def forward(
        self,
        model: nn.Module,
        x: Float[Tensor, "m *d"],
        y: Int[Tensor, " m"],
        real_x: Float[Tensor, "n ..."],  # shapes are compared below, so that users read a sentence
        real_y: Int[Tensor, " n"],
    ) -> Float[Tensor, ""]:
        """Return the loss, differentiable in `x`.

        Args:
            model: Network whose gradients are compared, in evaluation mode; it comes back as it was.
            x: Synthetic samples.
            y: Their classes.
            real_x: Real samples; no gradient reaches them.
            real_y: Their classes, the same ones as in `y`, as many of each as there are.

        Raises:
            InvalidInputError: The samples do not fit each other, or a class has only real or only synthetic samples.
        """
        gradient = _checked(model, x, y, real_x, real_y)
        with preserved(model), torch.enable_grad():
            return self._distance(gradient, x, y, real_x.detach(), real_y)

    @abstractmethod
    def _distance(
        self, gradient: Callable[[Tensor, Tensor], Parameters], x: Tensor, y: Tensor, real_x: Tensor, real_y: Tensor
    ) -> Tensor:
        """Compare the gradients that synthetic and real samples have."""


@final
class ClassWiseGradientMatching(_GradientMatching):
    r"""Sum over classes the distance between the gradients of a class's synthetic and real samples.

    $\sum_c D\big(\nabla_\theta L(S_c), \nabla_\theta L(T_c)\big)$, with L the mean cross-entropy. What all classes have
    in common is a large part of every class's gradient, and the loss is spent on it: the baseline.

    Cost: c passes forward and backward of the real samples, c differentiable ones of the synthetic.

    Args:
        metric: See `gradient_distance`.

    Source: Zhao, Mopuri and Bilen, "Dataset Condensation with Gradient Matching" (2021).

    >>> x, y = torch.eye(4), torch.arange(4) % 2
    >>> ClassWiseGradientMatching()(nn.Linear(4, 2), x, y, x, y).item() < 0.01
    True
    """

    def _distance(
        self, gradient: Callable[[Tensor, Tensor], Parameters], x: Tensor, y: Tensor, real_x: Tensor, real_y: Tensor
    ) -> Tensor:
        # Not by vmap: in torch 2.13 it gets the second derivative in an instance norm's scale and shift wrong.
        distances: list[Tensor] = []
        for label in y.unique():
            own, real_own = y == label, real_y == label
            pair = gradient(x[own], y[own]), gradient(real_x[real_own], real_y[real_own])
            distances.append(gradient_distance(*pair, metric=self.metric))
        return torch.stack(distances).sum()


@final
class ContrastiveGradientMatching(_GradientMatching):
    r"""Return the distance between the gradients of all synthetic and all real samples, summed over classes first.

    $D\big(\nabla_\theta L(S), \frac1C \sum_c \nabla_\theta L(T_c)\big)$. Over the classes, the gradients of what they
    have in common cancel: the softmax probabilities of a sample sum to one. What remains tells classes apart. For a
    linear softmax model with zero weights and balanced classes, row r of the summed gradient is
    $\frac1C(\bar x - \bar x_r)$, mean of all samples minus mean of class r, whatever vector is added to all samples.

    Both gradients weigh classes alike, also where a class has more samples than another. Arguments, errors and calls
    are those of `ClassWiseGradientMatching`; the cost is one pass of each kind.

    Source: Lee et al., "Dataset Condensation with Contrastive Signals" (2022).

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
) -> Callable[[Tensor, Tensor], Parameters]:
    """Check the samples; return the function that maps some to the gradient of the mean over classes of their loss."""
    check_pairs(x, y)
    check_pairs(real_x, real_y)
    if x.shape[1:] != real_x.shape[1:]:
        raise InvalidInputError(
            f"synthetic samples have shape {tuple(x.shape[1:])}, real ones {tuple(real_x.shape[1:])}; give the same"
        )
    labels = [each.unique().tolist() for each in (y, real_y)]
    if labels[0] != labels[1]:
        raise InvalidInputError(f"classes {labels[0]} are synthetic, classes {labels[1]} real; give samples of both")
    check_labels(y, check_logits(model, real_x).shape[1])
    outputs = functional(model)
    params = {name: value.requires_grad_() for name, value in named_parameters(model).items()}

    def gradient(samples: Tensor, targets: Tensor) -> Parameters:
        _, place, count = targets.unique(return_inverse=True, return_counts=True)
        losses = F.cross_entropy(outputs(params, samples), targets, reduction="none")
        loss = losses @ (1 / (len(count) * count[place]).to(losses))
        values = torch.autograd.grad(
            loss, list(params.values()), create_graph=samples.requires_grad, materialize_grads=True
        )
        return dict(zip(params, values, strict=True))

    return gradient
