"""Are some groups of samples treated worse than others?"""

import textwrap
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from matplotlib.axes import Axes
from torch import Tensor

from assay.audit.assumptions import constant_caveat, few_caveat, joined, percent
from assay.audit.budget import affordable, cut_short, measure_seconds, too_slow
from assay.audit.classifier import RawClassifier
from assay.audit.pictures import plot_picture
from assay.audit.probe import Context, Figure, Finding, Probe, Severity, SkipProbe, Table
from assay.audit.subject import Subject
from assay.core import Interval, predict, single_logit
from assay.generalization.subpopulations import AccuracyGap, SubgroupAccuracy, accuracy_gap, count_cells

_SAMPLES, _TIMED, _FEWEST = 20_000, 50, 20
_JUDGED = 10  # samples that a group or a cell needs on either side
_MOST = 50  # groups
_SHOWN, _LONGEST = 10, 24  # comparisons in the figure, and characters of their names
_LEVEL = 0.95  # of all comparisons together
_HIGH, _MEDIUM = 0.2, 0.05

_RULE = (
    "The worst comparison of a group, or of one class within a group, with all other samples of the same classes: by "
    f"how much it is less accurate at least (all intervals hold jointly at 95%). High: {_HIGH:.0%}; medium: "
    f"{_MEDIUM:.0%}; low: more than 0. Otherwise info. Shares of the classes that differ between groups make no gap by "
    "themselves."
)
_LIMITS = (
    "The intervals take samples as drawn independently from each class of each group. A group that is worse off may be "
    "so for any reason that goes with it. The part by shares of the classes is the gap that spurious correlation alone "
    "makes, if inputs do not depend on the group within a class; the rest is what contradicts this. "
    f"Comparisons with fewer than {_JUDGED} samples on one side are left out."
)
_TRAINING = "These are training samples, on which a network that fits them is right in every group: give test_groups."
_ADVICE: dict[Severity, str] = {
    "high": "Do not rely on answers for this group. Collect more of these samples or weight them up in training, "
    "select models by the accuracy of the worst group instead of the mean, and audit again.",
    "medium": "Report the accuracy of each group beside the mean. Weight these samples up in training, or select "
    "models by the worst group, and audit again.",
    "low": "Report the accuracy of each group beside the mean, and compare it between versions.",
    "info": "Nothing to do for these groups; smaller ones, or combinations of them, may still be treated worse.",
}


@dataclass(frozen=True)
class _Comparison:
    """A group, or one class of it, against all others at the same classes."""

    group: int
    label: int | None
    deficit: Interval


def run(subject: Subject, context: Context) -> Finding:
    """Compare the accuracy of each group with that of all others at equal classes."""
    which, (x, y), groups = _samples(subject)
    kind = RawClassifier(subject).kind
    each = measure_seconds(lambda: predict(subject.model, x[:_TIMED])) / len(x[:_TIMED])
    wanted = min(len(x), _SAMPLES)
    n = affordable(wanted, each=each, seconds=context.seconds)
    if n < min(wanted, _FEWEST):
        raise SkipProbe(too_slow("subgroups", f"classifying {_FEWEST} samples", _FEWEST * each, context.seconds))
    chosen = torch.randperm(len(x), generator=context.generator())[:n]
    scores = predict(subject.model, x[chosen.to(x.device)], progress=context.progress).cpu()
    decided = scores.argmax(1) if kind == "cross_entropy" else (single_logit(scores.reshape(n, -1)) > 0).long()
    y = _classes(y.cpu()[chosen], kind)
    cells = count_cells(decided == y, y, groups.cpu()[chosen])
    if len(cells.groups) < 2:
        raise SkipProbe("all samples belong to one group, and groups are compared with each other")
    if len(cells.groups) > _MOST:
        raise SkipProbe(f"there are {len(cells.groups)} groups, and at most {_MOST} are compared; merge some")
    comparisons = _compare(cells)
    worst = max(comparisons, key=lambda found: found.deficit.low, default=None)
    severity = _severity(worst)
    return Finding(
        headline=_headline(subject, worst, len(cells.groups)),
        severity=severity,
        rule=_RULE,
        advice=_ADVICE[severity],
        limits=joined(
            *constant_caveat(decided),
            _TRAINING if which == "training" else "",
            *_uncompared(comparisons),
            *_rarity(subject, kind, worst),
            _LIMITS,
            *few_caveat(n),
            cut_short("subgroups", n, wanted, f"{which} samples", wanted * each),
        ),
        measures=_measures(cells, worst, comparisons),
        figures=(_figure(subject, comparisons, which),) if comparisons else (),
        tables=(_table(subject, cells, comparisons, which),),
    )


