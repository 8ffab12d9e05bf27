"""The rows of `assay.privacy.poisoning`."""

import math
from functools import partial

import torch

from assay.core import StackedTrainer, cross_entropy, preserved
from assay.nets.diffusion import GuidedDDIMSampler, linear_noise_schedule
from assay.privacy import (
    BullseyePolytope,
    FeatureCollision,
    GuidedDiffusionPoisoner,
    PoisonGoal,
    WitchesBrew,
    evaluate_poison,
)
from assay.privacy.poisoning import (
    add_trigger,
    gradient_alignment_loss,
    penultimate_features,
    poison_target_gradient,
)
from helpers.rows.base import Analysis, Attack
from helpers.rows.standalone import Formula
from helpers.rows.subjects import copy_of, relu_network

sgd = partial(torch.optim.SGD, lr=0.1)


def _poison(attack):
    return Attack(
        attack,
        build=lambda threat: attack(eps=threat.eps, n_iter=3, input_range=threat.input_range),
        norms=(math.inf,),
        call=lambda poison, model, x, y: poison(model, x, PoisonGoal(1 - x[:1], 2)),
    )


def _towards_the_goal(model, x, y, generator):
    target = poison_target_gradient(model, PoisonGoal(x[:1], 2))
    alone = gradient_alignment_loss(model, x, y, target, per_sample=True)
    return target, alone, gradient_alignment_loss(model, x, y, target)


def _guided_bases(model, x, y, generator, batch_size=64):
    schedule = linear_noise_schedule(4, 0.05, 0.4).to(x)
    poisoner = GuidedDiffusionPoisoner(model, GuidedDDIMSampler(lambda x, t: x / 2, schedule, recurrence=2))
    return poisoner.generate_bases(PoisonGoal(x[:1], 2), 5, generator=generator, batch_size=batch_size)


def _features(model, x, y, generator):
    with preserved(model):
        return penultimate_features(model, x)


def _victims(model, x, y, generator):
    trainer = StackedTrainer(cross_entropy, sgd, epochs=2, batch_size=2)
    options = {"test": (x, y), "model_fn": partial(copy_of, model), "trainer": trainer, "n_victims": 2}
    return evaluate_poison(PoisonGoal(x[:1], 2), None, x, y, **options)


def _patched(source, n):
    return torch.rand(n, 1, 4, 4, generator=source).double(), torch.ones(1, 2, 2).double()


ROWS = (
    _poison(WitchesBrew),
    _poison(BullseyePolytope),
    _poison(FeatureCollision),
    Analysis((gradient_alignment_loss, poison_target_gradient, PoisonGoal), run=_towards_the_goal),
    Analysis(GuidedDiffusionPoisoner, run=_guided_bases, random=True),
    Analysis(penultimate_features, run=_features, needs_data=False),
    Analysis(evaluate_poison, run=_victims, model=relu_network),
    Formula(add_trigger, _patched),
)
