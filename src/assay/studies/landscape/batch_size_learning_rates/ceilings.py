"""Largest learning rate of a network by batch size: all rates are trained at once, as one stack of networks."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.optim import SGD, Adam, Optimizer

from assay.core import Parameters, seeded

OPTIMIZERS: dict[str, Callable[[list[Tensor]], Optimizer]] = {
    "SGD": lambda weights: SGD(weights, lr=1.0),
    "Adam": lambda weights: Adam(weights, lr=1.0),
    "Adam, damping 1": lambda weights: Adam(weights, lr=1.0, eps=1.0),
}

# log2 of the rates of each optimiser: the smallest survives at every batch size, the largest at none.
LOG_RATES = {
    "SGD": torch.arange(-5.0, 7.5, 0.5),
    "Adam": torch.arange(-9.0, 3.5, 0.5),
    "Adam, damping 1": torch.arange(-5.0, 7.5, 0.5),
}

EVERY = 10  # steps between two looks at the loss on all samples
TWICE = 2.0  # a stable run never has more than this multiple of its loss at the start


@dataclass(frozen=True)
class Survival:
    """Which runs were stable and which ended lower than they began, by rate and order of batches.

    Attributes:
        stable: The loss on all samples ended below its start, and was at most twice that at every look.
        lower: The loss on all samples ended finite and below its start, whatever it was on the way.
    """

    stable: Bool[Tensor, "r o"]
    lower: Bool[Tensor, "r o"]


def survivors(
    model: nn.Module,
    x: Float[Tensor, "n d"],
    y: Tensor,
    rates: Float[Tensor, " r"],
    *,
    optimizer: str,
    batch_size: int,
    n_iter: int,
    orders: int,
    seed: int,
) -> Survival:
    """Train a network at all rates for some steps, on several orders of batches that all rates share.

    SGD and Adam move each entry by itself and in proportion to the rate: a step at rate 1, scaled, is the step at
    another rate.
    """
    scale = rates.repeat_interleave(orders)
    weights: Parameters = {
        name: value.detach().expand(len(scale), *value.shape).clone().requires_grad_()
        for name, value in model.named_parameters()
    }
    run = OPTIMIZERS[optimizer](list(weights.values()))
    scores = vmap(lambda values, batch: functional_call(model, values, (batch,)))
    everywhere = vmap(lambda values: functional_call(model, values, (x,)))
    start = nn.functional.cross_entropy(model(x), y).item()
    draws = torch.stack([batches_of(len(x), batch_size, n_iter, seeded(seed + order)) for order in range(orders)], 1)
    highest, ends = torch.zeros(len(scale)), torch.full((len(scale),), torch.inf)
    for step, index in enumerate(draws.repeat(1, len(rates), 1), 1):
        before = {name: value.detach().clone() for name, value in weights.items()}
        run.zero_grad()
        _losses(scores(weights, x[index]), y[index]).sum().backward()
        run.step()
        with torch.no_grad():
            for name, value in weights.items():
                factor = scale.reshape(-1, *(1 for _ in value.shape[1:]))
                value.copy_(before[name] + factor * (value - before[name]))
            if step % EVERY == 0 or step == n_iter:
                ends = _losses(everywhere(weights), y.expand(len(scale), -1)).nan_to_num(torch.inf)
                highest = torch.maximum(highest, ends)
    lower, mild = ((values < limit).reshape(-1, orders) for values, limit in ((ends, start), (highest, TWICE * start)))
    return Survival(lower & mild, lower)


def log_ceiling(log_rates: Float[Tensor, " r"], survived: Bool[Tensor, "r o"]) -> float:
    """Return log2 of the rate that half of the runs survive: Spearman and Kärber's estimate on an even grid."""
    spacing = (log_rates[1] - log_rates[0]).item()
    return (log_rates[0] + spacing * (survived.double().mean(1).sum() - 0.5)).item()


def batches_of(n: int, batch_size: int, n_iter: int, source: torch.Generator) -> Tensor:
    """Return the samples of each step: epochs without repetition, of which a rest is left out."""
    each = n // batch_size
    orders = [torch.randperm(n, generator=source)[: each * batch_size] for _ in range(-(-n_iter // each))]
    return torch.cat(orders).reshape(-1, batch_size)[:n_iter]


def _losses(scores: Float[Tensor, "m b c"], y: Tensor) -> Float[Tensor, " m"]:
    each = nn.functional.cross_entropy(scores.flatten(0, 1), y.flatten(), reduction="none")
    return each.reshape(scores.shape[:2]).mean(1)
