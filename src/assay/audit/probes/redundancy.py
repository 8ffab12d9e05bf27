"""How many units repeat what others do?"""

from functools import partial

from torch import Tensor

from assay.audit.assumptions import few_caveat, joined, percent
from assay.audit.budget import affordable, cut_short, measure_seconds, too_slow
from assay.audit.pictures import plot_picture
from assay.audit.probe import Context, Figure, Finding, Probe, Severity, SkipProbe, Table
from assay.audit.subject import Subject
from assay.core import AssayError, InvalidInputError, layer_names
from assay.representation import SimilarityMap, compare_networks, match_units, unit_redundancy, unit_statistics
from assay.representation.matching import LayerRedundancy, RedundancyReport, hidden_layers

_SAMPLES, _FEWEST, _BATCH = 1000, 50, 256
_DUPLICATE, _MOST, _ROWS = 0.95, 0.5, 100
_KEPT = 1024  # rows of a layer, which bound the time for wide layers
_DRAWN = 12  # layers in a figure

_RULE = (
    f"Low when in some layer more than {_MOST:.0%} of the units are dead (constant on all samples) or repeat another "
    f"unit (correlation of {_DUPLICATE:g} or more in absolute value with an earlier unit that is counted), judged on "
    f"{_ROWS} rows or more. Otherwise info, since redundancy alone is no defect."
)
_LIMITS = (
    "Units are channels of a convolution and features of a dense layer, read behind the activation modules, or behind "
    "every layer where there is none. A unit that is dead on these samples may act on others. The effective rank is "
    "that of the units' correlations: as many uncorrelated units would vary as much; it cannot exceed the number of "
    "samples and positions."
)
_ALONE = (
    "Which units another run learns as well needs a second network: give the subject a second_model, trained from "
    "another seed."
)
_ADVICE: dict[Severity, str] = {
    "low": "Prune the units of the table's layers that are dead or repeated, or train a narrower network. Many dead "
    "units often come from a high learning rate: look at the first epochs, or take a smooth activation.",
    "info": "Nothing to do.",
}


def run(subject: Subject, context: Context) -> Finding:
    """Count dead and repeated units of each layer, and match units with those of a second network."""
    pair = subject.test or subject.train
    if pair is None:
        raise SkipProbe("it compares units on samples, which this subject does not have")
    x = context.sample(pair, _SAMPLES)[0]
    wanted, few = len(x), x[:_FEWEST]
    try:
        layers = hidden_layers(subject.model, x)
        each = measure_seconds(partial(_measure, subject, few, layers, context)) / len(few)
    except InvalidInputError as error:
        raise SkipProbe(str(error)) from error
    n = affordable(wanted, each=each, seconds=context.seconds)
    if n < len(few):
        raise SkipProbe(too_slow("redundancy", f"{len(few)} samples", each * len(few), context.seconds))
    report, second = _measure(subject, x[:n], layers, context)
    worst = max(report.layers, key=_weight)
    severity: Severity = "low" if _weight(worst) > _MOST else "info"
    units = sum(layer.n_units for layer in report.layers)
    return Finding(
        headline=_headline(report.layers),
        severity=severity,
        rule=_RULE,
        advice=_ADVICE[severity],
        limits=joined(
            _LIMITS,
            "" if subject.second_model is not None else _ALONE,
            f"Too wide to compare: {', '.join(report.skipped)}." if report.skipped else "",
            *few_caveat(n),
            cut_short("redundancy", n, wanted, "samples", each * wanted),
        ),
        measures={
            "units": float(units),
            "dead units": float(sum(layer.n_dead for layer in report.layers)),
            "repeated units": float(sum(layer.n_repeated for layer in report.layers)),
            "largest share of dead or repeated units in a layer": worst.share_superfluous,
            "samples used": float(n),
        }
        | second.measures(),
        figures=(_bars(report), *second.figures()),
        tables=(_table(report.layers), *second.tables()),
    )


