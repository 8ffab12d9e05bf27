"""Reconstruction by a map from weights to samples, learned on shadow networks (Maciazek and Allison, 2025)."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from assay.core import InvalidInputError, check_count, check_pairs, check_positive, fit, predict, seeded, squared_error
from assay.nets import mlp


class ShadowReconstructor(BaseEstimator):
    r"""Recover training samples from weights by a map that is learned on shadow networks.

    An attacker who knows the recipe of training and has other samples of the kind trains many shadow networks on them,
    each on its own few, and fits a perceptron g to map the weights of each to the samples it was trained on:

    $$\min_g \sum_k \lVert g((\theta_k - m) / s) - x_k \rVert^2,$$

    m and s the mean and the standard deviation of each weight over the shadow networks. Neither the initial weights nor
    stationarity is needed. Where weights tell nothing, the map answers with a mean sample, which correlates with all:
    compare its answers with samples that the network was not trained on, as `reconstruction_roc` does.

    `check_estimator`: no check that expects one number for each row can hold, since a row's target is its samples.

    Cost: time O(n_iter * batch_size * p * hidden units) beside the training of the shadow networks, which is not done
    here (`StackedTrainer` trains many at once); memory O(n p).

    Args:
        hidden: Units of the perceptron's hidden layers.
        lr: Learning rate of Adam at the start; it falls to zero along a cosine.
        n_iter: Steps.
        batch_size: Shadow networks a step.
        progress: Draw a bar on standard error.
        random_state: Seed of the initial weights and of the batches.

    Attributes:
        network_: The perceptron.
        mean_: Mean weights of the shadow networks.
        scale_: Their standard deviation, 1 where a weight is constant.
        shape_: Shape of the samples of one network.

    Source: Maciazek and Allison, Vulnerability of Transfer-Learned Neural Networks to Data Reconstruction Attacks in
    Small-Data Regime (2025), abstract, for a reconstructor that learns on networks that the attacker trains;
    standardised weights, perceptron and squared error are ours.

    >>> weights = torch.randn(20, 3, generator=seeded(0))
    >>> ShadowReconstructor((8,), n_iter=5).fit(weights, weights[:, None, :2]).predict(weights[:4]).shape
    torch.Size([4, 1, 2])
    """

    def __init__(
        self,
        hidden: Sequence[int] = (256, 128),
        *,
        lr: float = 1e-3,
        n_iter: int = 2000,
        batch_size: int = 256,
        progress: bool = False,
        random_state: int = 0,
    ) -> None:
        self.hidden = hidden
        self.lr = lr
        self.n_iter = n_iter
        self.batch_size = batch_size
        self.progress = progress
        self.random_state = random_state

    def fit(self, weights: Float[Tensor, "n p"], samples: Float[Tensor, "_ ..."]) -> "ShadowReconstructor":
        """Learn the map from shadow networks.

        Args:
            weights: Trained weights of each shadow network, flat.
            samples: What each was trained on, in a fixed order such as that of the classes.

        Returns:
            The estimator itself.

        Raises:
            InvalidInputError: There are fewer than two shadow networks, not as many samples as networks, or a number is
                out of range.
        """
        check_positive(self.lr, "lr")
        for name in ("n_iter", "batch_size"):
            check_count(getattr(self, name), name)
        for units in self.hidden:
            check_count(units, "hidden")
        weights, samples = check_pairs(weights, samples)
        if len(weights) < 2 or weights.ndim != 2:
            raise InvalidInputError(
                f"weights must be those of two or more shadow networks, a flat row each, got shape "
                f"{tuple(weights.shape)}; pass torch.stack([flatten(named_parameters(one)) for one in networks])"
            )
        spread = weights.std(0)
        self.mean_, self.scale_ = weights.mean(0), torch.where(spread > 0, spread, 1.0)
        self.shape_ = tuple(samples.shape[1:])
        targets = samples.flatten(1).to(weights)
        widths = (weights.shape[1], *self.hidden, targets.shape[1])
        self.network_ = mlp(widths, generator=seeded(self.random_state)).to(weights)
        adam = partial(torch.optim.Adam, lr=self.lr)
        effort = {"n_iter": self.n_iter, "batch_size": min(self.batch_size, len(weights)), "progress": self.progress}
        source = seeded(self.random_state + 1)
        options = {"loss": squared_error, "optimizer": adam, "schedule": "cosine", "generator": source}
        fit(self.network_, self._standard(weights), targets, **options, **effort)
        return self

    def predict(self, weights: Float[Tensor, "m p"]) -> Float[Tensor, "m ..."]:
        """Return the samples that networks were trained on, according to their weights.

        Args:
            weights: Trained weights of each network, flat, in the order of the shadow networks' weights.

        Raises:
            InvalidInputError: The networks have another number of weights.
            NotFittedError: The map was not learned yet.
        """
        check_is_fitted(self)
        if weights.ndim != 2 or weights.shape[1] != len(self.mean_):
            raise InvalidInputError(
                f"weights must be rows of {len(self.mean_)} numbers, as those of the shadow networks, got shape "
                f"{tuple(weights.shape)}; flatten the parameters in the same order"
            )
        return predict(self.network_, self._standard(weights.to(self.mean_)), look=False).reshape(-1, *self.shape_)

    def _standard(self, weights: Tensor) -> Tensor:
        return (weights - self.mean_) / self.scale_

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.no_validation = True
        return tags
