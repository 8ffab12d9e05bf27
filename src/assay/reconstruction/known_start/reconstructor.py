"""Reconstruction of training samples from trained and initial weights, by gradients along the path between them."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from sklearn.base import BaseEstimator
from torch import Tensor, nn

from assay.core import (
    InvalidInputError,
    Parameters,
    check_count,
    check_model,
    check_positive,
    check_samples,
    plain_attention,
    preserved,
    require_inspected,
    seeded,
    spawn_seeds,
)
from assay.reconstruction.kkt import (
    Multipliers,
    StationarityGap,
    first_layer_inputs,
    initial_network,
    minimize_gap,
    plain_copy,
    set_sharpness,
    start_multipliers,
)
from assay.reconstruction.known_start.exact import AGREES, ExactSamples, exact_samples
from assay.reconstruction.known_start.inactive_units import UnitRows, read_unit_rows
from assay.reconstruction.known_start.path import Ends, Path, build_path, dense_layers, read_ends
from assay.reconstruction.known_start.prior import Prior, displacement_prior, population_prior
from assay.reconstruction.known_start.verdict import judge
from assay.reconstruction.known_start.votes import Elected, elect


@runtime_checkable
class HoldsState(Protocol):
    """Hold initial weights, as a guess of the seed does."""

    @property
    def state(self) -> Mapping[str, Tensor]:
        """Weights by name."""
        ...


class KnownStartReconstructor(BaseEstimator):
    r"""Recover training samples of a dense ReLU network from its trained and its initial weights.

    Every step of gradient descent moves the weights by gradients of training samples, whatever the loss, the learning
    rate, the momentum and the batches; weight decay scales down what is there. With the share s of the initial weights
    that is left, the estimator searches for samples x and multipliers $\mu$ with

    $$\theta_1 - s \theta_0 = \frac{1}{K} \sum_{k=1}^K \sum_i J_{\theta(t_k)}(x_i)^\top \mu_{ki}, \quad
    \theta(t) = \theta_0 + t (\theta_1 - \theta_0), \quad t_k = \frac{k - 1/2}{K},$$

    J the Jacobian of the outputs in the weights. The displacement of the first layer has the rank of the samples, so
    that it tells their number, and its small directions are exact: the gap is whitened by them. Samples are found as
    inputs of the first layer, at their own scale: compare them with `first_layer_inputs`.

    What a unit learned from a sample that never activated it is exactly zero. Candidates need only tell some of these
    units: each sample's then follow, and once all samples have theirs, `reconstructions_` are the samples up to
    rounding, and `n_exact_` counts them. Where only some have, these correct the candidates.

    `verdict_` tells, without data, whether the initial weights are the start, how many samples there were, and whether
    candidates explain the displacement; if not, there are no `reconstructions_`. Steps of Adam leave the samples' span
    and are not explained. Parameters that did not move are left out. Biases without weight decay beside weights with it
    are not foreseen.

    `check_estimator`: no check that fits on an array can hold, since `fit` takes a trained network.

    Cost: time O(n_iter * n_restarts * n_points * candidates * p), p in coordinates of the span, and some singular value
    decompositions of the first layer; memory O(n_restarts * n_points * (candidates * hidden units + p)).

    Args:
        init_state: Weights before training by name, or an object with them as `state`: those that a seed draws, or a
            checkpoint that was fine-tuned.
        init_share: Share s; "auto" estimates it.
        population: Other inputs of the kind, as the network takes them: candidates start at their mean and spread in
            each direction. Those of another data set do. Without them, the displacement's own mean and spread serve.
        n_points: Number K of points on the path.
        whiten: Exponent of the singular values that divide the first layer's columns; 0 for none.
        n_candidates: Candidates of each restart; "auto" takes two for each sample.
        n_restarts: Independent searches.
        relu_alpha: Sharpness of the gates at the start and at the end of the search.
        lr: Learning rate of coordinates and multipliers.
        init_scale: Standard deviation of the starting points, in those of the population.
        n_iter: Steps of each search. Half as many are tried first, which as a rule are enough for exact samples.
        input_shape: Shape of one input; flat when None.
        dtype: Precision of the search.
        progress: Draw a bar on standard error.
        random_state: Seed of the starting points.

    Attributes:
        verdict_: What the weights tell about the reconstructions; `print` it.
        reconstructions_: Candidates that other restarts have found too, `(k, *input_shape)`, those with most votes
            first, at most `rank_`. None of them where the verdict is "nothing found".
        votes_: Mean correlation of each with the best candidates of the other restarts. 1 for exact
            samples, less where the units that learned from a sample do not match those that it activates.
        n_exact_: Samples that are solved for by inactive units: all `reconstructions_` but those whose units do not
            match; 0 where not all samples have theirs.
        pool_: All candidates, `(n_restarts * candidates, *input_shape)`.
        pool_multipliers_: Their multipliers, averaged over the path: `(m,)` for one output, else `(m, c)`.
        rank_: Rank of the displacement: the number of training samples where the verdict says so; 0 without one.
        init_share_: Share of the initial weights that is left.
        displacement_: What the first layer tells.
        gap_: Part of the displacement that each restart leaves, squared and weighted.
        history_: Mean gap over the search.

    Source: Loo et al., Understanding Reconstruction Attacks with the Neural Tangent Kernel and Dataset Distillation
    (2024), equation of the reconstruction loss, for the displacement and its gradients at both ends; share, count,
    path, multipliers at each point, whitening, starts, votes and inactive units are ours.
    Their published search also has one second moment of Adam for all candidates and a mask on their updates, a penalty
    on high frequencies of images, an L1 penalty on multipliers, and 80 000 steps: these are left out.

    >>> net = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 1))
    >>> start = {name: value.clone() for name, value in net.state_dict().items()}
    >>> net[0].weight.data += 0.1 * torch.ones(8, 1) * torch.ones(6)
    >>> KnownStartReconstructor(start, n_iter=2).fit(net).rank_
    1
    """

    def __init__(
        self,
        init_state: Mapping[str, Tensor] | HoldsState,
        *,
        init_share: float | Literal["auto"] = "auto",
        population: Float[Tensor, "n ..."] | None = None,
        n_points: int = 4,
        whiten: float = 0.7,
        n_candidates: int | Literal["auto"] = "auto",
        n_restarts: int = 3,
        relu_alpha: tuple[float, float] = (10.0, 300.0),
        lr: float = 0.06,
        init_scale: float = 1.0,
        n_iter: int = 1500,
        input_shape: tuple[int, ...] | None = None,
        dtype: torch.dtype = torch.float32,
        progress: bool = False,
        random_state: int = 0,
    ) -> None:
        self.init_state = init_state
        self.init_share: float | Literal["auto"] = init_share
        self.population = population
        self.n_points = n_points
        self.whiten = whiten
        self.n_candidates: int | Literal["auto"] = n_candidates
        self.n_restarts = n_restarts
        self.relu_alpha = relu_alpha
        self.lr = lr
        self.init_scale = init_scale
        self.n_iter = n_iter
        self.input_shape = input_shape
        self.dtype = dtype
        self.progress = progress
        self.random_state = random_state

    def fit(self, model: nn.Module, y: None = None) -> "KnownStartReconstructor":
        """Search for the training samples of a network.

        Args:
            model: Trained network of dense layers with ReLU between them, in evaluation mode; it comes back as it was.
            y: Not used, present for scikit-learn.

        Returns:
            The estimator itself.

        Raises:
            InvalidInputError: The network is no such chain, its first layer did not move, the initial weights or the
                population do not fit it, weights are not finite, or an option is out of range.
            NumericalError: The search diverged.
        """
        self._check(model)
        twin = plain_copy(model)[0]
        with preserved(twin), plain_attention():
            twin.requires_grad_(False)
            initial = initial_network(twin, _state(self.init_state))
            end, shape = dense_layers(twin, self.input_shape)
            ends = read_ends(dense_layers(initial, self.input_shape)[0], end, share=self.init_share)
            kind = torch.promote_types(next(twin.parameters()).dtype, torch.float32)
            self.displacement_ = replace(ends.moved, values=ends.moved.values.to(kind), basis=ends.moved.basis.to(kind))
            self.rank_, self.init_share_ = ends.moved.rank, ends.moved.share
            if ends.moved.rank and ends.moved.from_start:
                self._search(ends, self._prior(twin, ends), shape)
            else:
                self._keep_nothing(ends, shape)
        return self

    def _check(self, model: nn.Module) -> None:
        check_model(model)
        if not self.dtype.is_floating_point:
            raise InvalidInputError(f"dtype must be a floating-point type, got {self.dtype}; use torch.float32")
        require_inspected(model, kinds=("weights", "dropout", "batch-norm"))
        for name in ("lr", "init_scale", *(["init_share"] if self.init_share != "auto" else [])):
            check_positive(getattr(self, name), name)
        for sharpness in self.relu_alpha:
            check_positive(sharpness, "relu_alpha")
        for name in ("n_iter", "n_restarts", "n_points", *(["n_candidates"] if self.n_candidates != "auto" else [])):
            check_count(getattr(self, name), name)
        if not 0 <= self.whiten <= 1:
            raise InvalidInputError(f"whiten must be between 0 and 1, got {self.whiten}; 0.7 suits most networks")

    def _prior(self, model: nn.Module, ends: Ends) -> Prior:
        if self.population is None:
            added = ends.added
            weight = added.pop(ends.first)
            return displacement_prior(weight, added.get(ends.first.replace("weight", "bias")), ends.moved)
        like = ends.after[ends.first].to(next(model.parameters()).dtype)
        population = check_samples(self.population, "population").to(like)
        return population_prior(first_layer_inputs(model, population), ends.moved)

    def _search(self, ends: Ends, prior: Prior, shape: tuple[int, ...]) -> None:
        path = build_path(ends, prior=prior, n_points=self.n_points, whiten=self.whiten, dtype=self.dtype)
        gap = StationarityGap(path.model, goal=path.goal, points=path.points, factors=path.factors)
        start, units = self._start(path, gap), read_unit_rows(ends, prior)
        half = self.n_iter if units is None else -(-self.n_iter // 2)
        exact, found, own = self._find(gap, start, units, n_iter=half, spread=prior.spread)
        if units is not None and exact.n_found < self.rank_:
            before = found.flatten(0, 1) * prior.spread
            exact, found, own = self._find(gap, start, units, n_iter=self.n_iter, spread=prior.spread, before=before)
        restarts, size = found.shape[:2]
        pool = exact.candidates[: restarts * size] @ ends.moved.basis
        elected = elect(pool.to(found).view(restarts, size, -1), path.centre @ path.rows, self.rank_)
        if exact.samples is not None and exact.agreement is not None:
            votes = exact.agreement.where(exact.agreement <= AGREES, 1.0)
            elected = Elected((exact.samples @ ends.moved.basis).to(found), votes.to(found))
        self.n_exact_ = exact.n_found
        self.verdict_ = judge(self.displacement_, self.gap_, elected.votes, ends.unmoved, n_exact=self.n_exact_)
        kept = slice(0 if self.verdict_.outcome == "nothing found" else None)
        self.reconstructions_ = elected.candidates[kept].reshape(-1, *shape)
        self.votes_ = elected.votes[kept]
        self.pool_ = pool.to(found).reshape(-1, *shape)
        self.pool_multipliers_ = torch.stack([one.values() for one in own]).sum(0).flatten(0, 1)

    def _find(
        self,
        gap: StationarityGap,
        start: tuple[Tensor, list[Multipliers]],
        units: UnitRows | None,
        *,
        n_iter: int,
        spread: Tensor,
        before: Tensor | None = None,
    ) -> tuple[ExactSamples, Tensor, list[Multipliers]]:
        """Search for candidates, and with those of a search before for exact samples."""
        options = {"lr_x": self.lr, "lr_multipliers": self.lr, "relu_alpha": self.relu_alpha, "n_iter": n_iter}
        found, multipliers, self.gap_, self.history_ = minimize_gap(
            gap, *start, beta2=0.99, progress=self.progress, **options
        )
        candidates = found.flatten(0, 1).double() * spread
        if units is None:
            return ExactSamples(0, None, None, candidates), found, multipliers
        candidates = candidates if before is None else torch.cat([candidates, before])
        return exact_samples(units, candidates, seed=self.random_state), found, multipliers

    def _start(self, path: Path, gap: StationarityGap) -> tuple[Tensor, list[Multipliers]]:
        """Draw starts, one seed per restart, and multipliers that give the sum the goal's length in the first layer."""
        count = 2 * self.rank_ if self.n_candidates == "auto" else self.n_candidates
        sources = [seeded(seed) for seed in spawn_seeds(self.random_state, self.n_restarts)]
        draws = [torch.randn(count, self.rank_, generator=source) for source in sources]
        x = path.centre + self.init_scale * torch.stack(draws).to(path.centre)
        form = "binary" if path.n_outputs == 1 else "displacement"
        multipliers = [start_multipliers(form, x, path.n_outputs, 1 / self.n_points, sources) for _ in path.points]
        set_sharpness(path.model, self.relu_alpha[0])
        first, spread = gap.explained(x, multipliers)[0], path.rows.norm(dim=1)
        length = (first * spread).flatten(1).norm(dim=1).mean() / (gap.goal[0] * spread).norm()
        return x, [replace(one, scale=one.scale / float(length)) for one in multipliers]

    def _keep_nothing(self, ends: Ends, shape: tuple[int, ...]) -> None:
        """Say why there was nothing to search for."""
        self.gap_, self.history_, self.n_exact_ = None, [], 0
        self.verdict_ = judge(self.displacement_, None, None, ends.unmoved)
        empty = ends.after[ends.first].new_zeros(0, *shape, dtype=self.dtype)
        self.reconstructions_, self.pool_ = empty, empty
        self.votes_, self.pool_multipliers_ = empty.new_zeros(0), empty.new_zeros(0)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.no_validation = True
        return tags


def _state(given: Mapping[str, Tensor] | HoldsState) -> Parameters:
    """Return initial weights that are given as such, or as the result of a search for them."""
    state = given if isinstance(given, Mapping) else getattr(given, "state", None)
    if not isinstance(state, Mapping):
        raise InvalidInputError(
            f"init_state must be the weights before training by name, or hold them as `state`, got "
            f"{type(given).__name__}; pass the state_dict() of the network before its first step"
        )
    return dict(state)
