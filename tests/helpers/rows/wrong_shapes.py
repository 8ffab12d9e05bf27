"""Arguments of standalone rows, and the check that wrong shapes are refused."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from assay.core import seeded
from helpers.rows.base import with_gaps
from helpers.rows.shapes import Inputs, N, as_type, refused, tensors, wrong
from helpers.rows.standalone import REFUSED


def given(row: Any, dtype: torch.dtype = torch.float64) -> Inputs:
    """Return the arguments of a row's call."""
    return as_type(row.inputs(seeded(3), N), dtype)


def wrong_shape_cases(rows: list[Any]) -> list[Any]:
    """Return one case for each row and each kind of wrong shape that it refuses, known gaps marked."""
    return [
        pytest.param(*param.values, what, id=f"{param.id}-{what}", marks=param.marks)
        for what in REFUSED
        for param in with_gaps([row for row in rows if what in row.refuses and list(wrong(given(row), what))], what)
    ]


def check_refused(row: Any, call: Callable[..., Any], what: str) -> None:
    """Call with arguments of each wrong shape of a kind, and expect an error."""
    for inputs in wrong(given(row), what):
        shapes = [tuple(value.shape) for value in tensors(inputs)]
        assert refused(lambda inputs=inputs: call(*inputs)), f"went through with shapes {shapes}"
