"""Write the pages of methods and papers, from docstrings and from the records of studies; each links to the other."""

import importlib
import inspect
import re
import shutil
from collections import defaultdict
from pathlib import Path
from types import ModuleType
from typing import Any

import assay
from assay import studies
from assay.lab import read_records, write_gallery
from assay.lab.records import older_methods, stale
from assay.rooms import ALL_ROOMS

RECORDS = Path(__file__).parents[1] / "records"
PACKAGES = (*assay.ROOMS, "audit", "lab", "core", "data", "nets")


def write_pages(docs: Path) -> None:
    """Write `methods/` and `papers/` below the folder of the documentation, and the gallery of all records."""
    for folder in (docs / "methods", docs / "papers", docs / "_build" / "extra"):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    tested_by = studies_by_method()
    for package in PACKAGES:
        write_package(docs / "methods", package, tested_by)
    rooms = [f"- {room_link(room.name, room.state)}: {room.question}" for room in ALL_ROOMS]
    pages = tree((f"{name}/index" for name in PACKAGES), hidden=True)
    others = [f"- :doc:`{name} <{name}/index>`" for name in PACKAGES if name not in assay.ROOMS]
    write(docs / "methods" / "index.rst", title("Methods"), *rooms, "", "Beside the rooms:\n", *others, "", pages)
    write_papers(docs)


def room_link(name: str, state: str) -> str:
    """Return a room's name as the index shows it: a link once the room is here."""
    return f":doc:`{name} <{name}/index>`" if state == "here" else f"{name} (planned)"


def studies_by_method() -> dict[str, list[str]]:
    """Return the slugs of the studies that test each public name, such as `adversarial.MALT`."""
    found = defaultdict(list)
    for slug, methods in studies.methods().items():
        for method in methods:
            found[page_of(method)].append(slug)
    return found


def page_of(method: str) -> str:
    """Return the path of a public name's page: its room and its name, whatever its topic."""
    room, *_, name = method.split(".")
    return f"{room}/{name}"


def write_package(folder: Path, package: str, tested_by: dict[str, list[str]]) -> None:
    """Write one page for each public name of a package, one for each of its topics, and its index."""
    module = importlib.import_module(f"assay.{package}")
    topics = {path.parent.name for path in Path(str(module.__file__)).parent.glob("*/__init__.py")}
    doors = {topic: importlib.import_module(f"assay.{package}.{topic}") for topic in sorted(topics)}
    doors = {topic: door for topic, door in doors.items() if hasattr(door, "__all__")}
    for home in (*doors.values(), module):  # what the room exports too is shown under the room's name
        for name in public(home):
            write_method(folder / package / f"{name}.rst", home, name, tested_by[f"{package}/{name}"])
    for topic, door in doors.items():
        write(folder / package / f"{topic}.rst", *contents(door, public(door)), tree(public(door), hidden=True))
    in_topics = {name for door in doors.values() for name in public(door)}
    flat = {name: value for name, value in public(module).items() if name not in in_topics}
    write(folder / package / "index.rst", *contents(module, flat), tree(doors), tree(flat, hidden=True))


def public(module: ModuleType) -> dict[str, Any]:
    """Return the classes and functions that a package exports."""
    exports = {name: getattr(module, name) for name in module.__all__}
    return {name: value for name, value in exports.items() if inspect.isclass(value) or inspect.isfunction(value)}


def contents(module: ModuleType, names: dict[str, Any]) -> list[str]:
    """Return a package's docstring, with its papers as links, and one line for each name."""
    text = mathematics(f"{inspect.getdoc(module)}\n")
    for slug in studies.slugs():
        text = re.sub(rf"(?<![\w`/<-]){slug}(?![\w`>-])", f":doc:`{slug} </papers/{slug}>`", text)
    lines = [f"- :doc:`{name}`: {summary(value)}" for name, value in names.items()]
    return [title(module.__name__), text, *lines, ""]


def write_method(page: Path, home: ModuleType, name: str, slugs: list[str]) -> None:
    """Write the page of one public name: its docstring, and the studies that test it."""
    directive = "autoclass" if inspect.isclass(getattr(home, name)) else "autofunction"
    heading = studies.titles()
    links = [f":doc:`{escape(heading[slug].rstrip('.'))} </papers/{slug}>`" for slug in slugs]
    tested = f".. seealso:: The paper's claims and what was measured: {'; '.join(links)}.\n" if links else ""
    write(page, title(name), f".. {directive}:: {home.__name__}.{name}\n", tested)


