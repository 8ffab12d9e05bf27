"""Stationarity residual of trained weights (Haim et al., 2022; Buzaglo et al., 2023)."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Shaped
from scipy.optimize import nnls
from torch import Tensor, nn

from assay.core import (
    InvalidInputError,
    Parameters,
    check_finite,
    check_follows_parameters,
    check_labels,
    check_outputs,
    check_pairs,
    check_samples,
    copy_network,
    flatten,
    functional,
    margins,
    named_parameters,
    output_jacobian,
    per_sample_gradients,
    preserved,
    signs,
    single_logit,
)
from assay.reconstruction.kkt import (
    LABELLED_OBJECTIVES,
    Objective,
    check_objective,
    default_objective,
    initial_network,
    margin_cotangents,
)

ENTRIES_AT_ONCE = 20_000
"""Entries of the weights whose gradients are held in float64 at once."""


@dataclass(frozen=True, eq=False)
class StationarityResult:
    """Hold the part of the weights that the samples do not explain.

    Attributes:
        absolute: Norm of weights minus weighted gradients, by parameter.
        relative: The same by parameter, divided by the norm of the parameter.
        total: Norm over all parameters.
        total_relative: The same divided by the norm of all weights: 0 is stationary, 1 explains nothing.
    """

    absolute: dict[str, float]
    relative: dict[str, float]
    total: float
    total_relative: float

    def __str__(self) -> str:
        layers = ", ".join(f"{name} {value:.3g}" for name, value in self.relative.items())
        return f"The samples leave {self.total_relative:.3g} of the weights' norm unexplained (by parameter: {layers})."


def stationarity_residual(
    model: nn.Module,
    x: Float[Tensor, "n ..."],
    multipliers: Float[Tensor, "_ *c"],  # its length is compared below
    y: Shaped[Tensor, "n *column"] | None = None,
    *,
    objective: Objective | Literal["auto"] = "auto",
    init_state: Parameters | None = None,
) -> StationarityResult:
    r"""Measure $\lVert \theta - \sum_i J_\theta(x_i)^\top \mu_i \rVert$, J the Jacobian of the outputs in the weights.

    The weights $\theta$ are the trainable ones: frozen parameters are no sum of gradients.

    For "binary" and "multiclass" $J^\top \mu_i = \lambda_i \nabla_\theta m(\theta; x_i, y_i)$, where the margin m is
    $y_i \Phi(x_i)$ for one logit and $\Phi_{y_i}(x_i) - \max_{j \ne y_i} \Phi_j(x_i)$ for several.

    Cost: time and memory of one backward pass.

    Args:
        model: Trained network; it comes back as it was. A `with_surrogate_relu` copy is measured with its own gates.
        x: Samples, or candidates for them.
        multipliers: Factors of the margins, `(n,)`; for the other objectives the $\mu_i$, `(n, c)`, or `(n,)` for one
            output. Several outputs are no margins unless `objective` says so.
        y: Binary labels in {0, 1} or {-1, 1}, or class indices; needed for margins only.
        objective: As for `KKTReconstructor`.
        init_state: Weights before training by name, for "displacement": they are taken from $\theta$.

    Returns:
        Norms of the difference, by parameter and in total.

    Raises:
        InvalidInputError: Labels, multipliers, outputs or initial weights do not fit.

    Source: Haim et al., Reconstructing Training Data from Trained Neural Networks (2022), stationarity equation, for
    margins; Buzaglo et al., Deconstructing Data Reconstruction (2023), equation of the general loss, for the others.

    >>> net = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))
    >>> stationarity_residual(net, torch.ones(4, 2), torch.zeros(4), torch.tensor([0, 1, 0, 1])).total_relative
    1.0
    """
    objective, n_outputs, x, y = _check(model, x, y, objective, knows_start=init_state is not None)
    is_margin = objective in ("binary", "multiclass")
    shapes = [(len(x),)] if is_margin else [(len(x), n_outputs)] + [(len(x),)] * (n_outputs == 1)
    if multipliers.shape not in shapes:
        raise InvalidInputError(
            f"multipliers must have the shape {shapes[0]} for objective={objective!r}, got {tuple(multipliers.shape)}"
        )
    goal = _goal(model, objective, init_state)
    check_follows_parameters(model, x)
    with preserved(model):
        copies = {name: value.clone().requires_grad_() for name, value in _trainable(model).items()}
        outputs = functional(model)(copies, x).reshape(len(x), -1)
        if is_margin:
            multipliers = margin_cotangents(outputs, y, multipliers)
        cotangents = multipliers.detach().reshape(outputs.shape).to(outputs)
        explained = torch.autograd.grad(outputs, list(copies.values()), cotangents, allow_unused=True)
    rest = {
        name: value if part is None else value - part
        for (name, value), part in zip(goal.items(), explained, strict=True)
    }
    check_finite(flatten(rest), "the stationarity residual")
    absolute = {name: float(value.norm()) for name, value in rest.items()}
    relative = {name: absolute[name] / (float(goal[name].norm()) or 1.0) for name in rest}
    whole = float(flatten(rest).norm())
    return StationarityResult(absolute, relative, whole, whole / float(flatten(goal).norm()))


def oracle_multipliers(
    model: nn.Module,
    x: Float[Tensor, "n ..."],
    y: Shaped[Tensor, "n *column"] | None = None,
    *,
    objective: Objective | Literal["auto"] = "auto",
    init_state: Parameters | None = None,
) -> tuple[Float[Tensor, "n *c"], float]:
    r"""Fit the multipliers that explain the weights best, given the true training data.

    The minimum of `stationarity_residual` over all multipliers of the objective's form: by non-negative least squares
    for "binary", "multiclass" and "vector", by least squares for multipliers of either sign. A diagnostic: the residual
    shows how far training converged.

    Cost: time O(n^2 p), memory O(n^2 + n q) for q entries of the largest parameter, for margins; n c in place of n for
    other objectives. The gradients are reduced to a triangle by QR, a block after the other.

    Args:
        model: Trained network; it comes back as it was.
        x: Its training samples.
        y: Their labels; not needed for multipliers of either sign.
        objective: As for `KKTReconstructor`.
        init_state: Weights before training by name, for "displacement".

    Returns:
        Multipliers in the shape that `stationarity_residual` takes, and their relative residual.

    Raises:
        InvalidInputError: Labels, outputs or initial weights do not fit.

    Source: the stationarity equation of Haim et al. (2022), as in `stationarity_residual`; the fit is ours.

    >>> net = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))
    >>> oracle_multipliers(net, torch.ones(4, 2), torch.tensor([0, 1, 0, 1]))[0].shape
    torch.Size([4])
    """
    objective, n_outputs, x, y = _check(model, x, y, objective, knows_start=init_state is not None)
    goal = _goal(model, objective, init_state)
    directions = None
    if objective not in ("binary", "multiclass"):
        directions = _directions(len(x), n_outputs, y if objective == "vector" else None).to(x)
    size = sum(value.numel() for value in goal.values())
    triangle = _triangle(_blocks(model, x, y, objective, directions, goal))
    matrix, wanted = triangle[:, :-1], triangle[:, -1]
    cut = np.finfo(float).eps * max(size, matrix.shape[1])  # as for all gradients at once
    positive = objective in LABELLED_OBJECTIVES
    fitted = nnls(matrix, wanted)[0] if positive else np.linalg.lstsq(matrix, wanted, rcond=cut)[0]
    rest = float(np.linalg.norm(matrix @ fitted - wanted) / np.linalg.norm(wanted))
    multipliers = torch.as_tensor(fitted).to(x)
    if directions is not None:
        multipliers = (multipliers.reshape(len(x), 1, -1) @ directions).squeeze(1).squeeze(1)
    return multipliers, rest


def _blocks(
    model: nn.Module, x: Tensor, y: Tensor, objective: Objective, directions: Tensor | None, goal: Parameters
) -> Iterator[np.ndarray]:
    """Yield the gradients of all multipliers, and the goal as a last column, for some entries of the weights."""
    twin, n_outputs = copy_network(model).requires_grad_(False), 1 if directions is None else directions.shape[-1]
    for name, wanted in goal.items():
        twin.get_parameter(name).requires_grad_()
        rows = _gradients(twin, x, y, objective, n_outputs)
        twin.get_parameter(name).requires_grad_(False)
        for start in range(0, wanted.numel(), ENTRIES_AT_ONCE):
            some = slice(start, start + ENTRIES_AT_ONCE)
            part = rows[..., some] if directions is None else (directions @ rows[..., some]).flatten(0, 1)
            yield torch.cat([part, wanted.flatten()[None, some].to(part)]).double().cpu().numpy().T


def _gradients(model: nn.Module, x: Tensor, y: Tensor, objective: Objective, n_outputs: int) -> Tensor:
    """Return the gradients of margins, `(n, p)`, or of all outputs, `(n, c, p)`."""
    if objective == "binary":
        signed = signs(y).to(x)
        return per_sample_gradients(model, x, signed, lambda score, sign: (single_logit(score) * sign).mean())
    if objective == "multiclass":
        return per_sample_gradients(model, x, y, lambda logits, label: margins(logits, label).mean())
    return output_jacobian(model, x).reshape(len(x), n_outputs, -1)


def _triangle(blocks: Iterable[np.ndarray]) -> np.ndarray:
    """Return the triangle R of the QR decomposition of stacked blocks, which has the same least-squares problems."""
    found = None
    for block in blocks:
        stacked = block if found is None else np.concatenate([found, block])
        found = np.asarray(np.linalg.qr(stacked, mode="r"))
    if found is None:
        raise InvalidInputError("the network has no parameters; pass a trained network")
    return found


def _directions(n: int, n_outputs: int, y: Tensor | None) -> Float[Tensor, "n k c"]:
    """Return a basis of the cotangents: every output, or the own class against each other class."""
    every = torch.eye(n_outputs)
    if y is None:
        return every.expand(n, -1, -1)
    own = every[y.cpu()][:, None]
    return (own - every)[own.squeeze(1) == 0].reshape(n, n_outputs - 1, n_outputs)


def _goal(model: nn.Module, objective: str, init_state: Parameters | None) -> Parameters:
    """Return the target of the sum of gradients."""
    weights = _trainable(model)
    if (objective == "displacement") != (init_state is not None):
        raise InvalidInputError("objective='displacement' and init_state=(weights before training) go together")
    if init_state is None:
        return weights
    start = named_parameters(initial_network(model, init_state))
    return {name: value - start[name] for name, value in weights.items()}


def _trainable(model: nn.Module) -> Parameters:
    return named_parameters(model, params="trainable")


def _check(
    model: nn.Module, x: Tensor, y: Tensor | None, objective: Objective | Literal["auto"], *, knows_start: bool
) -> tuple[Objective, int, Tensor, Tensor]:
    """Check the arguments; return objective, number of outputs, samples and labels, zeros where none are needed."""
    x = check_samples(x)
    n_outputs = check_outputs(model, x)[0].numel()
    if objective == "auto":
        objective = default_objective(n_outputs, knows_start=knows_start)
    check_objective(objective, n_outputs)
    if objective not in LABELLED_OBJECTIVES:
        return objective, n_outputs, x, torch.zeros(len(x), dtype=torch.long, device=x.device)
    if y is None:
        raise InvalidInputError(f"objective={objective!r} needs labels: pass y")
    x, y = check_pairs(x, y)
    return objective, n_outputs, x, signs(y) if objective == "binary" else check_labels(y, n_outputs)
