"""HTML report of an audit, from ``findings.json`` and the pictures in its folder."""

import json
from pathlib import Path
from typing import Any

from assay.core import AssayError, InvalidInputError, MissingDataError
from assay.lab.files import write_bytes
from assay.lab.page import inline_figure, render

_TEMPLATE = Path(__file__).parent / "templates" / "report.html"

# Tone and icon of the page's badges; the word stands beside them.
_GRADES = {
    "high": ("bad", "■"),
    "medium": ("warn", "▲"),
    "low": ("note", "●"),
    "info": ("mute", "○"),
    "skipped": ("mute", "–"),  # noqa: RUF001 - a dash
    "failed": ("bad", "×"),  # noqa: RUF001 - a cross
    "interrupted": ("mute", "…"),
}


def render_report(facts: dict[str, Any], folder: Path) -> str:
    """Return the report of ``findings.json`` as one page, with the pictures of ``folder`` embedded."""
    entries = [_entry(entry, folder) for entry in facts["findings"]]
    return render(
        _TEMPLATE,
        title=f"Audit of {facts['subject']['name']}",
        facts_of=facts,
        verdict=_verdict(facts),
        entries=entries,
        grades=_GRADES,
    )


def rerender(run: Path | str, out: Path | str | None = None) -> Path:
    """Write the report of a past audit again, from its ``findings.json`` and figures.

    Args:
        run: The audit's folder.
        out: File to write; by default the ``report.html`` of that folder.

    Returns:
        The path of the report.

    Raises:
        MissingDataError: The folder holds no ``findings.json``.
        InvalidInputError: ``findings.json`` or a figure is not what an audit writes, or the page cannot be written.
    """
    run = Path(run)
    path = run / "findings.json"
    if not path.is_file():
        raise MissingDataError(f"there is no {path}; give the folder that an audit wrote")
    try:
        page = render_report(json.loads(path.read_text()), run)
    except AssayError:  # a figure is missing or is no picture; the message says which
        raise
    except (ValueError, KeyError, TypeError) as error:
        raise InvalidInputError(f"{path} is not what an audit writes ({error!r}); run the audit again") from error
    target = Path(out) if out is not None else run / "report.html"
    try:
        write_bytes(target, page.encode())
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise InvalidInputError(f"cannot write {target} ({reason}); name another file with --out") from error
    return target


def _entry(finding: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Return a finding with its pictures as markup; samples of the data and full figures are listed apart."""
    figures = [
        {
            "caption": figure["caption"],
            "tile": figure["tile"],
            "images": [
                inline_figure(folder / picture["file"], picture["alt"], pixelated=figure["tile"])
                for picture in figure["pictures"]
            ],
        }
        for figure in finding.get("figures", [])
    ]
    return finding | {
        "grade": finding.get("severity", finding["status"]),
        "line": finding.get("headline") or finding["reason"],
        "tiles": [figure for figure in figures if figure["tile"]],
        "plates": [figure for figure in figures if not figure["tile"]],
    }


def _verdict(facts: dict[str, Any]) -> str:
    """Return the headline of the most severe finding."""
    answered = [finding for finding in facts["findings"] if finding["status"] == "answered"]
    if not answered:
        return "No probe returned a finding; the reasons are below."
    worst = next(finding for finding in answered if finding["severity"] == facts["worst"])
    return worst["headline"]
