"""Reversing the Forget-Retain Objectives: LLM Unlearning from Logit Difference (Ji et al., 2024).

The paper unlearns TOFU's authors from Llama-2-chat-7B. Here a transformer of four blocks learns the facts of a world of
120 subjects, three relations and 60 objects by heart. Twelve subjects are to be forgotten, twelve others are known to
unlearning as to be kept, and 96 are unseen by it: what a small retain set does not cover. The assistant is the first
block with adapters.

Alpha is 1. The assistant's learning rate is twice that of earlier trials, with which two other worlds did not forget
every fact at that alpha; its other settings come from those trials. Each baseline has 80 steps, three learning rates
and a checkpoint every five steps. It counts with the best of these for what it keeps of the unseen subjects among those
that forget enough: a choice that no one could make without these subjects.

Answers are one token here, so that forget questions with wrong answers, which the paper adds to the retain documents,
would contradict the forget documents, and there are no paraphrases: the paper's two augmentations are not tested.
Without them the paper's own forget quality is 1e-7 (table 4). Its filter of 0.01, its retain weight of 5 and an
assistant of two blocks were tried for a better one on three other worlds, without success; an assistant trained for 50
steps with alpha 1.3 had it there, but was found when the record with the plan's settings was under way.
"""

import numpy as np

from assay.lab import Claim, Grid, Lab, Paper, Study
from assay.lab.tables import summarise
from assay.studies.privacy.unlearning_logit_difference.cells import ALPHAS, BASELINES, unlearn_world
from assay.studies.privacy.unlearning_logit_difference.checkpoints import AT_ONE, best, by_method
from assay.studies.privacy.unlearning_logit_difference.figures import draw_alpha, draw_tradeoff
from assay.studies.privacy.unlearning_logit_difference.settings import ModelSize, Settings, WorldSize

STUDY = Study(
    slug="unlearning-logit-difference",
    paper=Paper(
        "Reversing the Forget-Retain Objectives: An Efficient LLM Unlearning Framework from Logit Difference",
        "Ji, Liu, Zhang, Liu, Kompella, Liu, Chang",
        2024,
        arxiv="2406.08607",
        venue="NeurIPS 2024",
    ),
    methods=(
        "privacy.LogitDifferenceModel",
        "privacy.build_assistant",
        "privacy.calibrate_alpha",
        "privacy.unlearn",
        "privacy.forget_quality",
        "privacy.unlearning.GradientAscentLoss",
        "privacy.unlearning.NPOLoss",
    ),
    claims={
        "C1": Claim(
            "Ascent on the forget loss has no bound, and what the retain documents do not cover is forgotten with it",
            paper="Figure 3 (plot, no number); Table 2: model utility on TOFU-10% falls from 0.62 to 0 with gradient "
            "ascent and to 0.05 with GA+KL",
        ),
        "C2": Claim(
            "Subtracting an assistant that remembers the forget documents and is uniform elsewhere has neither fault",
            paper="Figure 3 (plot, no number); Table 2: model utility 0.62 on TOFU-1%, 5% and 10%, as before "
            "unlearning",
        ),
        "C3": Claim(
            "Training the assistant is cheaper: few parameters, a fraction of the time a step",
            paper="Section 4.2 and Figure 5: 20M trainable parameters, over 3 times less training time per epoch than "
            "NPO",
        ),
        "C4": Claim(
            "The forget documents are forgotten as if never seen, at no loss of utility where baselines lose 17%",
            paper="Table 2: forget quality 0.99, 0.73, 0.52 on TOFU-1%, 5%, 10% at model utility 0.62, that of the "
            "target; Section 3.2: NPO, the best baseline, loses 17% of the utility on average",
        ),
        "C5": Claim("The smallest alpha that is enough can be solved for on a part of the forget documents", ours=True),
    },
    scales={
        "smoke": Settings(
            seeds=2,
            world=WorldSize(subjects=12, relations=3, objects=8, forget=3, retain=3),
            model=ModelSize(width=16, layers=2, heads=2, steps=60, lr=1e-2),
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
            world=WorldSize(subjects=1000, relations=3, objects=500, forget=100, retain=100),
            model=ModelSize(width=256, layers=32, heads=8, steps=400, lr=3e-3),
            kept_layers=8,
        ),
    },
)

ASCENT = ("GA", "GA+GD", "GA+KL")


@STUDY.experiment
def run(settings: Settings, lab: Lab) -> None:
    """Unlearn one world a seed by every method, and compare what is left."""
    worlds = lab.grid(unlearn_world, settings, name="worlds", seed=settings.seeds)
    log_v = float(np.log(settings.world.vocabulary))
    last = {name: worlds[f"{name}: forget loss"][:, -1] / log_v for name in ASCENT}
    what = "gradient ascent: loss on forget facts after the last step at the largest learning rate, in units of log V"
    lab.measure("C1", last["GA"], at_least=3.0, what=what)
    what = "gradient ascent with or without a retain loss: accuracy on unseen facts at the best checkpoint"
    lab.measure("C1", best(worlds, ASCENT, "unseen"), at_most=0.6, what=f"{what} of forget accuracy up to 0.1")
    measure_difference(lab, worlds, log_v)
    measure_cost(lab, settings, worlds)
    measure_quality(lab, worlds)
    measure_calibration(lab, worlds)
    show(lab, worlds, last)


