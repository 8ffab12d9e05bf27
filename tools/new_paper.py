"""Write the skeleton of every place that a new paper needs; its texts fail the tests until they are filled.

Usage: python tools/new_paper.py ROOM SLUG [--topic TOPIC] [--title 'TITLE (AUTHORS, YEAR)']
"""

import argparse
import ast
import keyword
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
SKELETON = Path(__file__).parent / "skeleton"
MARK = "FILL" + "_IN"  # in two parts, so that a search for what is left does not find this file

HEADING = re.compile(r"(?P<title>.+) \((?P<authors>.+), (?P<year>\d{4})\)")


@dataclass(frozen=True)
class NewPaper:
    """Names of a new paper's places.

    Args:
        room: The room of its method.
        slug: The paper's name on the command line, such as ``some-paper``.
        topic: The folder of its method in the room; empty where it lies flat.
        heading: Its title, authors and year, as lists show them.
        title: The title alone.
        authors: The authors alone.
        year: The year alone, as a number in Python.
    """

    room: str
    slug: str
    topic: str
    heading: str
    title: str
    authors: str
    year: str

    @property
    def names(self) -> dict[str, str]:
        """What the skeleton's texts refer to."""
        module = self.slug.replace("-", "_")
        package = f"{self.room}.{self.topic}" if self.topic else self.room
        return {**asdict(self), "module": module, "package": package, "function": f"measure_{module}"}


def main(argv: Sequence[str] | None = None, root: Path = ROOT) -> int:
    """Write the skeleton and print what was written.

    Args:
        argv: The arguments; by default those of the process.
        root: The project's folder.

    Returns:
        The exit code.
    """
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("room", help="one of the rooms in src/assay/rooms.py")
    parser.add_argument("slug", help="the paper's name, lower case with hyphens: some-paper")
    parser.add_argument("--topic", default="", help="the method's folder in the room, from four files on: some_topic")
    parser.add_argument(
        "--title", default=f"{MARK} the title ({MARK} the authors, 1900)", help="'TITLE (AUTHORS, YEAR)'"
    )
    given = parser.parse_args(argv)
    if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", given.slug):
        parser.error(f"the slug is {given.slug!r}; use lower-case words and hyphens, a letter first: some-paper")
    if given.topic and not re.fullmatch(r"[a-z][a-z0-9_]*", given.topic):
        parser.error(f"the topic is {given.topic!r}; use a lower-case noun that Python can import: some_topic")
    if not (heading := HEADING.fullmatch(given.title)):
        parser.error(f"the title is {given.title!r}; give 'TITLE (AUTHORS, YEAR)'")
    if given.room not in declared_rooms(root):
        parser.error(f"there is no room {given.room!r}; choose one of {', '.join(declared_rooms(root))}")
    room, module = root / "src" / "assay" / given.room, given.slug.replace("-", "_")
    for name in (module, given.topic):
        if keyword.iskeyword(name):
            parser.error(f"{name!r} is a word of Python's own; choose another")
    if given.topic and (room / f"{given.topic}.py").exists():
        parser.error(f"the topic {given.topic!r} is a module of the room; choose another, or move the module first")
    if (room / given.topic / f"{module}.py").exists():
        parser.error(f"there is a module {module!r} in {room / given.topic}; choose another slug")
    if set(given.title) & set('"\\'):
        parser.error("the title holds a double quote or a backslash; leave them out, and write them in afterwards")
    if taken := list((root / "src" / "assay" / "studies").glob(f"*/{module}")):
        parser.error(f"there is a study of this name in {taken[0]}; choose another slug")
    paper = NewPaper(given.room, given.slug, given.topic, given.title, **heading.groupdict())
    written = write_skeleton(paper, root)
    tidy(written, root)
    print("\n".join(str(path.relative_to(root)) for path in written))
    print(f"Fill what `grep -rn {MARK} src tests CHANGELOG.md` finds; CONTRIBUTING.md says how.")
    return 0


def declared_rooms(root: Path) -> dict[str, ast.Call]:
    """Return the declaration of each room, by its name, as `rooms.py` writes it."""
    tree = ast.parse((root / "src" / "assay" / "rooms.py").read_text(encoding="utf-8"))
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and ast.unparse(node.func) == "Room"]
    return {ast.literal_eval(call.args[0]): call for call in calls}


def write_skeleton(paper: NewPaper, root: Path) -> list[Path]:
    """Write or extend every place and return the files, in the order of writing."""
    names = paper.names
    package = root / "src" / "assay" / names["package"].replace(".", "/")
    tests = root / "tests" / names["package"].replace(".", "/")
    study = root / "src" / "assay" / "studies" / paper.room / names["module"]
    rows = root / "tests" / "helpers" / "rows" / f"{paper.room}.py"
    if rows.with_suffix("").is_dir():  # a file a topic
        rows = rows.with_suffix("") / f"{paper.topic or names['module']}.py"
    skeletons = {
        package / f"{names['module']}.py": "method",
        tests / f"test_{names['module']}.py": "test_method",
        study / "__init__.py": "study_init",
        **{study / f"{part}.py": part for part in ("study", "settings", "cells", "figures")},
        root / "tests" / "studies" / paper.room / f"test_{names['module']}.py": "test_study",
    }
    for path, skeleton in skeletons.items():
        write_new(path, skeleton, names)
    extended = [*export(paper, root), *declare_room(paper, root), root / "CHANGELOG.md"]
    if rows.exists():
        add_row(rows, names)
    else:
        write_new(rows, "rows", names)
    add_change(root / "CHANGELOG.md", names)
    return [*skeletons, rows, *extended]


