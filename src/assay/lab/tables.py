"""Tables: rows of named values, from dicts or from a grid with means and intervals over seeds."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from assay.core import InvalidInputError
from assay.lab.grid import Grid
from assay.lab.intervals import student


def table_rows(rows: Sequence[Mapping[str, Any]] | Grid, columns: Sequence[str] | None = None) -> list[dict[str, Any]]:
    """Return the rows of a table with the wanted columns.

    Args:
        rows: Dicts, or a grid, which becomes one row a combination of the factors other than ``seed``.
        columns: The entries to show; None for all, of a grid for all single numbers.

    Returns:
        Dicts of JSON values with the same keys; a grid's factors come first.

    Raises:
        InvalidInputError: An entry is missing, bears a factor's name, or is not one number a cell.

    >>> grid = Grid({"kind": ("mlp",), "seed": (0, 1, 2)}, ({"auc": 0.70}, {"auc": 0.71}, {"auc": 0.72}))
    >>> table_rows(grid)
    [{'kind': 'mlp', 'auc': '0.71 [0.685, 0.735]'}]
    """
    if isinstance(rows, Grid):
        return _grid_rows(rows, _numbers(rows) if columns is None else columns)
    if columns is None:
        return [dict(row) for row in rows]
    for row in rows:
        missing = [column for column in columns if column not in row]
        if missing:
            raise InvalidInputError(f"a row has no {', '.join(missing)}; it has {', '.join(row)}.")
    return [{column: row[column] for column in columns} for row in rows]


def summarise(values: Sequence[float] | np.ndarray) -> str | float:
    """Return values over seeds as their mean and 95% interval, with three significant digits.

    Args:
        values: One value a seed.

    Returns:
        Text such as ``0.71 [0.69, 0.73]``; the number itself for a single seed.

    >>> summarise([0.70, 0.71, 0.72]), summarise([0.123456])
    ('0.71 [0.685, 0.735]', 0.123)
    """
    measured = tuple(float(value) for value in values)
    interval = student(measured)
    if interval is None:
        return float(f"{measured[0]:.3g}")
    mean, low, high = (f"{float(f'{value:.3g}'):g}" for value in (interval.mean, interval.low, interval.high))
    return f"{mean} [{low}, {high}]"


def _grid_rows(grid: Grid, columns: Sequence[str]) -> list[dict[str, Any]]:
    factors = [name for name in grid.factors if name != "seed"]
    if set(factors) & set(columns):
        raise InvalidInputError(f"the columns {', '.join(columns)} include a factor of the grid; rename the entry.")
    rows = []
    for levels in itertools.product(*(grid.factors[name] for name in factors)):
        place = dict(zip(factors, levels, strict=True))
        part = grid.at(**place)
        row: dict[str, Any] = {name: _shown(level) for name, level in place.items()}
        for column in columns:
            values = part[column]
            if values.ndim != len(part.factors):
                raise InvalidInputError(f"{column!r} is not one number a cell; choose others with columns=.")
            row[column] = summarise(values.reshape(-1))
        rows.append(row)
    return rows


def _numbers(grid: Grid) -> list[str]:
    first = grid.cells[0]
    if not isinstance(first, dict):
        raise InvalidInputError(f"cells return a {type(first).__name__}; a table needs dicts of numbers by name.")
    # A number that is missing in some cells makes a column, which is refused, and is not left out.
    return [key for key in first if any(isinstance(cell, dict) and _is_number(cell.get(key)) for cell in grid)]


def _is_number(value: Any) -> bool:
    return np.ndim(value) == 0 and not isinstance(value, str | dict | None)


def _shown(level: Any) -> Any:
    return level if isinstance(level, str | int | float) else str(level)
