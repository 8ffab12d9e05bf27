"""How easily do small perturbations change the prediction?"""

import math

import torch
from matplotlib.axes import Axes
from torch import Tensor, nn

from assay.adversarial import Lp, RobustnessReport, robust_accuracy
from assay.adversarial.attacks import standard_attacks
from assay.audit.assumptions import few_caveat, joined, step_caveats
from assay.audit.classifier import RawClassifier
from assay.audit.pictures import is_image, plot_picture, sample_picture
from assay.audit.probe import Context, Figure, Finding, Probe, Severity, Table
from assay.audit.subject import Subject
from assay.core import LogProbabilities, predict

_SAMPLES, _BATCH = 200, 50
_SECONDS = 30  # for each radius; no batch begins after that. Later radii take the first one's samples only
_STATED = 8  # the radius that decides the severity, in 255ths of the input range
_STEPS = 50
_EXAMPLES = 4
_RADII = (1, 2, 4, _STATED, 16, 32)
_NEVER = 256  # stands for no radius
# The stated radius comes first. A smaller one is tried on what broke within the next larger, a larger one on the rest.
_FURTHER = ((4, _STATED), (2, 4), (1, 2), (16, _NEVER), (32, _NEVER))

_RULE = (
    f"The share of samples still classified correctly under attack at {_STATED}/255 of the input range per entry, "
    "divided by the accuracy without attack: high below 10%, medium below 50%, low below 90%, otherwise info."
)
_LIMITS = (
    "Each successful perturbation was checked on the model itself, so these samples are misclassified for certain. "
    "Another attack may succeed on the others: robust accuracy is an upper bound, not a certificate."
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
    model = RawClassifier(subject)
    which = "training" if subject.test is None else "held-out"
    x, y = context.sample(subject.test or subject.train, _SAMPLES)
    n_drawn, x = len(x), subject.raw(x)
    y = (y > 0).long() if model.kind == "binary_cross_entropy" else y
    report = _attack(model, x, y, _STATED, subject.input_range, context)
    x, y = x[: len(report.x_adv)], y[: len(report.x_adv)]
    smallest, changed, untried = _smallest(model, x, y, report, subject.input_range, context)
    curve = {radius: (smallest > radius).double().mean().item() for radius in (0, *_RADII)}
    clean, stated = curve[0], report.robust_accuracy
    severity = _severity(clean, stated.mean)
    out_of_time = [] if len(x) == n_drawn else [f"Time ran out: {n_drawn - len(x)} of {n_drawn} samples are left out."]
    for radius, n in untried.items():
        out_of_time.append(f"Time ran out at {radius}/255: {n} samples that were not attacked there count as correct.")
    return Finding(
        headline=joined(
            f"Perturbations of {_STATED}/255 of the input range cut the accuracy on {len(x)} {which} samples "
            f"from {clean:.0%} to {stated.mean:.0%}.",
            *report.caveats,
        ),
        severity=severity,
        rule=_RULE,
        advice=_advice(severity, report),
        limits=joined(
            _LIMITS,
            *_logarithm(subject),
            *step_caveats(subject, x, _STATED / 255, f"{_STATED}/255"),
            *few_caveat(len(x)),
            *out_of_time,
        ),
        measures={"accuracy": clean}
        | {f"robust accuracy at {radius}/255": curve[radius] for radius in _RADII}
        | {f"95% interval at {_STATED}/255, from": stated.low, f"95% interval at {_STATED}/255, to": stated.high}
        | {"samples attacked": float(len(x)), "share of the commonest label": report.commonest}
        | {"samples with masked gradients": float(report.masking.masked.sum())},
        figures=(*_examples(subject, model, x, y, smallest, changed), _curve_figure(curve, which)),
        tables=(_table(report),),
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


def _attack(
    model: nn.Module, x: Tensor, y: Tensor, radius: int, input_range: tuple[float, float], context: Context
) -> RobustnessReport:
    """Run the ensemble at one radius, in 255ths of the input range."""
    threat = Lp(math.inf, radius / 255 * (input_range[1] - input_range[0]), input_range)
    attacks = standard_attacks(threat, predict(model, x[:1]).shape[1], n_iter=_STEPS)
    options = {"batch_size": _BATCH, "time_limit": _SECONDS, "progress": context.progress}
    return robust_accuracy(model, x, y, threat=threat, attacks=attacks, **options)


def _smallest(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    report: RobustnessReport,
    input_range: tuple[float, float],
    context: Context,
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
            further = _attack(model, x[rows], y[rows], radius, input_range, context)
            hit = further.broken_by >= 0
            if len(hit) < len(rows):
                untried[radius] = len(rows) - len(hit)
            rows = rows[: len(hit)][hit]
            smallest[rows], changed[rows] = radius, further.x_adv[hit]
    return smallest, changed, untried


def _table(report: RobustnessReport) -> Table:
    rows = [
        (tally.name, tally.tried, tally.broken, tally.tried - tally.broken, tally.n_forward + tally.n_backward)
        for tally in report.tallies
    ]
    columns = ("attack", "samples attacked", "misclassified", "still correct", "forward and backward passes")
    return Table(
        f"Attacks at {_STATED}/255; each is run on the samples that the ones before it left correct",
        columns,
        tuple(rows),
    )


def _severity(clean: float, robust: float) -> Severity:
    kept = robust / clean if clean > 0 else 1.0
    return "high" if kept < 0.1 else "medium" if kept < 0.5 else "low" if kept < 0.9 else "info"


def _curve_figure(curve: dict[int, float], which: str) -> Figure:
    """Draw robust accuracy against the radius."""

    def draw(axes: Axes) -> None:
        axes.plot(list(curve), list(curve.values()), marker="o")
        axes.axvline(_STATED, color="C5", linestyle=":")
        axes.set_ylim(-0.03, 1.03)
        axes.set_xlabel("radius of the perturbation, in 255ths of the input range")
        axes.set_ylabel("share still classified correctly")

    last = max(curve)
    alt = f"Accuracy under attack: {curve[0]:.0%} without attack, {curve[last]:.0%} at {last}/255"
    caption = f"Accuracy on {which} samples by radius; the dotted line marks the radius that decides the severity."
    return Figure((plot_picture("accuracy", draw, alt),), caption)


def _examples(
    subject: Subject, model: nn.Module, x: Tensor, y: Tensor, smallest: Tensor, changed: Tensor
) -> tuple[Figure, ...]:
    """Show the samples misclassified at the smallest radius beside their perturbed copies, where they are images."""
    if not is_image(tuple(x.shape[1:])):
        return ()
    lowest, highest = subject.input_range
    worst = [i for i in smallest.argsort(stable=True).tolist() if 0 < smallest[i] < _NEVER][:_EXAMPLES]
    figures = []
    for number, index in enumerate(worst, 1):
        pair = [(sample - lowest) / (highest - lowest) for sample in (x[index], changed[index])]
        before = _class_name(subject, int(y[index]))
        after = _class_name(subject, int(predict(model, changed[index : index + 1]).argmax(1)))
        figures.append(
            Figure(
                (
                    sample_picture(f"{number:02}-original", pair[0], f"A sample that is classified as {before}"),
                    sample_picture(f"{number:02}-changed", pair[1], f"The same sample, changed: classified as {after}"),
                ),
                f"{before} → {after}, every entry changed by at most {int(smallest[index])}/255",
                tile=True,
            )
        )
    return tuple(figures)


def _class_name(subject: Subject, label: int) -> str:
    return subject.class_names[label] if subject.class_names else f"class {label}"


PROBE = Probe(
    name="robustness",
    question="How easily do small perturbations change the prediction?",
    needs=frozenset({"gradients", "input_gradients"}),
    run=run,
)
