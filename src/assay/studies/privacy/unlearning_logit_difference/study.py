"""Reversing the Forget-Retain Objectives: LLM Unlearning from Logit Difference (Ji et al., 2024).

The paper unlearns TOFU's authors from Llama-2-chat-7B. Here a transformer of four blocks learns the facts of a world of
120 subjects, three relations and 60 objects by heart. Twelve subjects are to be forgotten, twelve others are known to
unlearning as to be kept, and 96 are unseen by it: what a small retain set does not cover. The assistant is the first
block with adapters.

Alpha is 1. The assistant's learning rate is twice that of earlier trials, with which two other worlds did not forget
every fact at that alpha; its other settings come from those trials. Each baseline has 80 steps, three learning rates
and a look every five steps. It counts with the best of these for what it keeps of the unseen subjects among those that
forget enough: a choice that no one could make without these subjects.

Answers are one token here, so that forget questions with wrong answers, which the paper adds to the retain documents,
would contradict the forget documents, and there are no paraphrases: the paper's two augmentations are not tested.

What the paper offers for forget quality was tried on three other worlds: its filter of 0.01, which needs an alpha of 2
and more, its retain weight of 5, and an assistant of two blocks. None reached a p-value of 0.05 in all three worlds at
one alpha, for alpha shifts the truth ratios together, and those of a model that never saw the forget facts are spread
out. An assistant trained for 50 steps in place of 200 did, with alpha 1.3: p-values of 0.07 to 0.12, no forget fact
right, 99% of the unseen ones kept. This was found when the record with the plan's 200 steps and alpha 1 was under way,
which is kept. Without paraphrases the paper's own p-value is 1e-7.

Found at `small`: the logit difference forgets all but 3% of the facts it should and keeps 99.9% of the unseen ones;
the best baselines that forget enough keep 44% of these. C2 fails by the retain term alone, which adds 0.06 to the
probability of unseen facts and not 0.1. C4 fails by the forget quality, where baselines reach 0.97 at checkpoints
chosen with hindsight for it; those with the best utility have a third less of it than the logit difference.
"""

from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from torch import nn

from assay.core import seeded, spawn_seeds
from assay.lab import Lab, Paper, Study
from assay.privacy import (
    LogitDifferenceModel,
    build_assistant,
    calibrate_alpha,
    unlearn,
)
from assay.privacy.unlearning import (
    reversed_objective,
)
from assay.studies.privacy.unlearning_logit_difference.facts import (
    ModelSize,
    World,
    WorldSize,
    draw_world,
    knowledge,
    learn,
)
from assay.studies.privacy.unlearning_logit_difference.figures import (
    ALPHA_CAPTION,
    TRADEOFF_CAPTION,
    draw_alpha,
    draw_tradeoff,
    rows,
)
from assay.studies.privacy.unlearning_logit_difference.outcomes import (
    ALPHAS,
    BASELINES,
    Cell,
    at_one,
    baseline,
    best,
    outcome,
    run_baseline,
    seconds_a_step,
    spread,
)

ASCENT = ("GA", "GA+GD", "GA+KL")


@dataclass(frozen=True)
class Settings:
    """How large the world and the model are, and how each method unlearns."""

    seeds: int = 5
    subjects: int = 120
    relations: int = 3
    objects: int = 60
    forget: int = 12
    retain: int = 12
    width: int = 64
    layers: int = 4
    heads: int = 4
    learning_steps: int = 400
    learning_rate: float = 3e-3
    kept_layers: int = 1
    rank: int = 32
    assistant_steps: int = 200
    assistant_rate: float = 1e-2
    retain_weight: float = 1.0
    baseline_rates: tuple[float, ...] = (1e-4, 3e-4, 1e-3)
    baseline_steps: int = 80
    every: int = 5
    timed_steps: int = 8


STUDY = Study(
    slug="unlearning-logit-difference",
    paper=Paper(
        "Reversing the Forget-Retain Objectives: An Efficient LLM Unlearning Framework from Logit Difference",
        "Ji, Liu, Zhang, Liu, Kompella, Liu, Chang",
        2024,
        arxiv="2406.08607",
        venue="NeurIPS 2024",
    ),
    claims={
        "C1": "Ascent on the forget loss has no bound, and what the retain documents do not cover is forgotten with it",
        "C2": "Subtracting an assistant that remembers the forget documents and is uniform elsewhere has neither fault",
        "C3": "Training the assistant is cheaper: few parameters, a fraction of the time a step (paper: over 3 times)",
        "C4": "The forget documents are forgotten as if never seen, at no loss of utility where baselines lose 17%",
        "C5": "(ours) The smallest alpha that is enough can be solved for on a part of the forget documents",
    },
    scales={
        "smoke": Settings(
            seeds=2,
            subjects=12,
            objects=8,
            forget=3,
            retain=3,
            width=16,
            layers=2,
            heads=2,
            learning_steps=60,
            learning_rate=1e-2,
            rank=8,
            assistant_steps=60,
            assistant_rate=2e-2,
            baseline_rates=(3e-3,),
            baseline_steps=20,
            every=10,
            timed_steps=1,
        ),
        "small": Settings(),
        "paper": Settings(
            subjects=1000, objects=500, forget=100, retain=100, width=256, heads=8, layers=32, kept_layers=8
        ),
    },
)


