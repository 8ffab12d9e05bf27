"""Every committed record is of today's study: its settings, its claims and its source, and so its bars."""

from pathlib import Path
from typing import Any

import pytest

from assay.lab import read_records, rejudge
from assay.lab.records import stale
from assay.studies import load, slugs

RECORDS = read_records(Path(__file__).parents[2] / "records")


def slug(record: dict[str, Any]) -> str:
    return record["slug"]


def test_records_are_of_studies() -> None:
    assert {record["slug"] for record in RECORDS} <= set(slugs())


@pytest.mark.parametrize("record", RECORDS, ids=slug)
def test_a_record_agrees_with_its_study(record: dict[str, Any]) -> None:
    assert stale(record, load(record["slug"])) is None


@pytest.mark.parametrize("record", RECORDS, ids=slug)
def test_a_record_is_judged_by_todays_rule(record: dict[str, Any]) -> None:
    assert rejudge(record) == record
