"""How many predictions do tiny perturbations flip, and how does the number grow with their size?"""

from collections.abc import Iterator
from functools import partial

import torch
from matplotlib.axes import Axes
from torch import Tensor

from assay.adversarial import MALT, TargetedStep, adversarial_error_curve
from assay.adversarial.logit_gaps import ErrorCurve, linear_response_error
from assay.audit.assumptions import constant_caveat, few_caveat, joined, percent
from assay.audit.budget import affordable, cut_short, measure_seconds, too_slow
from assay.audit.harmless import harmless_changes, share_changed
from assay.audit.perturbations import KEPT_RULE, Perturbed, kept_severity, perturbed, unit_caveats
from assay.audit.pictures import plot_picture
from assay.audit.probe import SEVERITIES, Context, Figure, Finding, Probe, Severity, SkipProbe, Table
from assay.audit.subject import Subject
from assay.core import predict

_SAMPLES, _FEWEST, _TIMED = 500, 20, 10
_SIZES = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0)  # in units of the perturbation
_STATED = 1.0  # the size that decides the severity
_ENOUGH = 10  # predicted flips that the measured ones are compared with
_CANDIDATES = 20  # classes, the likeliest first, whose gradients are computed
_COMMON = 0.1  # of the correct answers: rounding or noise that changes more is a fault without any adversary

_RULE = (
    "The share of correct answers that are kept under one gradient step of {size}, chosen against the network: "
    f"{KEPT_RULE}. The robustness probe has the same rule at eight times that size, under stronger attacks, and is as "
    f"severe or more. At least medium when rounding or random noise of that size changes over {_COMMON:.0%} of the "
    "correct answers, which needs no adversary."
)
_LIMITS = (
    "Each step is towards the class that is nearest to first order, clipped to the input range, and checked on the "
    "network itself; samples that are misclassified without it are left out. Another perturbation of that size may "
    "change more. The estimate to first order is from the scores and their gradients at the samples, not clipped; it "
    "is exact for an affine network."
)
_ADVICE: dict[Severity, str] = {
    "high": "An adversary who can change inputs by one such step changes nearly every answer: train adversarially, or "
    "do not rely on answers for inputs that others can change; then audit again.",
    "medium": "An adversary who can change inputs by one such step changes most answers: train adversarially, or "
    "abstain where the two highest scores are close; then audit again.",
    "low": "An adversary who can change inputs by one such step changes some answers: report this number beside the "
    "accuracy, and compare it between versions.",
    "info": "Nothing to do at this size; the robustness probe tries larger perturbations.",
}
_ADVICE_COMMON = (
    "Rounding or noise of this size changes answers without any adversary: train with noise of that size, check how "
    "inputs are rounded, scaled and compressed in use, and audit again."
)


def run(subject: Subject, context: Context) -> Finding:
    """Measure the share of correct answers that one step changes, by its size, beside rounding, JPEG and noise."""
    which = "training" if subject.test is None else "held-out"
    x, y = context.sample(subject.test or subject.train, _SAMPLES)
    at, n_drawn = perturbed(subject, x), len(x)
    decided = predict(at.model, at.x).argmax(1)
    right = decided == ((y > 0).long() if at.kind == "binary_cross_entropy" else y)
    if not right.any():
        raise SkipProbe("the network classifies none of the samples correctly, so that no right answer can be lost")
    samples, timed = _in_time(at, at.x[right], context)
    curve, predicted = _measure(at, samples, context.progress)
    if curve.masking.vanishing.all():
        raise SkipProbe("the prediction has no gradient at any sample: the network is saturated or constant there")
    harmless = {
        name: share_changed(at.model, samples, changed)
        for name, changed in harmless_changes(at, samples, _STATED, context.generator())
    }
    flipped = curve.error[_SIZES.index(_STATED)].item()
    common = max(share for name, share in harmless.items() if not name.startswith("JPEG"))
    severity = kept_severity(1 - flipped)
    if common > _COMMON:
        severity = SEVERITIES[max(SEVERITIES.index(severity), SEVERITIES.index("medium"))]
    size = at.phrase(_STATED)
    return Finding(
        headline=_headline(size, flipped, common),
        severity=severity,
        rule=_RULE.format(size=size),
        advice=_ADVICE_COMMON if common > _COMMON else _ADVICE[severity],
        limits=joined(
            *constant_caveat(decided),
            *([str(curve.masking)] if curve.masking.masked.any() else []),
            *_disagreement(at, predicted, curve),
            _LIMITS,
            *unit_caveats(subject, at, _STATED),
            *few_caveat(len(samples)),
            cut_short("logit_gaps", len(samples), int(right.sum()), "correctly classified samples", timed),
        ),
        measures=_measures(at, predicted, curve) | {"accuracy": right.double().mean().item(), "samples": n_drawn},
        figures=(_figure(at, predicted, curve, which),),
        tables=(_table(at, predicted, curve), _harmless_table(at, flipped, harmless, which)),
    )


def _headline(size: str, flipped: float, common: float) -> str:
    return (
        f"One step of {size} against the network changes {percent(flipped)} of correct answers; rounding and noise of "
        f"that size at most {percent(common)}."
    )