def write_new(path: Path, skeleton: str, names: dict[str, str]) -> None:
    """Write a file of the skeleton, which must not be there yet."""
    text = (SKELETON / f"{skeleton}.txt").read_text(encoding="utf-8")
    for name, value in names.items():
        text = text.replace(f"<<{name}>>", value)
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "x", encoding="utf-8") as file:
        file.write(text)


def export(paper: NewPaper, root: Path) -> list[Path]:
    """Export the method from its topic, or from its room where it lies flat; make both packages where they are new."""
    names, room = paper.names, root / "src" / "assay" / paper.room / "__init__.py"
    package = root / "src" / "assay" / names["package"].replace(".", "/") / "__init__.py"
    is_new = not package.exists()
    if is_new:
        write_new(package, "package", names)
    else:
        add_export(package, names)
        append_to_docstring(package, f"{MARK} in a phrase. Papers: {paper.slug}.")
    if not paper.topic:
        return [package]
    if not room.exists():
        write_new(room, "room_of_topics", names)
    else:
        line = f"- `{paper.topic}`: {MARK} ({paper.slug})." if is_new else f"{MARK} `{paper.topic}` ({paper.slug})."
        append_to_docstring(room, line)
    return [package, room]


def add_export(package: Path, names: dict[str, str]) -> None:
    """Add the method to a package's imports and to its `__all__`."""
    text = package.read_text(encoding="utf-8")
    line = f"from assay.{names['package']}.{names['module']} import {names['function']}\n"
    before, rest = text.split("__all__ = [\n", 1)
    package.write_text(f'{before.rstrip()}\n{line}\n__all__ = [\n    "{names["function"]}",\n{rest}', encoding="utf-8")


def append_to_docstring(package: Path, line: str) -> None:
    """Add a line at the end of a package's docstring."""
    text = package.read_text(encoding="utf-8")
    end = text.index('"""', 3)
    package.write_text(f"{text[:end].rstrip()}\n\n{line}\n{text[end:]}", encoding="utf-8")


def declare_room(paper: NewPaper, root: Path) -> list[Path]:
    """Open the room where it was planned, and declare its topic."""
    rooms, contract, readme = root / "src" / "assay" / "rooms.py", root / "pyproject.toml", root / "README.md"
    call = declared_rooms(root)[paper.room]
    _, question, state = (ast.literal_eval(argument) for argument in call.args)
    topics = {
        *(ast.literal_eval(call.keywords[0].value) if call.keywords else ()),
        *([paper.topic] * bool(paper.topic)),
    }
    options = f", topics={tuple(sorted(topics))!r}" if topics else ""
    text = rooms.read_text(encoding="utf-8")
    old = str(ast.get_source_segment(text, call))
    rooms.write_text(text.replace(old, f'Room("{paper.room}", "{question}", "here"{options})'), encoding="utf-8")
    if state == "here":
        return [rooms]
    replace(contract, f"({paper.room})", paper.room)
    replace(readme, f"| `{paper.room}` | {question} | planned |", f"| `{paper.room}` | {question} | here |")
    studies = root / "src" / "assay" / "studies" / paper.room / "__init__.py"
    studies.write_text(f'"""Studies of `assay.{paper.room}`."""\n', encoding="utf-8")
    return [rooms, contract, readme, studies]


def replace(path: Path, old: str, new: str) -> None:
    """Replace a text that must be there."""
    text = path.read_text(encoding="utf-8")
    if old not in text:
        raise SystemExit(f"{path} does not say {old!r}; mend it, then run this again in a clean checkout")
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


def add_row(rows: Path, names: dict[str, str]) -> None:
    """Add the method's row to its room's part of the battery."""
    row = f"ROWS = (\n    Analysis({names['function']}),  # {MARK}: its kind and options\n"
    replace(rows, "ROWS = (\n", row)
    text = rows.read_text(encoding="utf-8")
    end = text.index('"""', 3) + 4
    lines = f"\nfrom assay.{names['package']} import {names['function']}\nfrom helpers.rows.base import Analysis\n"
    rows.write_text(text[:end] + lines + text[end:].lstrip("\n"), encoding="utf-8")


def add_change(changelog: Path, names: dict[str, str]) -> None:
    """Add a line to the newest version's changes."""
    head, newest, *older = re.split(r"^(?=## )", changelog.read_text(encoding="utf-8"), flags=re.MULTILINE)
    newest = f"{newest.rstrip()}\n- `assay.{names['package']}`: {MARK} ({names['slug']}).\n"
    changelog.write_text(head + newest + "".join(f"\n{part}" for part in older), encoding="utf-8")


def tidy(written: Sequence[Path], root: Path) -> None:
    """Bring what was written into the house's form, imports and exports sorted."""
    files = [str(path) for path in written if path.suffix == ".py"]
    ruff = [sys.executable, "-m", "ruff"]
    subprocess.run([*ruff, "check", "--quiet", "--fix", "--select", "I,RUF022", *files], cwd=root, check=True)
    subprocess.run([*ruff, "format", "--quiet", *files], cwd=root, check=True)


if __name__ == "__main__":
    sys.exit(main())
