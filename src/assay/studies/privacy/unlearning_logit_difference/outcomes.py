"""What is measured of a model that was made to forget, and the conventional ways to make it."""

import copy
import time
from collections.abc import Mapping
from functools import partial
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn

from assay.core import Step, preserved, seeded
from assay.privacy import (
    forget_quality,
    unlearn,
)
from assay.privacy.unlearning import (
    GradientAscentLoss,
    NPOLoss,
    QAExamples,
    UnlearningObjective,
    answer_nll,
    retain_divergence,
    tofu_model_utility,
    token_logits,
    truth_ratio,
    truth_ratio_score,
)
from assay.studies.privacy.unlearning_logit_difference.facts import World, knowledge

BASELINES = ("GA", "GA+GD", "GA+KL", "NPO", "NPO+GD")
"""Ascent and negative preference, alone or with a retain loss; all with the weight 1 of the paper's comparison."""

ALPHAS = (0.0, 0.25, 0.5, 0.75, 0.9, 1.0, 1.1, 1.2, 1.3, 1.5)

ENOUGH = 0.1
"""A baseline's checkpoint counts if it is right about at most this share of the forget facts."""

Checkpoint = dict[str, float]

Cell = dict[str, Any]
"""What was measured in one world, as JSON values."""


def baseline(name: str, original: nn.Module) -> UnlearningObjective:
    """Return a conventional objective; the original model, asked anew at every step, is the reference."""
    forget_loss, _, retain_loss = name.partition("+")

    def reference(documents: QAExamples) -> Tensor:
        with torch.no_grad():
            return token_logits(original, documents)

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


def run_baseline(
    original: nn.Module, retrained: nn.Module, world: World, name: str, *, rate: float, steps: int, every: int
) -> list[Checkpoint]:
    """Unlearn a copy of the model, and look at it every few steps."""
    model = copy.deepcopy(original)
    seen: list[Checkpoint] = []

    def look(step: Step) -> None:
        if step.number % every == 0:
            seen.append({"step": step.number, "rate": rate, **outcome(model, retrained, world)})

    adamw = partial(torch.optim.AdamW, lr=rate)
    objective = baseline(name, original)
    unlearn(model, world.forget, world.retain, objective=objective, optimizer=adamw, epochs=steps, callbacks=[look])
    return seen


def outcome(model: nn.Module, retrained: nn.Module, world: World) -> Checkpoint:
    """Return the share of right answers in every part, the utility, and the loss and quality of what is forgotten.

    The quality is the p-value against the truth ratios of a model that was trained without the forget facts.
    """
    known = {name: knowledge(model, part) for name, part in world.parts().items()}
    kept = [world.retain, world.unseen]
    scores = [truth_ratio_score(truth_ratios(model, part)).mean().item() for part in kept]
    ratios = truth_ratios(model, world.forget)
    figures = [known[name][figure] for name in ("retain", "unseen") for figure in ("accuracy", "probability")]
    return {
        **{name: figures["accuracy"] for name, figures in known.items()},
        "forget loss": known["forget"]["loss"],
        "forget quality": forget_quality(ratios, truth_ratios(retrained, world.forget)).p_value,
        "unseen probability": known["unseen"]["probability"],
        "utility": tofu_model_utility([*figures, *scores]),
    }


def truth_ratios(model: nn.Module, documents: QAExamples, n_wrong: int = 5) -> Tensor:
    """Return the truth ratio of each fact, against wrong objects that are drawn the same way every time."""
    own_objects = documents.input_ids[:, 2].contiguous()
    objects = own_objects.unique()
    drawn = torch.randint(len(objects) - 1, (len(documents), n_wrong), generator=seeded(0))
    own = torch.searchsorted(objects, own_objects)[:, None]
    wrong = objects[drawn + (drawn >= own)]  # every other object is as likely as any
    with preserved(model), torch.no_grad():
        logits = token_logits(model, documents).double()  # ascent makes ratios that a float cannot hold
    right = answer_nll(logits, documents.labels)
    # One token answers: the same scores judge every object.
    misses = -logits[:, 1].log_softmax(-1).gather(1, wrong)
    return truth_ratio(right, misses)


def spread(model: nn.Module, documents: QAExamples) -> float:
    """Return the distance between the quartiles of the logarithms of the truth ratios."""
    ratios = truth_ratios(model, documents).log()
    return (ratios.quantile(0.75) - ratios.quantile(0.25)).item()


def seconds_a_step(
    contestants: Mapping[str, tuple[nn.Module, UnlearningObjective]], world: World, steps: int
) -> dict[str, float]:
    """Return the CPU seconds of a training step of each, the median of five turns by each in turn."""
    adamw = partial(torch.optim.AdamW, lr=0.0)
    turns: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(5):
        for name, (model, objective) in contestants.items():
            start = time.process_time()
            unlearn(model, world.forget, world.retain, objective=objective, optimizer=adamw, epochs=steps)
            turns[name].append((time.process_time() - start) / steps)
    return {name: median(taken) for name, taken in turns.items()}


def best(cell: Cell, names: tuple[str, ...], figure: str) -> float:
    """Return the largest figure among the checkpoints that forgot enough; 0 where none did."""
    looks = [look for name in names for run in cell["baselines"][name] for look in run]
    return max((look[figure] for look in looks if look["forget"] <= ENOUGH), default=0.0)


def at_one(cell: Cell) -> Checkpoint:
    """Return the outcome of the logit difference with alpha 1."""
    return cell["curve"][ALPHAS.index(1.0)]
