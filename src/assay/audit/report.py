"""HTML report of an audit, from ``findings.json`` and the pictures in its folder."""

import json
import re
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from assay.audit.probe import TOPICS
from assay.audit.terms import explain
from assay.core import AssayError, InvalidInputError, MissingDataError, write_bytes
from assay.lab.page import inline_figure, number, render

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

_MILD = ("info", "skipped")  # nothing to act on

_VERDICTS = {
    "high": "Worst severity: high. Do not release this model yet.",
    "medium": "Worst severity: medium. Decide what to do about it before you release this model.",
    "low": "Worst severity: low. Keep it in mind when you release this model.",
    "info": "Worst severity: info. What was answered gives no cause for concern.",
    None: "No question was answered; the reasons stand below.",
}

_DECIMAL = re.compile(r"\d+\.\d+")


def render_report(facts: dict[str, Any], folder: Path) -> str:
    """Return the report of ``findings.json`` as one page, with the pictures of ``folder`` embedded."""
    entries = [_entry(entry, folder) for entry in facts["findings"]]
    quality = facts.get("quality") or {}  # audits of earlier versions have none
    return render(
        _TEMPLATE,
        title=f"Audit of {facts['subject']['name']}",
        facts_of=facts,
        date=f"{datetime.fromisoformat(facts['created']):%d %B %Y}".lstrip("0"),
        verdict=_verdict(facts),
        fit=_fit(quality),
        warnings=quality.get("warnings", []),
        sections=_sections(entries),
        mild=_MILD,
        terms_of_answers=explain(" ".join(entry["line"] for entry in entries if entry["grade"] not in _MILD)),
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


def _sections(entries: Sequence[dict[str, Any]]) -> list[tuple[str, list[dict[str, Any]]]]:
    """Group findings by topic: the topic with the most severe finding first, then in the order of `TOPICS`.

    Within a topic those with nothing to act on come last. Those of earlier versions, which have no topic, are one group
    without a heading, in their own order.
    """
    grades = list(_GRADES)
    last = sorted(entries, key=lambda entry: entry["grade"] in _MILD)
    groups = {"": [entry for entry in entries if not entry["topic"]]}
    groups |= {topic: [entry for entry in last if entry["topic"] == topic] for topic in TOPICS}
    found = [(topic, group) for topic, group in groups.items() if group]
    return sorted(found, key=lambda item: min(grades.index(entry["grade"]) for entry in item[1]))


def _entry(finding: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Return a finding with its pictures as markup; samples of the data and full figures are listed apart."""
    figures = [
        figure
        | {
            "images": [
                inline_figure(folder / picture["file"], picture["alt"], pixelated=figure["tile"])
                for picture in figure["pictures"]
            ],
        }
        for figure in finding.get("figures", [])
    ]
    tables = [table | {"rows": [list(map(_cell, row)) for row in table["rows"]]} for table in finding.get("tables", [])]
    tiles = [figure for figure in figures if figure["tile"]]
    common, captions = _share([figure["caption"] for figure in tiles])
    return finding | {
        "topic": finding.get("topic", ""),
        "grade": finding.get("severity", finding["status"]),
        "line": finding.get("headline") or f"Not answered: {finding['reason'].rstrip('.')}.",
        "common": common,
        "tiles": [figure | {"caption": caption} for figure, caption in zip(tiles, captions, strict=True)],
        "plates": [figure for figure in figures if not figure["tile"]],
        "tables": tables,
        "terms": explain(_words(finding)),
    }


def _words(finding: dict[str, Any]) -> str:
    """Return all that a reader meets in a finding's section, as one text."""
    captions = [figure["caption"] for figure in finding.get("figures", [])]
    tables = [
        str(cell)
        for table in finding.get("tables", [])
        for cells in ([table["caption"]], table["columns"], *table["rows"])
        for cell in cells
    ]
    prose = [finding.get(part, "") for part in ("headline", "advice", "limits", "rule")]
    return " ".join([*prose[:1], *captions, *tables, *prose[1:], *finding.get("measures", {})])


def _cell(value: str | int | float) -> str | int | float:
    """Round the decimals in a text, such as an interval, to two significant digits; numbers stay as they are."""
    if not isinstance(value, str):
        return value
    return _DECIMAL.sub(lambda match: number(float(match[0]), 2), value)


def _share(captions: Sequence[str]) -> tuple[str, list[str]]:
    """Split off the clauses, up to a comma, with which all captions begin: they are shown once.

    >>> _share(["left | right, NCC 1", "left | right, NCC 0.9"])
    ('left | right', ['NCC 1', 'NCC 0.9'])
    """
    clauses = [caption.split(", ") for caption in captions]
    n = 0
    while len(clauses) > 1 and all(len(each) > n + 1 and each[n] == clauses[0][n] for each in clauses):
        n += 1
    return ", ".join(clauses[0][:n]) if n else "", [", ".join(each[n:]) for each in clauses]


def _verdict(facts: dict[str, Any]) -> str:
    """Return the worst severity in words, and how many questions have no answer."""
    findings, worst = facts["findings"], facts["worst"]
    n_open = sum(finding["status"] != "answered" for finding in findings)
    if worst is None or not n_open:
        return _VERDICTS[worst]
    verb = "has" if n_open == 1 else "have"
    return f"{_VERDICTS[worst]} {n_open} of {len(findings)} questions {verb} no answer."


def _fit(quality: dict[str, Any]) -> str:
    """Return the accuracy, or the loss of what is no classifier, on training and held-out samples."""
    parts = {"training": quality.get("training"), "held-out": quality.get("held_out")}
    measured = {name: part for name, part in parts.items() if part}
    if not measured:
        return ""
    is_classifier = all(part["accuracy"] is not None for part in measured.values())
    shares = [
        f"{_percent(part['accuracy']) if is_classifier else number(part['loss'], 2)} on {part['n']:,} {name} "
        f"sample{'s' if part['n'] != 1 else ''}"
        for name, part in measured.items()
    ]
    return f"{'Accuracy' if is_classifier else 'Loss'}: {', '.join(shares)}."


def _percent(share: float) -> str:
    return "over 99%" if 0.995 <= share < 1 else f"{share:.0%}"
