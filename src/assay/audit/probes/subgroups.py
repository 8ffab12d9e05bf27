"""Are some groups of samples treated worse than others?"""

from collections.abc import Iterator

import torch
from torch import Tensor

from assay.audit.assumptions import constant_caveat, few_caveat, joined, percent
from assay.audit.budget import affordable, cut_short, measure_seconds, too_slow
from assay.audit.classifier import RawClassifier
from assay.audit.group_comparisons import (
    HIGH,
    JUDGED,
    MEDIUM,
    Comparison,
    compare_groups,
    group_figure,
    group_table,
)
from assay.audit.probe import Context, Finding, Probe, Severity, SkipProbe
from assay.audit.subject import Subject
from assay.core import predict, single_logit
from assay.generalization.subpopulations import SubgroupAccuracy, count_cells

_SAMPLES, _TIMED, _FEWEST = 20_000, 50, 20
_MOST = 50  # groups

_RULE = (
    "The worst comparison of a group, or of one class within a group, with all other samples of the same classes: by "
    f"how much it is less accurate at least (all intervals hold jointly at 95%). High: {HIGH:.0%}; medium: "
    f"{MEDIUM:.0%}; low: more than 0. Otherwise info. Shares of the classes that differ between groups make no gap by "
    "themselves."
)
_LIMITS = (
    "The intervals take samples as drawn independently from each class of each group. A group that is worse off may be "
    "so for any reason that goes with it. The part by shares of the classes is the gap that spurious correlation alone "
    "makes, if inputs do not depend on the group within a class; the rest is what contradicts this. "
    f"Comparisons with fewer than {JUDGED} samples on one side are left out."
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
    comparisons = compare_groups(cells)
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
        figures=(group_figure(subject, comparisons, which),) if comparisons else (),
        tables=(group_table(subject, cells, comparisons, which),),
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


def _severity(worst: Comparison | None) -> Severity:
    low = worst.deficit.low if worst else 0.0
    return "high" if low >= HIGH else "medium" if low >= MEDIUM else "low" if low > 0 else "info"


def _headline(subject: Subject, worst: Comparison | None, n_groups: int) -> str:
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


def _uncompared(comparisons: list[Comparison]) -> Iterator[str]:
    if not comparisons:
        yield "Where groups and classes coincide, a difference of groups is one of classes: nothing can be compared."


def _rarity(subject: Subject, kind: str, worst: Comparison | None) -> Iterator[str]:
    """Yield how rare the worst group is in training, where that is known."""
    if worst is None or worst.deficit.low <= 0 or subject.train is None or subject.groups is None:
        return
    y = _classes(subject.train[1].cpu(), kind)
    of_class = torch.ones_like(y).bool() if worst.label is None else y == worst.label
    own = int((subject.groups.cpu()[of_class] == worst.group).sum())
    whom = "training samples" if worst.label is None else f"training samples of {subject.class_name(worst.label)}"
    yield f"Group {worst.group} has {own} of the {int(of_class.sum())} {whom}."


def _measures(cells: SubgroupAccuracy, worst: Comparison | None, comparisons: list[Comparison]) -> dict[str, float]:
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


PROBE = Probe(
    name="subgroups",
    question="Are some groups of samples treated worse than others?",
    topic="generalisation",
    needs=frozenset(),
    run=run,
)
