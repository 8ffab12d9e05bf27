"""Page of one run: verdicts, the paper's numbers, figures, and what the scale can decide."""

import html
import re
from dataclasses import replace
from pathlib import Path

import pytest

from assay.core import InvalidInputError
from assay.lab import Run, run_study, write_study_page
from helpers.lab_demo import make_study, measure_draws


def words(page: str) -> str:
    """Return what a reader of the page sees."""
    text = re.sub(r"<(style|title|svg).*?</\1>", "", page, flags=re.DOTALL)
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", text)).split())


def test_the_page_stands_in_the_runs_folder_and_says_what_was_found(finished: Run) -> None:
    path = write_study_page(finished)
    assert path == finished.folder / "report.html"
    seen = words(path.read_text())
    for said in (
        "On <demos>",
        "✓ holds C1: a < b & c holds",
        "✗ fails C2: It fails",
        "paper: Table 2: 62.1 % recall",
        "The bar lies inside the interval.",
        "scale small",
        "it needs a month",
    ):
        assert said in seen
    assert path.read_text().count("data:image/svg+xml") == 1
    assert "<details>\n<summary>Figures" not in path.read_text()


def test_a_smoke_run_says_that_it_is_too_small_to_decide(tmp_path: Path) -> None:
    run = run_study(make_study(measure_draws), scale="smoke", out=tmp_path)
    assert "too small to decide a claim" in words(write_study_page(run).read_text())
    again = run_study(make_study(measure_draws), scale="smoke", out=tmp_path)
    assert write_study_page(again, tmp_path / "page.html").is_file()


def test_a_run_whose_figure_is_gone_is_refused(finished: Run, tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="cannot be read"):
        write_study_page(replace(finished, folder=tmp_path))
    assert not (tmp_path / "report.html").exists()