def _measure(at: Perturbed, x: Tensor, progress: bool) -> tuple[ErrorCurve, Tensor]:
    """Return the share that one step changes at each size, and what is predicted of it to first order."""
    dtype = torch.promote_types(x.dtype, torch.float32)
    eps = torch.tensor(_SIZES, dtype=dtype, device=x.device) * at.unit
    step = lambda threat: MALT(TargetedStep(threat), k=1, candidates=_CANDIDATES)  # noqa: E731
    curve = adversarial_error_curve(at.model, x, eps=eps, attack=step, input_range=at.input_range, progress=progress)
    if curve.masking.vanishing.all():
        return curve, torch.zeros_like(curve.error)
    return curve, linear_response_error(at.model, x, eps=eps, candidates=_CANDIDATES)


def _in_time(at: Perturbed, x: Tensor, context: Context) -> tuple[Tensor, float]:
    """Return as many samples as the time allows, and an estimate of the time for all."""
    trial = x[:_TIMED]
    each = measure_seconds(partial(_measure, at, trial, False)) / len(trial)
    n = affordable(len(x), each=each, seconds=context.seconds)
    if n < min(len(x), _FEWEST):
        work = f"measuring {_FEWEST} samples"
        raise SkipProbe(too_slow("logit_gaps", work, _FEWEST * each, context.seconds))
    return x[:n], len(x) * each


def _disagreement(at: Perturbed, predicted: Tensor, curve: ErrorCurve) -> Iterator[str]:
    """Yield a sentence where steps flip far less than predicted, at the smallest size with enough predicted flips."""
    for size, foreseen, measured in zip(_SIZES, predicted.tolist(), curve.error.tolist(), strict=True):
        if foreseen * curve.n >= _ENOUGH:
            if measured < foreseen / 2:
                yield (
                    f"A step of {at.name(size)} changes {percent(measured)} where {percent(foreseen)} are predicted: "
                    "the range cuts it short, or the network is far from linear at this size."
                )
            return


def _measures(at: Perturbed, predicted: Tensor, curve: ErrorCurve) -> dict[str, float]:
    names = [at.name(size) for size in _SIZES]
    found = {f"changed by a step of {name}": float(share) for name, share in zip(names, curve.error, strict=True)}
    found |= {f"predicted at {name}": float(share) for name, share in zip(names, predicted, strict=True)}
    found |= {"samples with masked gradients": float(curve.masking.masked.sum()), "correct answers": float(curve.n)}
    if curve.fit is not None:
        found |= {"exponent of the power law": curve.fit.exponent, "R² of the power law": curve.fit.r2}
    return found


def _table(at: Perturbed, predicted: Tensor, curve: ErrorCurve) -> Table:
    rows = tuple(
        (at.name(size), percent(float(measured)), percent(float(foreseen)))
        for size, measured, foreseen in zip(_SIZES, curve.error, predicted, strict=True)
    )
    caption = "Correct answers changed by one step against the network, by its size"
    return Table(caption, ("size", "measured", "predicted to first order"), rows)


def _harmless_table(at: Perturbed, flipped: float, harmless: dict[str, float], which: str) -> Table:
    rows = [(f"one step of {at.name(_STATED)}, chosen against the network", flipped), *harmless.items()]
    caption = f"Correct answers on {which} samples changed by a chosen step, and by changes that nobody chose"
    return Table(caption, ("change of the input", "changed"), tuple((name, percent(share)) for name, share in rows))


def _figure(at: Perturbed, predicted: Tensor, curve: ErrorCurve, which: str) -> Figure:
    """Draw both curves on logarithmic axes; sizes at which nothing flips are left out."""

    def draw(axes: Axes) -> None:
        for shares, label, marker in ((curve.error, "measured", "s-"), (predicted, "predicted to first order", "o:")):
            seen = [(size, float(share)) for size, share in zip(_SIZES, shares, strict=True) if share > 0]
            axes.plot([size for size, _ in seen], [share for _, share in seen], marker, label=label)
        axes.set_xscale("log")
        axes.set_xticks(_SIZES, [f"{size:g}" for size in _SIZES])
        axes.set_xticks([], minor=True)
        if float(predicted.max()) > 0 or float(curve.error.max()) > 0:
            axes.set_yscale("log")
        axes.set_xlabel(f"size of the step, in {at.axis}")
        axes.set_ylabel("share of correct answers changed")
        axes.legend()

    first, last = percent(float(curve.error[0])), percent(float(curve.error[-1]))
    alt = f"Share of correct answers that one step changes: {first} at the smallest size, {last} at the largest"
    law = f"; it grows as the size to the power {curve.fit.exponent:.2g}" if curve.fit else ""
    caption = f"Share of correct answers on {which} samples that one step changes, by its size{law}."
    return Figure((plot_picture("flips", draw, alt),), caption)


PROBE = Probe(
    name="logit_gaps",
    question="How many predictions do tiny perturbations flip, and how does the number grow with their size?",
    topic="robustness",
    needs=frozenset({"gradients", "input_gradients"}),
    run=run,
)
