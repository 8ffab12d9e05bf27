"""Comparisons of groups of samples at equal classes, their table and their figure."""

import textwrap
from dataclasses import dataclass

import torch
from matplotlib.axes import Axes

from assay.audit.assumptions import percent
from assay.audit.pictures import plot_picture
from assay.audit.probe import Figure, Table
from assay.audit.subject import Subject
from assay.core import Interval
from assay.generalization.subpopulations import AccuracyGap, SubgroupAccuracy, accuracy_gap

JUDGED = 10  # samples that a group or a cell needs on either side
HIGH, MEDIUM = 0.2, 0.05  # severities, of the lower end of a difference
_SHOWN, _LONGEST = 10, 24  # comparisons in the figure, and characters of their names
_LEVEL = 0.95  # of all comparisons together


@dataclass(frozen=True)
class Comparison:
    """A group, or one class of it, against all others at the same classes."""

    group: int
    label: int | None
    deficit: Interval


def compare_groups(cells: SubgroupAccuracy) -> list[Comparison]:
    """Compare groups, and classes within groups, with enough samples on both sides, at joint confidence."""
    others = cells.count.sum(1, keepdim=True) - cells.count
    enough = (cells.count >= JUDGED) & (others >= JUDGED)
    found: list[tuple[int, int | None]] = []
    for column, group in enumerate(cells.groups):
        shared = (cells.count[:, column] > 0) & (others[:, column] > 0)
        if int(cells.count[shared, column].sum()) >= JUDGED and int(others[shared, column].sum()) >= JUDGED:
            found.append((group, None))
        labels = [label for label, judged in zip(cells.labels, enough[:, column].tolist(), strict=True) if judged]
        found += [(group, label) for label in labels if len(cells.shared_labels(group)) > 1]
    level = 1 - (1 - _LEVEL) / max(1, len(found))
    return [
        Comparison(group, label, cells.deficit(group, labels=None if label is None else [label], level=level))
        for group, label in found
    ]


def _against_others(cells: SubgroupAccuracy, group: int) -> AccuracyGap:
    """Return the gap of all others to one group, in the two parts of the theorem."""
    column = cells.groups.index(group)
    right, count = (
        torch.stack([table.sum(1) - table[:, column], table[:, column]], 1) for table in (cells.right, cells.count)
    )
    return accuracy_gap(SubgroupAccuracy(right, count, cells.labels, (0, 1)), 0, 1)


def group_table(subject: Subject, cells: SubgroupAccuracy, comparisons: list[Comparison], which: str) -> Table:
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


def group_figure(subject: Subject, comparisons: list[Comparison], which: str) -> Figure:
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
        for bar in (0.0, MEDIUM, HIGH):
            axes.axvline(bar, color="0.6", linewidth=0.8, linestyle="--" if bar else "-")
        axes.set_yticks(places, [textwrap.shorten(name, _LONGEST, placeholder="...") for name in names])
        axes.invert_yaxis()
        axes.set_xlabel("others are better by, at equal classes")

    first = worst[0]
    alt = f"Largest differences at equal classes with 95% intervals; {names[0]}: {_say(first.deficit)}"
    left_out = f"the {len(worst)} worst of {len(comparisons)} comparisons; " if len(worst) < len(comparisons) else ""
    caption = f"How much better the others are on {which} samples: {left_out}dashed: bars of medium and high severity."
    return Figure((plot_picture("groups", draw, alt),), caption)
