"""Training to stationarity: gradient descent in the span of the data, and L-BFGS for smooth networks."""

import math
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Shaped
from scipy.optimize import minimize
from torch import Tensor, nn

from assay.core import (
    FitResult,
    InvalidInputError,
    LossFunction,
    NumericalError,
    check_count,
    check_follows_parameters,
    check_outputs,
    check_pairs,
    check_positive,
    copy_network,
    fit,
    flatten,
    functional,
    mean_over_samples,
    named_parameters,
    preserved,
    unflatten,
    unwrapped,
)


def train_in_span(
    model: nn.Module,
    x: Float[Tensor, "n d"],
    y: Tensor,
    *,
    loss: LossFunction,
    weight_decay: float,
    n_iter: int,
    lr: float = 0.1,
    momentum: float = 0.9,
    progress: bool = False,
) -> FitResult:
    r"""Train a dense network in place by full-batch gradient descent, in coordinates of the data's span.

    With $x = c V$ for an orthonormal basis $V$ of the r-dimensional span of the data, $r \le n$, the gradient of the
    first layer $W$ lies in that span: $W V^\top$ is trained on $c$, and the part of $W$ outside decays by one factor.
    This is exact. The learning rate falls to zero along a cosine.

    Cost: time O(n_iter * n r h), memory O(n r + r h), for h hidden units; d in place of r without the span.

    Args:
        model: `nn.Sequential` that starts with `nn.Linear`; frozen parameters stay as they are.
        x: Flat inputs, of the weights' dtype.
        y: Targets.
        loss: Mean loss over the batch.
        weight_decay: Factor of the weights in the gradient.
        n_iter: Gradient steps.
        lr: Initial learning rate.
        momentum: Momentum of the gradient.
        progress: Draw a bar on standard error.

    Returns:
        Result of training, from `core.fit`.

    Raises:
        InvalidInputError: The network does not start with a dense layer with a weight of its own, or the data do not
            fit.
        NumericalError: The loss became NaN or infinite.

    >>> from assay.core import binary_cross_entropy
    >>> x, net = torch.eye(2, 5), nn.Sequential(nn.Linear(5, 16), nn.ReLU(), nn.Linear(16, 1))
    >>> options = {"loss": binary_cross_entropy, "weight_decay": 1e-3, "n_iter": 300}
    >>> train_in_span(net, x, torch.tensor([0, 1]), **options).loss < 0.1
    True
    """
    x, y = check_pairs(x, y)
    check_outputs(model, x)
    network = unwrapped(model)
    weight = _first_weight(network)
    if x.ndim != 2:
        raise InvalidInputError(f"x must be flat, of shape (n, d), got {tuple(x.shape)}; use x.flatten(1)")
    exact = x.to(torch.promote_types(x.dtype, torch.float32))  # half precision has no singular values
    basis = torch.linalg.svd(exact, full_matrices=False)[2][: torch.linalg.matrix_rank(exact)].to(x)
    initial = weight.detach().clone()
    inside = initial @ basis.T
    outside = initial - inside @ basis
    narrow: Any = copy_network(network)
    with torch.inference_mode(False):
        narrow[0].register_parameter("weight", nn.Parameter(inside.clone(), requires_grad=weight.requires_grad))
    sgd = partial(torch.optim.SGD, lr=lr, momentum=momentum, weight_decay=weight_decay)
    result = fit(narrow, x @ basis.T, y, loss=loss, optimizer=sgd, schedule="cosine", n_iter=n_iter, progress=progress)
    left = _decayed(n_iter, lr=lr, momentum=momentum, weight_decay=weight_decay) if weight.requires_grad else 1.0
    weights = narrow.state_dict()
    network.load_state_dict({**weights, "0.weight": weights["0.weight"] @ basis + left * outside})
    model.eval()
    return result


def _first_weight(network: nn.Module) -> nn.Parameter:
    """Return the weight of the dense layer at the start, which nothing else may use or compute."""
    layers = list(network) if isinstance(network, nn.Sequential) else []
    first = next(iter(layers), None)
    if not isinstance(first, nn.Linear):
        raise InvalidInputError(
            "the network must start with nn.Linear, in an nn.Sequential; put nn.Flatten in front after training"
        )
    places = [name for name, value in network.named_parameters(remove_duplicate=False) if value is first.weight]
    if places != ["0.weight"] or any(module is first for module in layers[1:]):
        raise InvalidInputError(
            "the weight of the first layer is computed, as by weight_norm, or used in another place; give the layer a "
            "weight of its own, for example by torch.nn.utils.remove_weight_norm"
        )
    return network.get_parameter("0.weight")


def _decayed(n_iter: int, *, lr: float, momentum: float, weight_decay: float) -> float:
    """Return the remaining fraction of a weight whose only gradient is its decay."""
    left, velocity = 1.0, 0.0
    for step in range(n_iter):
        velocity = momentum * velocity + weight_decay * left
        left -= lr * (1 + math.cos(math.pi * step / n_iter)) / 2 * velocity
    return left


