import itertools
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from assay.core import InvalidInputError
from assay.lab import Lab, Run, record, render, write_gallery, write_study_page
from assay.lab.gallery import gauge
from helpers.lab_runs import run


class Page(HTMLParser):
    """What a reader or a browser would meet, tag by tag; unbalanced tags are an error."""

    VOID = frozenset({"meta", "link", "img", "br", "hr", "line", "rect"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self._open:
            self.text.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]

    @property
    def words(self) -> str:
        return " ".join("".join(self.text).split())


@pytest.fixture
def page(finished: Run, tmp_path: Path) -> Page:
    record(finished, tmp_path / "records")
    return Page(write_gallery(tmp_path / "records", tmp_path / "gallery.html").read_text())


@pytest.mark.parametrize("content", [None, "{", "[]", '{"slug": "x"}'])
def test_what_is_no_record_is_refused(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "x.json").write_text(content)
    with pytest.raises(InvalidInputError, match=r"holds no records|not a JSON file|not a record"):
        write_gallery(tmp_path, tmp_path / "gallery.html")
    assert not (tmp_path / "gallery.html").exists()


def test_a_record_whose_figure_is_gone_is_refused(finished: Run, tmp_path: Path) -> None:
    record(finished, tmp_path)
    (tmp_path / "demo-success.svg").unlink()
    with pytest.raises(InvalidInputError, match=r"demo-success\.svg cannot be read"):
        write_gallery(tmp_path, tmp_path / "gallery.html")
    assert not (tmp_path / "gallery.html").exists()


def test_nothing_in_the_page_leaves_the_page(page: Page) -> None:
    assert page.all("script") == []
    ids = {attributes.get("id") for _, attributes in page.tags}
    for _, attributes in page.tags:
        assert not any(name.startswith("on") for name in attributes)
        if attributes.get("src") is not None:
            assert str(attributes["src"]).startswith("data:")
        target = attributes.get("href")
        assert target is None or target == "data:," or target[1:] in ids
    style = render("base.css")
    assert "url(" not in style
    assert "@import" not in style


def test_the_page_is_made_for_every_reader(page: Page) -> None:
    assert page.all("html")[0]["lang"] == "en"
    for landmark in ("header", "main", "footer"):
        assert len(page.all(landmark)) == 1
    assert all(attributes["aria-label"] for attributes in page.all("nav"))
    assert page.all("a")[0]["href"] == "#main"
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
    assert all(attributes["alt"] for attributes in page.all("img"))
    assert page.all("img")[0]["alt"] == "Success & failure; y against x"
    assert len(page.all("caption")) == len(page.all("table")) == 1
    assert all(attributes["scope"] for attributes in page.all("th"))
    identifiers = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(identifiers) == len(set(identifiers))
    for _, attributes in page.tags:
        assert attributes.get("aria-labelledby", identifiers[0]) in identifiers


def test_the_page_says_what_was_measured(page: Page) -> None:
    for words in (
        "On <demos>",
        "A. Uthor · ICML 2024 · arXiv 2401.00001",
        "a < b & c holds",
        "recall of <targets>",
        "measured 0.91 [0.8852, 0.9348] over 3 seeds, bar ≥ 0.8",
        "measured 0.9, bar ≤ 0.1",
        "it needs a month",
        "5 claims: 1 holds, 1 fails, 1 undecided, 1 not tested at this scale, 1 reported.",
        "0.1235",
        "C1a < b & c holds ✓holds paper: Table 2: 62.1 % recall",
        "C2It fails ✗fails our own claim, not the paper's error",
        "C3Undecided ≈undecided paper: states no number rate",
        "Methods: adversarial.MALT, adversarial.attacks.APGD",
        "The data set cifar10 was not on the machine: digits took its place.",
        "The data set mnist was not on the machine: what needs it was not tested.",
    ):
        assert words in page.words
    assert "data set digits" not in page.words
    for sign, verdict in {"✓": "holds", "✗": "fails", "≈": "undecided", "•": "reported"}.items():
        assert f"{sign}{verdict}" in page.words


def test_the_page_says_which_test_an_interval_inverts(tmp_path: Path) -> None:
    def body(lab: Lab) -> None:
        lab.measure("C1", [0, 1, 0], of=100, what="missed", at_most=0.1)
        lab.measure("C1", [0, 20], of=100, what="missed, seed by seed", at_most=0.5)
        lab.measure("C1", range(1, 8), test="wilcoxon", what="gain", at_least=0)
        lab.measure("C1", range(1, 8), test="sign", what="gain by signs", at_least=0)
        lab.measure("C2", [1.0, 3.0], test="sign", what="gain of few", at_least=0)

    finished = run(tmp_path, body)
    words = Page(write_study_page(finished).read_text()).words
    for measured in (
        "measured 0.003333 [8.35e-05, 0.01847] (1 of 300) over 3 seeds, bar",
        "(20 of 200) over 2 seeds, counted as 9 trials, since seeds differ, bar",
        "measured pseudomedian 4 [2, 6] over 7 pairs, bar",
        "measured median 4 [1, 7] over 7 pairs, bar",
        "measured median 2, without an interval over 2 pairs, bar",
    ):
        assert measured in words
    assert finished.verdicts == {"C1": "holds", "C2": "undecided"}


def test_the_gauge_keeps_the_order_of_its_marks() -> None:
    evidence = {
        "bar": {"side": "at_least", "value": 0.8},
        "interval": {"mean": 0.9, "low": 0.7, "high": 1.1},
        "values": [0.85, 0.95],
    }
    marks = gauge(evidence)
    assert marks is not None
    assert (
        0 < marks["low"] < marks["bar"] < marks["values"][0] < marks["mean"] < marks["values"][1] < marks["high"] < 100
    )
    assert gauge({**evidence, "bar": None}) is None
    same = gauge({"bar": {"side": "at_most", "value": 2.0}, "interval": None, "values": [2.0]})
    assert same is not None
    assert 0 < same["bar"] == same["mean"] < 100


def test_another_packages_template_extends_the_base_page(tmp_path: Path) -> None:
    template = tmp_path / "report.html"
    template.write_text(
        '{% extends "base.html" %}{% from "parts.html" import badge %}'
        '{% block content %}{{ badge("bad", "!", word) }}{% endblock %}'
    )
    page = Page(render(template, title="A report", word="<high>"))
    assert page.all("main")
    assert "!<high>" in page.words


def test_the_page_says_which_records_the_code_has_left_behind(finished: Run, tmp_path: Path) -> None:
    def words(**changes: object) -> str:
        path = record(finished, tmp_path)
        state = json.loads(path.read_text())
        path.write_text(json.dumps({**state, **changes}))
        return Page(write_gallery(tmp_path, tmp_path / "gallery.html", studies=[finished.study]).read_text()).words

    source = finished.log["source"]
    assert "re-run" not in words()
    assert "The study's settings changed after this record was made: re-run `assay study demo" in words(settings={})
    assert "earlier version of the methods" in words(source={"study": source["study"], "methods": "0"})
