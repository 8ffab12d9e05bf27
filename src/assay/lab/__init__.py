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
    from assay.lab.page import inline_figure, render
    from assay.lab.records import note, older_methods, read_records, record, stale
    from assay.lab.runner import Run, run_study
    from assay.lab.study import Claim, Paper, Study
    from assay.lab.text import printable

__all__ = [
    "Bar",
    "CellsFailedError",
    "Claim",
    "Evidence",
    "Grid",
    "Lab",
    "Paper",
    "Run",
    "Study",
    "Verdict",
    "inline_figure",
    "note",
    "older_methods",
    "printable",
    "read_records",
    "record",
    "render",
    "run_study",
    "stale",
    "write_gallery",
]

_HOME = {
    "evidence": ("Bar", "Evidence", "Verdict"),
    "gallery": ("write_gallery",),
    "cells": ("CellsFailedError",),
    "grid": ("Grid",),
    "lab": ("Lab",),
    "page": ("inline_figure", "render"),
    "records": ("note", "older_methods", "read_records", "record", "stale"),
    "runner": ("Run", "run_study"),
    "study": ("Claim", "Paper", "Study"),
    "text": ("printable",),
}


def __getattr__(name: str) -> Any:
    for module, names in _HOME.items():
        if name in names:
            return getattr(importlib.import_module(f"assay.lab.{module}"), name)
    raise AttributeError(f"module 'assay.lab' has no attribute {name!r}")
