"""Small-scale proxies for large-scale Transformer training instabilities (Wortsman et al., 2023).

Two instabilities of large transformers, growing attention logits and diverging output logits, appear in small ones at
high learning rates, where mitigations can be tried and larger models forecast. Here character models of 25 thousand
parameters in two blocks are trained for 300 steps on the help texts that come with Python, over the paper's three
decades of learning rates; LR sensitivity is computed from the final validation loss.
"""

import math

import numpy as np

from assay.generalization import lr_sensitivity
from assay.lab import Claim, Grid, Lab, Looks, Paper, Study
from assay.studies.generalization.training_instability_proxies.cells import (
    EFFECTS,
    SWEEPS,
    bigram_loss,
    early_figures,
    enforced,
    penalised,
    sweep_effect,
    sweep_rates,
    vanishing_updates,
)
from assay.studies.generalization.training_instability_proxies.figures import (
    draw_effects,
    draw_forecasts,
    draw_sweeps,
    forecast,
)
from assay.studies.generalization.training_instability_proxies.settings import Settings

STUDY = Study(
    slug="training-instability-proxies",
    paper=Paper(
        "Small-scale proxies for large-scale Transformer training instabilities",
        "Wortsman, Liu, Xiao, Everett, Alemi, Adlam, Co-Reyes, Gur, Kumar, Novak, Pennington, Sohl-Dickstein, Xu, Lee, "
        "Gilmer, Kornblith",
        2023,
        arxiv="2309.14322",
        venue="ICLR 2024",
    ),
    methods=(
        "generalization.lr_sweep",
        "generalization.lr_sensitivity",
        "generalization.StabilityMonitor",
        "generalization.predict_instability",
        "generalization.IndependentAdamW",
        "generalization.WarmupCosine",
        "generalization.z_loss",
        "generalization.mup_param_groups",
        "nets.DecoderTransformer",
    ),
    claims={
        "C1": Claim(
            "Attention logits grow in small models too, at high learning rates",
            paper="main text and figure on attention-logit growth: runs with logits above about 1e4 diverged",
        ),
        "C2": Claim(
            "Output logits move away from log-probabilities in small models too, at high learning rates",
            paper="main text and figure on output-logit divergence: a model of 2.4M parameters at learning rate 0.1",
        ),
        "C3": Claim(
            "qk-layernorm and z-loss, which are known from large models, work in this regime",
            paper="main text: with qk-layernorm 1.2B parameters train at learning rate 0.3; z-loss states no number",
        ),
        "C4": Claim(
            "Longer warm-up and independent weight decay lower LR sensitivity, depth raises it faster than width, and "
            "muParam lowers neither it nor the loss",
            paper="main text, sections on other interventions, state no number",
        ),
        "C5": Claim(
            "With the techniques combined, small models reach a similar loss over orders of magnitude of learning rate",
            paper="abstract and main text: three decades",
        ),
        "C6": Claim(
            "Instabilities can be predicted before they emerge, from the scaling of attention logits and gradients",
            paper="main text: divergence of 4.8B parameters at learning rate 1e-2 was predicted; with eps 1e-15 "
            "instead of 1e-8 its updates no longer vanish",
        ),
    },
    scales={
        "smoke": Settings(
            seeds=2,
            lrs=(3e-3, 1e-2, 1e-1, 3e-1),
            n_iter=12,
            effect_seeds=2,
            effect_lrs=(1e-2, 3e-1),
            effect_iter=8,
            dim=8,
            depth=1,
            mup_base_dim=4,
            deep=(8, 2, 1),
            wide=(16, 1, 2),
            forecast_dims=(8, 16, 24, 32),
            forecast_iter=4,
            kappas=(1.0, 1e4),
            context=16,
            characters=40_000,
            windows=16,
        ),
        "small": Settings(seeds=Looks((3, 5, 8))),
        "paper": Settings(
            seeds=3,
            n_iter=100_000,
            effect_iter=100_000,
            dim=512,
            depth=8,
            mup_base_dim=256,
            deep=(256, 24, 4),
            wide=(512, 6, 8),
            forecast_dims=(256, 512, 1024, 2048),
            forecast_iter=2000,
            context=512,
            batch_size=256,
        ),
    },
)


