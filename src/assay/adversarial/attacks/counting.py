"""Counter of a classifier's forward and backward passes."""

from typing import Any

import torch
from torch import Tensor, nn


class PassCounter(nn.Module):
    """Wrap a classifier and count its forward and backward passes, one a sample.

    Args:
        model: The classifier.
        checked: Whether its caller has checked the classifier, so that the attacks that it is given to do not check it
            again.

    Attributes:
        n_forward: Samples evaluated.
        n_backward: Samples whose scores were differentiated: a batch of n with k cotangents counts n k, also when
            `torch.vmap` over `torch.func.vjp` runs the k at once. (`torch.autograd.grad` with
            `is_grads_batched=True` hides the k: it would count n.)

    >>> counted = PassCounter(nn.Linear(2, 3))
    >>> counted(torch.zeros(5, 2)).sum().backward()
    >>> counted.n_forward, counted.n_backward
    (5, 5)
    """

    def __init__(self, model: nn.Module, *, checked: bool = False) -> None:
        super().__init__()
        self.model = model
        self.checked = checked
        self.n_forward = 0
        self.n_backward = 0

    def forward(self, x: Tensor) -> Tensor:
        """Return the model's scores."""
        self.n_forward += len(x)
        return _CountBackward.apply(self.model(x), self)


class _CountBackward(torch.autograd.Function):
    """The identity; its backward pass counts the cotangents."""

    @staticmethod
    def forward(scores: Tensor, counter: PassCounter) -> Tensor:
        return scores.view_as(scores)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, PassCounter], output: Tensor) -> None:
        ctx.counter = inputs[1]

    @staticmethod
    def backward(ctx: Any, cotangent: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        return _CountCotangents.apply(cotangent, ctx.counter), None


class _CountCotangents(torch.autograd.Function):
    """The identity on a cotangent, with a rule for `vmap` that counts batched cotangents."""

    @staticmethod
    def forward(cotangent: Tensor, counter: PassCounter) -> Tensor:
        counter.n_backward += len(cotangent)
        return cotangent.view_as(cotangent)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, PassCounter], output: Tensor) -> None:
        return None

    @staticmethod
    def backward(ctx: Any, cotangent: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        return cotangent, None

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], *args: Any) -> tuple[Tensor, int]:
        cotangent, counter = args
        stacked = cotangent.movedim(in_dims[0], 0)
        counter.n_backward += stacked.shape[0] * stacked.shape[1]
        return stacked.view_as(stacked), 0
