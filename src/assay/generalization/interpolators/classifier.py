"""Classifier that draws random weights until they fit (Buzaglo, Harel et al., 2024)."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import check_is_fitted, validate_data

from assay.core import NumericalError, seeded
from assay.generalization.interpolators.guessing import guess_and_check
from assay.generalization.interpolators.quantized import QuantizedMLP


class RandomInterpolatorClassifier(ClassifierMixin, BaseEstimator):
    """Classify with the first network of random quantised weights that fits all training labels.

    The network is a draw from the posterior of a flat prior over weights, untouched by any optimiser: what it gets
    right on new data is due to the architecture. Bring inputs to the size of the levels first.

    `check_estimator`: no check whose labels no drawn network fits (random ones, mostly) can hold: `fit` then raises.

    Cost: as `guess_and_check`; at most max_guesses networks.

    Args:
        hidden: Units of the hidden layers.
        levels: Values of a weight.
        scaled_neurons: Give each hidden neuron a scale.
        max_guesses: Networks to draw before giving up.
        batch_size: Networks that are evaluated together.
        random_state: Seed of the weights.

    Attributes:
        classes_: The two labels; the second is where the network is above 0.
        prior_: The network.
        parameters_: Its flat weights.
        n_guesses_: Networks drawn.

    Source: Buzaglo, Harel et al., How Uniform Random Weights Induce Non-uniform Bias (2024), the guess and check
    algorithm.

    >>> x = np.array([[1.0, 0.0], [-1.0, 0.0], [1.0, 1.0]])
    >>> RandomInterpolatorClassifier().fit(x, ["right", "left", "right"]).predict(x).tolist()
    ['right', 'left', 'right']
    """

    def __init__(
        self,
        hidden: Sequence[int] = (8,),
        levels: Sequence[float] = (-1.0, 0.0, 1.0),
        *,
        scaled_neurons: bool = False,
        max_guesses: int = 100_000,
        batch_size: int = 16_384,
        random_state: Any = 0,
    ) -> None:
        self.hidden = hidden
        self.levels = levels
        self.scaled_neurons = scaled_neurons
        self.max_guesses = max_guesses
        self.batch_size = batch_size
        self.random_state = random_state

    def fit(self, X: Any, y: Any) -> "RandomInterpolatorClassifier":
        """Draw networks until one fits.

        Args:
            X: Inputs, of shape (n, d).
            y: Labels of two classes.

        Returns:
            The estimator itself.

        Raises:
            ValueError: The inputs are no finite matrix, or there are not two classes.
            NumericalError: No network among `max_guesses` fits.
        """
        X, y = validate_data(self, X, y, dtype=np.float64)
        check_classification_targets(y)
        if type_of_target(y) != "binary":
            raise ValueError(f"Only binary classification is supported. The type of the target is {type_of_target(y)}.")
        self.classes_, labels = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(f"Classifier can't train when only one class is present: {self.classes_[0]!r}.")
        prior = QuantizedMLP((X.shape[1], *self.hidden, 1), tuple(self.levels), self.scaled_neurons)
        source = seeded(int(check_random_state(self.random_state).randint(2**31 - 1)))
        found = guess_and_check(
            prior,
            torch.tensor(X),  # a copy: a user's array may be read-only
            torch.tensor(labels),
            max_guesses=self.max_guesses,
            batch_size=self.batch_size,
            generator=source,
        )
        if not found.accepted:
            raise NumericalError(str(found))
        self.prior_, self.parameters_, self.n_guesses_ = prior, found.parameters[0], found.drawn
        return self

    def decision_function(self, X: Any) -> np.ndarray:
        """Return the network's output on each row, above 0 for the second class.

        Raises:
            NotFittedError: `fit` was not called.
            ValueError: The inputs are no finite matrix of as many columns as in `fit`.
        """
        check_is_fitted(self)
        X = validate_data(self, X, dtype=np.float64, reset=False)
        return self.prior_.forward_batch(self.parameters_[None], torch.tensor(X))[0].numpy()

    def predict(self, X: Any) -> np.ndarray:
        """Return the label of each row.

        Raises:
            NotFittedError: `fit` was not called.
            ValueError: The inputs are no finite matrix of as many columns as in `fit`.
        """
        outputs = self.decision_function(X)
        return self.classes_[(outputs > 0).astype(int)]

    def __sklearn_tags__(self) -> Any:
        """Declare that there are two classes."""
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_class = False
        return tags
