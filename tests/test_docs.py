"""The generated pages of methods and papers lead to each other, and say what a reader must know of a record."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

from assay import studies
from helpers.source_code import PROJECT

CLAIM = {"id": "C1", "text": "It is fast", "verdict": "holds"}


@pytest.fixture
def generate(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate", PROJECT / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "generate", module)
    spec.loader.exec_module(module)
    return module


def test_methods_and_papers_lead_to_each_other(
    generate: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tested = dict.fromkeys(studies.slugs(), ()) | {"malt": ("adversarial.MALT", "adversarial.attacks.PassCounter")}
    monkeypatch.setattr(studies, "methods", lambda: tested)
    generate.write_package(tmp_path, "adversarial", generate.studies_by_method())
    for name in ("MALT", "PassCounter"):
        assert "</papers/malt>" in (tmp_path / "adversarial" / f"{name}.rst").read_text()
    assert "seealso" not in (tmp_path / "adversarial" / "PGD.rst").read_text()
    links = generate.method_links(tested["malt"])
    assert "</methods/adversarial/MALT>" in links
    assert "</methods/adversarial/PassCounter>" in links


def test_a_topic_has_a_page_with_its_papers_and_names(generate: ModuleType, tmp_path: Path) -> None:
    generate.write_package(tmp_path, "privacy", generate.studies_by_method())
    topic = (tmp_path / "privacy" / "membership.rst").read_text()
    assert "</papers/canary-membership>" in topic
    assert ":doc:`LiRA`" in topic
    assert ".. autoclass:: assay.privacy.LiRA" in (tmp_path / "privacy" / "LiRA.rst").read_text()
    deep = (tmp_path / "privacy" / "canary_objective.rst").read_text()
    assert ".. autofunction:: assay.privacy.membership.canary_objective" in deep
    assert "   membership\n" in (tmp_path / "privacy" / "index.rst").read_text()


@pytest.mark.parametrize(
    ("claim", "said"),
    [
        ({**CLAIM, "paper": "Table 2: 5.0x", "ours": False}, " (Paper: Table 2: 5.0x.)"),
        ({**CLAIM, "paper": None, "ours": True}, " (Ours, not the paper's.)"),
        (CLAIM, ""),
    ],
)
def test_a_claim_names_the_papers_own_figure(generate: ModuleType, claim: dict[str, object], said: str) -> None:
    assert generate.origin(claim) == said


@pytest.mark.parametrize(
    ("stale", "older", "said"), [("Run it again", False, "warning"), (None, True, "earlier version"), (None, False, "")]
)
def test_a_page_says_where_its_record_is_older_than_the_code(
    generate: ModuleType, monkeypatch: pytest.MonkeyPatch, stale: str | None, older: bool, said: str
) -> None:
    monkeypatch.setattr(generate, "stale", lambda record, study: stale)
    monkeypatch.setattr(generate, "older_methods", lambda record, study: older)
    text = generate.age({"slug": "malt"})
    assert said in text
    assert bool(text) == bool(said)


def test_a_page_says_which_data_stood_in(generate: ModuleType) -> None:
    replaced, missing = generate.substitutes({"data": {"cifar10": "fashion", "mnist": "mnist", "faces": None}})
    assert replaced == "`cifar10` was not there: measured on `fashion` instead.\n"
    assert missing == "`faces` was not there.\n"
    assert generate.substitutes({}) == []
