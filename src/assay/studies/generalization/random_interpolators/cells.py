"""Exact function priors on nine points, and random against trained networks on the cube {-1, 1}^7."""

import math
from functools import partial
from typing import Any

import torch
from scipy.stats import chisquare
from torch import Tensor

from assay.core import binary_cross_entropy, fit, predict, seeded, spawn_seeds
from assay.generalization import (
    QuantizedMLP,
    enumerate_functions,
    guess_and_check,
    sample_complexity_bound,
    teacher_complexity,
)
from assay.generalization.interpolators import FunctionPrior
from assay.nets import mlp
from assay.studies.generalization.random_interpolators.settings import Settings

DELTA = 0.1
FEATURES = 7
RESTARTS = 20


def nine_points() -> tuple[Tensor, Tensor]:
    """Return {-1, 0, 1}^2 and the labels of the teacher relu(x1 + x2)."""
    x = torch.cartesian_prod(*2 * [torch.tensor([-1.0, 0.0, 1.0])])
    return x, torch.where(x.sum(1) > 0, 1, -1)


def function_prior(width: int) -> FunctionPrior:
    """Enumerate the networks with one hidden layer on the nine points."""
    return enumerate_functions(QuantizedMLP((2, width, 1)), nine_points()[0])


def exact_prior(settings: Settings, width: int) -> dict[str, float]:
    """Compare the probability of the teacher with the bound from counting weights."""
    teacher, prior, narrow = nine_points()[1], function_prior(width), function_prior(1)
    p = prior.teacher_probability(teacher)
    complexity = -math.log(p)
    simple = sum(prior.teacher_probability(signs) for signs in narrow.signs)
    return {
        "teacher probability": p,
        "complexity": complexity,
        "counting bound": teacher_complexity((2, width, 1), (2, 1, 1), 3),
        "all weights": QuantizedMLP((2, width, 1)).n_parameters * math.log(3),
        "functions": len(prior.counts),
        "constant": prior.teacher_probability(-torch.ones_like(teacher)),
        "width-1 functions": simple,
    }


def sampler_law(settings: Settings) -> dict[str, float]:
    """Compare many draws of guess and check for three training points with the enumerated posterior."""
    x, teacher = nine_points()
    index, width = torch.tensor([0, 5, 7]), 2
    prior = function_prior(width)
    law = prior.posterior(index, teacher[index])
    found = guess_and_check(
        QuantizedMLP((2, width, 1)),
        x[index],
        teacher[index],
        n_networks=settings.posterior_draws,
        max_guesses=100 * settings.posterior_draws,
        generator=seeded(0),
    )
    drawn = 2 * (QuantizedMLP((2, width, 1)).forward_batch(found.parameters, x) > 0).long() - 1
    counts = (drawn[:, None] == prior.signs).all(2).sum(0).double()
    # Functions with fewer than five expected draws are pooled: the chi-square law needs that many.
    expected = law * len(drawn)
    rare = expected < 5
    counts, expected = (torch.cat([values[~rare], values[rare].sum()[None]]) for values in (counts, expected))
    possible = expected > 0
    fit_probability = float(prior.probabilities[(prior.signs[:, index] == teacher[index]).all(1)].sum())
    deviation = (1 - fit_probability) ** 0.5 / fit_probability / len(drawn) ** 0.5
    return {
        "p": float(chisquare(counts[possible].numpy(), expected[possible].numpy()).pvalue),
        "standard errors": abs(float(found.guesses.double().mean()) - 1 / fit_probability) / deviation,
        "draws": len(drawn),
    }


def exact_risk(settings: Settings, width: int, size: int, seed: int) -> dict[str, float]:
    """Average the exact risk of guess and check over data sets drawn with replacement."""
    teacher, prior = nine_points()[1], function_prior(width)
    sets = torch.randint(9, (settings.sets, size), generator=seeded(seed))
    risk = sum(prior.risk(index, teacher) for index in sets) / settings.sets
    return {"risk": risk, "over bound": risk * size / -math.log(prior.teacher_probability(teacher))}


def exceedances(settings: Settings, width: int, size: int) -> dict[str, float]:
    """Count how often a network of guess and check has more error than the bound at confidence 0.9."""
    teacher, prior, source = nine_points()[1], function_prior(width), seeded(0)
    # The bound on the error is proportional to 1 / N.
    eps = sample_complexity_bound(prior.teacher_probability(teacher), 0.5, DELTA) * 0.5 / size
    errors, count = (prior.signs != teacher).double().mean(1), 0
    for index in torch.randint(9, (settings.trials, size), generator=source):
        drawn = torch.multinomial(prior.posterior(index, teacher[index]), 1, generator=source)
        count += int(errors[drawn] > eps)
    return {"exceeded": count, "bound": eps}


def random_against_trained(settings: Settings, width: int, seed: int) -> dict[str, float]:
    """Find a random and an Adam-trained network for the same points of the cube, and one for random labels."""
    x = torch.cartesian_prod(*FEATURES * [torch.tensor([-1.0, 1.0])])
    teacher = (x[:, :3].sum(1) > 0).long()
    draws, weights, labels = (seeded(each) for each in spawn_seeds(seed, 3))
    index = torch.randperm(len(x), generator=draws)[: settings.cube_points]
    unseen = torch.ones(len(x), dtype=torch.bool).index_fill(0, index, False)
    prior = QuantizedMLP((FEATURES, width, 1))

    def guess(y: Tensor) -> tuple[float, int]:
        found = guess_and_check(prior, x[index], y[index], max_guesses=settings.max_guesses, generator=weights)
        if not found.accepted:
            return math.nan, found.drawn
        says = (prior.forward_batch(found.parameters, x)[0] > 0).long()
        return float((says != y)[unseen].double().mean()), found.drawn

    error, guesses = guess(teacher)
    trained, restarts = train(x, teacher, index, width, seed)
    random_error, _ = guess(torch.randint(2, (len(x),), generator=labels))
    found = {"random": error, "Adam": trained, "random labels": random_error}
    return {
        **{name: value if math.isfinite(value) else -1.0 for name, value in found.items()},
        "guesses": guesses,
        "restarts": restarts,
        "test error with one label": float(min(teacher.double().mean(), 1 - teacher.double().mean())),
    }


def train(x: Tensor, y: Tensor, index: Tensor, width: int, seed: int) -> tuple[float, int]:
    """Train from new initial weights until a network fits all points; NaN where none of twenty does."""
    unseen = torch.ones(len(x), dtype=torch.bool).index_fill(0, index, False)
    adam: Any = partial(torch.optim.Adam, lr=0.01)
    for restart, child in enumerate(spawn_seeds(seed, RESTARTS)):
        model = mlp((FEATURES, width, 1), generator=seeded(child))
        options = {"loss": binary_cross_entropy, "optimizer": adam, "n_iter": 2000}
        fit(model, x[index], y[index], **options, stop=lambda step: step.loss < 0.05)
        wrong = (predict(model, x)[:, 0] > 0).long() != y
        if not wrong[index].any():
            return float(wrong[unseen].double().mean()), restart
    return math.nan, RESTARTS
