"""The rooms are declared once, in `assay.rooms`; every other list agrees with it."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import assay
from assay.rooms import ALL_ROOMS, Room

PACKAGE = Path(assay.__file__).parent
PROJECT = Path(__file__).parents[1]
HERE = [room for room in ALL_ROOMS if room.state == "here"]

LINT = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(no_cache=True))"


def named(room: Room) -> str:
    return room.name


def contract_layers() -> list[list[str]]:
    """Return the layers of the import contract, from the top down."""
    settings = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))
    (contract,) = settings["tool"]["importlinter"]["contracts"]
    return [re.split(r"\s*\|\s*", layer) for layer in contract["layers"]]


@pytest.mark.parametrize("room", ALL_ROOMS, ids=named)
def test_a_room_is_here_exactly_when_its_package_is(room: Room) -> None:
    assert (PACKAGE / room.name / "__init__.py").exists() == (room.state == "here")
    assert (room.name in assay.ROOMS) == (room.state == "here")


@pytest.mark.parametrize("room", HERE, ids=named)
def test_a_rooms_topics_are_its_folders(room: Room) -> None:
    assert sorted(room.topics) == sorted(path.parent.name for path in (PACKAGE / room.name).glob("*/__init__.py"))


@pytest.mark.parametrize("room", HERE, ids=named)
def test_every_room_has_studies_and_tests(room: Room) -> None:
    assert (PACKAGE / "studies" / room.name / "__init__.py").exists()
    assert (PROJECT / "tests" / room.name).is_dir()
    rows = PROJECT / "tests" / "helpers" / "rows"
    assert (rows / f"{room.name}.py").exists() or (rows / room.name / "__init__.py").exists()


def test_studies_are_of_rooms() -> None:
    assert {path.parents[1].name for path in PACKAGE.glob("studies/*/*/study.py")} <= set(assay.ROOMS)


def test_the_contract_keeps_all_rooms_apart_on_one_layer() -> None:
    (layer,) = [layer for layer in contract_layers() if "reconstruction" in layer]
    assert layer == [room.name if room.state == "here" else f"({room.name})" for room in ALL_ROOMS]


def test_the_readme_shows_the_rooms() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (.*) \| (here|planned) \|$", (PROJECT / "README.md").read_text("utf-8"), re.M)
    assert rows == [(room.name, room.question, room.state) for room in ALL_ROOMS]


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the package's code and of the project's import contract."""
    shutil.copy(PROJECT / "pyproject.toml", tmp_path)
    shutil.copytree(PACKAGE, tmp_path / "src" / "assay", ignore=shutil.ignore_patterns("embedded", "__pycache__"))
    return tmp_path


def lint(project: Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(project / "src")}
    return subprocess.run(
        [sys.executable, "-c", LINT], cwd=project, env=environment, capture_output=True, text=True, check=False
    )


def test_the_contract_accepts_the_house_as_it_is(copy: Path) -> None:
    done = lint(copy)
    assert done.returncode == 0, done.stdout


def test_a_room_outside_the_contract_is_refused(copy: Path) -> None:
    (copy / "src" / "assay" / "forgotten").mkdir()
    (copy / "src" / "assay" / "forgotten" / "__init__.py").write_text('"""A room."""\n')
    done = lint(copy)
    assert done.returncode != 0
    assert "assay.forgotten" in done.stdout


@pytest.mark.parametrize("imported", ["assay.lab", "assay.reconstruction"])
def test_a_room_may_import_neither_the_lab_nor_another_room(copy: Path, imported: str) -> None:
    room = ALL_ROOMS[-1].name  # planned or here, the contract knows it
    package = copy / "src" / "assay" / room / "__init__.py"
    package.parent.mkdir(exist_ok=True)
    with open(package, "a", encoding="utf-8") as file:
        file.write(f"\nimport {imported}\n")
    done = lint(copy)
    assert done.returncode != 0
    assert re.search(rf"assay\.{room} is not allowed to import {re.escape(imported)}", done.stdout)
