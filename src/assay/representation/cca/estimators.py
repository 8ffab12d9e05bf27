"""Stochastic CCA and PLS for scikit-learn (Chapman, Wells and Lawry Aguila, 2024)."""

from typing import Any

import numpy as np
import torch
from sklearn.utils.validation import check_is_fitted

from assay.representation.cca.closed_form import canonical_correlations
from assay.representation.cca.training import ViewsEstimator


class StochasticCCA(ViewsEstimator):
    r"""Fit CCA of two or more views by mini-batches of the Eckart-Young loss.

    $L(U) = -2 \operatorname{tr}(U^\top A U) + \operatorname{tr}((U^\top B U)^2)$ on A and B of `cca_gep`, which are
    never built. The K columns that training finds are a rotation of the canonical directions; a CCA of the K scores on
    the data of the fit undoes it. Where fewer than K directions correlate, the others go to zero. Views are given as
    `fit((X1, X2, ...))`, or `fit(X, y)` with the second view as y.

    With fewer samples a batch than features, batches of `ridge=0` can diverge: take larger ones, or a ridge of 0.1 to
    0.3.

    It passes `check_estimator` with two views as X and y; no check knows of several views in X.

    Cost: time O(n d K) an epoch, memory O(batch_size d + d K), d the columns of all views. A memory map is read by
    rows.

    Args:
        n_components: Number of components K.
        ridge: $\alpha$ in [0, 1], one for all views or one each: 0 is CCA, 1 PLS.
        batch_size: Samples a step; 4 K or more.
        epochs: Passes over the data of `fit`.
        lr: Learning rate of Adam over the root of a view's number of features, the typical size of a weight.
        optimizer: Called with the list of weights instead, such as `partial(torch.optim.SGD, lr=0.01)`; None for Adam.
        rule: "eckart-young", or "hebbian" for the stochastic generalised Hebbian algorithm, a baseline.
        unbiased: Split each batch into two, so that the gradient's mean is the gradient of the loss.
        scale: Divide each column by its standard deviation, in the data of `fit` or the first `partial_fit`. The ridge
            is on the weights of divided columns. Constant columns get no weight.
        random_state: Seed of the first weights and the order of the samples.
        progress: Draw a bar on standard error.

    Attributes:
        weights_: One matrix (d, K) a view, for centred columns. Scores have a variance of 1 (for `ridge=0`), weights a
            norm of 1 (for PLS without `scale`).
        means_: Mean of each view.
        eigenvalues_: On the data of `fit` or the last `partial_fit`: for two views canonical correlations.
        n_iter_: Steps taken.

    Source: Chapman, Wells and Lawry Aguila, Unconstrained Stochastic CCA (2024), main text: stochastic CCA; the
    learning rate's scale and the final rotation are chosen here.

    >>> shared = np.random.default_rng(0).normal(size=(200, 1))
    >>> X1, X2 = shared @ [[1.0, 2.0]], shared @ [[3.0, 1.0, 0.0]]
    >>> round(float(StochasticCCA(1).fit((X1, X2)).score((X1, X2))), 3)
    1.0
    """

    def __init__(
        self,
        n_components: Any = 2,
        *,
        ridge: Any = 0.0,
        batch_size: Any = 100,
        epochs: Any = 20,
        lr: Any = 0.05,
        optimizer: Any = None,
        rule: Any = "eckart-young",
        unbiased: Any = False,
        scale: Any = True,
        random_state: Any = 0,
        progress: Any = False,
    ) -> None:
        self.n_components = n_components
        self.ridge = ridge
        self.batch_size = batch_size
        self.epochs = epochs
        self.lr = lr
        self.optimizer = optimizer
        self.rule = rule
        self.unbiased = unbiased
        self.scale = scale
        self.random_state = random_state
        self.progress = progress

    def score(self, X: Any, y: Any = None) -> float:
        """Return the total correlation captured: the sum of the canonical correlations of the scores.

        Args:
            X: All views, or the first one.
            y: The second view, if X is the first.

        Returns:
            The sum; for more than two views the mean over pairs.

        Raises:
            ValueError: A view is missing, or there are no more samples than twice the components.
        """
        scores = [torch.as_tensor(one) for one in self._all_scores(X, y)]
        pairs = [canonical_correlations(scores[i], scores[j]).sum() for i in range(len(scores)) for j in range(i)]
        return float(torch.stack(pairs).mean())

    def _ridge(self) -> Any:
        return self.ridge


class StochasticPLS(ViewsEstimator):
    r"""Fit partial least squares, the top singular vectors of the cross-covariance, by mini-batches.

    `StochasticCCA` with $\alpha = 1$: $B = I$. Scores of a component covary most, whatever their variances.

    It passes `check_estimator` as `StochasticCCA` does.

    Cost: as `StochasticCCA`; cross-covariances are never built.

    Args:
        n_components: Number of components K.
        batch_size: Samples a step.
        epochs: Passes over the data of `fit`.
        lr: Learning rate of Adam over the root of a view's number of features.
        optimizer: Called with the list of weights instead; None for Adam.
        rule: "eckart-young" or "hebbian".
        unbiased: Split each batch into two.
        scale: Divide each column by its standard deviation; False for covariances in the units given.
        random_state: Seed of the first weights and the order of the samples.
        progress: Draw a bar on standard error.

    Source: Chapman, Wells and Lawry Aguila, Unconstrained Stochastic CCA (2024), main text: stochastic PLS.

    >>> X = np.random.default_rng(0).normal(size=(200, 3)) * [3.0, 2.0, 1.0]
    >>> fitted = StochasticPLS(1, scale=False).fit((X, X))
    >>> bool(abs(fitted.score((X, X)) - X.var(0, ddof=1)[0]) < 0.5)
    True
    """

    def __init__(
        self,
        n_components: Any = 2,
        *,
        batch_size: Any = 100,
        epochs: Any = 20,
        lr: Any = 0.05,
        optimizer: Any = None,
        rule: Any = "eckart-young",
        unbiased: Any = False,
        scale: Any = True,
        random_state: Any = 0,
        progress: Any = False,
    ) -> None:
        self.n_components = n_components
        self.batch_size = batch_size
        self.epochs = epochs
        self.lr = lr
        self.optimizer = optimizer
        self.rule = rule
        self.unbiased = unbiased
        self.scale = scale
        self.random_state = random_state
        self.progress = progress

    def score(self, X: Any, y: Any = None) -> float:
        """Return the covariance captured: the sum of the singular values of the scores' cross-covariance.

        The weights are made orthonormal first, in the scaled columns; for more than two views the mean over pairs.

        Raises:
            ValueError: A view is missing.
        """
        check_is_fitted(self)
        scores = self._all_scores(X, y)
        bases = []
        for score, weight, inverse in zip(scores, self.weights_, self._inverse, strict=True):
            spread = np.divide(1, inverse.numpy(), out=np.zeros_like(inverse.numpy()), where=inverse.numpy() > 0)
            upper = np.linalg.pinv(np.linalg.qr((weight * spread).astype(np.float64))[1])
            bases.append((score - score.mean(0)) @ upper)
        pairs = [
            np.linalg.svd(bases[i].T @ bases[j] / (len(scores[0]) - 1), compute_uv=False).sum()
            for i in range(len(bases))
            for j in range(i)
        ]
        return float(np.mean(pairs))

    def _ridge(self) -> float:
        return 1.0
