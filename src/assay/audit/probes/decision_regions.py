"""Do decision regions break up around the training samples?"""

from functools import partial

import torch
from matplotlib.axes import Axes

from assay.audit.assumptions import constant_caveat, few_caveat, joined
from assay.audit.budget import affordable, cut_short, measure_seconds, too_slow
from assay.audit.pictures import plot_picture
from assay.audit.probe import Context, Figure, Finding, Probe, Severity, SkipProbe, Table
from assay.audit.subject import Subject
from assay.core import loss_kind, predict
from assay.landscape.regions import (
    Fragmentation,
    Plane,
    Reproducibility,
    fragmentation_score,
    plane_predictions,
    plot_decision_regions,
    predicted_class,
    reproducibility_score,
    sample_planes,
)

_PLANES, _FEWEST, _TIMED = 60, 5, 1
_RESOLUTION, _DRAWN = 30, 60  # points along an axis, to count and to draw
_SAMPLES = 1000
_MORE = 1.1  # times the pieces of the null

_RULE = (
    f"Low when planes through training samples have over {_MORE - 1:.0%} more pieces than planes through held-out "
    "samples, beyond the 95% interval of the difference: the network then cuts regions out around single training "
    "samples. Otherwise info, since many pieces alone are no defect."
)
_LIMITS = (
    f"Pieces are connected regions of one predicted class, on {_RESOLUTION} x {_RESOLUTION} points of each plane: the "
    "number grows with the resolution. Points between samples are no natural inputs, and may lie outside the input "
    "range. Compare networks at the same resolution and on the same data only."
)
_ALONE = "How alike the regions of two runs are needs a second network: give the subject a second_model."
_ADVICE: dict[Severity, str] = {
    "low": "Look for wrong labels among the training samples, and try weight decay or fewer epochs: small regions "
    "around single samples are a mark of memorisation.",
    "info": "Nothing to do. To see how far regions depend on the seed, train the network again from another one, and "
    "give it as the subject's second_model.",
}


def run(subject: Subject, context: Context) -> Finding:
    """Count the pieces of decision regions on planes through training samples and through held-out samples."""
    if loss_kind(subject.loss) not in ("cross_entropy", "binary_cross_entropy"):
        raise SkipProbe("it needs a classifier, trained with cross_entropy or binary_cross_entropy")
    pairs = {"training": subject.train, "held-out": subject.test}
    parts = {name: context.sample(pair, _SAMPLES)[0] for name, pair in pairs.items()}
    if min(map(len, parts.values())) < 3:
        raise SkipProbe("a plane goes through three samples, and it needs three of both training and held-out data")
    planes = {
        name: sample_planes(x, n=_PLANES, distinct_labels=False, generator=context.generator())
        for name, x in parts.items()
    }
    second = subject.second_model is not None
    plane = measure_seconds(partial(_pieces, subject, planes["training"][:_TIMED])) / _TIMED
    each, drawing = (4 if second else 2) * plane, plane * (_DRAWN / _RESOLUTION) ** 2
    n = affordable(_PLANES, each=each, seconds=context.seconds - drawing)
    if n < _FEWEST:
        raise SkipProbe(too_slow("decision_regions", f"{_FEWEST} planes", each * _FEWEST + drawing, context.seconds))
    found = {name: _pieces(subject, some[:n]) for name, some in planes.items()}
    train, held = found["training"], found["held-out"]
    alike = _agreement(subject, planes["held-out"][:n]) if second else None
    error = 1.96 * (train.standard_error**2 + held.standard_error**2) ** 0.5
    severity: Severity = "low" if train.mean - held.mean > max(error, (_MORE - 1) * held.mean) else "info"
    decided = predicted_class(predict(subject.model, parts["training"]))
    return Finding(
        headline=_headline(train.mean, held.mean) + (_likeness(alike) if alike else ""),
        severity=severity,
        rule=_RULE,
        advice=_ADVICE[severity],
        limits=joined(
            *constant_caveat(decided),
            _LIMITS,
            "" if second else _ALONE,
            *few_caveat(min(map(len, parts.values()))),
            cut_short("decision_regions", n, _PLANES, "planes", _PLANES * each + drawing),
        ),
        measures={
            "pieces on planes through training samples": train.mean,
            "pieces on planes through held-out samples": held.mean,
            "error of the difference (95%)": error,
            "planes of each kind": float(n),
        }
        | ({} if alike is None else {"agreement with the second network": alike.score, "by chance": alike.chance}),
        figures=(_figure(subject, planes["held-out"][0]),),
        tables=(_table(found),),
    )


def _pieces(subject: Subject, planes: list[Plane]) -> Fragmentation:
    return fragmentation_score(plane_predictions(subject.model, planes, resolution=_RESOLUTION))


def _agreement(subject: Subject, planes: list[Plane]) -> Reproducibility:
    models = subject.model, subject.second_model
    return reproducibility_score(*(plane_predictions(model, planes, resolution=_RESOLUTION) for model in models))


def _likeness(alike: Reproducibility) -> str:
    return f" The second network agrees at {alike.score:.0%} of the latter's points (by chance {alike.chance:.0%})."


def _headline(train: float, held: float) -> str:
    return (
        f"Decision regions fall into {train:.2g} pieces on a plane through training samples, and into {held:.2g} on "
        "one through held-out samples."
    )


def _figure(subject: Subject, plane: Plane) -> Figure:
    corners = predicted_class(predict(subject.model, torch.stack([plane.x1, plane.x2, plane.x3]))).tolist()
    names = ", ".join(map(subject.class_name, corners))
    alt = f"Map of the predicted class on a plane through three held-out samples, predicted as {names}"
    draw = partial(_draw, subject, plane)
    return Figure(
        (plot_picture("regions", draw, alt),),
        "Predicted class on the plane through three held-out samples (the dots); paler where the network is less sure.",
    )


def _draw(subject: Subject, plane: Plane, axes: Axes) -> None:
    names = subject.class_names
    plot_decision_regions(plane, subject.model, axes, resolution=_DRAWN, class_names=names)


def _table(found: dict[str, Fragmentation]) -> Table:
    rows = tuple((f"{name} samples", pieces.mean, pieces.standard_error) for name, pieces in found.items())
    return Table("Pieces of decision regions", ("planes through", "pieces a plane", "standard error"), rows)


PROBE = Probe(
    name="decision_regions",
    question="Do decision regions break up around the training samples?",
    topic="generalisation",
    needs=frozenset({"input_gradients", "training_data", "test_data"}),
    run=run,
)
