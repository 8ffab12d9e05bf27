"""Attributions that causal maps and graphs are compared with: from gradients, or random."""

from collections.abc import Callable
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor, nn

from assay.attribution import CausalGraph, causal_saliency
from assay.core import preserved, seeded, watch_layers

Attribution = Callable[[Tensor], Tensor]


def logit_gradient(model: nn.Module, target: int, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
    """Return the gradient of a class logit in the input."""
    with preserved(model):
        x = x.clone().requires_grad_(True)
        (gradient,) = torch.autograd.grad(model(x)[:, target].sum(), x)
    return gradient


def saliency(model: nn.Module, target: int, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n h w"]:
    """Return the absolute gradient (Simonyan et al., 2013)."""
    return logit_gradient(model, target, x).abs().sum(1)


def input_x_gradient(model: nn.Module, target: int, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n h w"]:
    """Return the gradient times the input (Shrikumar et al., 2016)."""
    return (x * logit_gradient(model, target, x)).sum(1)


def integrated_gradients(
    model: nn.Module, target: int, x: Float[Tensor, "n c h w"], *, n_iter: int = 12
) -> Float[Tensor, "n h w"]:
    """Return the mean gradient on the way from black, times the input (Sundararajan et al., 2017), midpoint rule."""
    shares = (torch.arange(n_iter) + 0.5) / n_iter
    mean = torch.stack([logit_gradient(model, target, share * x) for share in shares]).mean(0)
    return (x * mean).sum(1)


def gradient_shap(
    model: nn.Module, target: int, x: Float[Tensor, "n c h w"], *, n_draws: int = 12, noise: float = 0.05
) -> Float[Tensor, "n h w"]:
    """Return the mean gradient at random places between black and the noisy input, times the input."""
    source = seeded(0)
    total = torch.zeros_like(x)
    for _ in range(n_draws):
        share = torch.rand(len(x), 1, 1, 1, generator=source)
        total += logit_gradient(model, target, share * (x + noise * torch.randn(x.shape, generator=source)))
    return (x * total / n_draws).sum(1)


def random_map(x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n h w"]:
    """Return numbers that have nothing to do with the input."""
    return torch.rand(len(x), *x.shape[2:], generator=seeded(0))


def attributions(model: nn.Module, graph: CausalGraph, layer: str) -> dict[str, Attribution]:
    """Return the attributions that are compared, by name."""
    target = graph.target
    methods = {
        "Saliency": saliency,
        "InputXGradient": input_x_gradient,
        "IntegratedGradients": integrated_gradients,
        "GradientShap": gradient_shap,
    }
    return {
        "causal": partial(causal_saliency, model, graph, layer),
        "random": random_map,
        **{name: partial(method, model, target) for name, method in methods.items()},
    }


def strongest_units(model: nn.Module, graph: CausalGraph, x: Float[Tensor, "n c h w"]) -> set[tuple[str, int]]:
    """Return as many units of each layer as a graph has, those of the largest mean gradient times activation."""
    chosen = set()
    with preserved(model), watch_layers(model, graph.layers) as watch:
        score = model(x)[:, graph.target].sum()
        parts = list(zip(graph.layers, graph.causes, graph.units, strict=True))[1:]
        gradients = torch.autograd.grad(score, [watch.inputs[name] for name, *_ in parts])
    for (name, causes, count), gradient in zip(parts, gradients, strict=True):
        strength = (gradient * watch.inputs[name]).reshape(len(x), count, -1).sum(2).abs().mean(0)
        chosen |= {(name, int(unit)) for unit in strength.topk(len(causes)).indices}
    return chosen
