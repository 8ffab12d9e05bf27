"""`tools/new_paper.py` writes every place of a new paper; the house holds, but for the texts that are to be filled."""

import ast
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from helpers.source_code import PROJECT

TITLE = "Estimating Gradients of Signs (Doe and Roe, 2023)"
CASES = {
    "a planned room": ["compression", "sign-gradients"],
    "a topic in a planned room": ["compression", "sign-gradients", "--topic", "binarization"],
    "a room that is here": ["landscape", "sign-gradients"],
    "a new topic": ["landscape", "sign-gradients", "--topic", "signs"],
    "a topic that is here": ["privacy", "sign-gradients", "--topic", "membership"],
}


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    path = PROJECT / "tools" / "new_paper.py"
    spec = importlib.util.spec_from_file_location("new_paper", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["new_paper"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the project, without its data and records."""
    for folder in ("src", "tests", "tools"):
        skipped = shutil.ignore_patterns("embedded", "__pycache__")
        shutil.copytree(PROJECT / folder, tmp_path / folder, ignore=skipped)
    for file in ("pyproject.toml", "README.md", "CHANGELOG.md", "CONTRIBUTING.md"):
        shutil.copy(PROJECT / file, tmp_path)
    return tmp_path


def run(project: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(project / "src")}
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("arguments", CASES.values(), ids=CASES.keys())
def test_what_is_written_is_well_formed_and_listed(
    tool: ModuleType, copy: Path, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    assert tool.main([*arguments, "--title", TITLE], root=copy) == 0
    written = capsys.readouterr().out.splitlines()[:-1]
    assert run(copy, "-m", "ruff", "check", *[path for path in written if path.endswith(".py")]).stdout.strip() == (
        "All checks passed!"
    )
    room, topic = arguments[0], arguments[3] if len(arguments) > 2 else ""
    package = copy.joinpath("src", "assay", room, topic) / "__init__.py"
    assert "sign-gradients" in str(ast.get_docstring(ast.parse(package.read_text())))
    listed = run(
        copy, "-c", "import assay.studies as s; print(s.titles()['sign-gradients'], s.rooms()['sign-gradients'])"
    )
    assert listed.stdout.strip() == f"{TITLE}. {room}"
    shown = run(copy, "-c", f"import assay; print('{room}' in assay.ROOMS)")
    assert shown.stdout.strip() == "True"
    (declared,) = re.findall(
        rf'Room\(\s*"{room}",.*?\),\n(?=    Room|\))', (copy / "src/assay/rooms.py").read_text(), re.S
    )
    assert not topic or f'"{topic}"' in declared
    left = [path for path in written if tool.MARK in (copy / path).read_text()]
    quiet = {"pyproject.toml", "README.md", "src/assay/rooms.py", f"src/assay/studies/{room}/__init__.py"}
    assert set(written) - set(left) <= quiet | {"src/assay/studies/" + room + "/sign_gradients/__init__.py"}


@pytest.mark.slow
@pytest.mark.parametrize("case", ["a planned room", "a topic that is here"])
def test_the_house_holds_but_for_what_is_to_be_filled(tool: ModuleType, copy: Path, case: str) -> None:
    tool.main([*CASES[case], "--title", TITLE], root=copy)
    skeleton = "tests/test_house_rules.py::test_no_skeleton_is_left_to_fill"
    rules = ("tests/test_rooms.py", "tests/test_packages.py", skeleton)
    done = run(copy, "-m", "pytest", "-q", "-p", "no:cacheprovider", *rules)
    assert re.findall(r"^FAILED (\S+)", done.stdout, re.MULTILINE) == [skeleton]


@pytest.mark.parametrize("topic", ["", "membership", "new_topic"])
def test_a_room_with_a_file_of_rows_a_topic_gets_a_row_that_is_read(tool: ModuleType, copy: Path, topic: str) -> None:
    tool.main(["privacy", "some-paper", *(["--topic", topic] if topic else []), "--title", TITLE], root=copy)
    assert not (copy / "tests/helpers/rows/privacy.py").exists()
    rows = copy / "tests/helpers/rows/privacy" / f"{topic or 'some_paper'}.py"
    assert "Analysis(measure_some_paper)" in rows.read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["attic", "some-paper"], "there is no room 'attic'; choose one of reconstruction, privacy"),
        (["privacy", "Some_Paper"], "use lower-case words and hyphens"),
        (["privacy", "malt"], "there is a study of this name"),
        (["privacy", "some-paper", "--topic", "My-Topic"], "use a lower-case noun"),
        (["privacy", "some-paper", "--title", "A Title"], "give 'TITLE (AUTHORS, YEAR)'"),
        (["privacy", "some-paper", "--title", 'A "Title" (A. Uthor, 2020)'], "a double quote or a backslash"),
        (["landscape", "lambda"], "a word of Python's own"),
        (["landscape", "spectrum"], "there is a module 'spectrum'"),
        (["landscape", "some-paper", "--topic", "spectrum"], "is a module of the room"),
    ],
)
def test_bad_names_are_refused_before_anything_is_written(
    tool: ModuleType, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    with pytest.raises(SystemExit, match="2"):
        tool.main(arguments)
    assert message in capsys.readouterr().err
