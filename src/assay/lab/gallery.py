"""Gallery: all records on one page, each claim beside its evidence."""

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from assay.lab.files import write_bytes
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
    low, high = (interval["low"], interval["high"]) if interval else (values[0], values[0])
    marks = [low, high, bar["value"], *values]
    span = (max(marks) - min(marks)) or 1.0
    start = min(marks) - 0.12 * span

    def place(value: float) -> float:
        return round(100 * (value - start) / (1.24 * span), 2)

    mean = interval["mean"] if interval else values[0]
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
    if interval:
        ends = f"[{number(interval['low'])}, {number(interval['high'])}]"
        return f"{number(interval['mean'])} {ends} over {len(values)} seeds"
    return number(values[0]) if values else ""
