"""Reconstruction of training samples from the KKT conditions of a trained network (Haim et al., 2022)."""

import math
from typing import Any, Literal

import torch
from sklearn.base import BaseEstimator
from torch import Tensor, nn

from assay.core import (
    InvalidInputError,
    Parameters,
    check_choice,
    check_count,
    check_model,
    check_positive,
    plain_attention,
    preserved,
    require_inspected,
    seeded,
    spawn_seeds,
)
from assay.reconstruction.kkt.assumptions import doubts, plain_copy
from assay.reconstruction.kkt.consensus import consensus
from assay.reconstruction.kkt.multipliers import (
    LABELLED_OBJECTIVES,
    Multipliers,
    Objective,
    check_objective,
    default_objective,
    start_multipliers,
)
from assay.reconstruction.kkt.null import left_by_random_candidates
from assay.reconstruction.kkt.search import StationarityGap, minimize_gap, search_scale
from assay.reconstruction.kkt.target import Target, build_target, initial_network
from assay.reconstruction.kkt.verdict import judge

LEAST_CANDIDATES = 40
"""Least number of candidates that "auto" takes."""


class KKTReconstructor(BaseEstimator):
    r"""Recover training samples of a network from its weights alone.

    At the end of training with weight decay the weights are a weighted sum of the gradients of the training samples.
    The estimator searches for samples x and multipliers $\mu$ that satisfy this stationarity condition,

    $$\min_{x, \mu} \Big\lVert \theta - \sum_i J_\theta(x_i)^\top \mu_i \Big\rVert^2,$$

    J the Jacobian of the outputs in the weights. The objective is the form of $\mu_i$:

    - "binary": $\lambda_i s_i$, $\lambda_i \ge 0$, $s_i$ the sign of the label: one logit;
    - "multiclass": $\lambda_i (e_{y_i} - e_j)$, j the best other class: margins of cross-entropy;
    - "vector": $\lambda_i (e_{y_i} - q_i)$, $q_i$ on the simplex of the other classes: cross-entropy with weight decay;
    - "regression": any real vector: any differentiable loss with weight decay, no labels;
    - "displacement": the same for $\theta - \theta_0$: known initial weights, no weight decay, nearly linear training.

    Samples are found as inputs of the first layer: compare them with `first_layer_inputs`. Those of a head on a frozen
    encoder are embeddings, centred and scaled as it was given them. The weights hardly determine
    their scale, nor their sign for multipliers of either sign: compare directions.

    Networks trained in another way hold less, or nothing. `verdict_` tells, without data, whether the candidates
    explain the weights, and what fails if not; then there are no `reconstructions_`. Frozen and unused parameters are
    left out of $\theta$.

    `check_estimator`: no check that fits on an array can hold, since `fit` takes a trained network.

    Cost: time O(n_restarts * n_iter * candidates * p), memory O(n_restarts * (batch_size * hidden units + p)).

    Args:
        objective: One of the above; "auto" takes "displacement" with `init_state`, else "binary" for one output and
            "vector" for several. Name "regression" where the network was trained by another loss than cross-entropy.
        n_candidates: Candidates of each restart; "auto" takes four for each dimension of the data's span, 40 at least.
        n_restarts: Independent searches.
        subspace: Dimension of the span; "auto" estimates it from the first layer; None searches all inputs.
        relu_alpha: Sharpness of the gates at the start and at the end of the search.
        lr_x: Learning rate of the candidates. Beyond 32 dimensions of the span, learning rates, starts and the first
            sharpness are multiplied by 32 / dimensions; behind a convolution the first two by 0.1.
        lr_multipliers: Learning rate of the multipliers.
        init_scale: Standard deviation of the starting points.
        n_iter: Steps of each search.
        input_shape: Shape of one input; flat when None.
        init_state: Weights before training by name, for "displacement".
        kernels: For "displacement": gradients at the "initial" weights (exact for a linearised network), at the "final"
            weights (the paper's default), or at "both" with multipliers for each, at twice the time.
        batch_size: Candidates of each restart processed at once, at twice the time; all when None.
        dtype: Precision of the search.
        progress: Draw a bar on standard error.
        random_state: Seed of the starting points.

    Attributes:
        objective_: The objective that was searched.
        verdict_: What the weights tell about the reconstructions; `print` it.
        reconstructions_: Consensus of at least two restarts, by weight, `(k, *input_shape)`. None of them where the
            verdict is "nothing found".
        support_: Number of restarts that found each reconstruction.
        cohesion_: Agreement of the restarts on each reconstruction, 1 if all are equal.
        multipliers_: Their multipliers: `(k,)` for margins and for one output, else `(k, c)`. With `kernels="both"` the
            sum of the two.
        labels_: Their classes; None for multipliers of either sign.
        pool_: All candidates of all restarts, `(n_restarts * candidates, *input_shape)`.
        pool_multipliers_: Multipliers of the pool.
        pool_labels_: Classes of the pool.
        basis_: Orthonormal rows that span the search space; None if all inputs were searched.
        rank_: Dimension of the data's span, as estimated from the first dense layer.
        residual_: Norm of the residual of each restart, relative to the weights or their displacement, in the space
            that was searched.
        history_: Mean squared relative residual over the search.

    Source: Haim et al., Reconstructing Training Data from Trained Neural Networks (2022), equation of the stationarity
    loss; Buzaglo et al., Reconstructing Training Data from Multiclass Neural Networks (2023), equation of the
    multiclass loss, and Deconstructing Data Reconstruction (2023), theorem 3.1 and equation of the general loss, for
    "vector" and "regression"; Loo et al., Understanding Reconstruction Attacks with the Neural Tangent Kernel and
    Dataset Distillation (2024), equation of the reconstruction loss, for "displacement"; Oz et al., Reconstructing
    Training Data From Real World Models Trained with Transfer Learning (2024), section 3.1, for heads. Span, merged
    units, sharpening, learning rates and consensus are ours. Loo et al. publish a search that also has one second
    moment of Adam for all candidates and a mask on their updates, a penalty on high frequencies of images, an L1
    penalty on multipliers, and 80 000 steps: these are left out.

    >>> net = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 1, bias=False))
    >>> KKTReconstructor(n_candidates=4, n_restarts=2, subspace=3, n_iter=2).fit(net).pool_.shape
    torch.Size([8, 6])
    """

    def __init__(
        self,
        objective: Objective | Literal["auto"] = "auto",
        *,
        n_candidates: int | Literal["auto"] = "auto",
        n_restarts: int = 10,
        subspace: int | Literal["auto"] | None = "auto",
        relu_alpha: tuple[float, float] = (100.0, 1000.0),
        lr_x: float = 0.2,
        lr_multipliers: float = 0.1,
        init_scale: float = 0.5,
        n_iter: int = 1500,
        input_shape: tuple[int, ...] | None = None,
        init_state: Parameters | None = None,
        kernels: Literal["initial", "final", "both"] = "both",
        batch_size: int | None = None,
        dtype: torch.dtype = torch.float32,
        progress: bool = False,
        random_state: int = 0,
    ) -> None:
        self.objective: Objective | Literal["auto"] = objective
        self.n_candidates: int | Literal["auto"] = n_candidates
        self.n_restarts = n_restarts
        self.subspace: int | Literal["auto"] | None = subspace
        self.relu_alpha = relu_alpha
        self.lr_x = lr_x
        self.lr_multipliers = lr_multipliers
        self.init_scale = init_scale
        self.n_iter = n_iter
        self.input_shape = input_shape
        self.init_state = init_state
        self.kernels: Literal["initial", "final", "both"] = kernels
        self.batch_size = batch_size
        self.dtype = dtype
        self.progress = progress
        self.random_state = random_state

    def fit(self, model: nn.Module, y: None = None) -> "KKTReconstructor":
        """Search for the training samples of a network.

        Args:
            model: Trained network in evaluation mode; it comes back as it was. Its activations are ReLU, LeakyReLU,
                PReLU, ReLU6, Hardtanh or smooth ones.
            y: Not used, present for scikit-learn.

        Returns:
            The estimator itself.

        Raises:
            InvalidInputError: The network has no activation or one with a kink that is not known, dropout is on,
                weights are not finite, the shape of an input is needed and missing, the outputs or the initial weights
                do not fit the objective, or an option is out of range.
            NumericalError: The search diverged.
        """
        self._check(model)
        twin, trained = plain_copy(model)
        with preserved(twin), plain_attention():
            target = self._target(twin.to(self.dtype).requires_grad_(False), trained)
            self._search(target, doubts(model))
        return self

    def _search(self, target: Target, doubts: list[str]) -> None:
        chosen = self.objective
        if chosen == "auto":
            chosen = default_objective(target.n_outputs, knows_start=self.init_state is not None)
        check_objective(chosen, target.n_outputs)
        self.objective_: Objective = chosen
        gap = StationarityGap(target.model, goal=target.goal, points=target.points, batch_size=self.batch_size)
        scale = search_scale(target)
        x, multipliers = self._start(target, scale.length * self.init_scale, gap.energy)
        found, multipliers, gaps, self.history_ = minimize_gap(
            gap,
            x,
            multipliers,
            lr_x=scale.length * self.lr_x,
            lr_multipliers=scale.length * self.lr_multipliers,
            n_iter=self.n_iter,
            relu_alpha=(scale.sharpness * self.relu_alpha[0], self.relu_alpha[1]),
            beta2=scale.beta2,
            progress=self.progress,
        )
        self.rank_, self.basis_, self.residual_ = target.rank, target.basis, gaps.sqrt()
        chance = left_by_random_candidates(gap, found, multipliers, generator=seeded(self.random_state))
        self._keep(target, found, multipliers)
        knows_start = self.init_state is not None
        self.verdict_ = judge(target, self.residual_, chance, self.support_, doubts=doubts, knows_start=knows_start)
        if self.verdict_.outcome == "nothing found":
            self._withhold()

    def _check(self, model: nn.Module) -> None:
        check_model(model)
        if not self.dtype.is_floating_point:
            raise InvalidInputError(f"dtype must be a floating-point type, got {self.dtype}; use torch.float32")
        require_inspected(model, kinds=("weights", "dropout", "batch-norm"))
        for name in ("lr_x", "lr_multipliers", "init_scale"):
            check_positive(getattr(self, name), name)
        for sharpness in self.relu_alpha:
            check_positive(sharpness, "relu_alpha")
        for name in ("n_iter", "n_restarts"):
            check_count(getattr(self, name), name)
        if self.n_candidates != "auto":
            check_count(self.n_candidates, "n_candidates")
        if self.batch_size is not None:
            check_count(self.batch_size, "batch_size")
        if self.objective != "auto" and (self.objective == "displacement") != (self.init_state is not None):
            raise InvalidInputError("objective='displacement' and init_state=(weights before training) go together")
        check_choice(self.kernels, ("initial", "final", "both"), "kernels")

    def _target(self, twin: nn.Module, trained: frozenset[str]) -> Target:
        initial = None if self.init_state is None else initial_network(twin, self.init_state)
        options = {"subspace": self.subspace, "input_shape": self.input_shape, "trained": trained}
        return build_target(twin, initial=initial, kernels=self.kernels, **options)

    def _start(self, target: Target, spread: float, energy: float) -> tuple[Tensor, list[Multipliers]]:
        """Draw starting points, with one seed per restart, so that more restarts only add to the pool."""
        if self.n_candidates == "auto" and not target.rank:
            raise InvalidInputError("the network has no dense layer to count samples in; pass n_candidates as a number")
        wanted = max(4 * target.rank, LEAST_CANDIDATES) if self.n_candidates == "auto" else self.n_candidates
        fewest = max(target.n_outputs, 2) if self.objective_ in LABELLED_OBJECTIVES else 1
        shape = (max(wanted, fewest), *target.coordinates)
        like = next(target.model.parameters())
        sources = [seeded(seed) for seed in spawn_seeds(self.random_state, self.n_restarts)]
        x = spread * torch.stack([torch.randn(shape, generator=source) for source in sources]).to(like)
        scale = 0.1 * math.sqrt(energy / shape[0])
        return x, [start_multipliers(self.objective_, x, target.n_outputs, scale, sources) for _ in target.points]

    def _keep(self, target: Target, found: Tensor, multipliers: list[Multipliers]) -> None:
        """Store the pool and the consensus of the restarts, in the user's input space."""
        restarts = torch.arange(self.n_restarts, device=found.device).repeat_interleave(found.shape[1])
        values, labels = torch.stack([one.values() for one in multipliers]).sum(0), multipliers[0].labels
        found, values = found.flatten(0, 1), values.flatten(0, 1)
        labels = None if labels is None else labels.repeat(self.n_restarts)
        agreed = consensus(found.flatten(1), restarts, labels=labels, multipliers=values)
        kept = agreed.support >= min(2, self.n_restarts)
        self.reconstructions_ = target.to_inputs(agreed.centres[kept].reshape(-1, *found.shape[1:]))
        self.support_, self.cohesion_ = agreed.support[kept], agreed.cohesion[kept]
        self.multipliers_ = agreed.multipliers[kept]
        self.labels_ = None if labels is None else agreed.labels[kept]
        self.pool_, self.pool_multipliers_, self.pool_labels_ = target.to_inputs(found), values, labels

    def _withhold(self) -> None:
        """Call nothing a reconstruction; the pool stays."""
        for name in ("reconstructions_", "support_", "cohesion_", "multipliers_", "labels_"):
            value = getattr(self, name)
            setattr(self, name, None if value is None else value[:0])

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.no_validation = True
        return tags
