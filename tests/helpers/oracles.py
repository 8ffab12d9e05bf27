"""Answers by hand: plain `torch.autograd`, sample by sample, for the entries that have a simple one.

An oracle is given a plain network and returns figures by their names in the entry's answer.
"""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from helpers.rows.answers import Answer

Oracle = Callable[[nn.Module, Tensor, Tensor], Answer]


def loss_of(outputs: Tensor, y: Tensor) -> Tensor:
    """Compute the mean loss that fits the outputs, classes or one logit."""
    if outputs.ndim == 1 or outputs.shape[1] == 1:
        return F.binary_cross_entropy_with_logits(outputs.reshape(-1), y.to(outputs))
    return F.cross_entropy(outputs, y)


def _parameters(model: nn.Module) -> list[Tensor]:
    return [value for value in model.parameters() if value.requires_grad]


def _gradient(value: Tensor, model: nn.Module, *, create_graph: bool = False) -> Tensor:
    """Return the gradient in all parameters as one vector; zero where a parameter has no part."""
    params = _parameters(model)
    found = torch.autograd.grad(value, params, create_graph=create_graph, retain_graph=True, allow_unused=True)
    return torch.cat(
        [(torch.zeros_like(p) if g is None else g).reshape(-1) for p, g in zip(params, found, strict=True)]
    )


def _alone(x: Tensor, y: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    return zip(x.split(1), y.split(1), strict=True)


def per_sample(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """Return one gradient a sample, by one backward pass each."""
    return torch.stack([_gradient(loss_of(model(a), b), model) for a, b in _alone(x, y)])


def jacobian(model: nn.Module, x: Tensor) -> Tensor:
    """Return the Jacobian of each sample's outputs, by one backward pass an output."""
    rows = [torch.stack([_gradient(score, model) for score in model(a).reshape(-1)]) for a in x.split(1)]
    return torch.stack(rows)


def hessian(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """Return the Hessian of the mean loss, by the derivative of each entry of the gradient."""
    slope = _gradient(loss_of(model(x), y), model, create_graph=True)
    return torch.stack([_gradient(entry, model) for entry in slope])


def gauss_newton(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """Return the mean over samples of J^T (second derivative of the loss in the outputs) J."""
    total: Tensor | float = 0.0
    for a, b in _alone(x, y):
        outputs = model(a).detach()
        curvature = torch.autograd.functional.hessian(lambda f, b=b: loss_of(f, b), outputs)
        j = jacobian(model, a)[0]
        total = total + j.T @ curvature.reshape(len(j), len(j)) @ j
    return torch.as_tensor(total) / len(x)


def _decomposition(model: nn.Module, x: Tensor, y: Tensor) -> Answer:
    whole, part = hessian(model, x, y), gauss_newton(model, x, y)
    return {"answer.hessian": whole, "answer.gauss_newton": part, "answer.residual": whole - part}


def _spectrum(model: nn.Module, x: Tensor, y: Tensor) -> Answer:
    return {"answer.eigenvalues": torch.linalg.eigvalsh(hessian(model, x, y)).flip(0)}


def _input_gradient(model: nn.Module, x: Tensor, y: Tensor) -> Answer:
    point = x.clone().requires_grad_()
    outputs = model(point).reshape(len(x), -1)
    values = outputs @ torch.linspace(1, 2, outputs.shape[1]).to(outputs)
    return {"answer.0": values, "answer.1": torch.autograd.grad(values.sum(), point)[0]}


def _fast_gradient_sign(model: nn.Module, x: Tensor, y: Tensor) -> Answer:
    point = x.clone().requires_grad_()
    slope = torch.autograd.grad(F.cross_entropy(model(point), y, reduction="sum"), point)[0]
    return {"inf-norm": (x + 0.1 * slope.sign()).clamp(0, 1)}


def _jacobian_times_ones(model: nn.Module, x: Tensor, y: Tensor) -> Answer:
    """Differentiate the pull-back of a cotangent, which is linear in it."""
    outputs = model(x)
    cotangent = torch.zeros_like(outputs, requires_grad=True)
    pulled = _gradient((outputs * cotangent).sum(), model, create_graph=True).sum()
    return {"answer": torch.autograd.grad(pulled, cotangent)[0]}


def _hessian_times_ones(model: nn.Module, x: Tensor, y: Tensor) -> Answer:
    return {"answer": _gradient(_gradient(loss_of(model(x), y), model, create_graph=True).sum(), model)}


def _answer(value: Tensor | float) -> Answer:
    return {"answer": torch.as_tensor(value)}


ORACLES: dict[str, Oracle] = {
    "predict": lambda model, x, y: _answer(model(x)),
    "check_logits": lambda model, x, y: _answer(model(x)[:1].reshape(1, -1)),
    "mean_loss": lambda model, x, y: _answer(loss_of(model(x), y)),
    "per_sample_gradients": lambda model, x, y: _answer(per_sample(model, x, y)),
    "per_sample_gradient_norms": lambda model, x, y: _answer(per_sample(model, x, y).norm(dim=1)),
    "parameter_gradients": lambda model, x, y: _answer(per_sample(model, x, y)),
    "output_jacobian": lambda model, x, y: _answer(jacobian(model, x)),
    "jacobian_vector_product": _jacobian_times_ones,
    "hessian_vector_product": _hessian_times_ones,
    "HessianOperator": lambda model, x, y: _answer(hessian(model, x, y)),
    "GaussNewtonOperator": lambda model, x, y: _answer(gauss_newton(model, x, y)),
    "gauss_newton_factor": lambda model, x, y: _answer(gauss_newton(model, x, y)),
    "hessian_spectrum": _spectrum,
    "gauss_newton_decomposition": _decomposition,
    "input_gradient": _input_gradient,
    "FGSM": _fast_gradient_sign,
}
