"""Probabilities of a network, a fitted classifier or a function, as one function of arrays."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from assay.core import (
    InvalidInputError,
    NumericalError,
    check_outputs,
    is_probabilities,
    predict,
    stays_in_unit_interval,
)

BLACK_BOX = "a torch.nn.Module, a fitted classifier with predict_proba, or a function of a batch of inputs"


def probability_function(model: Any, x: Any, *, batch_size: int) -> Callable[[Any], np.ndarray]:
    """Return a function of a batch of inputs that gives probabilities of shape (n,) or (n, c).

    Args:
        model: A network of logits (one: a sigmoid, several: a softmax) or of probabilities; a classifier with
            `predict_proba`; or a function that returns probabilities.
        x: A few inputs, on which a network is looked at.
        batch_size: Samples a forward pass of a network.

    Raises:
        InvalidInputError: It is none of these, or the network does not take the inputs.
    """
    if isinstance(model, nn.Module):
        return _of_network(model, _accepted(model, torch.as_tensor(x)), batch_size)
    function = getattr(model, "predict_proba", model)
    if isinstance(model, type) or not callable(function):
        got = f"the class {model.__name__}" if isinstance(model, type) else type(model).__name__
        raise InvalidInputError(f"the model must be {BLACK_BOX}, got {got}")
    return lambda values: check_probabilities(function(values), len(values))


def check_probabilities(found: Any, n: int) -> np.ndarray:
    """Require one probability, or one row of them, for each of n inputs, and return them in float64.

    Raises:
        InvalidInputError: The shape is another, or a value lies outside [0, 1].
        NumericalError: A value is NaN or infinite.
    """
    values = as_array(found)
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.ndim not in (1, 2) or len(values) != n:
        raise InvalidInputError(
            f"the model must return probabilities of shape (n,) or (n, c), got {values.shape} for {n} inputs"
        )
    if not np.isfinite(values).all():
        raise NumericalError("the model returns NaN or infinite probabilities; check its weights and the inputs")
    if values.min() < -1e-6 or values.max() > 1 + 1e-6:
        raise InvalidInputError(
            f"the model must return probabilities, got values from {values.min():.3g} to {values.max():.3g}; pass "
            "predict_proba, or a network of logits, whose sigmoid or softmax is taken"
        )
    return values


def as_array(value: Any) -> np.ndarray:
    """Return numbers as an array of float64; tensors are taken off their graph and device."""
    if isinstance(value, Tensor):
        value = value.detach().cpu()
        value = value.double() if value.is_floating_point() else value
    try:
        return np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InvalidInputError(f"numbers are needed, got {type(value).__name__} ({error}); pass an array") from error


def _accepted(model: nn.Module, x: Tensor) -> Tensor:
    """Return a batch on the device of a network's weights, in the first type of theirs, or float32, that it takes."""
    weights = [value for value in model.parameters() if value.is_floating_point()]
    x = x.to(weights[0].device) if weights else x
    refusals: list[InvalidInputError] = []
    for kind in dict.fromkeys([*(value.dtype for value in weights), torch.float32]):
        try:
            check_outputs(model, x.to(kind))
        except InvalidInputError as error:
            refusals.append(error)
        else:
            return x.to(kind)
    raise refusals[0]


def _of_network(model: nn.Module, x: Tensor, batch_size: int) -> Callable[[Any], np.ndarray]:
    outputs = check_outputs(model, x).reshape(min(3, len(x)), -1)
    single = outputs.shape[1] == 1
    ready = stays_in_unit_interval(model, x) if single else is_probabilities(outputs)

    def probabilities(values: Any) -> np.ndarray:
        inputs = torch.as_tensor(values).to(x)
        scores = predict(model, inputs, batch_size=batch_size, look=False).reshape(len(inputs), -1)
        scores = scores.float() if scores.dtype.itemsize < 4 else scores
        if not ready:
            scores = scores.sigmoid() if single else scores.softmax(1)
        return check_probabilities(scores, len(inputs))

    return probabilities
