"""Attributions as functions: input gradients, captum's methods, and any callable (Shah et al., 2021, section 3)."""

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any, Literal, Protocol, TypeAlias, runtime_checkable

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64, Shaped
from torch import Tensor, nn

from assay.core import (
    InvalidInputError,
    check_choice,
    check_count,
    check_finite,
    check_labels,
    check_logits,
    check_pairs,
    check_samples,
    check_scores,
    input_gradient,
    predict,
    preserved,
    signs,
    track,
)
from assay.core.recording import global_seed


@runtime_checkable
class CaptumMethod(Protocol):
    """An object with captum's call, such as `captum.attr.IntegratedGradients(model)`."""

    def attribute(self, inputs: Tensor, *, target: Any) -> Any:
        """Return a score for each coordinate of the inputs."""
        ...


Attribution: TypeAlias = CaptumMethod | Callable[[nn.Module, Tensor, Tensor], Tensor]
"""A method of captum, or a function `(model, x, y)` that returns a score for each coordinate of x."""


def input_gradient_attribution(
    model: nn.Module,
    x: Float[Tensor, "n *d"],
    y: Shaped[Tensor, "n *one"] | None = None,
    *,
    of: Literal["logit", "loss"] = "logit",
    batch_size: int = 256,
) -> Float[Tensor, "n *d"]:
    r"""Compute the magnitude of the input gradient, $|\partial_x f_{y}(x)|$, of the predicted or of a given class.

    With "loss" it is $|\partial_x \ell(f(x), y)|$ of the cross-entropy. For a network of two classes with
    $f_0 = -f_1$, or of one logit, both rank the coordinates alike; for more classes they do not.

    Cost: one forward and one backward pass a sample, memory that of one batch.

    Args:
        model: Classifier with one logit or one a class; it runs in evaluation mode and comes back as it was.
        x: Inputs.
        y: Classes; None takes the predicted ones. True labels may leak into what an attribution selects.
        of: What is differentiated. Paper: "logit".
        batch_size: Samples differentiated at once.

    Returns:
        The magnitudes, in the shape of x.

    Raises:
        InvalidInputError: The model or the data cannot be used; "loss" meets probabilities.
        NumericalError: A gradient is not finite.

    Source: Shah, Jain, Netrapalli, "Do input gradients highlight discriminative features?" (2021), assumption (A),
    section 1; appendix C for the loss.

    >>> input_gradient_attribution(nn.Linear(2, 1), torch.ones(3, 2)).shape
    torch.Size([3, 2])
    """
    x = check_samples(x)
    check_choice(of, ("logit", "loss"), "of")
    check_count(batch_size, "batch_size")
    n_outputs = (check_logits if of == "logit" else check_scores)(model, x).shape[1]
    labels = predicted_classes(model, x, batch_size=batch_size) if y is None else _own_labels(x, y, n_outputs)
    found = []
    with preserved(model):
        for batch, targets in zip(x.split(batch_size), labels.split(batch_size), strict=True):
            value = partial(_logit if of == "logit" else _loss, labels=targets)
            found.append(input_gradient(model, batch, value)[1].abs())
    magnitudes = torch.cat(found)
    check_finite(magnitudes, "the input gradient")
    return magnitudes


def predicted_classes(model: nn.Module, x: Shaped[Tensor, "n *d"], *, batch_size: int = 256) -> Int64[Tensor, " n"]:
    """Return the class with the highest score, for one logit 1 where it is above 0.

    Args:
        model: Classifier.
        x: Inputs.
        batch_size: Samples a forward pass.

    Raises:
        InvalidInputError: The model or the inputs cannot be used.

    >>> predicted_classes(nn.Linear(2, 3), torch.ones(4, 2)).shape
    torch.Size([4])
    """
    scores = predict(model, x, batch_size=batch_size).reshape(len(x), -1)
    return (scores[:, 0] > 0).long() if scores.shape[1] == 1 else scores.argmax(1)