@STUDY.experiment
def run(settings: Settings, lab: Lab) -> None:
    """Sweep learning rates without and with each intervention, then follow output logits and forecast."""
    some, rate = settings.effect_seeds, 3e-2
    sweeps = lab.grid(sweep_rates, settings, recipe=SWEEPS, seed=settings.seeds)
    effects = lab.grid(sweep_effect, settings, recipe=EFFECTS, seed=some)
    penalties = lab.grid(penalised, settings, coefficient=settings.penalties, lr=(rate,), seed=some).at(lr=rate)
    growth = lab.grid(penalised, settings, name="growth", coefficient=(0.0,), lr=settings.growth_lrs, seed=some)
    early = lab.grid(early_figures, settings, dim=settings.forecast_dims, lr=settings.forecast_lrs, seed=some)
    kappas = lab.grid(enforced, settings, kappa=settings.kappas, seed=some)
    bigram = lab.cached("bigram", lambda: bigram_loss(settings))
    measure_logits(lab, sweeps, settings)
    measure_kappa(lab, kappas, bigram)
    measure_output(lab, growth.at(coefficient=0.0), settings)
    measure_mitigations(lab, sweeps, settings)
    measure_penalty(lab, penalties, settings)
    measure_effects(lab, effects)
    measure_combination(lab, sweeps, settings)
    measure_forecasts(lab, early, settings)
    measure_eps(lab, lab.cached("eps", vanishing_updates))
    columns = ("sensitivity", "best loss")
    lab.table("sweeps", sweeps, columns=columns, caption="LR sensitivity and best loss over all learning rates, nats")
    lab.table("effects", effects, columns=columns, caption="The same under other interventions, over the upper rates")
    columns = ("squared log Z", "log Z", "lowest logit", "loss")
    lab.table("penalties", penalties, columns=columns, caption="Output logits by coefficient of the z-loss, no decay")
    lab.table("growth", growth, columns=columns, caption="Output logits by learning rate, without z-loss and decay")
    columns = ("loss", "max logit", "entropy")
    lab.table("kappas", kappas, columns=columns, caption="Loss with enforced mean squares of queries and keys, nats")
    columns = ("parameters", "max logit", "gradient RMS", "update RMS")
    lab.table("early", early, columns=columns, caption="Figures at an early step, by width and learning rate")
    lab.figure("sweeps", draw_sweeps(sweeps, settings.lrs), caption="Loss and attention logits against learning rate")
    lab.figure("effects", draw_effects(effects, settings.effect_lrs), caption="Loss under other interventions")
    lab.figure("forecasts", draw_forecasts(early), caption="Attention logits by size, and the forecast of the largest")


def measure_logits(lab: Lab, sweeps: Grid, settings: Settings) -> None:
    """C1: attention logits at the highest rate against qk-layernorm and against a moderate rate."""
    plain, normalised = (np.log(sweeps.at(recipe=name)["max logit"]) for name in ("plain", "qk-layernorm"))
    highest, moderate = settings.lrs.index(3e-1), settings.lrs.index(1e-2)
    what = "log ratio of the largest attention logit of block 0 at learning rate 0.3, without over with qk-layernorm"
    lab.measure("C1", plain[:, highest] - normalised[:, highest], at_least=math.log(50), what=what)
    what = "log ratio of the largest attention logit of block 0 without qk-layernorm, learning rate 0.3 over 0.01"
    lab.measure("C1", plain[:, highest] - plain[:, moderate], at_least=math.log(50), what=what)


def measure_kappa(lab: Lab, kappas: Grid, bigram: float) -> None:
    """C1: what large logits do to the loss where they are enforced."""
    losses = kappas["loss"]
    what = "final loss with queries and keys of mean square 1e4, less that with mean square 1, nats"
    lab.measure("C1", losses[-1] - losses[0], at_least=0.05, what=what)
    what = "final loss with queries and keys of mean square 1e4, less that of a table of pairs of characters, nats"
    lab.measure("C1", losses[-1] - bigram, what=what)


def measure_output(lab: Lab, growth: Grid, settings: Settings) -> None:
    """C2: how far output logits are from log-probabilities, at the highest against a low rate."""
    low, high = settings.growth_lrs
    sizes = np.log(np.abs(growth["log Z"]))
    what = f"log ratio of |mean log Z| of the output at learning rate {high:g} over {low:g}, no z-loss, no weight decay"
    lab.measure("C2", sizes[1] - sizes[0], at_least=math.log(2), what=what)
    lowest = growth["lowest logit"]
    what = f"lowest output logit at learning rate {high:g} less that at {low:g}, no z-loss, no weight decay"
    lab.measure("C2", lowest[1] - lowest[0], what=what)


def measure_mitigations(lab: Lab, sweeps: Grid, settings: Settings) -> None:
    """C3: LR sensitivity and the loss at high rates with qk-layernorm, against those without."""
    plain, normalised = (sweeps.at(recipe=name) for name in ("plain", "qk-layernorm"))
    what = "LR sensitivity with qk-layernorm less 0.75 times that without, nats"
    lab.measure("C3", normalised["sensitivity"] - 0.75 * plain["sensitivity"], at_most=0.0, what=what)
    for lr in (1e-1, 3e-1):
        place = settings.lrs.index(lr)
        excess, rest = (found["loss"][:, place] - found["best loss"] for found in (plain, normalised))
        what = f"loss above the best at learning rate {lr:g} without qk-layernorm, less twice that with it, nats"
        lab.measure("C3", excess - 2 * rest, at_least=0.0, what=what)
    low = [place for place, lr in enumerate(settings.lrs) if lr <= 3e-3]
    change = np.abs(plain["loss"] - normalised["loss"])[:, low].max(1)
    what = "largest change of the loss by qk-layernorm at learning rates up to 0.003, nats"
    lab.measure("C3", change, at_most=0.05, what=what)