def write_papers(docs: Path) -> None:
    """Write one page for each study; those with a committed record show what was measured."""
    measured = {}
    if any(RECORDS.glob("*.json")):
        measured = {record["slug"]: record for record in read_records(RECORDS)}
        known = [studies.load(slug) for slug in studies.slugs() if slug in measured]
        write_gallery(RECORDS, docs / "_build" / "extra" / "gallery.html", studies=known)
    methods = studies.methods()
    for slug, heading in studies.titles().items():
        page, methods_line = docs / "papers" / f"{slug}.rst", method_links(methods[slug])
        head = (title(heading.rstrip(".")), methods_line)
        if slug in measured:
            write(page, *head, *record_sections(measured[slug], docs / "papers"), how_to_run(slug))
        else:
            write(page, *head, "This study has no committed record yet.\n", how_to_run(slug))
    gallery = "`All records on one page <../gallery.html>`__\n" if measured else ""
    write(docs / "papers" / "index.rst", title("Papers"), gallery, tree(studies.titles()))


def method_links(methods: tuple[str, ...]) -> str:
    """Return the line that leads from a paper to its methods."""
    links = [f":doc:`{method} </methods/{page_of(method)}>`" for method in methods]
    return f"Methods: {', '.join(links)}.\n" if links else ""


def record_sections(record: dict[str, Any], folder: Path) -> list[str]:
    """Return what a study claims, what was measured, and its figures."""
    paper = record["paper"]
    arxiv = f" `arXiv:{paper['arxiv']} <https://arxiv.org/abs/{paper['arxiv']}>`__." if paper["arxiv"] else ""
    how = f"Measured at the scale `{record['scale']}` with seed {record['seed']} on {record['device']}"
    took = f"{record['timings']['cpu_seconds']:.0f} CPU seconds, {record['peak_memory_mb']:.0f} MB at most"
    first, *others = [figure_of(entry, folder) for entry in record["figures"]] or [""]
    sections = [f"{escape(paper['authors'])} ({paper['year']}).{arxiv}\n", f"{how}: {took}.\n"]
    sections += [age(record), *substitutes(record), first]
    for claim in record["claims"]:
        sections += [title(f"{claim['id']}: {claim['verdict']}", "-"), f"{escape(claim['text'])}{origin(claim)}\n"]
        sections += [evidence_line(piece) for piece in record["evidence"] if piece["claim"] == claim["id"]]
        sections.append("")
    return sections + others + [table(entry) for entry in record["tables"]]


def age(record: dict[str, Any]) -> str:
    """Return what a reader must know where the code has changed since the record was made."""
    study = studies.load(record["slug"])
    if sentence := stale(record, study):
        return f".. warning:: {escape(sentence)}\n"
    if older_methods(record, study):
        return ".. note:: Measured with an earlier version of the methods.\n"
    return ""


def substitutes(record: dict[str, Any]) -> list[str]:
    """Return which data sets stood in for those that were not there."""
    pairs = [(wanted, used) for wanted, used in record.get("data", {}).items() if wanted != used]
    return [f"`{wanted}` was not there{f': measured on `{used}` instead' if used else ''}.\n" for wanted, used in pairs]


def origin(claim: dict[str, Any]) -> str:
    """Return where the paper makes a claim and the figure that it gives."""
    if claim.get("ours"):
        return " (Ours, not the paper's.)"
    return f" (Paper: {escape(claim['paper'])}.)" if claim.get("paper") else ""


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
    """Return a table of contents; nothing where there is no page."""
    pages = tuple(pages)
    if not pages:
        return ""
    options = ["   :hidden:"] if hidden else ["   :maxdepth: 1"]
    return "\n".join([".. toctree::", *options, "", *(f"   {page}" for page in pages), ""])


def escape(text: str) -> str:
    """Keep plain words from being read as markup."""
    return "".join(f"\\{letter}" if letter in "\\*`|_" else letter for letter in text)


def write(path: Path, *parts: str) -> None:
    """Write a page."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(parts), encoding="utf-8")
