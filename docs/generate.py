"""Write the pages of methods and papers: the first from docstrings, the second from the records of studies."""

import importlib
import inspect
import re
import shutil
from pathlib import Path
from typing import Any

import assay
from assay import studies
from assay.core import InvalidInputError
from assay.lab import read_records, write_gallery

RECORDS = Path(__file__).parents[1] / "records"
PACKAGES = (*assay.ROOMS, "audit", "lab", "core", "data", "nets")


def write_pages(docs: Path) -> None:
    """Write `methods/` and `papers/` below the folder of the documentation, and the gallery of all records."""
    for folder in (docs / "methods", docs / "papers", docs / "_build" / "extra"):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    for package in PACKAGES:
        write_package(docs / "methods", package)
    write(docs / "methods" / "index.rst", title("Methods"), tree(f"{name}/index" for name in PACKAGES))
    write_papers(docs)


def write_package(folder: Path, package: str) -> None:
    """Write one page for each public name of a package, and its index."""
    module = importlib.import_module(f"assay.{package}")
    public = {name: getattr(module, name) for name in module.__all__}
    names = [name for name, value in public.items() if inspect.isclass(value) or inspect.isfunction(value)]
    for name in names:
        directive = "autoclass" if inspect.isclass(public[name]) else "autofunction"
        write(folder / package / f"{name}.rst", title(name), f".. {directive}:: assay.{package}.{name}\n")
    write(
        folder / package / "index.rst",
        title(f"assay.{package}"),
        mathematics(f"{inspect.getdoc(module)}\n"),
        *(f"- :doc:`{name}`: {summary(public[name])}" for name in names),
        "",
        tree(names, hidden=True),
    )


def write_papers(docs: Path) -> None:
    """Write one page for each study; those with a committed record show what was measured."""
    try:
        records = {record["slug"]: record for record in read_records(RECORDS)}
        write_gallery(RECORDS, docs / "_build" / "extra" / "gallery.html")
    except InvalidInputError:  # no study has a record yet
        records = {}
    for slug, heading in studies.titles().items():
        heading = heading.rstrip(".")
        page = docs / "papers" / f"{slug}.rst"
        if slug in records:
            write(page, title(heading), *record_sections(records[slug], docs / "papers"), how_to_run(slug))
        else:
            write(page, title(heading), "This study has no committed record yet.\n", how_to_run(slug))
    gallery = "`All records on one page <../gallery.html>`__\n" if records else ""
    write(docs / "papers" / "index.rst", title("Papers"), gallery, tree(studies.titles()))


def record_sections(record: dict[str, Any], folder: Path) -> list[str]:
    """Return what a study claims, what was measured, and its figures."""
    paper = record["paper"]
    arxiv = f" `arXiv:{paper['arxiv']} <https://arxiv.org/abs/{paper['arxiv']}>`__." if paper["arxiv"] else ""
    how = f"Measured at the scale `{record['scale']}` with seed {record['seed']} on {record['device']}"
    took = f"{record['timings']['cpu_seconds']:.0f} CPU seconds, {record['peak_memory_mb']:.0f} MB at most"
    first, *others = [figure_of(entry, folder) for entry in record["figures"]] or [""]
    sections = [f"{escape(paper['authors'])} ({paper['year']}).{arxiv}\n", f"{how}: {took}.\n", first]
    for claim in record["claims"]:
        sections += [title(f"{claim['id']}: {claim['verdict']}", "-"), f"{escape(claim['text'])}\n"]
        sections += [evidence_line(piece) for piece in record["evidence"] if piece["claim"] == claim["id"]]
        sections.append("")
    return sections + others + [table(entry) for entry in record["tables"]]


def figure_of(entry: dict[str, str], folder: Path) -> str:
    """Copy a record's figure beside its page and return the lines that show it."""
    shutil.copy(RECORDS / entry["file"], folder)
    caption = escape(entry["caption"])
    return f".. figure:: {entry['file']}\n   :alt: {caption}\n\n   {caption}\n"


def evidence_line(piece: dict[str, Any]) -> str:
    """Return one measurement as an item of a list."""
    if piece["reason"]:
        return f"- {escape(piece['what'])}: {piece['verdict']} ({escape(piece['reason'])})"
    values, interval, bar = piece["values"], piece["interval"], piece["bar"]
    measured = f"**{values[0]:.4g}**"
    if interval:
        span = f"[{interval['low']:.4g}, {interval['high']:.4g}]"
        measured = f"**{interval['mean']:.4g}**, 95% interval {span} over {len(values)} seeds"
    sides = {"at_least": "at least", "at_most": "at most"}
    asked = f"; bar: {sides[bar['side']]} {bar['value']:g}" if bar else ""
    return f"- {escape(piece['what'])}: {measured}{asked} ({piece['verdict']})"


def table(entry: dict[str, Any]) -> str:
    """Return a study's table."""
    lines = [f".. list-table:: {escape(entry['caption'])}", "   :header-rows: 1", ""]
    for row in (entry["columns"], *entry["rows"]):
        cells = [f"{cell:.4g}" if isinstance(cell, float) else escape(str(cell)) for cell in row]
        lines += [f"   {'*' if index == 0 else ' '} - {cell}" for index, cell in enumerate(cells)]
    return "\n".join([*lines, ""])


def how_to_run(slug: str) -> str:
    """Return the lines that say how to repeat a study."""
    return f"{title('Run it', '-')}\n.. code-block:: console\n\n   $ assay study {slug}\n"


def summary(value: Any) -> str:
    """Return the first sentence of a docstring."""
    first = (inspect.getdoc(value) or "").split("\n\n")[0].replace("\n", " ")
    return mathematics(first.split("$$")[0].split(". ")[0])


def mathematics(text: str) -> str:
    r"""Turn `$...$` and `$$...$$`, which are easy to read in an editor, into Sphinx's own markup."""

    def display(match: re.Match[str]) -> str:
        return f"\n\n.. math:: {' '.join(match[1].split())}\n\n"

    text = re.sub(r"\$\$(.+?)\$\$", display, text, flags=re.DOTALL)
    return re.sub(r"(?<![\\`$\w])\$([^$`]+)\$", lambda match: f":math:`{match[1]}`", text)


def title(text: str, line: str = "=") -> str:
    """Return a heading."""
    return f"{escape(text)}\n{line * (2 * len(text))}\n"


def tree(pages: Any, *, hidden: bool = False) -> str:
    """Return a table of contents."""
    options = ["   :hidden:"] if hidden else ["   :maxdepth: 1"]
    return "\n".join([".. toctree::", *options, "", *(f"   {page}" for page in pages), ""])


def escape(text: str) -> str:
    """Keep plain words from being read as markup."""
    return "".join(f"\\{letter}" if letter in "\\*`|_" else letter for letter in text)


def write(path: Path, *parts: str) -> None:
    """Write a page."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(parts), encoding="utf-8")
