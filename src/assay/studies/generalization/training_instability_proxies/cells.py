"""Learning-rate sweeps of character models on the help texts of Python, with and without interventions."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import AdamW, Optimizer

from assay.core import seeded, spawn_seeds
from assay.generalization import (
    IndependentAdamW,
    StabilityMonitor,
    WarmupCosine,
    lr_sweep,
    mup_param_groups,
    z_loss,
)
from assay.nets import DecoderTransformer
from assay.studies.generalization.training_instability_proxies.settings import Settings

BETAS = (0.9, 0.95)
COUPLED_DECAY = 0.1
FIRST_MLP = "blocks.0.mlp.0.weight"
FIRST_ATTENTION = "blocks.0.attention"


@dataclass(frozen=True)
class Recipe:
    """How a network is built and trained."""

    qk_layernorm: bool = True
    kappa: float | None = None
    coefficient: float = 0.0
    warmup: float = 0.1
    decay: Literal["independent", "coupled", "none"] = "independent"
    muparam: Literal["none", "simple", "full"] = "none"
    shape: Literal["base", "deep", "wide"] = "base"


RECIPES = {
    "plain": Recipe(qk_layernorm=False, coefficient=1e-4),
    "qk-layernorm": Recipe(),
    "combined": Recipe(coefficient=1e-4, warmup=1 / 3),
    "short warm-up": Recipe(warmup=0.01),
    "long warm-up": Recipe(warmup=1 / 3),
    "coupled decay": Recipe(decay="coupled"),
    "muParam (simple)": Recipe(muparam="simple"),
    "muParam (full)": Recipe(muparam="full"),
    "deep": Recipe(shape="deep"),
    "wide": Recipe(shape="wide"),
}

SWEEPS = ("plain", "qk-layernorm", "combined")

EFFECTS = tuple(name for name in RECIPES if name not in ("plain", "combined"))


@cache
def text(characters: int) -> tuple[Tensor, Tensor, int]:
    """Return the help topics of Python as numbers of characters, to train on and to validate on, and their variety."""
    from pydoc_data.topics import topics

    whole = "\n".join(topics[name] for name in sorted(topics))[:characters]
    number = {character: index for index, character in enumerate(sorted(set(whole)))}
    numbers = torch.tensor([number[character] for character in whole])
    held_out = len(numbers) // 10
    return numbers[:-held_out], numbers[-held_out:], len(number)


def windows(numbers: Tensor, n: int, context: int, source: torch.Generator) -> tuple[Tensor, Tensor]:
    """Draw stretches of text and the characters that follow each of their places."""
    starts = torch.randint(len(numbers) - context, (n,), generator=source)
    drawn = numbers[starts[:, None] + torch.arange(context + 1)]
    return drawn[:, :-1], drawn[:, 1:]


def network(
    settings: Settings, recipe: Recipe, source: torch.Generator, *, dim: int | None = None
) -> DecoderTransformer:
    """Build a network; `dim` overrides its width, with heads of size 8."""
    base = (settings.dim, settings.depth, 1) if dim is None else (dim, settings.depth, dim // 8)
    width, depth, heads = {"base": base, "deep": settings.deep, "wide": settings.wide}[recipe.shape]
    return DecoderTransformer(
        text(settings.characters)[2],
        width,
        depth,
        heads,
        qk_layernorm=recipe.qk_layernorm,
        kappa=recipe.kappa,
        mup_base_dim=settings.mup_base_dim if recipe.muparam == "full" else None,
        generator=source,
    )


def optimizer_of(settings: Settings, recipe: Recipe, model: nn.Module, lr: float) -> Optimizer:
    """Return the optimiser of a recipe."""
    if recipe.decay == "coupled":
        return AdamW(model.parameters(), lr, BETAS, weight_decay=COUPLED_DECAY)
    groups = [{"params": list(model.parameters()), "lr": lr}]
    if recipe.muparam != "none":
        narrow = network(replace(settings, dim=settings.mup_base_dim), recipe, seeded(0))
        groups = mup_param_groups(model, narrow, lr=lr)
    return IndependentAdamW(groups, lr, betas=BETAS, weight_decay=1e-4 if recipe.decay == "independent" else 0.0)


def train(
    settings: Settings,
    recipe: Recipe,
    model: nn.Module,
    lr: float,
    source: torch.Generator,
    *,
    n_iter: int,
    until: int | None = None,
) -> dict[str, float]:
    """Train on the schedule of `n_iter` steps, up to step `until`; return means over the last thirty steps."""
    numbers = text(settings.characters)[0]
    optimizer = optimizer_of(settings, recipe, model, lr)
    schedule = WarmupCosine(optimizer, n_iter, n_warmup=int(recipe.warmup * n_iter))
    norms = []
    with StabilityMonitor(model, optimizer, every=10) as monitor:
        for _ in range(until or n_iter):
            x, y = windows(numbers, settings.batch_size, settings.context, source)
            logits = model(x)
            loss = F.cross_entropy(logits.flatten(0, 1), y.flatten()) + z_loss(logits, coefficient=recipe.coefficient)
            optimizer.zero_grad()
            loss.backward()
            norms.append(float(nn.utils.clip_grad_norm_(model.parameters(), 1.0)))
            optimizer.step()
            schedule.step()
    last = monitor.records[-min(3, len(monitor.records)) :]
    mean = monitor.average(len(last))
    # The monitor sees gradients after clipping to the norm 1.
    gradients = [record.gradient_rms[FIRST_MLP] * max(norms[record.step], 1.0) for record in last]
    return {
        "max logit": mean.max_logits[FIRST_ATTENTION],
        "entropy": mean.entropies[FIRST_ATTENTION],
        "log Z": float(mean.log_z or 0.0),
        "squared log Z": sum(float(record.log_z or 0.0) ** 2 for record in last) / len(last),
        "lowest logit": float(mean.lowest_output or 0.0),
        "gradient RMS": sum(gradients) / len(gradients),
        "update RMS": mean.update_rms[FIRST_MLP],
    }


def evaluate(settings: Settings, model: nn.Module) -> float:
    """Return the cross-entropy on validation windows, the same for all networks."""
    numbers = text(settings.characters)[1]
    x, y = windows(numbers, settings.windows, settings.context, seeded(0))
    with torch.no_grad():
        return float(F.cross_entropy(model(x).flatten(0, 1), y.flatten()))


def sweep_rates(settings: Settings, recipe: str, seed: int) -> dict[str, Tensor]:
    """Sweep the learning rate of one of the three main recipes."""
    return _sweep(settings, recipe, seed, settings.lrs, settings.n_iter)


def sweep_effect(settings: Settings, recipe: str, seed: int) -> dict[str, Tensor]:
    """Sweep the learning rate under another intervention."""
    return _sweep(settings, recipe, seed, settings.effect_lrs, settings.effect_iter)


def _sweep(settings: Settings, name: str, seed: int, lrs: tuple[float, ...], n_iter: int) -> dict[str, Tensor]:
    recipe = RECIPES[name]
    found = lr_sweep(
        partial(network, settings, recipe),
        partial(train, settings, recipe, n_iter=n_iter),
        partial(evaluate, settings),
        lrs=lrs,
        random_state=seed,
    )
    return {
        "loss": found.losses[0],
        "initial loss": found.initial_losses[0],
        "sensitivity": found.sensitivities[0],
        "best loss": found.clipped_losses.min(),
        **{figure: values[0] for figure, values in found.figures.items()},
    }


def penalised(settings: Settings, coefficient: float, lr: float, seed: int) -> dict[str, float]:
    """Train with qk-layernorm and a z-loss, without weight decay."""
    return _alone(settings, Recipe(coefficient=coefficient, decay="none"), lr, seed)


def enforced(settings: Settings, kappa: float, seed: int) -> dict[str, float]:
    """Train with queries and keys of a fixed mean square, at the learning rate 1e-2."""
    return _alone(settings, Recipe(qk_layernorm=False, kappa=kappa), 1e-2, seed)


def _alone(settings: Settings, recipe: Recipe, lr: float, seed: int) -> dict[str, float]:
    weights, draws = (seeded(each) for each in spawn_seeds(seed, 2))
    model = network(settings, recipe, weights)
    figures = train(settings, recipe, model, lr, draws, n_iter=settings.n_iter)
    return {"loss": evaluate(settings, model), **figures}


def early_figures(settings: Settings, dim: int, lr: float, seed: int) -> Mapping[str, float]:
    """Train without qk-layernorm up to an early step; return the figures there and the number of parameters."""
    recipe = Recipe(qk_layernorm=False)
    weights, draws = (seeded(each) for each in spawn_seeds(seed, 2))
    model = network(settings, recipe, weights, dim=dim)
    figures = train(settings, recipe, model, lr, draws, n_iter=settings.n_iter, until=settings.forecast_iter)
    return {"parameters": sum(p.numel() for p in model.blocks.parameters()), **figures}


def vanishing_updates() -> dict[str, float]:
    """Return the update RMS of one layer whose gradients are scaled by 1e-9, by AdamW's eps."""
    found = {}
    for eps in (1e-8, 1e-15):
        layer = nn.Sequential(nn.Linear(16, 16)).double()
        nn.init.normal_(layer.get_parameter("0.weight"), std=0.25, generator=seeded(0))
        x = torch.randn(64, 16, generator=seeded(1), dtype=torch.float64)
        optimizer = IndependentAdamW(layer.parameters(), 1e-3, eps=eps)
        with StabilityMonitor(layer, optimizer) as monitor:
            for _ in range(20):
                optimizer.zero_grad()
                (1e-9 * layer(x).square().mean()).backward()
                optimizer.step()
        found[f"{eps:g}"] = monitor.average(10).update_rms["0.weight"]
    return found


def bigram_loss(settings: Settings) -> float:
    """Return the validation loss of a table of pairs of characters, one added to each count."""
    numbers, held_out, variety = text(settings.characters)
    counts = torch.ones(variety, variety, dtype=torch.float64)
    counts.index_put_((numbers[:-1], numbers[1:]), torch.ones(len(numbers) - 1, dtype=torch.float64), accumulate=True)
    x, y = windows(held_out, settings.windows, settings.context, seeded(0))
    return -float((counts / counts.sum(1, keepdim=True))[x, y].log().mean())
