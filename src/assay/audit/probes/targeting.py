"""How easily do small perturbations change its answer?"""

import math

import torch
from matplotlib.axes import Axes
from torch import Tensor, nn

from assay.adversarial import MALT, Lp, TargetedAPGD
from assay.audit.pictures import is_image, plot_picture, sample_picture
from assay.audit.probe import Context, Figure, Finding, Probe, Severity, SkipProbe
from assay.audit.subject import Subject
from assay.core import binary_cross_entropy, cross_entropy, predict, single_logit, track

_SAMPLES = 200
_STATED = 8  # the radius that the severity is read at, in 255ths of the input range
_STEPS = 50
_EXAMPLES = 4
_RADII = (1, 2, 4, _STATED, 16, 32)

_RULE = (
    f"By the share of samples still classified correctly under attack at {_STATED}/255 of the input range, per entry: "
    "high below a tenth of the accuracy without attack, medium below half, low below nine tenths, otherwise info."
)
_LIMITS = (
    "Each change was found and measured on the model itself, so these samples do break. Those that stood may fall to "
    "another attack: robust accuracy is an upper bound, not a certificate."
)
_ADVICE: dict[Severity, str] = {
    "high": "Treat answers on inputs that others can shape as unsafe; train adversarially at the radius that matters.",
    "medium": "Train adversarially at the radius that matters, and measure again.",
    "low": "Keep this number beside the accuracy, and watch it from version to version.",
    "info": "Nothing to do at this radius; repeat the probe when the model or its data change.",
}


class _Classifier(nn.Module):
    """The subject's network as a classifier of raw inputs: any mean inside, and one score for each class."""

    def __init__(self, subject: Subject) -> None:
        super().__init__()
        self.subject = subject
        self.model = subject.model

    def forward(self, x: Tensor) -> Tensor:
        scores = self.model(x if self.subject.mean is None else x - self.subject.mean)
        if self.subject.loss is cross_entropy:
            return scores
        positive = single_logit(scores)
        return torch.stack([-positive / 2, positive / 2], 1)


def run(subject: Subject, context: Context) -> Finding:
    """Attack labelled samples within growing radii and count those that stand."""
    if subject.loss not in (cross_entropy, binary_cross_entropy):
        raise SkipProbe("it needs a classifier, trained with cross_entropy or binary_cross_entropy")
    held_out = subject.test is not None
    x, y = context.sample(subject.test or subject.train, _SAMPLES)
    model, x = _Classifier(subject), subject.raw(x)
    if subject.loss is binary_cross_entropy:
        y = (y > 0).long()
    curve, broken = _attack(model, x, y, subject.input_range, context)
    clean, stated = curve[0], curve[_STATED]
    severity = _severity(clean, stated)
    which = "held-out" if held_out else "training"
    return Finding(
        headline=(
            f"Changes of {_STATED}/255 of the input range cut the accuracy on {len(x)} {which} samples "
            f"from {clean:.0%} to {stated:.0%}."
        ),
        severity=severity,
        rule=_RULE,
        advice=_ADVICE[severity],
        limits=_LIMITS,
        measures={"accuracy": clean}
        | {f"robust accuracy at {radius}/255": curve[radius] for radius in _RADII}
        | {"samples attacked": float(len(x))},
        figures=(*_examples(subject, model, x, y, broken), _curve_figure(curve, which)),
    )


def _attack(
    model: nn.Module, x: Tensor, y: Tensor, input_range: tuple[float, float], context: Context
) -> tuple[dict[int, float], dict[int, Tensor]]:
    """Return the accuracy by radius, and the first change found for each sample that broke, by its index."""
    scores = predict(model, x)
    standing = (scores.argmax(1) == y).nonzero().squeeze(1)
    curve = {0: len(standing) / len(x)}
    broken: dict[int, Tensor] = {}
    loss = "dlr" if scores.shape[1] >= 4 else "ce"
    for radius in track(_RADII, "attacking", enabled=context.progress):
        threat = Lp(math.inf, radius / 255 * (input_range[1] - input_range[0]), input_range)
        if len(standing):  # a sample that broke within a smaller radius is broken within this one
            result = MALT(TargetedAPGD(threat, n_iter=_STEPS, loss=loss)).run(model, x[standing], y[standing])
            for index in result.success.nonzero().squeeze(1).tolist():
                broken[int(standing[index])] = result.x_adv[index]
            standing = standing[~result.success]
        curve[radius] = len(standing) / len(x)
    return curve, broken


def _severity(clean: float, robust: float) -> Severity:
    kept = robust / clean if clean > 0 else 1.0
    return "high" if kept < 0.1 else "medium" if kept < 0.5 else "low" if kept < 0.9 else "info"


def _curve_figure(curve: dict[int, float], which: str) -> Figure:
    """Draw robust accuracy against the radius."""

    def draw(axes: Axes) -> None:
        axes.plot(list(curve), list(curve.values()), marker="o")
        axes.axvline(_STATED, color="C5", linestyle=":")
        axes.set_ylim(-0.03, 1.03)
        axes.set_xlabel("radius of the change, in 255ths of the input range")
        axes.set_ylabel("share still classified correctly")

    last = max(curve)
    alt = f"Accuracy under attack: {curve[0]:.0%} without change, {curve[last]:.0%} at {last}/255"
    caption = f"Accuracy on {which} samples by the size of the change; the dotted line is where the severity is read."
    return Figure((plot_picture("accuracy", draw, alt),), caption)


def _examples(
    subject: Subject, model: nn.Module, x: Tensor, y: Tensor, broken: dict[int, Tensor]
) -> tuple[Figure, ...]:
    """Show the samples that broke first beside their changed copies, where samples are images."""
    if not is_image(tuple(x.shape[1:])):
        return ()
    lowest, highest = subject.input_range
    figures = []
    for number, (index, changed) in enumerate(list(broken.items())[:_EXAMPLES], 1):
        pair = [(sample - lowest) / (highest - lowest) for sample in (x[index], changed)]
        before = _class_name(subject, int(y[index]))
        after = _class_name(subject, int(predict(model, changed[None]).argmax(1)))
        size = (changed - x[index]).abs().max().item() / (highest - lowest) * 255
        figures.append(
            Figure(
                (
                    sample_picture(f"{number:02}-original", pair[0], f"A sample that is classified as {before}"),
                    sample_picture(f"{number:02}-changed", pair[1], f"The same sample, changed: classified as {after}"),
                ),
                f"{before} → {after}, every entry changed by at most {size:.0f}/255",
                tile=True,
            )
        )
    return tuple(figures)


def _class_name(subject: Subject, label: int) -> str:
    return subject.class_names[label] if subject.class_names else f"class {label}"


PROBE = Probe(
    name="targeting",
    question="How easily do small perturbations change its answer?",
    needs=frozenset({"gradients"}),
    run=run,
)
