"""What does the network look at?"""

import torch
from torch import Tensor, nn

from assay.attribution.saliency import NormGrad, plot_saliency, plot_token_saliency
from assay.audit.assumptions import constant_caveat, few_caveat, joined
from assay.audit.budget import affordable, cut_short, measure_seconds, too_slow
from assay.audit.probe import Context, Figure, Finding, Picture, Probe, Severity, SkipProbe, Table
from assay.audit.saliency_checks import map_scorer, predicted_classes, saliency_maps
from assay.audit.subject import Subject
from assay.core import (
    InvalidInputError,
    layer_names,
    layer_outputs,
    loss_kind,
    mean_interval,
    predict,
)
from assay.lab.figures import encode_figure, house_style

_SAMPLES, _FEWEST, _SHOWN, _WORDS = 100, 4, 4, 60
_LAYERS = 3
_LISTED = 8
_ALIKE = 0.5  # rank correlation of maps of the network and of one with new weights

_RULE = (
    f"Low when maps hardly depend on the weights (rank correlation above {_ALIKE:g} with maps after all weights were "
    "drawn anew), or when removing what the maps mark first does not lower the class probability faster than random "
    "orders do (95% interval of the gain not above zero); else info. What a network looks at is no defect by itself."
)
_LIMITS = (
    "Maps are NormGrad's, the norm of each position's share in the gradient of a virtual layer, multiplied over up to "
    "three layers; of a network without layers of positions, the gradient of the input. They show where the score is "
    "sensitive, in favour of the class or against it. Removed pixels become the mean image and removed tokens those of "
    "another sample, which are not samples that the network was trained on."
)
_ADVICE: dict[Severity, str] = {
    "low": "Do not read these maps as reasons. Compare them with another method, such as NormGrad at one layer, and "
    "with what removing a region does to the score.",
    "info": "Look through the maps: what is marked should be what the class is about. A background, a border or a "
    "label in the picture that is marked again and again is a shortcut.",
}


def run(subject: Subject, context: Context) -> Finding:
    """Draw maps of a few samples, and test them by deletion and by networks with new weights."""
    pool = _inputs(subject)
    chosen = torch.randperm(len(pool), generator=context.generator())[:_SAMPLES]
    x = pool[chosen.to(pool.device)]
    layers = _choose_layers(subject.model, x)
    work = map_scorer(subject.model, layers, pool, context)
    each = measure_seconds(lambda: work(x[:_FEWEST])) / len(x[:_FEWEST])
    n = affordable(len(x), each=each, seconds=context.seconds)
    if n < min(len(x), _FEWEST):
        raise SkipProbe(too_slow("saliency", f"{_FEWEST} samples", _FEWEST * each, context.seconds))
    wanted, x = len(x), x[:n]
    features = x.ndim == 2 and x.is_floating_point()
    scores = work(x)
    gains = (scores.random - scores.ordered).tolist()
    gain = mean_interval(gains) if n > 1 else None
    alike = {name: float(values.mean()) if len(values) else 0.0 for name, values in scores.alike.items()}
    severity: Severity = "low" if alike["all weights"] > _ALIKE or gain is None or gain.low <= 0 else "info"
    mean = sum(gains) / n
    return Finding(
        headline=_headline(mean, gain is not None and gain.low > 0, alike["all weights"]),
        severity=severity,
        rule=_RULE,
        advice=_ADVICE[severity],
        limits=joined(
            _LIMITS,
            *few_caveat(n),
            *constant_caveat(predicted_classes(predict(subject.model, x))),
            cut_short("saliency", n, wanted, "samples", each * wanted),
        ),
        measures={
            "gain of deletion over random orders": mean,
            "lower end of its 95% interval": mean if gain is None else gain.low,
            "area under the deletion curve": float(scores.ordered.mean()),
            "area under the curve of random orders": float(scores.random.mean()),
            **{f"correlation after new {name}": value for name, value in alike.items()},
            "samples used": float(n),
        },
        figures=() if features else _figures(subject, layers, x[:_SHOWN]),
        tables=(_table(layers, alike), *([_feature_table(scores.maps)] if features else [])),
    )