def _classes(y: Tensor, kind: str) -> Tensor:
    """Return labels as class indices: 0 and 1 for those of one logit."""
    return y.flatten() if kind == "cross_entropy" else (y.flatten() > 0).long()


def _samples(subject: Subject) -> tuple[str, tuple[Tensor, Tensor], Tensor]:
    """Return the held-out samples with their groups, or the training samples where only their groups are given."""
    if subject.test is not None and subject.test_groups is not None:
        return "held-out", subject.test, subject.test_groups
    if subject.train is not None and subject.groups is not None:
        return "training", subject.train, subject.groups
    raise SkipProbe("it compares groups of samples, and none are given; give test_groups, one number a held-out sample")


def _compare(cells: SubgroupAccuracy) -> list[_Comparison]:
    """Compare groups, and classes within groups, with enough samples on both sides, at joint confidence."""
    others = cells.count.sum(1, keepdim=True) - cells.count
    enough = (cells.count >= _JUDGED) & (others >= _JUDGED)
    found: list[tuple[int, int | None]] = []
    for column, group in enumerate(cells.groups):
        shared = (cells.count[:, column] > 0) & (others[:, column] > 0)
        if int(cells.count[shared, column].sum()) >= _JUDGED and int(others[shared, column].sum()) >= _JUDGED:
            found.append((group, None))
        labels = [label for label, judged in zip(cells.labels, enough[:, column].tolist(), strict=True) if judged]
        found += [(group, label) for label in labels if len(cells.shared_labels(group)) > 1]
    level = 1 - (1 - _LEVEL) / max(1, len(found))
    return [
        _Comparison(group, label, cells.deficit(group, labels=None if label is None else [label], level=level))
        for group, label in found
    ]


def _severity(worst: _Comparison | None) -> Severity:
    low = worst.deficit.low if worst else 0.0
    return "high" if low >= _HIGH else "medium" if low >= _MEDIUM else "low" if low > 0 else "info"


def _headline(subject: Subject, worst: _Comparison | None, n_groups: int) -> str:
    if worst is None:
        return f"The {n_groups} groups share no class with enough samples: none can be compared at equal classes."
    if worst.deficit.low <= 0:
        return (
            f"No group of {n_groups} is less accurate than the others at equal classes beyond chance; the largest "
            f"difference is {_points(max(worst.deficit.mean, 0.0))} points."
        )
    who = f"group {worst.group}"
    if worst.label is not None:
        name = subject.class_name(worst.label)
        who = f"{name if len(name) <= 24 else f'class {worst.label}'} in group {worst.group}"
    return (
        f"Accuracy on {who} is {_points(worst.deficit.mean)} points lower than on the same classes elsewhere, at least "
        f"{_points(worst.deficit.low)}."
    )


def _points(difference: float) -> str:
    """Return a difference of shares in percentage points, with two digits."""
    return percent(difference).removesuffix("%")


def _uncompared(comparisons: list[_Comparison]) -> Iterator[str]:
    if not comparisons:
        yield "Where groups and classes coincide, a difference of groups is one of classes: nothing can be compared."


def _rarity(subject: Subject, kind: str, worst: _Comparison | None) -> Iterator[str]:
    """Yield how rare the worst group is in training, where that is known."""
    if worst is None or worst.deficit.low <= 0 or subject.train is None or subject.groups is None:
        return
    y = _classes(subject.train[1].cpu(), kind)
    of_class = torch.ones_like(y).bool() if worst.label is None else y == worst.label
    own = int((subject.groups.cpu()[of_class] == worst.group).sum())
    whom = "training samples" if worst.label is None else f"training samples of {subject.class_name(worst.label)}"
    yield f"Group {worst.group} has {own} of the {int(of_class.sum())} {whom}."


