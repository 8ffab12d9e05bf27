"""The lab: studies, their runs and evidence, records, and the pages that show them.

Names load on first use, so that listing studies or rendering a page costs no torch.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from assay.lab.cells import CellsFailedError
    from assay.lab.evidence import Bar, Evidence, Verdict
    from assay.lab.gallery import write_gallery
    from assay.lab.grid import Grid
    from assay.lab.lab import Lab
    from assay.lab.looks import Looks
    from assay.lab.page import inline_figure, render
    from assay.lab.records import find_records, note, older_methods, read_records, record, rejudge, rewrite, stale
    from assay.lab.runner import Run, run_study
    from assay.lab.study import Claim, Paper, Study
    from assay.lab.study_page import write_study_page
    from assay.lab.text import printable

__all__ = [
    "Bar",
    "CellsFailedError",
    "Claim",
    "Evidence",
    "Grid",
    "Lab",
    "Looks",
    "Paper",
    "Run",
    "Study",
    "Verdict",
    "find_records",
    "inline_figure",
    "note",
    "older_methods",
    "printable",
    "read_records",
    "record",
    "rejudge",
    "render",
    "rewrite",
    "run_study",
    "stale",
    "write_gallery",
    "write_study_page",
]

_HOME = {
    "evidence": ("Bar", "Evidence", "Verdict"),
    "gallery": ("write_gallery",),
    "cells": ("CellsFailedError",),
    "grid": ("Grid",),
    "lab": ("Lab",),
    "looks": ("Looks",),
    "page": ("inline_figure", "render"),
    "records": ("find_records", "note", "older_methods", "read_records", "record", "rejudge", "rewrite", "stale"),
    "runner": ("Run", "run_study"),
    "study": ("Claim", "Paper", "Study"),
    "text": ("printable",),
    "study_page": ("write_study_page",),
}


def __getattr__(name: str) -> Any:
    for module, names in _HOME.items():
        if name in names:
            return getattr(importlib.import_module(f"assay.lab.{module}"), name)
    raise AttributeError(f"module 'assay.lab' has no attribute {name!r}")
