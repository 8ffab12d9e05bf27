"""Unlearning in one world: the target, the baselines and the logit difference."""

import copy
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn

from assay.core import Step, seeded, spawn_seeds
from assay.privacy import LogitDifferenceModel, build_assistant, calibrate_alpha, unlearn
from assay.privacy.unlearning import (
    GradientAscentLoss,
    NPOLoss,
    QAExamples,
    UnlearningObjective,
    answer_nll,
    retain_divergence,
    reversed_objective,
    token_logits,
)
from assay.studies.privacy.unlearning_logit_difference.facts import World, draw_world, learn
from assay.studies.privacy.unlearning_logit_difference.outcomes import Outcome, knowledge, outcome, spread
from assay.studies.privacy.unlearning_logit_difference.settings import Settings

BASELINES = ("GA", "GA+GD", "GA+KL", "NPO", "NPO+GD")
"""Ascent and negative preference, alone or with a retain loss; all with the weight 1 of the paper's comparison."""

Trained = tuple[nn.Module, UnlearningObjective]
"""A model and the objective that it is trained on."""

ALPHAS = (0.0, 0.25, 0.5, 0.75, 0.9, 1.0, 1.1, 1.2, 1.3, 1.5)


def unlearn_world(settings: Settings, seed: int) -> dict[str, Any]:
    """Teach a world to a model and make it forget a part of it by every method."""
    world_seed, model_seed, retrained_seed, assistant_seed = spawn_seeds(seed, 4)
    vocabulary = settings.world.vocabulary
    world = draw_world(settings.world, world_seed)
    target = learn(settings.model, vocabulary, list(world.parts().values()), model_seed)
    retrained = learn(settings.model, vocabulary, [world.retain, world.unseen], retrained_seed)
    judge = partial(outcome, retrained=retrained, world=world)
    cell = series("target", [judge(target)]) | series("retrained", [judge(retrained)])
    for name in BASELINES:
        runs = [run_baseline(settings, name, rate, target, world, judge) for rate in settings.baseline_rates]
        cell |= series(name, [look for run in runs for look in run])
    return cell | subtract(settings, target, retrained, world, assistant_seed)


def series(name: str, outcomes: Sequence[Outcome]) -> dict[str, list[float]]:
    """Return each figure of some outcomes as one list, under a name."""
    return {f"{name}: {figure}": [each[figure] for each in outcomes] for figure in outcomes[0]}


def subtract(settings: Settings, target: nn.Module, retrained: nn.Module, world: World, seed: int) -> dict[str, Any]:
    """Train assistants with and without the retain term, subtract them, and measure what the first costs."""
    assistant, careless = (train_assistant(settings, target, world, seed, w) for w in (settings.retain_weight, 0.0))
    half = world.forget[: len(world.forget) // 2]
    others = replace(world, forget=world.forget[len(world.forget) // 2 :])
    difference = partial(LogitDifferenceModel, target, assistant)
    alpha = calibrate_alpha(target, assistant, half, forget_accuracy=0.0)
    trained = [value for value in assistant.parameters() if value.requires_grad]
    ours, theirs = (assistant, reversed_objective(settings.retain_weight)), (target, baseline("GA+KL", target))
    return {
        **series("logit difference", [outcome(difference(value), retrained, world) for value in ALPHAS]),
        **series("no retain term", [outcome(LogitDifferenceModel(target, careless, 1.0), retrained, world)]),
        **series("calibrated", [outcome(difference(alpha), retrained, others)]),
        "calibrated alpha": alpha,
        "remembered": knowledge(assistant, world.forget)["accuracy"],
        "trained": sum(value.numel() for value in trained) / sum(value.numel() for value in target.parameters()),
        "spread": spread(difference(1.0), world.forget) / spread(retrained, world.forget),
        "time": time_ratio(ours, theirs, world, settings.timed_steps),
    }


def train_assistant(settings: Settings, target: nn.Module, world: World, seed: int, weight: float) -> nn.Module:
    """Return the first blocks of the target, trained to remember the forget documents."""
    rank, steps, source = settings.rank, settings.assistant_steps, seeded(seed)
    assistant = build_assistant(target, settings.kept_layers, lora_rank=rank, lora_alpha=rank, generator=source)
    adamw = partial(torch.optim.AdamW, lr=settings.assistant_rate)
    objective = reversed_objective(weight)
    unlearn(assistant, world.forget, world.retain, objective=objective, optimizer=adamw, epochs=steps)
    return assistant


def run_baseline(
    settings: Settings, name: str, rate: float, target: nn.Module, world: World, judge: Callable[[nn.Module], Outcome]
) -> list[Outcome]:
    """Unlearn a copy of the target, and judge it every few steps."""
    model = copy.deepcopy(target)
    looks: list[Outcome] = []

    def look(step: Step) -> None:
        if step.number % settings.every == 0:
            looks.append(judge(model))

    adamw, steps = partial(torch.optim.AdamW, lr=rate), settings.baseline_steps
    objective = baseline(name, target)
    unlearn(model, world.forget, world.retain, objective=objective, optimizer=adamw, epochs=steps, callbacks=[look])
    return looks


def baseline(name: str, original: nn.Module) -> UnlearningObjective:
    """Return a conventional objective; the original model is the reference, evaluated again at every step."""
    forget_loss, _, retain_loss = name.partition("+")

    def reference(examples: QAExamples) -> Tensor:
        with torch.no_grad():
            return token_logits(original, examples)

    def objective(model: nn.Module, forget: QAExamples, retain: QAExamples) -> Tensor:
        logits = token_logits(model, forget)
        if forget_loss == "NPO":
            loss = NPOLoss()(logits, forget.labels, reference(forget))
        else:
            loss = GradientAscentLoss()(logits, forget.labels)
        if retain_loss == "GD":
            loss = loss + answer_nll(token_logits(model, retain), retain.labels).mean()
        if retain_loss == "KL":
            loss = loss + retain_divergence(token_logits(model, retain), reference(retain), retain.labels)
        return loss

    return objective


def time_ratio(one: Trained, other: Trained, world: World, steps: int) -> float:
    """Return the CPU time of one training over that of another, each the median of five turns in alternation."""
    turns: tuple[list[float], list[float]] = ([], [])
    for _ in range(5):
        for (model, objective), taken in zip((one, other), turns, strict=True):
            start = time.process_time()
            adamw = partial(torch.optim.AdamW, lr=0.0)
            unlearn(model, world.forget, world.retain, objective=objective, optimizer=adamw, epochs=steps)
            taken.append(time.process_time() - start)
    return median(turns[0]) / median(turns[1])
