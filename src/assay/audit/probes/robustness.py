"""How easily do small perturbations change the prediction?"""

import math
import time
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from assay.adversarial import Lp, RobustnessReport, robust_accuracy
from assay.adversarial.attacks import standard_attacks
from assay.audit.assumptions import few_caveat, joined
from assay.audit.budget import affordable, command_for, measure_seconds, too_slow
from assay.audit.perturbations import KEPT_RULE, Perturbed, kept_severity, perturbed, unit_caveats
from assay.audit.probe import Context, Finding, Probe, Severity, SkipProbe
from assay.audit.robustness_figures import attack_table, curve_figure, example_figures
from assay.audit.subject import Subject
from assay.core import LogProbabilities, input_gradient, margins, predict

_SAMPLES, _BATCH = 200, 50
_STATED_SHARE, _BATCH_SHARE = 0.5, 0.08  # of the time: for the stated radius, and for one batch at most
_STATED = 8  # the radius that decides the severity, in units of the perturbation
_PLANS = ((50, 20), (25, 10), (10, 10))  # steps of an attack by gradient, and samples attacked at once at least
_QUERIES = 6  # of Square for each of those steps
_TARGETS = 9  # of MALT at most
_RADII = (1, 2, 4, _STATED, 16, 32)
_NEVER = 256  # stands for no radius
# The stated radius comes first. A smaller one is tried on what broke within the next larger, a larger one on the rest.
_FURTHER = ((4, _STATED), (2, 4), (1, 2), (16, _NEVER), (32, _NEVER))

_RULE = (
    "The share of correct answers that are kept under the strongest of several attacks within {size}: "
    f"{KEPT_RULE}. The probe of logit gaps has the same rule at an eighth of that size, for one gradient step."
)
_LIMITS = (
    "Each successful perturbation was checked on the network itself, so these samples are misclassified for certain. "
    "Another attack may succeed on the others: robust accuracy, the share that every attack leaves correct, is an "
    "upper bound, not a certificate."
)
_ADVICE: dict[Severity, str] = {
    "high": "Do not rely on predictions for inputs that an attacker can change; train adversarially at the radius you "
    "need.",
    "medium": "Train adversarially at the radius you need, and audit again.",
    "low": "Report this number beside the accuracy, and compare it between versions.",
    "info": "Nothing to do at this radius; audit again when the model or its data change.",
}
_GUESSING = (
    "Check first that the model, its data and its labels belong together: on these samples its accuracy is no better "
    "than always answering the commonest label."
)
_MASKED = (
    "Attack again without gradients, by decisions alone or by transfer from another network: where gradients are "
    "masked, these attacks could not succeed."
)


def run(subject: Subject, context: Context) -> Finding:
    """Attack labelled samples within several radii and measure the robust accuracy."""
    which = "training" if subject.test is None else "held-out"
    x, y = context.sample(subject.test or subject.train, _SAMPLES)
    at, n_drawn = perturbed(subject, x), len(x)
    y = (y > 0).long() if at.kind == "binary_cross_entropy" else y
    start = time.perf_counter()
    plan = _plan(at, y, context)
    report = _attack(at, at.x, y, _STATED, plan, _STATED_SHARE * context.seconds, context)
    x, y = at.x[: len(report.x_adv)], y[: len(report.x_adv)]
    smallest, changed, untried = _smallest(at, x, y, report, plan, start + context.seconds, context)
    curve = {radius: (smallest > radius).double().mean().item() for radius in (0, *_RADII)}
    clean, stated = curve[0], report.robust_accuracy
    severity = kept_severity(stated.mean / clean if clean > 0 else 1.0)
    more_time = f"with more time: {command_for('robustness', plan.slowest)}"
    out_of_time = [] if len(x) == n_drawn else [f"Time ran out: {n_drawn - len(x)} of {n_drawn} samples are left out."]
    for radius, n in untried.items():
        out_of_time.append(f"Time ran out at {at.name(radius)}: {n} samples not attacked there count as correct.")
    if plan.n_iter < _PLANS[0][0]:
        fewer = f"To keep its time, each attack took {plan.n_iter} steps instead of {_PLANS[0][0]}"
        out_of_time.append(f"{fewer}, so that robust accuracy may be lower.")
    names = {radius: f"robust accuracy at {at.name(radius)}" for radius in _RADII}
    return Finding(
        headline=_headline(at, report, f"{len(x)} {which} samples", clean),
        severity=severity,
        rule=_RULE.format(size=at.phrase(_STATED)),
        advice=_advice(severity, report),
        limits=joined(
            *report.caveats,
            _LIMITS,
            *_logarithm(subject),
            *unit_caveats(subject, at, _STATED),
            *few_caveat(len(x)),
            *out_of_time,
            f"For the whole attack, run the probe alone {more_time}." if out_of_time else "",
        ),
        measures={"accuracy": clean}
        | {names[radius]: curve[radius] for radius in _RADII}
        | {f"95% interval at {at.name(_STATED)}, from": stated.low}
        | {f"95% interval at {at.name(_STATED)}, to": stated.high}
        | {"samples attacked": float(len(x)), "share of the commonest label": report.commonest}
        | {"samples with masked gradients": float(report.masking.masked.sum())},
        figures=(
            *example_figures(subject, at, x, y, smallest, changed, never=_NEVER),
            curve_figure(at, curve, _STATED, which),
        ),
        tables=(attack_table(at, report, _STATED),),
    )