def measure_difference(lab: Lab, worlds: Grid, log_v: float) -> None:
    """C2: what the logit difference forgets, what it keeps, and what the retain term is for."""
    lab.measure("C2", worlds["remembered"], at_least=0.95, what="assistant: accuracy on forget facts")
    where = "logit difference at alpha 1:"
    lab.measure("C2", at_one(worlds, "forget"), at_most=0.05, what=f"{where} accuracy on forget facts")
    lab.measure("C2", at_one(worlds, "unseen"), at_least=0.98, what=f"{where} accuracy on unseen facts")
    loss = at_one(worlds, "forget loss") / log_v
    lab.measure("C2", loss, at_most=1.5, what=f"{where} loss on forget facts in units of log V")
    gain = at_one(worlds, "unseen probability") - worlds["no retain term: unseen probability"][:, 0]
    what = f"{where} probability of unseen facts, assistant with the retain term minus one without"
    lab.measure("C2", gain, at_least=0.1, what=what)


def measure_cost(lab: Lab, settings: Settings, worlds: Grid) -> None:
    """C3: what is trained, and how long a step takes."""
    what = "trained parameters of the assistant over all parameters of the target"
    lab.measure("C3", worlds["trained"], at_most=1 / 3, what=what)
    blocks = f"{settings.kept_layers} of {settings.model.layers} blocks"
    what = f"CPU seconds of a training step, assistant ({blocks}) over GA+KL on the whole target"
    lab.measure("C3", worlds["time"], at_most=0.6, what=what)


def measure_quality(lab: Lab, worlds: Grid) -> None:
    """C4: truth ratios beside those of a model that never saw the forget facts, and the utility that is left."""
    what = "logit difference at alpha 1: forget quality (p-value against a model that never saw the forget facts)"
    lab.measure("C4", at_one(worlds, "forget quality"), at_least=0.05, what=what)
    utility = at_one(worlds, "utility")
    what = "model utility, target minus logit difference at alpha 1"
    lab.measure("C4", worlds["target: utility"][:, 0] - utility, what=what)
    what = "model utility, logit difference at alpha 1 minus the best baseline checkpoint of forget accuracy up to 0.1"
    lab.measure("C4", utility - best(worlds, BASELINES, "utility"), at_least=0.17, what=what)


def measure_calibration(lab: Lab, worlds: Grid) -> None:
    """C5: alpha from half of the forget facts, tried on the other half."""
    what = "alpha calibrated on half of the forget facts: accuracy on the other half"
    lab.measure("C5", worlds["calibrated: forget"][:, 0], at_most=0.1, what=what)
    half = worlds["logit difference: forget"][:, ALPHAS.index(0.5)]
    lab.measure("C5", half, at_least=0.9, what="alpha 0.5, which is not enough: accuracy on forget facts")


def at_one(worlds: Grid, figure: str) -> np.ndarray:
    """Return a figure of the logit difference with alpha 1, one a world."""
    return worlds[f"logit difference: {figure}"][:, AT_ONE]


def show(lab: Lab, worlds: Grid, last: dict[str, np.ndarray]) -> None:
    """Show every method, and the figures without a bar."""
    lab.figure(
        "kept-and-forgotten",
        draw_tradeoff(worlds),
        caption="What is kept of the unseen facts against what is left of the forget facts: every checkpoint of the "
        "baselines, and the logit difference from alpha 0 to 1.5, all worlds.",
    )
    lab.figure(
        "alpha",
        draw_alpha(worlds),
        caption="Against alpha: the accuracy in each part, mean over the worlds, and the forget quality in each world. "
        "A quality below the dotted line, 0.05, tells the model from one that never saw the forget facts.",
    )
    caption = (
        "Baselines at their best checkpoint, the logit difference at alpha 1; retrained: never saw the forget facts"
    )
    lab.table("methods", by_method(worlds), caption=caption)
    further = {
        **{f"{name}: last loss on forget facts at the largest rate, in log V": last[name] for name in ASCENT[1:]},
        "logit difference: forget quality at its best alpha": worlds["logit difference: forget quality"].max(1),
        "calibrated alpha": worlds["calibrated alpha"],
        "calibrated alpha: forget quality on the other half": worlds["calibrated: forget quality"][:, 0],
        "baselines: best forget quality": best(worlds, BASELINES, "forget quality"),
        "logit difference: interquartile range of log truth ratios, over the retrained model's": worlds["spread"],
    }
    rows = [{"figure": name, "mean over worlds": summarise(values)} for name, values in further.items()]
    caption = "Figures without a bar; the best checkpoint of forget accuracy up to 0.1 is chosen with hindsight"
    lab.table("further", rows, caption=caption)
