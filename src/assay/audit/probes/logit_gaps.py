"""How many predictions do tiny perturbations flip, and how does the number grow with their size?"""

from collections.abc import Iterator

import torch
from matplotlib.axes import Axes
from torch import Tensor

from assay.adversarial import FGSM, adversarial_error_curve
from assay.adversarial.logit_gaps import ErrorCurve, linear_response_error
from assay.audit.assumptions import constant_caveat, few_caveat, joined, step_caveats
from assay.audit.classifier import RawClassifier
from assay.audit.pictures import plot_picture
from assay.audit.probe import Context, Figure, Finding, Probe, Severity, SkipProbe, Table
from assay.audit.subject import Subject
from assay.core import predict

_SAMPLES = 500
_SIZES = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0)  # in 255ths of the input range
_STATED = 1.0  # the size that decides the severity
_ENOUGH = 10  # predicted flips that the measured ones are compared with
_CANDIDATES = 20  # classes, the likeliest first, whose gradients are computed

_RULE = (
    f"The share of predictions flipped, to first order, by perturbations of {_STATED:g}/255 of the input range per "
    "entry: high from 10%, medium from 3%, low from 1%, otherwise info."
)
_LIMITS = (
    "The estimate uses the logits and their gradients at the samples; it is exact for an affine network, and a first-"
    "order approximation for others. A prediction counts as flipped whatever the true class, and perturbations may "
    "leave the input range. Each is chosen against the network: what rounding, compression or noise of that size "
    "flip is not measured here."
)
_ADVICE: dict[Severity, str] = {
    "high": "Whoever can change inputs by one step of eight bits changes many predictions: abstain where the logit "
    "gap is small, or train adversarially; then audit again.",
    "medium": "Abstain where the logit gap is small, or train adversarially; then audit again.",
    "low": "Report this number beside the accuracy, and compare it between versions.",
    "info": "Nothing to do at this size; the robustness probe tries larger perturbations.",
}


def run(subject: Subject, context: Context) -> Finding:
    """Predict the share of flipped predictions by size to first order, and measure it by one gradient step."""
    model = RawClassifier(subject)
    which = "training" if subject.test is None else "held-out"
    x = subject.raw(context.sample(subject.test or subject.train, _SAMPLES)[0])
    low, high = subject.input_range
    eps = torch.tensor(_SIZES, dtype=torch.promote_types(x.dtype, torch.float32), device=x.device) * (high - low) / 255
    curve = adversarial_error_curve(model, x, eps=eps, attack=FGSM, progress=context.progress)
    if curve.masking.vanishing.all():
        raise SkipProbe("the prediction has no gradient at any sample: the network is saturated or constant there")
    predicted = linear_response_error(model, x, eps=eps, candidates=_CANDIDATES)
    stated = float(predicted[_SIZES.index(_STATED)])
    severity = _severity(stated)
    law = f"; the share grows as the size to the power {curve.fit.exponent:.2f}" if curve.fit else ""
    masked = str(curve.masking) if curve.masking.masked.any() else ""
    return Finding(
        headline=joined(
            f"To first order, perturbations of {_STATED:g}/255 of the input range flip {stated:.1%} of the predictions "
            f"on {len(x)} {which} samples{law}.",
            masked,
            *_disagreement(predicted, curve),
            *constant_caveat(predict(model, x).argmax(1)),
        ),
        severity=severity,
        rule=_RULE,
        advice=_ADVICE[severity],
        limits=joined(_LIMITS, *step_caveats(subject, x, _STATED / 255, f"{_STATED:g}/255"), *few_caveat(len(x))),
        measures=_measures(predicted, curve),
        figures=(_figure(predicted, curve, which),),
        tables=(_table(predicted, curve),),
    )


def _disagreement(predicted: Tensor, curve: ErrorCurve) -> Iterator[str]:
    """Yield a sentence where FGSM flips far less than predicted, at the smallest size with enough predicted flips."""
    for size, foreseen, measured in zip(_SIZES, predicted.tolist(), curve.error.tolist(), strict=True):
        if foreseen * curve.n >= _ENOUGH:
            if measured < foreseen / 2:
                yield (
                    f"One gradient step of {size:g}/255 flips {measured:.1%} where {foreseen:.1%} are predicted: the "
                    "gradient of the loss is masked, or the network is far from linear at this size."
                )
            return


def _severity(flipped: float) -> Severity:
    return "high" if flipped >= 0.1 else "medium" if flipped >= 0.03 else "low" if flipped >= 0.01 else "info"


def _measures(predicted: Tensor, curve: ErrorCurve) -> dict[str, float]:
    found = {f"predicted flips at {size:g}/255": float(share) for size, share in zip(_SIZES, predicted, strict=True)}
    found |= {"samples": float(curve.n), "samples with masked gradients": float(curve.masking.masked.sum())}
    if curve.fit is not None:
        found |= {"exponent of the power law": curve.fit.exponent, "R² of the power law": curve.fit.r2}
    return found


def _table(predicted: Tensor, curve: ErrorCurve) -> Table:
    rows = tuple(
        (f"{size:g}/255", round(float(foreseen), 4), round(float(measured), 4))
        for size, foreseen, measured in zip(_SIZES, predicted, curve.error, strict=True)
    )
    return Table(
        "Share of predictions flipped, by size", ("size", "predicted to first order", "measured by FGSM"), rows
    )


def _figure(predicted: Tensor, curve: ErrorCurve, which: str) -> Figure:
    """Draw both curves on logarithmic axes; sizes at which nothing flips are left out."""

    def draw(axes: Axes) -> None:
        for shares, label, marker in ((predicted, "predicted to first order", "o-"), (curve.error, "FGSM", "s")):
            seen = [(size, float(share)) for size, share in zip(_SIZES, shares, strict=True) if share > 0]
            axes.plot([size for size, _ in seen], [share for _, share in seen], marker, label=label)
        if curve.fit is not None:
            scale = float(curve.eps[0]) / _SIZES[0]
            law = [curve.fit.prefactor * (size * scale) ** curve.fit.exponent for size in _SIZES]
            axes.plot(_SIZES, law, ":", label=f"power {curve.fit.exponent:.2f}")
        axes.set_xscale("log")
        axes.set_xticks(_SIZES, [f"{size:g}" for size in _SIZES])
        axes.set_xticks([], minor=True)
        if float(predicted.max()) > 0 or float(curve.error.max()) > 0:
            axes.set_yscale("log")
        axes.set_xlabel("size of the perturbation, in 255ths of the input range")
        axes.set_ylabel("share of predictions flipped")
        axes.legend()

    first, last = float(predicted[0]), float(predicted[-1])
    alt = f"Share of predictions that flip to first order: {first:.1%} at the smallest size, {last:.1%} at the largest"
    caption = f"Share of predictions on {which} samples that flip, by the size of the perturbation."
    return Figure((plot_picture("flips", draw, alt),), caption)


PROBE = Probe(
    name="logit_gaps",
    question="How many predictions do tiny perturbations flip, and how does the number grow with their size?",
    needs=frozenset({"gradients", "input_gradients"}),
    run=run,
)
