"""The report as text: what its first screen answers, its numbers, its terms, and names from outside."""

import copy
import html
import re

import pytest

from assay.audit.report import render_report
from assay.audit.terms import TERMS, explain

ANSWERED = {
    "probe": "membership",
    "question": "Who was in it?",
    "topic": "privacy",
    "status": "answered",
    "seconds": 1.0,
    "headline": "13% of the members are identified.",
    "severity": "medium",
    "rule": "By the AUC.",
    "advice": "Return labels.",
    "limits": "Shadow models are guesses.",
    "measures": {"AUC": 0.76273, "samples": 18089.0},
    "figures": [],
    "tables": [
        {
            "caption": "Scores",
            "columns": ["score", "AUC", "TPR at 1.0% FPR"],
            "rows": [["LiRA", 0.76273, "0.03333 [0.0002789, 0.2072]"], ["confidence", 0.5, "0 [0, 0.1475]"]],
        }
    ],
}
SKIPPED = {
    "probe": "curvature",
    "question": "How sharp is it?",
    "topic": "training",
    "status": "skipped",
    "seconds": 0.0,
    "reason": "it needs the training data",
}
FACTS = {
    "schema": 1,
    "assay": "0.1.0",
    "created": "2026-11-03T16:41:37+00:00",
    "seconds": 1.0,
    "seed": 0,
    "interrupted": False,
    "worst": "medium",
    "environment": {"python": "3.11.7"},
    "subject": {
        "name": "mine",
        "notes": [],
        "model": ["Linear(4, 2)"],
        "parameters": 12345,
        "loss": "cross_entropy",
        "input_range": [0.0, 1.0],
        "class_names": [],
        "training_samples": 30,
        "test_samples": 500,
    },
    "findings": [ANSWERED, SKIPPED],
}
FIT = {"accuracy": 1.0, "loss": 0.0123, "n": 30}


def words(page):
    """Return what a reader of the page sees, and hears."""
    text = re.sub(r"<(style|title).*?</\1>", "", page, flags=re.DOTALL)
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", text)).split())


def page_of(tmp_path, **changes):
    return render_report(copy.deepcopy(FACTS) | changes, tmp_path)


def first_screen(page):
    return words(page.partition("<article")[0])


def test_the_first_screen_answers(tmp_path):
    quality = {"training": FIT, "held_out": FIT | {"accuracy": 0.9251, "n": 500}, "warnings": ["The labels look odd."]}
    screen = first_screen(page_of(tmp_path, quality=quality))
    said = (
        "Audit of mine",
        "3 November 2026",
        "Worst severity: medium.",
        "1 of 2 questions has no answer.",
        "Accuracy: 100% on 30 training samples, 93% on 500 held-out samples.",
        "The labels look odd.",
        "Who was in it? 13% of the members are identified.",
        "How sharp is it? Not answered: it needs the training data",
    )
    assert [sentence for sentence in said if sentence not in screen] == []
    assert [screen.index(sentence) for sentence in said] == sorted(screen.index(sentence) for sentence in said)


@pytest.mark.parametrize(
    ("quality", "said"),
    [
        (
            {"training": FIT | {"accuracy": None}, "held_out": None, "warnings": []},
            "Loss: 0.012 on 30 training samples.",
        ),
        ({"training": None, "held_out": FIT | {"n": 1}, "warnings": []}, "Accuracy: 100% on 1 held-out sample."),
        ({"training": FIT | {"accuracy": 0.997}, "held_out": None, "warnings": []}, "Accuracy: over 99% on 30"),
        ({"training": None, "held_out": None, "warnings": []}, None),
        (None, None),
    ],
)
def test_the_fit_is_shown_where_it_was_measured(tmp_path, quality, said):
    screen = first_screen(page_of(tmp_path, **({} if quality is None else {"quality": quality})))
    assert said in screen if said else "Accuracy" not in screen and "Loss" not in screen


def test_an_audit_without_an_answer_says_so(tmp_path):
    assert "No question was answered" in first_screen(page_of(tmp_path, worst=None, findings=[SKIPPED]))


def asked(page):
    """Return the findings' names in the list of answers, which is the order of the sections."""
    listed = re.findall(r'<a href="#(\w+)"', page.partition("<nav")[2])
    assert re.findall(r'<article [^>]*id="(\w+)"', page) == listed
    return listed


def test_findings_stand_by_topic_the_topic_of_the_most_severe_first(tmp_path):
    severities = {"one": ("training", "low"), "two": ("privacy", "low"), "three": ("training", "high")}
    findings = [
        ANSWERED | {"probe": name, "topic": topic, "severity": severity}
        for name, (topic, severity) in severities.items()
    ]
    page = page_of(tmp_path, findings=findings)
    assert asked(page) == ["one", "three", "two"]  # within a topic in the order of the file
    assert re.findall(r'<h2 class="topic">(\w+)</h2>', page) == ["Training", "Privacy"]


