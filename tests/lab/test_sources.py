import importlib
import itertools
import linecache
import textwrap
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from assay.core import InvalidInputError
from assay.lab.modules import pinned_sources
from assay.lab.sources import _closure, code_digest, figures_source, study_sources
from helpers.lab_demo import make_study, measure_draws

FILES = {
    "__init__.py": "",
    "study.py": """
        from NAME.cells import train
        from NAME.figures import draw
        BAR, CAPTION = 0.5, "what is shown"
        def run(settings, lab): ...
        def here(seed): return seed
        """,
    "cells.py": """
        from typing import TYPE_CHECKING
        import numpy
        from assay.privacy import pools_of_nobody
        from NAME.parts import half
        from .nets import build as make
        if TYPE_CHECKING:
            from NAME import typed
        def train(seed):
            from NAME import late
            return half(make(seed)) + late.offset()
        """,
    "figures.py": "def draw(): ...",
    "typed.py": "class Settings: ...",
    "late.py": "def offset(): return 0",
    "nets.py": "def build(seed): return seed",
    "unused.py": "THIS = 1",
    "parts/__init__.py": """
        from NAME.parts.halves import half
        from NAME.parts.other import quarter
        """,
    "parts/halves.py": "def half(x): return x / 2",
    "parts/other.py": "def quarter(x): return x / 4",
}


COUNTER = itertools.count()


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A study's package under a name of its own, on the search path."""
    name = f"written_study_{next(COUNTER)}"
    for file, text in FILES.items():
        path = tmp_path / name / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text).replace("NAME", name).replace("pools_of_nobody", "LiRA"))
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path / name


def function(package: Path, module: str, name: str) -> Callable[..., Any]:
    return getattr(importlib.import_module(f"{package.name}.{module}"), name)


def changes(path: Path, digest: Callable[[], Any], text: str = "\nADDED = 1\n") -> bool:
    before, original = digest(), path.read_text()
    path.write_text(original + text)
    after = digest()
    path.write_text(original)
    assert digest() == before
    return after != before


def test_a_cells_code_is_its_file_and_what_that_imports(package: Path) -> None:
    train = function(package, "cells", "train")
    counted = {file for file in FILES if changes(package / file, lambda: code_digest(train))}
    assert counted == {"cells.py", "late.py", "nets.py", "parts/halves.py"}


def test_a_function_of_the_study_file_counts_that_file(package: Path) -> None:
    here = function(package, "study", "here")
    assert changes(package / "study.py", lambda: code_digest(here))
    assert changes(package / "nets.py", lambda: code_digest(here))
    assert not changes(package / "figures.py", lambda: code_digest(here))


@pytest.mark.parametrize("method", ["Large.compute", "Large().compute"])
def test_a_method_counts_the_class_that_it_is_called_on(package: Path, method: str) -> None:
    (package / "nets.py").write_text(
        "from dataclasses import dataclass\n@dataclass\nclass Base:\n    size = 1\n"
        "    @classmethod\n    def compute(cls, x): return cls.size * x\n"
    )
    (package / "late.py").write_text(
        f"from {package.name}.nets import Base\nclass Large(Base):\n    size = 2\nclass Small(Base): ...\n"
    )
    late = importlib.import_module(f"{package.name}.late")
    assert changes(package / "late.py", lambda: code_digest(eval(method, vars(late))))  # noqa: S307
    assert code_digest(late.Large.compute) != code_digest(late.Small.compute)


@pytest.mark.parametrize(
    ("exports", "counted"),
    [
        ("from NAME.parts.other import half\nhalf = half if half else None\n", {"parts/__init__.py", "parts/other.py"}),
        ("from NAME.parts.other import *\nfrom NAME.parts.halves import *\n", {"parts/halves.py", "parts/other.py"}),
        (
            "try:\n    from NAME.parts.other import half\nexcept:\n    from NAME.parts.halves import half\n",
            {"parts/halves.py", "parts/other.py"},
        ),
    ],
    ids=("bound again", "two stars", "tried"),
)
@pytest.mark.parametrize("taken", ["half", "*"])
def test_a_package_that_makes_a_name_of_several_things_counts(
    package: Path, exports: str, counted: set[str], taken: str
) -> None:
    (package / "parts" / "other.py").write_text("def half(x): return x / 2\n")
    (package / "parts" / "__init__.py").write_text(exports.replace("NAME", package.name))
    (package / "cells.py").write_text(f"from {package.name}.parts import {taken}\ndef train(seed): return half(seed)\n")
    train = function(package, "cells", "train")
    assert {file for file in FILES if changes(package / file, lambda: code_digest(train))} >= counted


RATE = """
from dataclasses import dataclass
@dataclass(frozen=True)
class Rate:
    start: float = 1.0
    def at(self, step): return self.start / step
"""


@pytest.mark.parametrize("inside", [lambda rate: rate, lambda rate: [(1, rate)], lambda rate: {"rate": rate}])
def test_the_methods_of_what_a_cell_is_given_count(package: Path, inside: Callable[[Any], Any]) -> None:
    (package / "unused.py").write_text(RATE)
    train, rate = function(package, "cells", "train"), inside(function(package, "unused", "Rate")())
    assert changes(package / "unused.py", lambda: code_digest(train, [rate]))
    assert changes(package / "unused.py", lambda: code_digest(partial(train, rate)))