def measure_penalty(lab: Lab, penalties: Grid, settings: Settings) -> None:
    """C3: the z-loss at learning rate 0.03 without weight decay."""
    squares, losses = penalties["squared log Z"], penalties["loss"]
    for place in (1, 2):
        weak, strong = settings.penalties[place - 1], settings.penalties[place]
        what = f"mean squared log Z with z-loss coefficient {strong:g} less that with {weak:g}, learning rate 0.03"
        lab.measure("C3", squares[place] - squares[place - 1], at_most=0.0, what=what)
    what = f"change of the loss by a z-loss of coefficient {settings.penalties[1]:g}, learning rate 0.03, nats"
    lab.measure("C3", np.abs(losses[1] - losses[0]), at_most=0.05, what=what)


def measure_effects(lab: Lab, effects: Grid) -> None:
    """C4: LR sensitivity under other interventions, all with qk-layernorm."""
    sensitivity = {name: found["sensitivity"] for name, found in effects.by("recipe").items()}
    best = {name: found["best loss"] for name, found in effects.by("recipe").items()}
    base = sensitivity["qk-layernorm"]
    gain = sensitivity["long warm-up"] - sensitivity["short warm-up"]
    what = "LR sensitivity with a warm-up of a third of all steps less that with a hundredth, nats"
    lab.measure("C4", gain, at_most=0.0, what=what)
    what = "LR sensitivity with independent weight decay 1e-4 less that with AdamW's decay 0.1, nats"
    lab.measure("C4", base - sensitivity["coupled decay"], at_most=0.0, what=what)
    what = "LR sensitivity of a deeper less that of a wider network with about as many parameters, nats"
    lab.measure("C4", sensitivity["deep"] - sensitivity["wide"], at_least=0.0, what=what)
    for name in ("muParam (simple)", "muParam (full)"):
        what = f"LR sensitivity with {name} less that of the standard parametrisation, nats"
        lab.measure("C4", sensitivity[name] - base, at_least=-0.02, what=what)
        what = f"best loss with {name} less that of the standard parametrisation, nats"
        lab.measure("C4", best[name] - best["qk-layernorm"], at_least=-0.05, what=what)


def measure_combination(lab: Lab, sweeps: Grid, settings: Settings) -> None:
    """C5: the spread of the loss over high rates, and LR sensitivity, with all techniques."""
    plain, combined = (sweeps.at(recipe=name) for name in ("plain", "combined"))
    upper = [place for place, lr in enumerate(settings.lrs) if lr >= 1e-2]
    spread, rest = (np.ptp(found["loss"][:, upper], axis=1) for found in (combined, plain))
    what = "largest less smallest loss over learning rates 0.01 to 0.3 with all techniques, less half of that without"
    lab.measure("C5", spread - 0.5 * rest, at_most=0.0, what=what)
    what = "LR sensitivity with all techniques less 0.75 times that without, nats"
    lab.measure("C5", combined["sensitivity"] - 0.75 * plain["sensitivity"], at_most=0.0, what=what)
    upper_lrs = [settings.lrs[place] for place in upper]
    pairs = zip(combined["loss"][:, upper], combined["initial loss"], strict=True)
    alone = [lr_sensitivity(losses.tolist(), float(start)) for losses, start in pairs]
    what = f"LR sensitivity with all techniques over learning rates {upper_lrs[0]:g} to {upper_lrs[-1]:g} alone, nats"
    lab.measure("C5", alone, what=what)


def measure_forecasts(lab: Lab, early: Grid, settings: Settings) -> None:
    """C6: the forecast of attention logits, and the fall of gradients with size and learning rate."""
    for lr, found in early.by("lr").items():
        errors = []
        for seed in found.factors["seed"]:
            own = found.at(seed=seed)
            ahead = forecast(own["parameters"], own["max logit"])
            errors.append(abs(math.log(ahead.predicted / own["max logit"][-1])))
        what = (
            f"|log| of the largest attention logit forecast from three sizes over that measured, learning rate {lr:g}"
        )
        lab.measure("C6", errors, at_most=math.log(3), what=what)
        gradients = np.log(found["gradient RMS"])
        what = f"log gradient RMS of the first MLP layer, widest less narrowest network, learning rate {lr:g}"
        lab.measure("C6", gradients[-1] - gradients[0], at_most=0.0, what=what)
    low, high = settings.forecast_lrs
    gradients = np.log(early["gradient RMS"])[-1]
    what = f"log gradient RMS of the first MLP layer at learning rate {high:g} less that at {low:g}, widest network"
    lab.measure("C6", gradients[1] - gradients[0], at_most=0.0, what=what)


def measure_eps(lab: Lab, updates: dict[str, float]) -> None:
    """C6: updates vanish where gradients are below eps, and a smaller eps brings them back."""
    what = "update RMS of one layer with gradients scaled by 1e-9, AdamW with eps "
    lab.measure("C6", updates["1e-08"], at_most=0.2, what=f"{what}1e-8")
    lab.measure("C6", updates["1e-15"], at_least=0.8, what=f"{what}1e-15")
