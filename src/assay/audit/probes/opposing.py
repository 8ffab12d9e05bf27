"""Are there small groups of training samples that pull the network in opposite directions?"""

import torch
from torch import Tensor

from assay.audit.assumptions import joined
from assay.audit.budget import affordable, cut_short, measure_seconds, too_slow
from assay.audit.pictures import is_image, plot_picture
from assay.audit.probe import Context, Figure, Finding, Probe, Severity, SkipProbe, Table
from assay.audit.subject import Subject
from assay.core import HessianOperator, InvalidInputError, named_parameters
from assay.landscape.opposing import OpposingGroups, find_opposing_groups

_SAMPLES, _FEWEST, _SHOWN = 1000, 50, 8
_PRODUCTS = 40  # Hessian products: 22 for an eigenvalue that stands out, and the cost of the other passes
_VECTORS, _MEMORY = 25, 1_600_000_000  # vectors of the parameters' length that the search keeps, and bytes for them

_RULE = (
    "Low when held-out samples like the groups move twice as much as a typical sample or more, with gradients that "
    "oppose each other (cosine at most -0.3) more strongly than in the random and the high-loss control; else info."
)
_LIMITS = (
    "Read from one step along the direction of largest curvature, on a copy; groups that oppose each other elsewhere "
    "are missed."
)
_ADVICE: dict[Severity, str] = {
    "low": "Look for a feature that both groups share, such as a background: correct labels, or add samples that tell "
    "them apart. These samples make the loss spike at large learning rates.",
    "info": "Nothing to do.",
}


def run(subject: Subject, context: Context) -> Finding:
    """Search for two groups along the direction of largest curvature, and compare them with controls."""
    trained = sum(value.numel() for value in named_parameters(subject.model, params="trainable").values())
    if 4 * _VECTORS * trained > _MEMORY:
        most = _MEMORY // (4 * _VECTORS)
        raise SkipProbe(f"it takes at most {most:,} trained parameters, which this network exceeds with {trained:,}")
    x, y, chosen = _sample(subject, context)
    n, seconds = len(x), _seconds_each(subject, context)
    most = affordable(n, each=seconds, seconds=context.seconds)
    if most < min(n, _FEWEST):
        raise SkipProbe(too_slow("opposing", f"a search in {_FEWEST} samples", _FEWEST * seconds, context.seconds))
    x, y, chosen = x[:most], y[:most], chosen[:most]
    options = {"direction": "eigenvector", "generator": context.generator()}
    try:
        groups = find_opposing_groups(subject.model, x, y, loss=subject.loss, **options)
    except InvalidInputError as error:
        if "pass lr" not in str(error):
            raise
        raise SkipProbe("the loss has no positive curvature at these weights, so that nothing opposes") from error
    severity: Severity = "low" if groups.found else "info"
    names = [_name(subject, y, group) for group in (groups.pair.rising, groups.pair.falling)]
    shown = groups.found and is_image(tuple(x.shape[1:]))
    return Finding(
        headline=_headline(groups, names),
        severity=severity,
        rule=_RULE,
        advice=_ADVICE[severity],
        limits=joined(_LIMITS, cut_short("opposing", most, n, "training samples", n * seconds)),
        measures=_measures(groups) | {"samples used": float(most)},
        figures=(_figure(groups, names),) if shown else (),
        tables=(_table(groups, names, y, chosen),) if groups.found and not shown else (),
    )


def _sample(subject: Subject, context: Context) -> tuple[Tensor, Tensor, Tensor]:
    """Return the samples that the context would give, with their places in the training data."""
    x, y = context.sample(subject.train, _SAMPLES)
    n = len(subject.train[0]) if subject.train is not None else 0
    return x, y, torch.randperm(n, generator=context.generator())[:_SAMPLES]


def _seconds_each(subject: Subject, context: Context) -> float:
    """Return the time of the search for each sample."""
    x, y = context.sample(subject.train, _FEWEST)
    operator = HessianOperator(subject.model, x, y, subject.loss)
    column = torch.ones(operator.shape[0], 1, dtype=operator.dtype, device=x.device)
    return _PRODUCTS * measure_seconds(lambda: operator @ column) / len(x)


def _name(subject: Subject, y: Tensor, group: Tensor) -> str:
    """Return the class or target that most samples of a group have; nothing where targets are no single numbers."""
    if not len(group) or y.numel() != len(y):
        return ""
    value = y.reshape(-1)[group].mode().values.item()
    return f"target {value:.3g}" if y.is_floating_point() else subject.class_name(int(value))


def _headline(groups: OpposingGroups, names: list[str]) -> str:
    if not groups.found:
        return (
            "No small groups of training samples pull the network in opposite directions beyond what random samples "
            "and samples of high loss do."
        )
    sizes = len(groups.pair.rising), len(groups.pair.falling)
    first, second = (f"{n} ({_short(name)})" if name else str(n) for n, name in zip(sizes, names, strict=True))
    return (
        f"Groups of {first} and {second} samples pull in opposite directions: they move {groups.pair.outsize:.1f} "
        "times as much as a typical sample."
    )


def _short(name: str, most: int = 20) -> str:
    return name if len(name) <= most else f"{name[: most - 3]}..."


def _measures(groups: OpposingGroups) -> dict[str, float]:
    """Return what decides; movements are relative to a typical sample."""
    held_out = groups.held_out
    strongest = max(groups.random.opposition, groups.high_loss.opposition)
    return {
        "movement of the groups": groups.pair.outsize,
        "cosine of the groups' gradients": groups.pair.gradient_cosine,
        "movement of held-out samples": held_out.outsize,
        "movement of the random control": groups.random.outsize,
        "movement of the high-loss control": groups.high_loss.outsize,
        "cosine of held-out gradients": held_out.gradient_cosine,
        "opposition of held-out samples": held_out.opposition,
        "strongest opposition of a control": strongest,
    }


def _figure(groups: OpposingGroups, names: list[str]) -> Figure:
    """Draw up to eight samples of each group in two rows."""
    sides = [f"{side}{f' ({name})' if name else ''}" for side, name in zip(("rises", "falls"), names, strict=True)]
    alt = f"Two rows of training images: those whose loss {sides[0]} in one step, and those whose loss {sides[1]}"
    caption = f"Up to {_SHOWN} samples whose loss {sides[0]}, above, and {sides[1]}, below, in one step."
    return Figure((plot_picture("groups", groups.plot, alt),), caption)


def _table(groups: OpposingGroups, names: list[str], y: Tensor, chosen: Tensor) -> Table:
    """List up to eight samples of each group by their places in the training data."""
    pair, rows = groups.pair, []
    for side, group, name, change in (
        ("rises", pair.rising, names[0], pair.rise),
        ("falls", pair.falling, names[1], pair.fall),
    ):
        places = ", ".join(str(int(place)) for place in chosen[group[:_SHOWN].cpu()])
        rows.append((side, len(group), name or "various", f"{change:.2g}", places))
    columns = ("loss", "samples", "target of most", "mean change", f"places of up to {_SHOWN}, largest change first")
    return Table("The two groups, by how one step changes their loss", columns, tuple(rows))


PROBE = Probe(
    name="opposing",
    question="Are there small groups of training samples that pull the network in opposite directions?",
    topic="training",
    needs=frozenset({"gradients", "training_data"}),
    run=run,
)