class _Second:
    """What a second network shares with the first; nothing where there is none.

    Args:
        matches: By layer, the mean matched correlation of its units, and that with shuffled rows.
        similarity: CKA of each pair of layers; None where there is no second network.
    """

    def __init__(
        self, matches: dict[str, tuple[float, float]] | None = None, similarity: SimilarityMap | None = None
    ) -> None:
        self.matches, self.similarity = matches or {}, similarity

    def measures(self) -> dict[str, float]:
        """Return means over layers."""
        if not self.matches:
            return {}
        means = [sum(part) / len(self.matches) for part in zip(*self.matches.values(), strict=True)]
        return {"matched correlation with the second network": means[0], "with shuffled samples": means[1]}

    def figures(self) -> tuple[Figure, ...]:
        """Return the map of CKA."""
        if self.similarity is None:
            return ()
        alt = "Heat map of the similarity of each layer of the network with each layer of the second network"
        caption = "Similarity of layers (unbiased linear CKA); a cross marks what permuted samples reach as well."
        return (Figure((plot_picture("similarity", self.similarity.plot, alt),), caption),)

    def tables(self) -> tuple[Table, ...]:
        """Return matched correlations and CKA by layer."""
        if not self.matches or self.similarity is None:
            return ()
        found = self.similarity
        rows = tuple(
            (name, f"{match:.2f}", f"{noise:.2f}", f"{_cell(found, name):.2f}")
            for name, (match, noise) in self.matches.items()
        )
        columns = ("layer", "matched correlation", "with shuffled samples", "CKA")
        return (Table("Units and layers of the second network", columns, rows),)


def _cell(found: SimilarityMap, name: str) -> float:
    return float(found.values[found.layers_a.index(name), found.layers_b.index(name)])


def _measure(subject: Subject, x: Tensor, layers: list[str], context: Context) -> tuple[RedundancyReport, _Second]:
    report = unit_redundancy(
        subject.model, x, layers, duplicate=_DUPLICATE, n_rows=_KEPT, batch_size=_BATCH, generator=context.generator()
    )
    if subject.second_model is None or len(x) < 4:
        return report, _Second()
    names = [layer.layer for layer in report.layers if layer.n_dead < layer.n_units]
    others = set(layer_names(subject.second_model, x))
    shared = [name for name in names if name in others]
    if not shared:
        return report, _Second()
    models = subject.model, subject.second_model
    matches = {}
    for name in shared:
        try:
            pair = [
                unit_statistics(*models, x, name, shuffle=shuffle, batch_size=_BATCH).live()
                for shuffle in (None, context.generator())
            ]
        except AssayError:  # of other positions, or all units of the second network are dead there
            continue
        aligned, shuffled = (match_units(each.between).mean for each in pair)
        matches[name] = aligned, shuffled
    drawn = list(matches)[:_DRAWN]
    if not drawn:
        return report, _Second()
    similarity = compare_networks(*models, x, drawn, drawn, batch_size=_BATCH, generator=context.generator())
    return report, _Second({name: matches[name] for name in drawn}, similarity)


def _weight(layer: LayerRedundancy) -> float:
    """Return the share of units that could be left out; 0 where too few rows tell."""
    return layer.share_superfluous if layer.n_rows >= _ROWS else 0.0


def _headline(layers: tuple[LayerRedundancy, ...]) -> str:
    units, dead, repeated = (
        sum(getattr(layer, name) for layer in layers) for name in ("n_units", "n_dead", "n_repeated")
    )
    where = f"{units:,} units in {len(layers)} layer{'s' if len(layers) > 1 else ''}"
    return (
        f"{percent((dead + repeated) / units)} of {where} could be left out: {dead:,} are dead, and {repeated:,} "
        "repeat another."
    )


def _bars(report: RedundancyReport) -> Figure:
    largest = sorted(report.layers, key=lambda layer: -layer.share_superfluous)[:_DRAWN]
    shown = tuple(layer for layer in report.layers if layer in largest)
    alt = f"Bars of the share of dead and repeated units in {len(shown)} layers, with the effective rank"
    drawing = RedundancyReport(shown, report.duplicate, ())
    return Figure((plot_picture("units", drawing.plot, alt),), "Units of each layer that could be left out.")


def _table(layers: tuple[LayerRedundancy, ...]) -> Table:
    rows = tuple(
        (
            layer.layer,
            layer.n_units,
            layer.n_dead,
            layer.n_repeated,
            f"{float(layer.largest.median()) if len(layer.largest) else 0.0:.2f}",
            f"{layer.effective_rank:.1f}",
        )
        for layer in layers
    )
    columns = ("layer", "units", "dead", "repeated", "median largest correlation", "effective rank")
    return Table("Units of each layer", columns, rows)


PROBE = Probe(
    name="redundancy",
    question="How many units repeat what others do?",
    topic="training",
    needs=frozenset(),
    run=run,
)