def _against_others(cells: SubgroupAccuracy, group: int) -> AccuracyGap:
    """Return the gap of all others to one group, in the two parts of the theorem."""
    column = cells.groups.index(group)
    right, count = (
        torch.stack([table.sum(1) - table[:, column], table[:, column]], 1) for table in (cells.right, cells.count)
    )
    return accuracy_gap(SubgroupAccuracy(right, count, cells.labels, (0, 1)), 0, 1)


def _measures(cells: SubgroupAccuracy, worst: _Comparison | None, comparisons: list[_Comparison]) -> dict[str, float]:
    accuracies = [cells.accuracy(group).mean for group in cells.groups]
    found = {
        "accuracy": int(cells.right.sum()) / int(cells.count.sum()),
        "accuracy of the worst group": min(accuracies),
        "accuracy of the best group": max(accuracies),
        "groups": float(len(cells.groups)),
        "comparisons": float(len(comparisons)),
        "samples": float(cells.count.sum()),
    }
    if worst is not None:
        found |= {"largest deficit at equal classes": worst.deficit.mean, "its lower end": worst.deficit.low}
    return found


def _table(subject: Subject, cells: SubgroupAccuracy, comparisons: list[_Comparison], which: str) -> Table:
    """One row a group: its accuracy, what it lacks, how much of that follows from its classes, and its worst class."""
    rows = []
    for group in cells.groups:
        own = [found for found in comparisons if found.group == group]
        whole = next((found.deficit for found in own if found.label is None), None)
        worst = max((found for found in own if found.label is not None), key=lambda at: at.deficit.low, default=None)
        gap = _against_others(cells, group)
        rows.append(
            (
                str(group),
                int(cells.count[:, cells.groups.index(group)].sum()),
                _say(cells.accuracy(group)),
                percent(gap.gap),
                percent(gap.label_mix),
                "too few" if whole is None else _say(whole),
                "too few" if worst is None else f"{subject.class_name(worst.label or 0)}: {_say(worst.deficit)}",
            )
        )
    columns = (
        "group",
        "samples",
        "accuracy",
        "others are better by",
        "of that by shares of classes",
        "others are better by, at equal classes",
        "worst class, others better by",
    )
    caption = f"Accuracy of each group on {which} samples with 95% intervals; the intervals of differences hold jointly"
    return Table(caption, columns, tuple(rows))


def _say(interval: Interval) -> str:
    return f"{percent(interval.mean)} [{percent(interval.low)}, {percent(interval.high)}]"


def _figure(subject: Subject, comparisons: list[_Comparison], which: str) -> Figure:
    """Draw the worst comparisons with their joint intervals."""
    worst = sorted(comparisons, key=lambda found: -found.deficit.low)[:_SHOWN]
    names = [
        f"group {each.group}" if each.label is None else f"{subject.class_name(each.label)} in group {each.group}"
        for each in worst
    ]

    def draw(axes: Axes) -> None:
        means, places = [each.deficit.mean for each in worst], list(range(len(worst)))
        below = [each.deficit.mean - each.deficit.low for each in worst]
        above = [each.deficit.high - each.deficit.mean for each in worst]
        axes.errorbar(means, places, xerr=[below, above], fmt="o", capsize=3)
        for bar in (0.0, _MEDIUM, _HIGH):
            axes.axvline(bar, color="0.6", linewidth=0.8, linestyle="--" if bar else "-")
        axes.set_yticks(places, [textwrap.shorten(name, _LONGEST, placeholder="...") for name in names])
        axes.invert_yaxis()
        axes.set_xlabel("others are better by, at equal classes")

    first = worst[0]
    alt = f"Largest differences at equal classes with 95% intervals; {names[0]}: {_say(first.deficit)}"
    left_out = f"the {len(worst)} worst of {len(comparisons)} comparisons; " if len(worst) < len(comparisons) else ""
    caption = f"How much better the others are on {which} samples: {left_out}dashed: bars of medium and high severity."
    return Figure((plot_picture("groups", draw, alt),), caption)


PROBE = Probe(
    name="subgroups",
    question="Are some groups of samples treated worse than others?",
    topic="generalisation",
    needs=frozenset(),
    run=run,
)