def test_of_settings_in_the_study_file_the_class_alone_counts(package: Path) -> None:
    (package / "study.py").write_text(RATE)
    train, rate = function(package, "cells", "train"), function(package, "study", "Rate")()
    before = code_digest(train, [rate]), code_digest(partial(train, rate))
    (package / "study.py").write_text(f"{RATE}\nCAPTION = 'what is shown'\n")
    linecache.checkcache()
    assert before == (code_digest(train, [rate]), code_digest(partial(train, rate)))
    (package / "study.py").write_text(RATE.replace("/ step", "/ step**2"))
    linecache.checkcache()
    assert code_digest(train, [rate]) != before[0]
    assert code_digest(partial(train, rate)) != before[1]


@pytest.mark.parametrize("words", ["\n# why\n", '\n"""What."""\n', "   \n\n"])
def test_words_and_blanks_do_not_count(package: Path, words: str) -> None:
    train = function(package, "cells", "train")
    assert not changes(package / "nets.py", lambda: code_digest(train), words)


def test_the_rooms_that_compute_count_and_the_lab_does_not(package: Path) -> None:
    train = function(package, "cells", "train")
    before = code_digest(train)
    with pinned_sources():
        assert code_digest(train) == before
    names = set(_reached(train))
    assert "assay.privacy.membership.lira" in names
    assert "assay.core.checks" in names
    assert not any(name.startswith(("assay.lab", "assay.audit", "numpy", "torch")) for name in names)
    (package / "cells.py").write_text((package / "cells.py").read_text() + "\nfrom assay.lab import Lab\n")
    assert _reached(train).keys() == names


def _reached(function: Any) -> dict[str, str]:
    return _closure([Path(function.__code__.co_filename)])[0]


def test_a_module_of_a_package_is_found_by_its_use(package: Path) -> None:
    (package / "cells.py").write_text(
        "import assay\nfrom assay import adversarial as a\ndef f(): a.MALT, assay.core.fit\n"
    )
    names = _reached(function(package, "cells", "f"))
    assert {"assay.adversarial.attacks.malt", "assay.core.fitting"} <= set(names)


def test_cells_may_not_take_code_from_captions_and_bars(package: Path) -> None:
    train = function(package, "cells", "train")
    (package / "nets.py").write_text(f"def build(seed):\n    from {package.name}.study import BAR\n")
    with pytest.raises(InvalidInputError, match=r"imports from study\.py .*BAR.*: move what it needs"):
        code_digest(train)


def test_a_script_is_followed_to_the_modules_beside_it(tmp_path: Path) -> None:
    (tmp_path / "script_helper.py").write_text("RATE = 1\n")
    (tmp_path / "script.py").write_text("import script_helper, numpy\ndef f(): return script_helper.RATE\n")
    scope: dict[str, Any] = {}
    exec(compile((tmp_path / "script.py").read_text().split("\n", 1)[1], str(tmp_path / "script.py"), "exec"), scope)  # noqa: S102
    assert changes(tmp_path / "script_helper.py", lambda: code_digest(scope["f"]))
    assert set(_reached(scope["f"])) == {"script", "script_helper"}


def test_a_helper_elsewhere_on_the_search_path_is_followed() -> None:
    assert "helpers.lab_demo" in _reached(test_a_cells_code_is_its_file_and_what_that_imports)


def test_a_studys_sources_are_its_package_and_the_methods(package: Path) -> None:
    study = make_study(function(package, "study", "run"))
    kinds = {
        file: [kind for kind in ("study", "methods") if changes(package / file, lambda: study_sources(study)[kind])]  # noqa: B023
        for file in FILES
    }
    drawn = {file for file in FILES if changes(package / file, lambda: figures_source(study))}
    assert kinds == {file: [] if file == "figures.py" else ["study"] for file in FILES}
    assert drawn == {"figures.py"}


def test_the_methods_are_those_that_the_study_reaches(package: Path) -> None:
    study = make_study(function(package, "study", "run"))
    before = study_sources(study)
    (package / "nets.py").write_text(
        (package / "nets.py").read_text() + "\nfrom assay.landscape import hessian_spectrum\n"
    )
    after = study_sources(study)
    assert before["methods"] != after["methods"]
    assert before.keys() == {"study", "methods"}


def test_a_study_outside_a_package_is_its_file_and_what_it_imports() -> None:
    assert study_sources(make_study(measure_draws)) == study_sources(make_study(measure_draws))
    here = study_sources(make_study(lambda settings, lab: None))
    assert here["study"] != study_sources(make_study(measure_draws))["study"]


def test_a_file_that_changes_while_it_is_pinned_is_not_what_runs(package: Path) -> None:
    train = function(package, "cells", "train")
    before = code_digest(train)
    with pinned_sources():
        code_digest(train)
        (package / "nets.py").write_text("def build(seed): return -seed")
        assert code_digest(train) == before
    assert code_digest(train) != before