def _inputs(subject: Subject) -> Tensor:
    """Return the samples to explain: held-out ones if there are any."""
    pairs = subject.test if subject.test is not None else subject.train
    if pairs is None or not len(pairs[0]):
        raise SkipProbe("it needs samples to explain, which this subject does not have")
    x = pairs[0]
    if loss_kind(subject.loss) not in ("cross_entropy", "binary_cross_entropy"):
        raise SkipProbe("it explains the score of a class, and the loss of this subject is none of classes")
    if x.ndim not in (2, 4) or (x.ndim == 4 and not x.is_floating_point()) or x[0].numel() < 2:
        raise SkipProbe(f"maps are drawn of images, tokens or rows of features, not of shape {tuple(x.shape[1:])}")
    if predict(subject.model, x[:2]).ndim > 2:
        raise SkipProbe("the network scores every position, and a map explains one score")
    return x


def _choose_layers(model: nn.Module, x: Tensor) -> list[str | None]:
    """Return up to three layers with positions, evenly spaced, that the score depends on; else the input."""
    if x.ndim == 2 and x.is_floating_point():
        return [None]
    names = layer_names(model, x)
    outputs = layer_outputs(model, x[:2], names) if names else {}
    axes = 4 if x.is_floating_point() else 3
    able = [name for name, value in outputs.items() if value.ndim == axes and value[0, 0].numel() > 1]
    if axes == 3:
        able = [name for name in able if outputs[name].shape[1] == x.shape[1]]
    able = [name for name in able if _answers(model, name, x)]
    if len(able) > _LAYERS:
        able = [able[round(place * (len(able) - 1) / (_LAYERS - 1))] for place in range(_LAYERS)]
    if able:
        return list(able)
    if axes == 3:
        raise SkipProbe("no layer of the network gives one vector a token, and tokens have no gradient")
    return [None]


def _answers(model: nn.Module, name: str, x: Tensor) -> bool:
    """Tell whether the score depends on a layer, and in positions."""
    try:
        found = NormGrad(model, name).attribute(x[:1])
    except InvalidInputError:
        return False
    return found[0].numel() > 1


def _table(layers: list[str | None], alike: dict[str, float]) -> Table:
    rows = tuple((name, f"{value:.2f}") for name, value in alike.items())
    place = "the input" if layers == [None] else ", ".join(str(layer) for layer in layers)
    return Table(f"Rank correlation with maps of networks with new weights; maps of {place}", ("new", "mean"), rows)


def _feature_table(maps: Tensor) -> Table:
    """List the features that matter most on average."""
    means = maps.reshape(len(maps), -1).mean(0)
    top = means.argsort(descending=True)[:_LISTED].tolist()
    rows = tuple((place, f"{means[place]:.2f}") for place in top)
    return Table("Features with the largest gradient, scaled to [0, 1] in each sample", ("feature", "mean"), rows)


def _figures(subject: Subject, layers: list[str | None], x: Tensor) -> tuple[Figure, ...]:
    """Draw the maps of a few samples below them, or their tokens on grounds that tell the saliency."""
    classes = predicted_classes(predict(subject.model, x))
    maps = saliency_maps(subject.model, layers, x, classes)
    names = ", ".join(subject.class_name(int(label)) for label in classes)
    with house_style():
        if x.is_floating_point():
            pictures = subject.raw(x) if x.shape[1] in (1, 3) else x.mean(1, keepdim=True)
            drawn = [plot_saliency(pictures, {"saliency": maps})]
            caption = f"Samples and the saliency of the classes that the network gives them: {names}."
        else:
            drawn = [
                plot_token_saliency([str(token) for token in row[:_WORDS].tolist()], found[0, :_WORDS])
                for row, found in zip(x, maps, strict=True)
            ]
            caption = f"Tokens by number, coloured by the saliency of the classes that the network gives: {names}."
        encoded = [encode_figure(canvas) for canvas in drawn]
    pictures = tuple(
        Picture(f"saliency-{number}", one.content, "svg" if one.suffix == ".svg" else "png", alt=caption)
        for number, one in enumerate(encoded, 1)
    )
    return (Figure(pictures, caption),)


def _headline(gain: float, better: bool, alike: float) -> str:
    order = "faster than" if better else "no faster than"
    return (
        f"Removing what the maps mark lowers the class probability {order} random orders do (area {gain:+.2f}); maps "
        f"of new weights correlate by {alike:.2f}."
    )


PROBE = Probe(
    name="saliency",
    question="What does the network look at?",
    topic="generalisation",
    needs=frozenset({"weights", "gradients"}),
    run=run,
)
