"""Are explanations as faithful for every group?"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from torch import Tensor

from assay.attribution import LocalSurrogate, bootstrap_gap
from assay.attribution.disparities import GapTest, SurrogateResult
from assay.audit.assumptions import joined
from assay.audit.budget import affordable, cut_short, measure_seconds, too_slow
from assay.audit.classifier import RawClassifier
from assay.audit.pictures import plot_picture
from assay.audit.probe import Context, Figure, Finding, Probe, Severity, SkipProbe, Table
from assay.audit.subject import Subject
from assay.core import mean_interval, predict

_SAMPLES, _FEWEST, _MOST = 400, 20, 20  # explained samples, samples of a group, groups
_NEIGHBOURS, _BATCH, _SCALES = 1000, 512, 5000
_WIDEST, _CELLS = 128, 7  # columns of a surrogate, and cells along each side of an image
_PERMUTATIONS = 2000
_CHANCE, _MEDIUM = 0.01, 0.05

_RULE = (
    f"Medium when shuffled groups reach the gap with probability {_CHANCE:g} at most, and the worst group's mean "
    f"residual is above that of all samples by {_MEDIUM:g} more than with shuffled groups. Low when the probability "
    "alone is as small. Otherwise info. Never high: an unfaithful explanation harms where it is relied on."
)
_LIMITS = (
    "The explanation is a linear surrogate of the predicted class's probability around each sample (LIME, 1000 "
    "neighbours with the spread of the data in each column); the residual is its distance from the network at the "
    "sample. Other explanations may differ. Groups also differ in how sure the network is and in their classes: the "
    "gap says that there is one, not why. Neighbours are not held to the range of the inputs."
)
_IMAGES = "Images are explained by the brightness of coarse cells: fine detail is kept as it is."
_ADVICE: dict[Severity, str] = {
    "high": "",
    "medium": "Do not show these explanations to the worst group without their residual. Look first for what the data "
    "of this group lack: samples, a range of inputs, a variable, or another relation to the label.",
    "low": "Report the residual of each group beside the explanations. Look at the data of the worst group before "
    "changing the explanation method.",
    "info": "Nothing to do for these groups. Report the residual beside any explanation that is shown.",
}


@dataclass(frozen=True)
class _Columns:
    """The columns of the surrogate, and the way back to inputs."""

    values: np.ndarray
    decode: Callable[[np.ndarray, np.ndarray], Tensor]


def run(subject: Subject, context: Context) -> Finding:
    """Compare the residuals of local surrogates between groups of held-out samples."""
    if subject.test is None or subject.test_groups is None:
        raise SkipProbe("it compares groups of held-out samples; give test_groups, one number a held-out sample")
    kind = RawClassifier(subject).kind
    x, groups = subject.test[0], subject.test_groups.cpu()
    chosen = _balanced(groups, context.generator())
    explained = _columns(x)
    surrogate = LocalSurrogate(_NEIGHBOURS, batch_size=_BATCH, random_state=context.seed)
    surrogate.fit(explained.values[torch.randperm(len(x), generator=context.generator())[:_SCALES].numpy()])

    def explain(places: Tensor) -> SurrogateResult:
        index = places.numpy()
        label = None
        if kind == "cross_entropy":
            label = predict(subject.model, x[places.to(x.device)]).argmax(1).cpu().numpy()
        options: dict[str, Any] = {"label": label, "progress": context.progress and len(index) > 1}
        decode = lambda rows, values: explained.decode(index[rows], values)  # noqa: E731
        return surrogate.explain(subject.model, explained.values[index], decode=decode, **options)

    each = measure_seconds(lambda: explain(chosen[:1]))
    n = affordable(len(chosen), each=each, seconds=context.seconds)
    least = _FEWEST * len(groups[chosen].unique())
    if n < least:
        raise SkipProbe(too_slow("explanation_gap", f"explaining {least} samples", least * each, context.seconds))
    used = chosen[:n]
    found = explain(used)
    own = groups[used]
    options = {"n_permutations": _PERMUTATIONS, "generator": context.generator()}
    tested = bootstrap_gap(found.model_prediction, found.local_prediction, own, gap="max", **options)
    severity = _severity(tested)
    residual = np.abs(found.model_prediction - found.local_prediction)
    return Finding(
        headline=_headline(tested, float(residual.mean())),
        severity=severity,
        rule=_RULE,
        advice=_ADVICE[severity],
        limits=joined(
            _LIMITS,
            _IMAGES if x.ndim == 4 else "",
            cut_short("explanation_gap", n, len(chosen), "held-out samples", len(chosen) * each),
        ),
        measures=_measures(tested, found, residual),
        figures=(_figure(residual, own),),
        tables=(_table(found, residual, own),),
    )


def _balanced(groups: Tensor, source: torch.Generator) -> Tensor:
    """Return places of equally many samples of each group that has enough, one of each group in turn."""
    known, counts = groups.unique(return_counts=True)
    known = known[counts >= _FEWEST]
    if len(known) < 2:
        raise SkipProbe(
            f"it compares groups with at least {_FEWEST} held-out samples each, and fewer than two have so many"
        )
    if len(known) > _MOST:
        raise SkipProbe(f"there are {len(known)} groups, and at most {_MOST} are compared; merge some")
    each = max(_FEWEST, _SAMPLES // len(known))
    order = torch.randperm(len(groups), generator=source)
    own = [order[groups[order] == group][:each] for group in known]
    turns = torch.cat([torch.arange(len(places)) for places in own])
    return torch.cat(own)[turns.argsort(stable=True)]


def _columns(x: Tensor) -> _Columns:
    """Return the columns of tables that vary, or the mean brightness of coarse cells of images."""
    if x.ndim not in (2, 4) or not x.is_floating_point():
        raise SkipProbe(f"it explains rows of numbers and images, and samples are of shape {tuple(x.shape[1:])}")
    if x.ndim == 4:
        return _cells(x)
    varying = (x != x[:1]).any(0)
    width = int(varying.sum())
    if not 0 < width <= _WIDEST:
        raise SkipProbe(
            f"a surrogate of {width} columns needs more neighbours than it takes; at most {_WIDEST} are explained"
        )

    def decode(places: np.ndarray, values: np.ndarray) -> Tensor:
        inputs = x[torch.as_tensor(places, device=x.device)][:, None].repeat(1, values.shape[1], 1)
        inputs[..., varying] = torch.as_tensor(values).to(x)
        return inputs.flatten(0, 1)

    return _Columns(x[:, varying].double().cpu().numpy(), decode)


def _cells(x: Tensor) -> _Columns:
    height, width = x.shape[2:]
    down = torch.arange(height, device=x.device) * min(_CELLS, height) // height
    across = torch.arange(width, device=x.device) * min(_CELLS, width) // width
    cell = down[:, None] * min(_CELLS, width) + across
    sums = torch.zeros(len(x), int(cell.max()) + 1, dtype=torch.float64, device=x.device)
    sums.index_add_(1, cell.flatten(), x.double().mean(1).flatten(1))
    means = (sums / cell.flatten().bincount()).cpu().numpy()
    varying = np.flatnonzero(means.std(0) > 1e-9)
    if len(varying) == 0:
        raise SkipProbe("all held-out images are the same, and there is nothing to compare")

    def decode(places: np.ndarray, values: np.ndarray) -> Tensor:
        change = np.zeros((*values.shape[:2], means.shape[1]))
        change[..., varying] = values - means[places][:, None, varying]
        shift = torch.as_tensor(change).to(x)[..., cell]
        return (x[torch.as_tensor(places, device=x.device)][:, None] + shift[:, :, None]).flatten(0, 1)

    return _Columns(means[:, varying], decode)


def _measures(tested: GapTest, found: SurrogateResult, residual: np.ndarray) -> dict[str, float]:
    return {
        "gap of the worst group": tested.gap,
        "gap of shuffled groups": tested.null_mean,
        "p-value": tested.p_value,
        "mean residual": float(residual.mean()),
        "mean R^2 around the samples": float(found.score.mean()),
        "groups": float(len(tested.groups)),
        "samples": float(len(residual)),
    }


def _severity(tested: GapTest) -> Severity:
    if tested.p_value > _CHANCE:
        return "info"
    return "medium" if tested.excess >= _MEDIUM else "low"


def _headline(tested: GapTest, overall: float) -> str:
    if tested.p_value > _CHANCE:
        return (
            f"Surrogates are about as faithful for each of {len(tested.groups)} groups: a gap of {tested.gap:.2g} is "
            "within chance."
        )
    worst = int(np.argmax(tested.by_group))
    return (
        f"Surrogates miss the network by {tested.by_group[worst]:.2g} in group {tested.groups[worst]}, by "
        f"{overall:.2g} over all groups: more than chance."
    )


def _table(found: SurrogateResult, residual: np.ndarray, groups: Tensor) -> Table:
    rows = []
    for group in groups.unique().tolist():
        own = (groups == group).numpy()
        interval = mean_interval(residual[own].tolist())
        rows.append((str(group), int(own.sum()), str(interval), f"{found.score[own].mean():.2f}"))
    columns = ("group", "explained samples", "mean residual", "R^2 around the sample")
    return Table("Faithfulness of local surrogates by group, with 95% intervals", columns, tuple(rows))


def _figure(residual: np.ndarray, groups: Tensor) -> Figure:
    """Draw the mean residual of each group with its interval."""
    names = groups.unique().tolist()
    found = [mean_interval(residual[(groups == group).numpy()].tolist()) for group in names]

    def draw(axes: Axes) -> None:
        means, places = [each.mean for each in found], list(range(len(found)))
        below, above = [each.mean - each.low for each in found], [each.high - each.mean for each in found]
        axes.errorbar(means, places, xerr=[below, above], fmt="o", capsize=3)
        axes.axvline(float(residual.mean()), color="0.6", linewidth=0.8, linestyle="--")
        axes.set_yticks(places, [f"group {name}" for name in names])
        axes.invert_yaxis()
        axes.set_xlabel("mean residual of the surrogate")

    worst = max(range(len(names)), key=lambda place: found[place].mean)
    alt = f"Mean residual of each group with 95% intervals; the largest is {found[worst]} in group {names[worst]}"
    return Figure((plot_picture("residuals", draw, alt),), "Residual of surrogates by group; dashed: all samples.")


PROBE = Probe(
    name="explanation_gap",
    question="Are explanations as faithful for every group?",
    topic="generalisation",
    needs=frozenset(),
    run=run,
)