@STUDY.experiment
def run(settings: Settings, lab: Lab) -> None:
    """Unlearn one world a seed by every method, and compare what is left."""
    cells = lab.map(unlearn_world, [(settings, seed) for seed in spawn_seeds(lab.seed, settings.seeds)], name="worlds")
    measure_baselines(lab, cells)
    measure_difference(lab, cells)
    measure_cost(lab, cells)
    measure_quality(lab, cells)
    measure_calibration(lab, cells)
    lab.figure("kept-and-forgotten", draw_tradeoff(cells), caption=TRADEOFF_CAPTION)
    lab.figure("alpha", draw_alpha(cells), caption=ALPHA_CAPTION)
    caption = "Means over the worlds; baselines at their best checkpoint, the logit difference at alpha 1."
    lab.table("methods", rows(cells), caption=caption)


# --- One world ------------------------------------------------------------------------------------------------------


def unlearn_world(item: tuple[Settings, int]) -> Cell:
    """Teach a world to a model and make it forget a part of it by every method."""
    settings, seed = item
    world_seed, model_seed, retrained_seed, assistant_seed = spawn_seeds(seed, 4)
    size = WorldSize(settings.subjects, settings.relations, settings.objects, settings.forget, settings.retain)
    world = draw_world(size, world_seed)
    build = ModelSize(settings.width, settings.layers, settings.heads, settings.learning_steps, settings.learning_rate)
    target = learn(build, size.vocabulary, list(world.parts().values()), model_seed)
    retrained = learn(build, size.vocabulary, [world.retain, world.unseen], retrained_seed)
    looks = partial(run_baseline, target, retrained, world, steps=settings.baseline_steps, every=settings.every)
    return {
        "log vocabulary": float(np.log(size.vocabulary)),
        "target": outcome(target, retrained, world),
        "retrained": outcome(retrained, retrained, world),
        "baselines": {name: [looks(name, rate=rate) for rate in settings.baseline_rates] for name in BASELINES},
        **subtract(settings, target, retrained, world, assistant_seed),
    }


