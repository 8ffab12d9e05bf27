import subprocess
import sys
from pathlib import Path

import pytest

import assay.studies
from assay.core import InvalidInputError

STUDY = '''"""{title}

More words.
"""

from assay.lab import Claim, Paper, Study
from dataclasses import dataclass


@dataclass(frozen=True)
class Settings:
    seeds: int = 1


STUDY = Study("{slug}", Paper("T", "A", 2020), {{"C1": Claim("so", ours=True)}}, {{"smoke": Settings()}})
'''


def put(room: Path, slug: str, text: str) -> None:
    """Write a study's package."""
    package = room / slug.replace("-", "_")
    package.mkdir(parents=True)
    for folder in (room, package):
        (folder / "__init__.py").touch()
    (package / "study.py").write_text(text)


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two rooms of studies in place of the package's own."""
    for room, slug in (("shelf_one", "first-paper"), ("shelf_two", "second-paper")):
        put(tmp_path / room, slug, STUDY.format(slug=slug, title=f"Title of {slug} (A. Uthor, 2020)"))
    (tmp_path / "shelf_one" / "shared").mkdir()
    (tmp_path / "shelf_one" / "shared" / "networks.py").touch()
    monkeypatch.setattr(assay.studies, "__path__", [str(tmp_path)])
    yield tmp_path
    for name in [name for name in sys.modules if name.startswith("assay.studies.shelf_")]:
        del sys.modules[name]
    for room in ("shelf_one", "shelf_two"):
        vars(assay.studies).pop(room, None)


def test_studies_are_listed_by_folder_and_docstring(shelf: Path) -> None:
    assert assay.studies.slugs() == ["first-paper", "second-paper"]
    assert assay.studies.titles() == {
        "first-paper": "Title of first-paper (A. Uthor, 2020)",
        "second-paper": "Title of second-paper (A. Uthor, 2020)",
    }
    assert assay.studies.rooms() == {"first-paper": "shelf_one", "second-paper": "shelf_two"}


def test_methods_are_read_from_the_declaration(shelf: Path) -> None:
    named = STUDY.replace('smoke": Settings()}}', 'smoke": Settings()}}, methods=("optim.Adam", "optim.SGD")')
    put(shelf / "shelf_two", "third-paper", named.format(slug="third-paper", title="T"))
    assert assay.studies.methods() == {
        "first-paper": (),
        "second-paper": (),
        "third-paper": ("optim.Adam", "optim.SGD"),
    }


def test_a_study_is_loaded_by_its_slug(shelf: Path) -> None:
    assert assay.studies.load("second-paper").slug == "second-paper"
    assert "assay.studies.shelf_one.first_paper" not in sys.modules


@pytest.mark.parametrize(
    ("slug", "message"),
    [
        ("first-papr", "did you mean first-paper"),
        ("first_paper", "did you mean first-paper"),
        ("zzz", "`assay list` shows all studies"),
        ("../../cli", "there is no study"),
    ],
)
def test_an_unknown_study_names_its_neighbours(shelf: Path, slug: str, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        assay.studies.load(slug)


def test_a_slug_that_differs_from_its_folder_is_refused(shelf: Path) -> None:
    put(shelf / "shelf_one", "third", STUDY.format(slug="other", title="T"))
    with pytest.raises(InvalidInputError, match="make it 'third'"):
        assay.studies.load("third")


def test_a_study_without_docstring_is_refused(shelf: Path) -> None:
    put(shelf / "shelf_one", "third", "STUDY = None")
    with pytest.raises(InvalidInputError, match="has no docstring"):
        assay.studies.titles()


def test_one_name_in_two_rooms_is_refused(shelf: Path) -> None:
    put(shelf / "shelf_two", "first-paper", '"""T."""')
    with pytest.raises(InvalidInputError, match="two studies are named 'first-paper'"):
        assay.studies.slugs()


def test_listing_imports_neither_torch_nor_the_studies() -> None:
    program = (
        "import sys, assay.studies as s; s.slugs(); s.titles(); s.rooms(); s.methods(); import assay.lab; "
        "print(*sorted(m for m in sys.modules if m in ('torch', 'numpy', 'matplotlib') "
        "or m.startswith('assay.studies.')))"
    )
    ran = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert ran.stdout.strip() == ""
