"""How far trained weights are from the stationarity that gradient training leads to."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

import torch
from jaxtyping import Float, Num
from scipy.optimize import nnls
from torch import Tensor, nn

from assay.core import (
    InvalidInputError,
    check_finite,
    check_labels,
    check_model,
    check_pairs,
    flatten,
    functional,
    margins,
    named_parameters,
    per_sample_gradients,
    preserved,
    signs,
    single_logit,
)

Objective: TypeAlias = Literal["binary", "multiclass"]


@dataclass(frozen=True, eq=False)
class StationarityResult:
    """Say how much of the weights the samples do not explain.

    Attributes:
        absolute: Norm of weights minus weighted gradients, by parameter.
        relative: The same by parameter, divided by the parameter's own norm.
        total: Norm over all parameters together.
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
    multipliers: Float[Tensor, " _"],  # its length is compared below
    y: Num[Tensor, " n"],
    *,
    objective: Objective = "binary",
) -> StationarityResult:
    r"""Measure $\lVert \theta - \sum_i \lambda_i \nabla_\theta m(\theta; x_i, y_i) \rVert$, m the margin.

    The margin is $y_i \Phi(x_i)$ for one logit and $\Phi_{y_i}(x_i) - \max_{j \ne y_i} \Phi_j(x_i)$ for several.
    Time is that of one backward pass.

    Args:
        model: Trained network; it comes back as it was. A `with_surrogate_relu` copy is measured with its own gates.
        x: Samples, or candidates for them.
        multipliers: Weight of each.
        y: Binary labels in {0, 1} or {-1, 1}, or class indices.
        objective: "binary" for one logit, "multiclass" for several.

    Returns:
        Norms of the difference, by parameter and in total.

    Raises:
        InvalidInputError: Labels, multipliers or outputs do not fit.

    Source: Haim et al. (2022), the loss of their attack; Buzaglo et al. (2023), its form for several classes.

    >>> net = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))
    >>> stationarity_residual(net, torch.ones(4, 2), torch.zeros(4), torch.tensor([0, 1, 0, 1])).total_relative
    1.0
    """
    _check(model, x, y, objective)
    if multipliers.shape != (len(x),):
        raise InvalidInputError(
            f"multipliers must hold one number a sample ({len(x)}), got shape {tuple(multipliers.shape)}"
        )
    weights = named_parameters(model)
    with preserved(model):
        function = functional(model)
        copies = {name: value.clone().requires_grad_() for name, value in weights.items()}
        total = (multipliers.detach() * margins(function(copies, x.detach()), y)).sum()
        explained = torch.autograd.grad(total, list(copies.values()), allow_unused=True)
    rest = {
        name: weight if part is None else weight - part
        for (name, weight), part in zip(weights.items(), explained, strict=True)
    }
    check_finite(flatten(rest), "the stationarity residual")
    absolute = {name: float(value.norm()) for name, value in rest.items()}
    relative = {name: absolute[name] / (float(weights[name].norm()) or 1.0) for name in rest}
    whole = float(flatten(rest).norm())
    return StationarityResult(absolute, relative, whole, whole / float(flatten(weights).norm()))


def oracle_multipliers(
    model: nn.Module, x: Float[Tensor, "n ..."], y: Num[Tensor, " n"], *, objective: Objective = "binary"
) -> tuple[Float[Tensor, " n"], float]:
    r"""Fit the multipliers that explain the weights best, given the true training data.

    $\min_{\lambda \ge 0} \lVert \theta - \sum_i \lambda_i \nabla_\theta m(\theta; x_i, y_i) \rVert$, by non-negative
    least squares on all per-sample gradients: memory n times p. A diagnostic: it says how far training went.

    Args:
        model: Trained network; it comes back as it was.
        x: Its training samples.
        y: Their labels.
        objective: "binary" for one logit, "multiclass" for several.

    Returns:
        Multipliers and the relative residual that they leave.

    Raises:
        InvalidInputError: Labels or outputs do not fit.

    >>> net = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))
    >>> oracle_multipliers(net, torch.ones(4, 2), torch.tensor([0, 1, 0, 1]))[0].shape
    torch.Size([4])
    """
    _check(model, x, y, objective)
    if objective == "binary":
        gradients = per_sample_gradients(
            model, x, signs(y).to(x), lambda score, sign: (single_logit(score) * sign).mean()
        )
    else:
        gradients = per_sample_gradients(model, x, y, lambda logits, label: margins(logits, label).mean())
    target = flatten(named_parameters(model)).double().cpu().numpy()
    matrix = gradients.T.double().cpu().numpy()
    multipliers, rest = nnls(matrix, target)
    return torch.as_tensor(multipliers).to(x), float(rest / (target @ target) ** 0.5)


def check_outputs(objective: str, n_outputs: int) -> None:
    """Require an objective that exists and fits the number of outputs.

    Raises:
        InvalidInputError: It does not.

    >>> check_outputs("binary", 1)
    """
    if objective not in ("binary", "multiclass"):
        raise InvalidInputError(f"objective must be 'binary' or 'multiclass', got {objective!r}")
    if (objective == "binary") != (n_outputs == 1):
        fitting = "binary" if n_outputs == 1 else "multiclass"
        raise InvalidInputError(
            f"objective={objective!r} does not fit a network with {n_outputs} outputs; use {fitting!r}"
        )


def _check(model: nn.Module, x: Tensor, y: Tensor, objective: str) -> None:
    check_model(model)
    check_pairs(x, y)
    with preserved(model), torch.no_grad():
        n_outputs = model(x[:1]).reshape(1, -1).shape[1]
    check_outputs(objective, n_outputs)
    if objective == "multiclass":
        check_labels(y, n_outputs)