def subtract(settings: Settings, target: nn.Module, retrained: nn.Module, world: World, seed: int) -> Cell:
    """Train assistants with and without the retain term, subtract them, and measure what the first costs."""
    assistant, careless = (train_assistant(settings, target, world, seed, w) for w in (settings.retain_weight, 0.0))
    half = world.forget[: len(world.forget) // 2]
    others = replace(world, forget=world.forget[len(world.forget) // 2 :])
    difference = partial(LogitDifferenceModel, target, assistant)
    alpha = calibrate_alpha(target, assistant, half, forget_accuracy=0.0)
    trained = [value for value in assistant.parameters() if value.requires_grad]
    contestants = {
        "ULD": (assistant, reversed_objective(settings.retain_weight)),
        "GA+KL": (target, baseline("GA+KL", target)),
    }
    return {
        "curve": [outcome(difference(value), retrained, world) for value in ALPHAS],
        "careless": outcome(LogitDifferenceModel(target, careless, 1.0), retrained, world),
        "calibrated": {"alpha": alpha, **outcome(difference(alpha), retrained, others)},
        "remembered": knowledge(assistant, world.forget)["accuracy"],
        "trained": sum(value.numel() for value in trained) / sum(value.numel() for value in target.parameters()),
        "spread": spread(difference(1.0), world.forget) / spread(retrained, world.forget),
        "seconds": seconds_a_step(contestants, world, settings.timed_steps),
    }


def train_assistant(settings: Settings, target: nn.Module, world: World, seed: int, weight: float) -> nn.Module:
    """Return the first blocks of the target, trained to remember the forget documents."""
    assistant = build_assistant(
        target, settings.kept_layers, lora_rank=settings.rank, lora_alpha=settings.rank, generator=seeded(seed)
    )
    adamw = partial(torch.optim.AdamW, lr=settings.assistant_rate)
    objective = reversed_objective(weight)
    unlearn(
        assistant, world.forget, world.retain, objective=objective, optimizer=adamw, epochs=settings.assistant_steps
    )
    return assistant


# --- The claims -----------------------------------------------------------------------------------------------------


def measure_baselines(lab: Lab, cells: list[Cell]) -> None:
    """C1: how far ascent goes, and what it takes along."""
    for name in ASCENT:
        losses = [cell["baselines"][name][-1][-1]["forget loss"] / cell["log vocabulary"] for cell in cells]
        bar = 3.0 if name == "GA" else None
        what = f"{name}: loss on forget facts at the last step of the largest rate, in units of log V"
        lab.measure("C1", losses, at_least=bar, what=what)
    kept = [best(cell, ASCENT, "unseen") for cell in cells]
    what = "best checkpoint of all ascent with forget accuracy up to 0.1: accuracy on unseen facts"
    lab.measure("C1", kept, at_most=0.6, what=what)
    kept = [best(cell, ("NPO", "NPO+GD"), "unseen") for cell in cells]
    lab.measure("C1", kept, what="the same of NPO with and without a retain loss, which is bounded")


def measure_difference(lab: Lab, cells: list[Cell]) -> None:
    """C2: what the logit difference forgets, what it keeps, and what the retain term is for."""
    lab.measure("C2", [cell["remembered"] for cell in cells], at_least=0.95, what="assistant: accuracy on forget facts")
    ends = [at_one(cell) for cell in cells]
    lab.measure("C2", [end["forget"] for end in ends], at_most=0.05, what="accuracy on forget facts")
    lab.measure("C2", [end["retain"] for end in ends], what="accuracy on retain facts")
    lab.measure("C2", [end["unseen"] for end in ends], at_least=0.98, what="accuracy on unseen facts")
    losses = [end["forget loss"] / cell["log vocabulary"] for end, cell in zip(ends, cells, strict=True)]
    lab.measure("C2", losses, at_most=1.5, what="loss on forget facts in units of log V")
    gain = [at_one(cell)["unseen probability"] - cell["careless"]["unseen probability"] for cell in cells]
    what = "what the retain term adds to the probability of unseen facts"
    lab.measure("C2", gain, at_least=0.1, what=what)


def measure_cost(lab: Lab, cells: list[Cell]) -> None:
    """C3: what is trained, and how long a step takes."""
    lab.measure("C3", [cell["trained"] for cell in cells], at_most=1 / 3, what="trained parameters, of the target's")
    ratios = [cell["seconds"]["ULD"] / cell["seconds"]["GA+KL"] for cell in cells]
    lab.measure("C3", ratios, at_most=0.6, what="CPU seconds a step, of GA+KL's (one block of four is kept)")


def measure_quality(lab: Lab, cells: list[Cell]) -> None:
    """C4: truth ratios beside those of a model that never saw the forget facts, and the utility that is left."""
    what = "forget quality (p-value against a model that never saw the forget facts)"
    lab.measure("C4", [at_one(cell)["forget quality"] for cell in cells], at_least=0.05, what=what)
    qualities = {
        "the alpha of the curve that is best for it, chosen with hindsight": [
            max(look["forget quality"] for look in cell["curve"]) for cell in cells
        ],
        "the calibrated alpha, on the half that it was not calibrated on": [
            cell["calibrated"]["forget quality"] for cell in cells
        ],
        "the baselines' best checkpoint with forget accuracy up to 0.1, chosen with hindsight": [
            best(cell, BASELINES, "forget quality") for cell in cells
        ],
        "the target": [cell["target"]["forget quality"] for cell in cells],
    }
    for name, values in qualities.items():
        lab.measure("C4", values, what=f"forget quality: {name}")
    what = "distance of the quartiles of log truth ratios, of that of the model that never saw the forget facts"
    lab.measure("C4", [cell["spread"] for cell in cells], what=what)
    losses = [cell["target"]["utility"] - at_one(cell)["utility"] for cell in cells]
    lab.measure("C4", losses, what="utility that is lost")
    gains = [at_one(cell)["utility"] - best(cell, BASELINES, "utility") for cell in cells]
    what = "utility, minus that of the best checkpoint of all baselines with forget accuracy up to 0.1"
    lab.measure("C4", gains, at_least=0.17, what=what)


def measure_calibration(lab: Lab, cells: list[Cell]) -> None:
    """C5: alpha from half of the forget facts, tried on the other half."""
    lab.measure(
        "C5", [cell["calibrated"]["alpha"] for cell in cells], what="smallest alpha that is enough for one half"
    )
    other = [cell["calibrated"]["forget"] for cell in cells]
    lab.measure("C5", other, at_most=0.1, what="accuracy on the other half of the forget facts with that alpha")
    half = [cell["curve"][ALPHAS.index(0.5)]["forget"] for cell in cells]
    lab.measure("C5", half, at_least=0.9, what="accuracy on forget facts with alpha 0.5, which is not enough")