def _headline(at: Perturbed, report: RobustnessReport, samples: str, clean: float) -> str:
    """Give the accuracy before and after the attacks, and what makes it say little."""
    masked = int(report.masking.masked.sum())
    doubt = f"; but gradients are masked at {masked} samples" if masked else ""
    doubt = "; answering the commonest label does as well" if report.at_chance else doubt
    return (
        f"Changes within {at.phrase(_STATED)} cut the accuracy on {samples} from {clean:.0%} to "
        f"{report.robust_accuracy.mean:.0%}{doubt}."
    )


def _logarithm(subject: Subject) -> list[str]:
    last = list(subject.model.modules())[-1]
    return ["The attacks take the logarithm of the model's probabilities as scores."] * isinstance(
        last, LogProbabilities
    )


def _advice(severity: Severity, report: RobustnessReport) -> str:
    """Return what to do next; a severity from guesses or from masked gradients calls for something else first."""
    if report.at_chance:
        return _GUESSING
    return _MASKED if report.masking.masked.any() and severity in ("info", "low") else _ADVICE[severity]


@dataclass(frozen=True)
class _Plan:
    """What the time allows.

    Attributes:
        n_iter: Steps of each attack by gradient.
        batch_size: Samples attacked at once.
        slowest: Seconds for all samples with the most steps, if no attack succeeds.
    """

    n_iter: int
    batch_size: int
    slowest: float


def _plan(at: Perturbed, y: Tensor, context: Context) -> _Plan:
    """Return the most steps with which the first samples fit into the time, and a batch that exceeds no part of it."""
    x, y = at.x[:_BATCH], y[:_BATCH]
    seconds = measure_seconds(lambda: input_gradient(at.model, x, partial(margins, y=y))) / len(x)
    attacks = 2 + min(_TARGETS, predict(at.model, x[:1]).shape[1] - 1)  # two attacks, and MALT on its targets
    each_step = (attacks + _QUERIES / 3) * seconds  # a query of Square has no backward pass
    slowest = len(at.x) * _PLANS[0][0] * each_step / _STATED_SHARE
    for n_iter, fewest in _PLANS:
        each, least = n_iter * each_step, min(fewest, len(x))
        n = affordable(_BATCH, each=each, seconds=_BATCH_SHARE * context.seconds)
        if n >= least or each * least <= _STATED_SHARE * context.seconds:
            return _Plan(n_iter, max(n, least), slowest)
    n_iter, fewest = _PLANS[-1]
    work, least = f"attacking {fewest} samples", n_iter * fewest * each_step / _STATED_SHARE
    raise SkipProbe(too_slow("robustness", work, least, context.seconds))


def _attack(
    at: Perturbed, x: Tensor, y: Tensor, radius: int, plan: _Plan, seconds: float, context: Context
) -> RobustnessReport:
    """Run the ensemble at one radius; no batch begins after that many seconds."""
    threat = Lp(math.inf, radius * at.unit, at.input_range)
    attacks = standard_attacks(
        threat, predict(at.model, x[:1]).shape[1], n_iter=plan.n_iter, n_queries=_QUERIES * plan.n_iter
    )
    options = {"batch_size": plan.batch_size, "time_limit": seconds, "progress": context.progress}
    return robust_accuracy(at.model, x, y, threat=threat, attacks=attacks, **options)


def _smallest(
    at: Perturbed, x: Tensor, y: Tensor, report: RobustnessReport, plan: _Plan, end: float, context: Context
) -> tuple[Tensor, Tensor, dict[int, int]]:
    """Return the smallest radius at which each sample is misclassified (0: without attack), and the perturbed sample.

    A sample that was not attacked for lack of time counts as correct at that radius; the last result counts these.
    """
    untried = {}
    smallest = torch.where(report.broken_by >= 0, _STATED, _NEVER).where(report.correct, 0)
    changed = report.x_adv.clone()
    for radius, tried in _FURTHER:
        rows = (smallest == tried).nonzero().squeeze(1)
        if len(rows):
            further = _attack(at, x[rows], y[rows], radius, plan, max(end - time.perf_counter(), 0.0), context)
            hit = further.broken_by >= 0
            if len(hit) < len(rows):
                untried[radius] = len(rows) - len(hit)
            rows = rows[: len(hit)][hit]
            smallest[rows], changed[rows] = radius, further.x_adv[hit]
    return smallest, changed, untried


PROBE = Probe(
    name="robustness",
    question="How easily do small perturbations change the prediction?",
    topic="robustness",
    needs=frozenset({"gradients", "input_gradients"}),
    run=run,
)
