"""What the study measures for each claim, and the bar that each measurement must clear."""

import math

import numpy as np

from assay.generalization import lr_sensitivity, predict_instability
from assay.generalization.instability import InstabilityForecast
from assay.lab import Grid, Lab
from assay.studies.generalization.training_instability_proxies.settings import Settings


def forecast(sizes: np.ndarray, values: np.ndarray) -> InstabilityForecast:
    """Forecast the value at the last size from those at the others."""
    return predict_instability(sizes[:-1].tolist(), values[:-1].tolist(), float(sizes[-1]))


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


def measure_effects(lab: Lab, effects: Grid, settings: Settings) -> None:
    """C4: LR sensitivity under other interventions, all with qk-layernorm."""
    sensitivity = {name: found["sensitivity"] for name, found in effects.by("recipe").items()}
    best = {name: found["best loss"] for name, found in effects.by("recipe").items()}
    base = sensitivity["qk-layernorm"]
    gain = sensitivity["long warm-up"] - sensitivity["short warm-up"]
    what = "LR sensitivity with a warm-up of a third of all steps less that with a hundredth, nats"
    lab.measure("C4", gain, at_most=0.0, what=what)
    measure_decay(lab, base - sensitivity["coupled decay"], settings)
    what = "LR sensitivity of a deeper less that of a wider network with about as many parameters, nats"
    lab.measure("C4", sensitivity["deep"] - sensitivity["wide"], at_least=0.0, what=what)
    for name in ("muParam (simple)", "muParam (full)"):
        what = f"LR sensitivity with {name} less that of the standard parametrisation, nats"
        lab.measure("C4", sensitivity[name] - base, at_least=-0.02, what=what)
        what = f"best loss with {name} less that of the standard parametrisation, nats"
        lab.measure("C4", best[name] - best["qk-layernorm"], at_least=-0.05, what=what)


def measure_decay(lab: Lab, gain: np.ndarray, settings: Settings) -> None:
    """C4: LR sensitivity with the two kinds of weight decay, where training is long enough for them to matter."""
    what = "LR sensitivity with independent weight decay 1e-4 less that with AdamW's decay 0.1"
    shrunk = math.exp(-0.5e-4 * settings.effect_iter)  # the schedule sums to about half its steps
    if shrunk < 0.5:
        lab.measure("C4", gain, at_most=0.0, what=f"{what}, nats")
        return
    lab.measure("C4", gain, what=f"{what}, {settings.effect_iter} steps, nats")
    reason = f"{settings.effect_iter} steps shrink weights by {1 - shrunk:.1%}; the paper's 1e5 shrink them by 99%"
    lab.measure("C4", untested=reason, at_most=0.0, what=f"{what}, in training that shrinks weights by half or more")


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
            f"|log| of the largest attention logit forecast from smaller sizes over that measured, learning rate {lr:g}"
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
