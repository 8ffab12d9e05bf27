"""SimuDy: reconstruction of training samples by simulated training dynamics (Tian et al., 2025)."""

import math
from collections.abc import Sequence
from typing import Any, Literal

import torch
from jaxtyping import Float
from sklearn.base import BaseEstimator
from torch import Tensor, nn

from assay.core import (
    InvalidInputError,
    NumericalError,
    Parameters,
    check_choice,
    check_count,
    check_model,
    check_outputs,
    check_positive,
    flatten,
    named_parameters,
    preserved,
    require_inspected,
    seeded,
    squared_error,
    track,
)
from assay.reconstruction.embeddings import total_variation
from assay.reconstruction.kkt import initial_network, set_sharpness, with_surrogate_relu
from assay.reconstruction.simulated_training import simulate

TRIAL_SHARE = 0.05
"""Share of the search for the trial of each learning rate; 50 steps in the paper's code."""


class SimulatedDynamicsReconstructor(BaseEstimator):
    r"""Recover training samples of a network from its initial and final weights by simulating its training.

    The estimator trains on dummy samples for T steps of full-batch gradient descent from the same initial weights
    $\theta_0$, differentiates through them, and minimises

    $$1 - \cos(\hat\theta_T(x, t) - \theta_0,\ \theta - \theta_0) + \gamma\,\mathrm{TV}(x)$$

    over samples x and targets t, TV the total variation of images. It requires the training recipe, but neither
    stationarity nor homogeneity nor lazy training; the weights may be far from converged. Parameters that are frozen in
    the trained network are left as they are; where all are frozen, all are trained.

    `check_estimator`: no check that fits on an array can hold, since `fit` takes a trained network.

    Cost: time O(n_iter * T) gradients of the network on n_samples, memory O(T) of them, O(1) with `recompute`.

    Args:
        init_state: `state_dict()` of the network before training, or before fine-tuning.
        n_samples: Number of samples to recover.
        objective: "classification" trains on cross-entropy (logistic for one output) with free soft labels,
            "regression" on mean squared error with free targets.
        lr: Learning rate of the training, or several to choose from by short trials.
        epochs: Simulated full-batch steps T. Paper's code: 8, for networks trained for 20.
        momentum: Momentum of the training.
        total_variation: Factor $\gamma$; for inputs with at least two axes. Paper's code: 1e-3.
        relu_alpha: Sharpness of the gates at the start and at the end of the search, see `SurrogateReLU`; None trains
            the network unchanged, as in the paper, and is needed for networks without ReLU.
        lr_x: Learning rate of the samples and targets, falling to zero along a cosine.
        init_scale: Standard deviation of the starting points. Paper's code: 0.5.
        n_iter: Steps of the search.
        recompute: Recompute each simulated step in the backward pass instead of storing it.
        input_shape: Shape of one input; when None, the flat shape of a dense first layer.
        progress: Draw a bar on standard error.
        random_state: Seed of the starting points.

    Attributes:
        reconstructions_: Samples, `(n_samples, *input_shape)`.
        targets_: Their targets: class probabilities (of the positive class for one output), or real numbers.
        labels_: Most probable classes; None for regression.
        similarity_: Cosine between simulated and true displacement.
        verdict_: One or two sentences on how far that explains the weights, and so whether samples were recovered.
        lr_: Simulated learning rate.
        history_: Cosine over the search.

    Source: Tian et al., Simulating Training Dynamics to Reconstruct Training Data from Deep Neural Networks (2025),
    algorithm and equation of the loss, without mini-batches, gradient clipping and cosine restarts; the gates are ours.

    >>> net = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    >>> start = {name: torch.zeros_like(value) + 0.1 for name, value in net.state_dict().items()}
    >>> attack = SimulatedDynamicsReconstructor(start, n_samples=2, lr=0.1, epochs=2, n_iter=2)
    >>> attack.fit(net).reconstructions_.shape
    torch.Size([2, 4])
    """

    def __init__(
        self,
        init_state: Parameters,
        *,
        n_samples: int,
        objective: Literal["classification", "regression"] = "classification",
        lr: float | Sequence[float] = 0.01,
        epochs: int = 8,
        momentum: float = 0.0,
        total_variation: float = 1e-3,
        relu_alpha: tuple[float, float] | None = (10.0, 100.0),
        lr_x: float = 0.05,
        init_scale: float = 0.5,
        n_iter: int = 1500,
        recompute: bool = False,
        input_shape: tuple[int, ...] | None = None,
        progress: bool = False,
        random_state: int = 0,
    ) -> None:
        self.init_state = init_state
        self.n_samples = n_samples
        self.objective = objective
        self.lr = lr
        self.epochs = epochs
        self.momentum = momentum
        self.total_variation = total_variation
        self.relu_alpha = relu_alpha
        self.lr_x = lr_x
        self.init_scale = init_scale
        self.n_iter = n_iter
        self.recompute = recompute
        self.input_shape = input_shape
        self.progress = progress
        self.random_state = random_state

    def fit(self, model: nn.Module, y: None = None) -> "SimulatedDynamicsReconstructor":
        """Search for the training samples of a network.

        Args:
            model: Trained network, run in evaluation mode; it comes back as it was.
            y: Not used, present for scikit-learn.

        Returns:
            The estimator itself.

        Raises:
            InvalidInputError: An option is out of range, the initial weights do not fit the network, or this is no
                function of one sample.
            NumericalError: The simulated training or the search diverged.
        """
        rates = self._check(model)
        with torch.inference_mode(False), torch.enable_grad():  # whatever the caller is in: networks are trained
            start = initial_network(model, self.init_state)
            start = (start if self.relu_alpha is None else with_surrogate_relu(start)).eval()
        with preserved(model):
            x, raw = self._start(model, start)
            trial = max(1, round(TRIAL_SHARE * self.n_iter))
            found = [self._search(model, start, rate, x, raw, trial) for rate in rates if len(rates) > 1]
            best = max(range(len(found)), key=lambda k: found[k][2][-1], default=0)
            self.lr_ = rates[best]
            x, raw, self.history_ = self._search(model, start, self.lr_, x, raw, self.n_iter)
        self.reconstructions_, self.targets_ = x, self._targets(raw)
        self.labels_ = None if self.objective == "regression" else _classes(self.targets_)
        self.similarity_ = self.history_[-1]
        n_weights = len(flatten(named_parameters(model, params="trainable")))
        self.verdict_ = _verdict(self.similarity_, x.numel() + raw.numel(), n_weights)
        return self

    def _check(self, model: nn.Module) -> list[float]:
        check_model(model)
        require_inspected(model, kinds=("weights", "dropout", "batch-norm"))
        check_choice(self.objective, ("classification", "regression"), "objective")
        if not 0 <= self.momentum < 1 or self.total_variation < 0:
            raise InvalidInputError(
                "momentum must be in [0, 1) and total_variation not negative, "
                f"got {self.momentum!r} and {self.total_variation!r}"
            )
        rates = [float(self.lr)] if isinstance(self.lr, (int, float)) else [float(rate) for rate in self.lr]
        for name in ("n_samples", "epochs", "n_iter"):
            check_count(getattr(self, name), name)
        for name in ("lr_x", "init_scale"):
            check_positive(getattr(self, name), name)
        for rate in rates or [0.0]:
            check_positive(rate, "lr")
        return rates

    def _start(self, model: nn.Module, start: nn.Module) -> tuple[Tensor, Tensor]:
        """Draw samples and raw targets, and check that the network runs on them."""
        first = next(start.parameters())
        if self.input_shape is None and first.ndim != 2:
            raise InvalidInputError(
                f"the network does not start with a dense layer, its first weight has shape {tuple(first.shape)}; give "
                "the shape of one input, input_shape=(...)"
            )
        shape = self.input_shape or tuple(first.shape[1:])
        source = seeded(self.random_state)
        x = self.init_scale * torch.randn(self.n_samples, *shape, generator=source).to(first)
        try:
            with torch.no_grad():
                model(x)
        except (RuntimeError, ValueError, TypeError) as error:
            raise InvalidInputError(
                f"the network does not run on inputs of shape {shape} ({str(error).partition(chr(10))[0]}); "
                "pass input_shape=(...)"
            ) from error
        n_outputs = check_outputs(model, x)[0].numel()
        try:
            with torch.no_grad():
                start(x.clone())
        except InvalidInputError as error:
            raise InvalidInputError(f"{error}; pass relu_alpha=None to train it as it is") from error
        return x, torch.randn(self.n_samples, n_outputs, generator=source).to(first)

    def _search(
        self, model: nn.Module, start: nn.Module, lr: float, x: Tensor, raw: Tensor, steps: int
    ) -> tuple[Tensor, Tensor, list[float]]:
        """Run a search of some steps from given samples and raw targets, at one learning rate of the training."""
        x, raw = x.clone().requires_grad_(), raw.clone().requires_grad_()
        before = named_parameters(start, params="trainable")
        moved = flatten(named_parameters(model, params="trainable")) - flatten(before)
        optimizer = torch.optim.Adam([x, raw], lr=self.lr_x)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
        history = []
        for number in track(range(steps), "searching", enabled=self.progress):
            if self.relu_alpha is not None:
                low, high = self.relu_alpha
                set_sharpness(start, low * (high / low) ** (number / steps))
            after = simulate(
                start,
                x,
                self._targets(raw),
                loss=self._loss,
                lr=lr,
                epochs=self.epochs,
                momentum=self.momentum,
                recompute=self.recompute,
            )
            similarity = torch.cosine_similarity(flatten(after) - flatten(before), moved, dim=0)
            cost = 1 - similarity + self.total_variation * total_variation(x)
            x.grad, raw.grad = torch.autograd.grad(cost, (x, raw))
            optimizer.step()
            schedule.step()
            history.append(similarity.item())
        if not (torch.isfinite(x).all() and math.isfinite(history[-1])):
            raise NumericalError("the simulated training diverged to NaN or infinity; lower lr or lr_x")
        return x.detach(), raw.detach(), history

    def _targets(self, raw: Tensor) -> Tensor:
        if self.objective == "regression":
            return raw
        return raw.softmax(1) if raw.shape[1] > 1 else raw.sigmoid()

    def _loss(self, outputs: Float[Tensor, "n *c"], targets: Float[Tensor, "n c"]) -> Float[Tensor, ""]:
        if self.objective == "regression":
            return squared_error(outputs, targets)
        outputs = outputs.reshape(targets.shape)
        if outputs.shape[1] > 1:
            return nn.functional.cross_entropy(outputs, targets)
        return nn.functional.binary_cross_entropy_with_logits(outputs, targets)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.no_validation = True
        return tags


def _verdict(similarity: float, n_unknowns: int, n_weights: int) -> str:
    """Say what share of the displacement's squared length the simulated training explains, and what that means."""
    share = max(0.0, similarity) ** 2
    text = f"The simulated training explains {share:.0%} of the weights' displacement (cosine {similarity:.3f})."
    if share < 0.5:
        text += (
            " That is less than half: nothing was recovered. lr, epochs, momentum, objective and n_samples must be "
            "those of the training."
        )
    if n_unknowns >= n_weights:
        text += f" With {n_unknowns} unknowns for {n_weights} weights, other samples may explain them as well."
    return text


def _classes(targets: Float[Tensor, "n c"]) -> Tensor:
    return targets.argmax(1) if targets.shape[1] > 1 else (targets[:, 0] > 0.5).long()
