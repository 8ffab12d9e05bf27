"""Training samples recovered from the weights of a trained classifier."""

import copy
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float
from sklearn.base import BaseEstimator
from torch import Tensor, nn

from assay.core import (
    InvalidInputError,
    check_model,
    check_positive,
    generator,
    preserved,
    require_inspected,
    spawn_seeds,
)
from assay.reconstruction.condense import condense, dense_chain
from assay.reconstruction.consensus import consensus
from assay.reconstruction.search import StationarityGap, search
from assay.reconstruction.stationarity import Objective, check_outputs
from assay.reconstruction.subspace import compress_first_layer, first_dense_layer, noise_rank
from assay.reconstruction.surrogate import with_surrogate_relu


@dataclass(frozen=True, eq=False)
class _Target:
    """The network that the search runs on, and the way back from its inputs to the user's."""

    model: nn.Module
    basis: Float[Tensor, "r d"] | None
    shape: tuple[int, ...]
    rank: int


class KKTReconstructor(BaseEstimator):
    r"""Recover training samples of a ReLU classifier from its weights alone.

    Gradient training of a homogeneous network, or of any network with weight decay, ends where the weights are a
    weighted sum of the training samples' gradients. The estimator searches for samples and multipliers that satisfy

    $$\min_{x, \lambda \ge 0} \Big\lVert \theta - \sum_i \lambda_i \nabla_\theta m(\theta; x_i, y_i) \Big\rVert^2,$$

    m the margin. Beyond the paper's search it (a) looks in the span of the data only, read off the first layer,
    (b) merges parallel hidden units, (c) sharpens the gates during the search instead of tuning one sharpness,
    (d) runs several restarts at once and returns what they agree on. Nothing is tuned and no training data is used.
    Time is O(restarts x steps x candidates x hidden units x rank).

    `check_estimator` does not apply: `fit` takes a trained network, not an array.

    Args:
        objective: "binary" for a network with one logit, "multiclass" for several.
        n_candidates: Candidates of each restart; "auto" takes four for each dimension of the span.
        n_restarts: Independent searches.
        subspace: Dimension of the span; "auto" reads it off the spectrum; None searches all inputs.
        relu_alpha: Sharpness of the gates at the start and at the end of the search.
        lr_x: Learning rate of the candidates.
        lr_multipliers: Learning rate of the multipliers.
        init_scale: Standard deviation of the starting points.
        max_iter: Steps of each search.
        input_shape: Shape of one input; flat when None.
        dtype: Precision of the search.
        progress: Draw a bar on standard error.
        random_state: Seed of the starting points.

    Attributes:
        reconstructions_: What at least two restarts agree on, those with most weight first, `(k, *input_shape)`. The
            scale of a sample is hardly determined by the weights: compare directions.
        support_: How many restarts found each of them.
        multipliers_: Their multipliers.
        labels_: Their classes.
        pool_: All candidates of all restarts, `(n_restarts * n_candidates, *input_shape)`.
        pool_multipliers_: Multipliers of the pool.
        pool_labels_: Classes of the pool.
        basis_: Orthonormal rows that span the search space; None where all inputs were searched.
        rank_: Dimension of that space.
        residual_: Norm of what each restart leaves unexplained, relative to the weights.
        history_: Mean squared relative residual over the search.

    Source: Haim et al., Reconstructing Training Data from Trained Neural Networks (2022); Buzaglo et al.,
    Reconstructing Training Data from Multiclass Neural Networks (2023).

    >>> net = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 1, bias=False))
    >>> KKTReconstructor(n_candidates=4, n_restarts=2, subspace=3, max_iter=2).fit(net).pool_.shape
    torch.Size([8, 6])
    """

    def __init__(
        self,
        objective: Objective = "binary",
        *,
        n_candidates: int | Literal["auto"] = "auto",
        n_restarts: int = 10,
        subspace: int | Literal["auto"] | None = "auto",
        relu_alpha: tuple[float, float] = (100.0, 1000.0),
        lr_x: float = 0.02,
        lr_multipliers: float = 0.02,
        init_scale: float = 0.1,
        max_iter: int = 1500,
        input_shape: tuple[int, ...] | None = None,
        dtype: torch.dtype = torch.float32,
        progress: bool = False,
        random_state: int = 0,
    ) -> None:
        self.objective = objective
        self.n_candidates = n_candidates
        self.n_restarts = n_restarts
        self.subspace = subspace
        self.relu_alpha = relu_alpha
        self.lr_x = lr_x
        self.lr_multipliers = lr_multipliers
        self.init_scale = init_scale
        self.max_iter = max_iter
        self.input_shape = input_shape
        self.dtype = dtype
        self.progress = progress
        self.random_state = random_state

    def fit(self, model: nn.Module, y: None = None) -> "KKTReconstructor":
        """Search for the training samples of a network.

        Args:
            model: Trained ReLU network in evaluation mode; it comes back as it was.
            y: Not used; here because scikit-learn passes it.

        Returns:
            The estimator itself.

        Raises:
            InvalidInputError: The network has no ReLU, dropout is on, weights are not finite, the first layer is not
                dense while a subspace is asked for, or the outputs do not fit the objective.
            NumericalError: The search diverged.
        """
        self._check(model)
        with preserved(model):
            target = self._target(model)
        labels = self._labels(target)
        x = self._start(target, len(labels))
        found, multipliers, gaps, self.history_ = search(
            StationarityGap(target.model, labels),
            x,
            lr_x=self.lr_x,
            lr_multipliers=self.lr_multipliers,
            max_iter=self.max_iter,
            relu_alpha=self.relu_alpha,
            progress=self.progress,
        )
        self.rank_, self.basis_, self.residual_ = target.rank, target.basis, gaps.sqrt()
        self._keep(target, found.flatten(0, 1), multipliers.flatten(), labels.repeat(self.n_restarts))
        return self

    def _check(self, model: nn.Module) -> None:
        check_model(model)
        require_inspected(model, kinds=("weights", "dropout", "batch-norm"))
        low, high = self.relu_alpha
        options = (self.lr_x, self.lr_multipliers, self.init_scale, self.max_iter, self.n_restarts, low, high)
        names = ("lr_x", "lr_multipliers", "init_scale", "max_iter", "n_restarts", "relu_alpha", "relu_alpha")
        for value, name in zip(options, names, strict=True):
            check_positive(value, name)
        if isinstance(self.n_candidates, int):
            check_positive(self.n_candidates, "n_candidates")

    def _target(self, model: nn.Module) -> _Target:
        """Compress the first layer, merge parallel units and swap the gates."""
        twin = copy.deepcopy(model).to(self.dtype).requires_grad_(False)
        if self.subspace is None:
            shape = self.input_shape or (first_dense_layer(model)[1].in_features,)
            rank = noise_rank(first_dense_layer(model)[1].weight) if self.n_candidates == "auto" else 0
            return _Target(with_surrogate_relu(twin), None, shape, rank)
        layer = first_dense_layer(model)[1]
        most = min(layer.weight.shape)
        # A direction too many only costs time, one too few loses samples.
        rank = self.subspace if isinstance(self.subspace, int) else min(noise_rank(layer.weight) + 2, most)
        narrow = compress_first_layer(twin, rank)
        chain = dense_chain(narrow.model)
        target = with_surrogate_relu(narrow.model) if chain is None else condense(chain).model
        shape = self.input_shape or (layer.in_features,)
        return _Target(target.requires_grad_(False), narrow.basis, shape, rank)

    def _labels(self, target: _Target) -> Tensor:
        """Give the candidates of one restart balanced labels, after a trial of the network."""
        like = next(target.model.parameters())
        sample = torch.zeros(2, *(target.shape if target.basis is None else (target.rank,))).to(like)
        try:
            outputs = target.model(sample)
        except (RuntimeError, ValueError, TypeError) as error:
            if isinstance(error, InvalidInputError):
                raise
            reason = str(error).splitlines()[0]
            raise InvalidInputError(
                f"the network does not run on inputs of shape {tuple(sample.shape[1:])} ({reason}); "
                "where its forward reshapes inputs itself, pass subspace=None and input_shape=(...)"
            ) from error
        n_outputs = outputs.reshape(2, -1).shape[1]
        check_outputs(self.objective, n_outputs)
        classes = max(n_outputs, 2)
        wanted = self.n_candidates if isinstance(self.n_candidates, int) else 4 * target.rank
        return torch.arange(max(wanted, classes), device=like.device) % classes

    def _start(self, target: _Target, n_candidates: int) -> Tensor:
        """Draw starting points; each restart has a seed of its own, so that more restarts only add to the pool."""
        like = next(target.model.parameters())
        shape = (n_candidates, *(target.shape if target.basis is None else (target.rank,)))
        draws = [
            torch.randn(shape, generator=generator(seed)) for seed in spawn_seeds(self.random_state, self.n_restarts)
        ]
        return self.init_scale * torch.stack(draws).to(like)

    def _keep(self, target: _Target, found: Tensor, multipliers: Tensor, labels: Tensor) -> None:
        """Store the pool and what the restarts agree on, in the user's input space."""
        restarts = torch.arange(self.n_restarts, device=found.device).repeat_interleave(len(found) // self.n_restarts)
        agreed = consensus(found.flatten(1), restarts, labels=labels, multipliers=multipliers)
        kept = agreed.support >= min(2, self.n_restarts)
        self.reconstructions_ = _to_inputs(agreed.centres[kept], target)
        self.support_, self.labels_ = agreed.support[kept], agreed.labels[kept]
        self.multipliers_ = agreed.multipliers[kept]
        self.pool_, self.pool_multipliers_, self.pool_labels_ = _to_inputs(found, target), multipliers, labels

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.no_validation = True
        return tags


def _to_inputs(found: Tensor, target: _Target) -> Tensor:
    flat = found.flatten(1) if target.basis is None else found @ target.basis
    return flat.reshape(len(found), *target.shape)
