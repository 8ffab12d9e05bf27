"""Training samples recovered from the weights of a trained network."""

import copy
import math
from typing import Any, Literal

import torch
from sklearn.base import BaseEstimator
from torch import Tensor, nn

from assay.core import (
    InvalidInputError,
    Parameters,
    check_model,
    check_positive,
    preserved,
    require_inspected,
    seeded,
    spawn_seeds,
)
from assay.reconstruction.kkt.consensus import consensus
from assay.reconstruction.kkt.exact import ExactSamples, can_be_read, exact_samples
from assay.reconstruction.kkt.multipliers import (
    LABELLED,
    Multipliers,
    Objective,
    check_objective,
    start_multipliers,
)
from assay.reconstruction.kkt.pace import pace
from assay.reconstruction.kkt.search import StationarityGap, search
from assay.reconstruction.kkt.target import Target, build_target, initial_network


class KKTReconstructor(BaseEstimator):
    r"""Recover training samples of a ReLU network from its weights alone.

    Gradient training of a homogeneous network, or of any network with weight decay, ends where the weights are a
    weighted sum of the training samples' gradients. The estimator searches for samples and multipliers that satisfy

    $$\min_{x, \mu} \Big\lVert \theta - \sum_i J_\theta(x_i)^\top \mu_i \Big\rVert^2,$$

    J the Jacobian of the outputs in the weights. The objective says what is known of $\mu_i$:

    - "binary": $\lambda_i s_i$, $\lambda_i \ge 0$, for a network with one logit;
    - "multiclass": $\lambda_i (e_{y_i} - e_j)$, j the best other class: the margins of cross-entropy;
    - "vector": $\lambda_i (e_{y_i} - q_i)$, $q_i$ on the other classes' simplex: cross-entropy with weight decay;
    - "regression": any real vector: any differentiable loss with weight decay; no labels;
    - "displacement": the same, with $\theta - \theta_0$ in the place of $\theta$: training without weight decay from
      known initial weights, near which the network is linear.

    Beyond the papers' search it (a) looks in the span of the data only, read off the first layer, (b) merges parallel
    hidden units, (c) sharpens the gates during the search instead of tuning one sharpness, (d) takes long steps that
    cool down, (e) runs several restarts at once and returns what they agree on. Nothing is tuned on the network and no
    training data is used.
    Time is O(restarts x steps x candidates x hidden units x rank).

    Starts, learning rates and the gates' first sharpness are for spans of up to 32 dimensions. Beyond, all are taken
    times 32 / dimensions; where the first layer is not dense, starts and learning rates are taken times 0.1, and Adam
    has its usual memory.

    Samples are found as the first layer reads them: what a network does to its inputs before, such as taking out a
    mean image, leaves no trace in the weights. `first_layer_inputs` puts samples for comparison in the same
    coordinates. Where the first layer is not dense, all of input space is searched.

    `check_estimator` does not apply: `fit` takes a trained network, not an array.

    Args:
        objective: One of the above.
        n_candidates: Candidates of each restart; "auto" takes four for each dimension of the span.
        n_restarts: Independent searches.
        subspace: Dimension of the span; "auto" reads it off the spectrum; None searches all inputs.
        relu_alpha: Sharpness of the gates at the start and at the end of the search.
        lr_x: Learning rate of the candidates.
        lr_multipliers: Learning rate of the multipliers.
        init_scale: Standard deviation of the starting points.
        max_iter: Steps of each search.
        input_shape: Shape of one input; flat when None.
        init_state: Weights before training by name, for "displacement".
        kernels: For "displacement": gradients at the "initial" weights, exact for a linearised network; at the "final"
            ones, the paper's default; or at "both" with multipliers for each, at twice the time: on networks of finite
            width these recover far more.
        batch_size: Candidates of each restart worked on at once, at twice the time; all when None.
        dtype: Precision of the search.
        exact: First read off what `exact_samples` can, for "binary" and one hidden layer with one logit; other
            networks are searched only. It takes about as long as the search, and finds samples where training
            converged.
        progress: Draw a bar on standard error.
        random_state: Seed of the starting points.

    Attributes:
        reconstructions_: Samples read off exactly, then what at least two restarts agree on, those with most weight
            first, `(k, *input_shape)`. The scale of the latter is hardly determined by the weights, and multipliers of
            either sign leave their sign to the gates: compare directions.
        n_exact_: How many were read off exactly; they lead the pool as well.
        support_: How many restarts found each of them; those read off count for all.
        cohesion_: How closely the members of each agree, 1 where they are all the same.
        multipliers_: Their multipliers: `(k,)` factors of margins, or numbers of either sign for one output; else
            `(k, c)`, one an output. With `kernels="both"` the sum of the two.
        labels_: Their classes; None where multipliers have either sign.
        pool_: All candidates of all restarts, `(n_restarts * n_candidates, *input_shape)`, behind those read off.
        pool_multipliers_: Multipliers of the pool.
        pool_labels_: Classes of the pool.
        basis_: Orthonormal rows that span the search space; None where all inputs were searched.
        rank_: Dimension of the data's span, as the first dense layer tells it.
        residual_: Norm of what each restart leaves unexplained, relative to the weights or their displacement.
        history_: Mean squared relative residual over the search.

    Source: Haim et al., Reconstructing Training Data from Trained Neural Networks (2022); Buzaglo et al.,
    Reconstructing Training Data from Multiclass Neural Networks (2023) and Deconstructing Data Reconstruction (2023),
    for "vector" and "regression"; Loo et al., Understanding Reconstruction Attacks with the Neural Tangent Kernel and
    Dataset Distillation (2024), for "displacement". The span, merging units, the sharpening, the step
    sizes and the consensus are ours.

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
        lr_x: float = 0.2,
        lr_multipliers: float = 0.1,
        init_scale: float = 0.5,
        max_iter: int = 1500,
        input_shape: tuple[int, ...] | None = None,
        init_state: Parameters | None = None,
        kernels: Literal["initial", "final", "both"] = "both",
        batch_size: int | None = None,
        dtype: torch.dtype = torch.float32,
        exact: bool = False,
        progress: bool = False,
        random_state: int = 0,
    ) -> None:
        self.objective: Objective = objective
        self.n_candidates = n_candidates
        self.n_restarts = n_restarts
        self.subspace: int | Literal["auto"] | None = subspace
        self.relu_alpha = relu_alpha
        self.lr_x = lr_x
        self.lr_multipliers = lr_multipliers
        self.init_scale = init_scale
        self.max_iter = max_iter
        self.input_shape = input_shape
        self.init_state = init_state
        self.kernels: Literal["initial", "final", "both"] = kernels
        self.batch_size = batch_size
        self.dtype = dtype
        self.exact = exact
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
            InvalidInputError: The network has no ReLU, dropout is on, weights are not finite, the shape of an input
                is needed and missing, or the outputs or the initial weights do not fit the objective.
            NumericalError: The search diverged.
        """
        self._check(model)
        with preserved(model):
            target = self._target(model)
        check_objective(self.objective, target.n_outputs)
        gap = StationarityGap(target.model, goal=target.goal, points=target.points, batch_size=self.batch_size)
        suited = pace(target)
        x, multipliers = self._start(target, suited.length * self.init_scale, gap.energy)
        found, multipliers, gaps, self.history_ = search(
            gap,
            x,
            multipliers,
            lr_x=suited.length * self.lr_x,
            lr_multipliers=suited.length * self.lr_multipliers,
            max_iter=self.max_iter,
            relu_alpha=(suited.sharpness * self.relu_alpha[0], self.relu_alpha[1]),
            memory=suited.memory,
            progress=self.progress,
        )
        self.rank_, self.basis_, self.residual_ = target.rank, target.basis, gaps.sqrt()
        self._keep(target, found, multipliers)
        self.n_exact_ = 0
        if self.exact and self.objective == "binary" and can_be_read(model, self.input_shape):
            self._lead(exact_samples(model, input_shape=self.input_shape, random_state=self.random_state))
        return self

    def _check(self, model: nn.Module) -> None:
        check_model(model)
        require_inspected(model, kinds=("weights", "dropout", "batch-norm"))
        low, high = self.relu_alpha
        options = (self.lr_x, self.lr_multipliers, self.init_scale, self.max_iter, self.n_restarts, low, high)
        names = ("lr_x", "lr_multipliers", "init_scale", "max_iter", "n_restarts", "relu_alpha", "relu_alpha")
        for value, name in zip(options, names, strict=True):
            check_positive(value, name)
        for value, name in ((self.n_candidates, "n_candidates"), (self.batch_size, "batch_size")):
            if isinstance(value, int):
                check_positive(value, name)
        if (self.objective == "displacement") != (self.init_state is not None):
            raise InvalidInputError("objective='displacement' and init_state=(weights before training) go together")
        if self.kernels not in ("initial", "final", "both"):
            raise InvalidInputError(f"kernels must be 'initial', 'final' or 'both', got {self.kernels!r}")

    def _target(self, model: nn.Module) -> Target:
        twin = copy.deepcopy(model).to(self.dtype).requires_grad_(False)
        initial = None if self.init_state is None else initial_network(twin, self.init_state)
        options = {"subspace": self.subspace, "input_shape": self.input_shape}
        return build_target(twin, initial=initial, kernels=self.kernels, **options)

    def _start(self, target: Target, spread: float, energy: float) -> tuple[Tensor, list[Multipliers]]:
        """Draw starting points; each restart has a seed of its own, so that more restarts only add to the pool."""
        if self.n_candidates == "auto" and not target.rank:
            raise InvalidInputError("the network has no dense layer to count samples in; pass n_candidates as a number")
        wanted = self.n_candidates if isinstance(self.n_candidates, int) else 4 * target.rank
        fewest = max(target.n_outputs, 2) if self.objective in LABELLED else 1
        shape = (max(wanted, fewest), *target.coordinates)
        like = next(target.model.parameters())
        sources = [seeded(seed) for seed in spawn_seeds(self.random_state, self.n_restarts)]
        x = spread * torch.stack([torch.randn(shape, generator=source) for source in sources]).to(like)
        scale = 0.1 * math.sqrt(energy / shape[0])
        return x, [start_multipliers(self.objective, x, target.n_outputs, scale, sources) for _ in target.points]

    def _keep(self, target: Target, found: Tensor, multipliers: list[Multipliers]) -> None:
        """Store the pool and what the restarts agree on, in the user's input space."""
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

    def _lead(self, exact: ExactSamples) -> None:
        """Put samples that were read off exactly first, and drop their copies among what restarts agree on."""
        found, labels, count = self.reconstructions_, self.labels_, len(exact.samples)
        if count == 0 or labels is None or self.pool_labels_ is None:
            return
        certain = exact.samples.to(found).reshape(count, *found.shape[1:])
        multipliers, classes = exact.multipliers.to(self.multipliers_), exact.labels.to(labels)
        directions = nn.functional.normalize(found.flatten(1)), nn.functional.normalize(certain.flatten(1))
        copies = (directions[0] @ directions[1].T > 0.9) & (labels[:, None] == classes)
        rest = ~copies.any(1)
        self.n_exact_ = count
        self.reconstructions_ = torch.cat([certain, found[rest]])
        self.support_ = torch.cat([self.support_.new_full((count,), self.n_restarts), self.support_[rest]])
        self.cohesion_ = torch.cat([self.cohesion_.new_ones(count), self.cohesion_[rest]])
        self.multipliers_ = torch.cat([multipliers, self.multipliers_[rest]])
        self.labels_ = torch.cat([classes, labels[rest]])
        self.pool_ = torch.cat([certain, self.pool_])
        self.pool_multipliers_ = torch.cat([multipliers, self.pool_multipliers_])
        self.pool_labels_ = torch.cat([classes, self.pool_labels_])

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.no_validation = True
        return tags


EmbeddingReconstructor = KKTReconstructor
"""The name for the attack on a head that was trained on embeddings. The paper drops its prior for the range of pixels
there; this search has none in the first place. Candidates are in the space that the head takes: centred and scaled as
its training embeddings were."""