def attribute(
    attribution: Attribution,
    model: nn.Module,
    x: Float[Tensor, "n *d"],
    y: Shaped[Tensor, "n *one"],
    *,
    baseline: float | Tensor = 0.0,
    batch_size: int = 256,
    random_state: int = 0,
    progress: bool = False,
) -> Float[Tensor, "n *d"]:
    """Score the coordinates of samples by any attribution, batch by batch.

    Args:
        attribution: A method of captum that was made with this model, or a function of model, inputs and classes.
        model: Classifier; it is held in evaluation mode and comes back as it was.
        x: Inputs.
        y: Classes to attribute.
        baseline: What a method that requires `baselines` (GradientShap) is given.
        batch_size: Samples attributed at once.
        random_state: Seed of the global generators of torch, NumPy and Python, which are restored.
        progress: Draw a bar on standard error.

    Returns:
        The scores as they came: signed, if the attribution is.

    Raises:
        InvalidInputError: The attribution is neither, or returns no tensor in the shape of its inputs (one channel for
            all is allowed).
        NumericalError: A score is not finite.

    >>> attribute(lambda model, x, y: x * y[:, None], nn.Linear(2, 2), torch.ones(2, 2), torch.tensor([0, 1])).tolist()
    [[0.0, 0.0], [1.0, 1.0]]
    """
    x, _ = check_pairs(x, y)
    outputs = check_logits(model, x)
    with preserved(model), torch.no_grad():
        is_flat = model(x[:1]).ndim == 1
    labels = _own_labels(x, y, outputs.shape[1])
    batches = list(zip(x.split(batch_size), labels.split(batch_size), strict=True))
    found = []
    with preserved(model), global_seed(random_state):
        for batch, classes in track(batches, "attributing", enabled=progress):
            if callable(getattr(attribution, "attribute", None)):
                target = None if is_flat else torch.zeros_like(classes) if outputs.shape[1] == 1 else classes
                scores = _by_captum(attribution, batch, target, baseline)
            elif callable(attribution):
                scores = attribution(model, batch.clone(), classes)
            else:
                raise InvalidInputError(
                    f"attribution is a {type(attribution).__name__}; give a method of captum, with "
                    ".attribute(inputs, target=...), or a function (model, x, y) of scores"
                )
            found.append(_checked_scores(scores, batch))
    result = torch.cat(found)
    check_finite(result, "the attribution")
    return result


def _by_captum(attribution: Any, x: Tensor, target: Tensor | None, baseline: float | Tensor) -> Any:
    parameters = inspect.signature(attribution.attribute).parameters
    needed = "baselines" in parameters and parameters["baselines"].default is inspect.Parameter.empty
    options = {"baselines": torch.as_tensor(baseline).to(x).expand_as(x[:1]).clone()} if needed else {}
    # Captum warns about inputs without a gradient, and would ask for it itself.
    return attribution.attribute(x.clone().requires_grad_(), target=target, **options)


def _checked_scores(scores: Any, x: Tensor) -> Tensor:
    shape, needed = tuple(getattr(scores, "shape", ())), tuple(x.shape)
    pooled = x.ndim > 2 and shape == (needed[0], 1, *needed[2:])
    if not isinstance(scores, Tensor) or not (shape == needed or pooled):
        raise InvalidInputError(
            f"the attribution returned {type(scores).__name__} of shape {shape} for inputs of shape {needed}; return "
            "one score for each coordinate"
        )
    return scores.detach()


def _own_labels(x: Tensor, y: Tensor, n_outputs: int) -> Tensor:
    """Return class indices; of a network with one logit, 0 and 1."""
    _, y = check_pairs(x, y)
    return (signs(y) > 0).long() if n_outputs == 1 else check_labels(y, n_outputs)


def _logit(outputs: Tensor, labels: Tensor) -> Tensor:
    scores = outputs.reshape(len(labels), -1)
    return scores[:, 0] if scores.shape[1] == 1 else scores.gather(1, labels[:, None])[:, 0]


def _loss(outputs: Tensor, labels: Tensor) -> Tensor:
    scores = outputs.reshape(len(labels), -1)
    if scores.shape[1] == 1:
        return F.binary_cross_entropy_with_logits(scores[:, 0], labels.to(scores), reduction="none")
    return F.cross_entropy(scores, labels, reduction="none")