@dataclass(frozen=True)
class TrainingReport:
    """Hold the end point of training.

    Attributes:
        loss: Mean loss over the samples, without weight decay.
        gradient_norm: Norm of the gradient of loss plus weight decay.
        residual: Norm of the weights minus the samples' gradients, weighted by `predicted_multipliers`, relative to the
            weights: the gradient norm divided by weight decay and norm of the weights. 0 is stationary.
        n_iter: Steps taken.
        tolerance: Norm of the gradient that was asked for.
    """

    loss: float
    gradient_norm: float
    residual: float
    n_iter: int
    tolerance: float

    @property
    def converged(self) -> bool:
        """Whether the norm of the gradient reached the tolerance."""
        return self.gradient_norm <= self.tolerance

    def __str__(self) -> str:
        text = (
            f"After {self.n_iter} steps the loss is {self.loss:.3g} and the gradient norm {self.gradient_norm:.2g}; "
            f"the samples leave {self.residual:.2g} of the weights' norm unexplained."
        )
        if self.converged:
            return text
        return f"{text} This is not stationary: the tolerance of {self.tolerance:.2g} was not reached."


def train_to_stationarity(
    model: nn.Module,
    x: Shaped[Tensor, "n ..."],
    y: Tensor,
    *,
    loss: LossFunction,
    weight_decay: float,
    tolerance: float = 1e-8,
    n_iter: int = 10_000,
) -> TrainingReport:
    r"""Train a smooth network in place until $\nabla \big(L(\theta) + \frac w2 \lVert\theta\rVert^2\big)$ vanishes.

    Full-batch L-BFGS in evaluation mode. ReLU networks oscillate on their kinks and stop far from stationarity: train
    them with `train_in_span`. Weights in float64 reach the tolerance; weights in float32 stop at rounding errors.
    Frozen parameters stay as they are and do not count.

    Cost: time of up to 10 n_iter gradients, memory O(50 p) beside one gradient.

    Args:
        model: Network to train; it is left in evaluation mode.
        x: Inputs, of the weights' dtype; integers for a network that reads tokens.
        y: Targets.
        loss: Mean loss over all samples, see `assay.core.mean_over_samples`.
        weight_decay: Factor w of the weights in the gradient.
        tolerance: Norm of the gradient at which training ends.
        n_iter: Largest number of steps.

    Returns:
        End point of training; compare its gradient norm with the tolerance.

    Raises:
        InvalidInputError: The data or the loss do not fit, nothing is trainable, or a number is not positive.
        NumericalError: The loss became NaN or infinite.

    >>> from assay.core import squared_error
    >>> net, x = nn.Sequential(nn.Linear(3, 4), nn.Softplus(), nn.Linear(4, 1)).double(), torch.eye(3).double()
    >>> train_to_stationarity(net, x, torch.ones(3), loss=squared_error, weight_decay=0.01).residual < 1e-6
    True
    """
    check_positive(weight_decay, "weight_decay")
    check_positive(tolerance, "tolerance")
    check_count(n_iter, "n_iter")
    x, y = check_pairs(x, y, tokens=True)
    check_outputs(model, x)
    check_follows_parameters(model, x)
    if not any(value.requires_grad for value in model.parameters()):
        raise InvalidInputError("all parameters are frozen; call model.requires_grad_() to train them")
    mean = mean_over_samples(loss, model, x, y)
    start = named_parameters(model, params="trainable")
    call, weights = functional(model), flatten(start)

    def objective(theta: np.ndarray) -> tuple[float, np.ndarray]:
        vector = torch.from_numpy(theta).to(weights).requires_grad_()
        value = mean(call(unflatten(vector, start), x), y) + weight_decay / 2 * vector.square().sum()
        if not torch.isfinite(value):
            raise NumericalError(f"the training loss became {value.item()}; scale the inputs or the initial weights")
        (gradient,) = torch.autograd.grad(value, vector)
        return value.item(), gradient.double().cpu().numpy()

    # SciPy bounds the largest entry of the gradient; unlike PyTorch's L-BFGS it still progresses at tiny steps.
    largest = tolerance / weights.numel() ** 0.5
    options = {"maxiter": n_iter, "maxfun": 10 * n_iter, "maxcor": 50, "ftol": 0, "gtol": largest}
    with preserved(model):
        found = minimize(objective, weights.double().cpu().numpy(), jac=True, method="L-BFGS-B", options=options)
    unwrapped(model).load_state_dict(unflatten(torch.from_numpy(found.x).to(weights), start), strict=False)
    model.eval()
    size, slope = float(np.linalg.norm(found.x)), float(np.linalg.norm(found.jac))
    mean_loss = float(found.fun - weight_decay / 2 * size**2)
    residual = slope / (weight_decay * max(size, np.finfo(float).tiny))
    return TrainingReport(mean_loss, slope, residual, int(found.nit), tolerance)