def test_findings_of_earlier_versions_stand_in_the_order_of_the_file(tmp_path):
    earlier = [{key: value for key, value in finding.items() if key != "topic"} for finding in (SKIPPED, ANSWERED)]
    page = page_of(tmp_path, findings=earlier)
    assert asked(page) == ["curvature", "membership"]
    assert 'class="topic"' not in page.partition("<nav")[2]


@pytest.mark.parametrize(("severity", "is_open"), [("info", False), ("low", False), ("medium", True), ("high", True)])
def test_the_evidence_of_mild_findings_is_folded(tmp_path, severity, is_open):
    page = page_of(tmp_path, findings=[ANSWERED | {"severity": severity}])
    assert ('<details class="evidence" open>' in page) == is_open


def test_each_section_has_its_headline(tmp_path):
    sections = page_of(tmp_path).split("<article")[1:]
    assert ANSWERED["headline"] in words(sections[0])
    assert SKIPPED["reason"] in words(sections[1])


def test_tables_have_two_significant_digits_and_measures_three(tmp_path):
    seen = words(page_of(tmp_path))
    assert "LiRA 0.76 0.033 [0.00028, 0.21] confidence 0.5 0 [0, 0.15]" in seen
    assert "AUC 0.763 samples 18089" in seen
    assert "0.0002789" not in seen


def test_each_section_explains_the_terms_that_stand_in_it(tmp_path):
    section = page_of(tmp_path).split("<article")[1]
    explained = re.findall(r"<dfn>(.*?)</dfn>", section)
    assert explained == ["AUC", "true positive rate (TPR)", "false positive rate (FPR)", "LiRA", "shadow model"]
    assert TERMS["AUC"][1] in words(section)
    assert "<dfn>" not in page_of(tmp_path).split("<article")[2]


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("TPR at 1% FPR", ["true positive rate (TPR)", "false positive rate (FPR)"]),
        ("an APGD-CE step", ["APGD"]),
        ("Nothing is annulled; the nullable REAUC", []),
        ("n75, null: held-out samples", ["n90, n75", "null"]),
        ("the logit gap", ["logit gap"]),
        ("perturbations of 8/255", ["1/255"]),
        ("samples of class 18/2550", []),
    ],
)
def test_terms_are_whole_words(text, terms):
    assert [term for term, _ in explain(text)] == terms


def test_what_all_captions_begin_with_is_said_once(tmp_path):
    (tmp_path / "figures").mkdir()
    (tmp_path / "figures" / "a.png").write_bytes(b"x")
    pictures = [{"file": "figures/a.png", "alt": "a sample"}]
    figures = [
        {"caption": f"recovered (left) and training image (right), NCC 0.{n}", "tile": True, "pictures": pictures}
        for n in range(30)
    ]
    seen = words(page_of(tmp_path, findings=[ANSWERED | {"figures": figures}]))
    assert seen.count("recovered (left)") == 1
    assert seen.count("NCC 0.") == 30


@pytest.mark.parametrize("place", ["name", "class", "reason", "warning"])
def test_no_name_turns_the_words_after_it_round(tmp_path, place):
    facts = copy.deepcopy(FACTS)
    hostile = "\u202ecat\x1b[31m"
    if place == "name":
        facts["subject"]["name"] = hostile
    elif place == "class":
        facts["findings"][0]["headline"] = f"{hostile} → dog"
        facts["subject"]["class_names"] = [hostile]
    elif place == "reason":
        facts["findings"][1]["reason"] = hostile
    else:
        facts["quality"] = {"training": None, "held_out": None, "warnings": [hostile]}
    page = render_report(facts, tmp_path)
    assert not any(control in page for control in "\u202a\u202b\u202d\u202e\u2066\u2067\u2068\x1b")
    assert "\ufffdcat\ufffd[31m" in words(page)


def test_names_from_right_to_left_are_isolated(tmp_path):
    facts = copy.deepcopy(FACTS)
    facts["subject"]["name"] = "\u05d7\u05ea\u05d5\u05dc"
    facts["findings"][0]["headline"] = "\u05d7\u05ea\u05d5\u05dc → 5 <dogs>"
    page = render_report(facts, tmp_path)
    assert "<h1>Audit of <bdi>\u05d7\u05ea\u05d5\u05dc</bdi></h1>" in page
    assert "<bdi>\u05d7\u05ea\u05d5\u05dc</bdi> → 5 &lt;dogs&gt;" in page
