"""Outputs, losses and errors of whatever a training function returns."""

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.base import is_classifier
from torch import Tensor, nn

from assay.core import InvalidInputError, LossFunction, NumericalError, accuracy, check_labels, predict, squared_error

TrainFunction: TypeAlias = Callable[[int, Tensor, Tensor, torch.Generator], Any]
"""A function `train(width, x, y, generator)` that returns a network, an estimator or a function of inputs."""


def outputs_of(fitted: Any, x: Tensor) -> Tensor:
    """Return the outputs of a network, a fitted estimator or a function on inputs, one row a sample.

    A network is evaluated in evaluation mode. An estimator is given flat arrays; of a classifier the outputs are its
    probabilities, with a column for each class up to the highest.

    Raises:
        InvalidInputError: It is none of these, a classifier without probabilities, or answers in another shape.
        NumericalError: Outputs are NaN or infinite.
    """
    if isinstance(fitted, nn.Module):
        found = predict(fitted, x)
    elif hasattr(fitted, "predict"):
        found = _of_estimator(fitted, x.flatten(1).cpu().numpy())
    elif callable(fitted):
        found = fitted(x)
    else:
        raise InvalidInputError(
            f"the training function returned a {type(fitted).__name__}; return a network, a fitted estimator, or a "
            "function of inputs that gives their outputs"
        )
    found = torch.as_tensor(found).detach()
    if found.ndim == 0 or len(found) != len(x):
        raise InvalidInputError(
            f"{len(x)} inputs gave outputs of shape {tuple(found.shape)}; what the training function returns must "
            "answer each input by a row"
        )
    if not torch.isfinite(found).all():
        raise NumericalError(
            "outputs are NaN or infinite; lower the learning rate, or stop the training function when it diverges"
        )
    return found.to(x.device)


def loss_and_error(outputs: Tensor, y: Tensor, loss: LossFunction | None) -> tuple[float, float | None]:
    """Return the loss, and of labels the share of errors.

    Args:
        outputs: One row a sample.
        y: Labels, or real targets.
        loss: Mean loss over samples; None for the squared error, to the one-hot rows of labels.
    """
    if y.is_floating_point():
        return float((loss or squared_error)(outputs, y)), None
    if loss is not None:
        value = loss(outputs, y)
    else:
        if outputs.ndim != 2 or outputs.shape[1] < 2:
            raise InvalidInputError(
                f"labels need an output for each class, got outputs of shape {tuple(outputs.shape)}; return one a "
                "class, or pass loss="
            )
        value = squared_error(outputs, F.one_hot(check_labels(y, outputs.shape[1]), outputs.shape[1]))
    return float(value), 1 - accuracy(outputs, y)


def check_classes(y: Tensor, y_test: Tensor) -> None:
    """Require test targets of the kind of the training targets, and no class that those lack.

    Raises:
        InvalidInputError: They are not.
    """
    if y.is_floating_point() != y_test.is_floating_point():
        raise InvalidInputError(f"y holds {y.dtype} and y_test {y_test.dtype}; give labels in both, or real targets")
    if not y.is_floating_point() and int(y.min()) < 0:
        raise InvalidInputError(f"labels must be class indices from 0 on, got {int(y.min())}; relabel them")
    if not y.is_floating_point() and int(y_test.max()) > int(y.max()):
        raise InvalidInputError(
            f"y_test holds class {int(y_test.max())}, but the highest in y is {int(y.max())}; put samples of every "
            "class into the training set"
        )


def _of_estimator(fitted: Any, x: np.ndarray) -> np.ndarray:
    if not is_classifier(fitted):
        return np.asarray(fitted.predict(x))
    if not hasattr(fitted, "predict_proba"):
        raise InvalidInputError(
            f"{type(fitted).__name__} gives no probabilities; return a function of inputs that gives a score for "
            "each class"
        )
    found, classes = fitted.predict_proba(x), np.asarray(fitted.classes_, dtype=int)
    outputs = np.zeros((len(x), classes.max() + 1))
    outputs[:, classes] = found
    return outputs
