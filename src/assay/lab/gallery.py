"""Gallery: all records on one page, each claim beside its evidence."""

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from assay.core import write_bytes
from assay.lab.page import inline_figure, number, render
from assay.lab.records import note, read_records

if TYPE_CHECKING:
    from assay.lab.study import Study

TONES = {
    "holds": ("good", "✓"),
    "fails": ("bad", "✗"),
    "undecided": ("warn", "≈"),
    "not tested at this scale": ("mute", "○"),
    "reported": ("note", "•"),
}
"""Each verdict's tone and sign; the word itself is always shown too."""


_ESTIMATES = {"wilcoxon": "pseudomedian ", "sign": "median "}


def write_gallery(records_dir: str | Path, out: str | Path, *, studies: Iterable["Study"] = ()) -> Path:
    """Write one self-contained page of all records.

    Args:
        records_dir: The folder of records.
        out: The HTML file to write.
        studies: Studies whose records are compared with the code: the page says which are stale, or were measured with
            an earlier version of the methods.

    Returns:
        Its path.

    Raises:
        InvalidInputError: The folder holds no records, or something that is none.
    """
    folder = Path(records_dir)
    by_slug = {study.slug: study for study in studies}
    papers = [present(entry, folder, by_slug.get(entry["slug"])) for entry in read_records(folder)]
    tally = _tally(claim["verdict"] for paper in papers for claim in paper["claims"])
    page = render(
        "gallery.html", title="What papers claim, and what we measured", papers=papers, tally=tally, tones=TONES
    )
    path = Path(out)
    write_bytes(path, page.encode())
    return path


def gauge(evidence: Mapping[str, Any]) -> dict[str, Any] | None:
    """Place a measurement and its bar on a line from 0 to 100.

    Args:
        evidence: A piece of evidence, as a record holds it.

    Returns:
        The places of the values, the interval's ends, the mean and the bar; None where there is no bar.
    """
    bar, interval, values = evidence["bar"], evidence["interval"], evidence["values"]
    if not values or not bar:
        return None
    middle = median(values)
    low, high = (interval["low"], interval["high"]) if interval else (middle, middle)
    marks = [low, high, bar["value"], *values]
    span = (max(marks) - min(marks)) or 1.0
    start = min(marks) - 0.12 * span

    def place(value: float) -> float:
        return round(100 * (value - start) / (1.24 * span), 2)

    mean = interval["mean"] if interval else middle
    return {
        "values": [place(value) for value in values],
        "low": place(low),
        "high": place(high),
        "mean": place(mean),
        "bar": place(bar["value"]),
        "side": bar["side"],
    }


def present(entry: dict[str, Any], folder: Path, study: "Study | None") -> dict[str, Any]:
    """Return a record as templates show it.

    Args:
        entry: The record.
        folder: The folder of its figures.
        study: The study in the code, where it is to be compared with the record.

    Returns:
        The record with its figures as markup, the evidence beside each claim, and the tally of verdicts.
    """
    evidence = [{**piece, "gauge": gauge(piece), "measured": _measured(piece)} for piece in entry["evidence"]]
    claims = [
        {**claim, "evidence": [piece for piece in evidence if piece["claim"] == claim["id"]]}
        for claim in entry["claims"]
    ]
    figures = [
        {**figure, "image": inline_figure(folder / figure["file"], figure["caption"])} for figure in entry["figures"]
    ]
    tally = _tally(claim["verdict"] for claim in claims)
    said = study and note(entry, study)
    return {**entry, "claims": claims, "figures": figures, "tally": tally, "note": said}


def _tally(verdicts: Iterable[str]) -> dict[str, int]:
    counts = Counter(verdicts)
    return {verdict: counts[verdict] for verdict in TONES if counts[verdict]}


def _measured(evidence: Mapping[str, Any]) -> str:
    values, interval = evidence["values"], evidence["interval"]
    if len(values) < 2 and not interval:
        return number(values[0]) if values else ""
    return f"{_estimate(evidence)} {_units(evidence)}{_look(evidence)}"


def _estimate(evidence: Mapping[str, Any]) -> str:
    interval, name = evidence["interval"], _ESTIMATES.get(evidence.get("test", ""), "")
    if not interval:
        return f"{name}{number(median(evidence['values']))}, without an interval"
    return f"{name}{number(interval['mean'])} [{number(interval['low'])}, {number(interval['high'])}]"


def _units(evidence: Mapping[str, Any]) -> str:
    values, trials = evidence["values"], evidence.get("trials")
    if not trials:
        return f"over {len(values)} {'pairs' if 'test' in evidence else 'seeds'}"
    count = sum(round(value * n) for value, n in zip(values, trials, strict=True))
    effect = evidence["design_effect"]
    fewer = f", counted as {number(sum(trials) / effect, 3)} trials, since seeds differ" if effect > 1.05 else ""
    return f"({count} of {sum(trials)}) over {len(values)} {'seed' if len(values) == 1 else 'seeds'}{fewer}"


def _look(evidence: Mapping[str, Any]) -> str:
    looks = evidence.get("looks")
    return f", at look {looks.index(len(evidence['values'])) + 1} of {len(looks)}" if looks else ""
