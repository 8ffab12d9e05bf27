"""Fitted perceptrons of scikit-learn as networks of PyTorch: `MLPClassifier` and `MLPRegressor`."""

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from assay.audit.samples import Pairs, as_pairs
from assay.core import InvalidInputError, LossFunction, binary_cross_entropy, cross_entropy, squared_error

_ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
    "logistic": nn.Sigmoid,
    "identity": nn.Identity,
}
_LOSSES: dict[str, LossFunction] = {
    "softmax": cross_entropy,
    "logistic": binary_cross_entropy,
    "identity": squared_error,
}


def is_estimator(model: object) -> bool:
    """Return whether a model is an estimator of scikit-learn, without importing scikit-learn."""
    return any(kind.__module__.split(".")[0] == "sklearn" for kind in type(model).__mro__)


class Estimator:
    """A fitted perceptron of scikit-learn, as an equal network on the scores before the last activation.

    Args:
        fitted: An `MLPClassifier` of one label a sample, or an `MLPRegressor` with squared error.

    Attributes:
        network: The network, in the type of the fitted weights. Its softmax (for two classes, its sigmoid) is
            `predict_proba` up to rounding; for a regression, its outputs are `predict`.
        loss: The loss that the estimator is fitted by, without its penalty.
        class_names: The classes as text, in the order of `classes_`; empty for a regression.

    Raises:
        InvalidInputError: The estimator is of another kind, not fitted, or gives several labels a sample.

    >>> from sklearn.neural_network import MLPRegressor
    >>> Estimator(MLPRegressor(hidden_layer_sizes=3, tol=0.1).fit([[0.0], [1.0]], [0.0, 1.0])).network[0]
    Linear(in_features=1, out_features=3, bias=True)
    """

    def __init__(self, fitted: Any) -> None:
        _check(fitted)
        self.network = _network(fitted)
        self.loss = _LOSSES[fitted.out_activation_]
        self._classes = getattr(fitted, "classes_", np.empty(0)).tolist()
        self.class_names = tuple(map(str, self._classes))

    def read(self, data: object, part: Literal["train", "test"]) -> tuple[Pairs, tuple[str, ...]]:
        """Return data in a form of `as_pairs` as two tensors, and notes.

        Inputs take the type of the weights, labels become places in `classes_`: those that scikit-learn was fitted on
        may be text.

        Raises:
            InvalidInputError: The data cannot be read, or hold labels that are not among the classes.
        """
        dtype = next(self.network.parameters()).dtype
        if isinstance(data, tuple | list) and len(data) == 2:  # labels that are text are no tensor yet
            (x, y), notes = as_pairs((data[0], self._places(data[1])), part)
            return (x.to(dtype), y), notes
        (x, y), notes = as_pairs(data, part)
        return (x.to(dtype), self._places(y)), notes

    def _places(self, y: Any) -> Any:
        if not self._classes:
            return y
        places = {label: place for place, label in enumerate(self._classes)}
        labels = (y.cpu() if isinstance(y, Tensor) else np.asarray(y)).reshape(-1).tolist()
        unknown = list(dict.fromkeys(str(label) for label in labels if label not in places))
        if unknown:
            raise InvalidInputError(
                f"labels {', '.join(unknown[:4])} are not among the classes that the estimator was fitted on: "
                f"{', '.join(self.class_names[:6])}; give the labels as they were in fit"
            )
        return torch.tensor([places[label] for label in labels])


def _check(fitted: Any) -> None:
    """Require a fitted perceptron of one label a sample."""
    from sklearn.neural_network import MLPClassifier, MLPRegressor  # takes a second, and most subjects need none

    name = type(fitted).__name__
    if not isinstance(fitted, MLPClassifier | MLPRegressor):
        raise InvalidInputError(
            f"model is a {name} of scikit-learn, and an audit reads the weights of a network: give a fitted "
            "MLPClassifier or MLPRegressor; of a Pipeline its last step, with the data as the steps before leave them"
        )
    if not hasattr(fitted, "coefs_"):
        raise InvalidInputError(f"the {name} is not fitted; call its fit first")
    if fitted.out_activation_ not in _LOSSES:
        raise InvalidInputError(
            f"the {name} ends in {fitted.out_activation_}, which no loss here belongs to; fit it with "
            "loss='squared_error'"
        )
    if fitted.out_activation_ == "logistic" and fitted.n_outputs_ > 1:
        raise InvalidInputError(
            f"the {name} gives {fitted.n_outputs_} labels a sample, and an audit takes one; fit one for each label"
        )


def _network(fitted: Any) -> nn.Sequential:
    layers: list[nn.Module] = []
    for weight, bias in zip(fitted.coefs_, fitted.intercepts_, strict=True):
        layer = nn.utils.skip_init(nn.Linear, *weight.shape)  # draws nothing from the global random state
        layer.weight = nn.Parameter(torch.from_numpy(weight.T.copy()))
        layer.bias = nn.Parameter(torch.from_numpy(bias.copy()))
        layers += [layer, _ACTIVATIONS[fitted.activation]()]
    return nn.Sequential(*layers[:-1]).eval()
