"""The battery's rows: one for each public callable, in the file of its room.

To add one, add a row to that file; `helpers.rows.base` says what a row of each kind holds. Files are found by the name
of the room: `rows/landscape.py`, or a package of that name with a file a topic, holds `ROWS` of `assay.landscape`.
"""

import importlib
from pathlib import Path
from typing import Any

import assay

HERE = Path(__file__).parent
PACKAGES = (*assay.ROOMS, "core", "nets")
MISSING = tuple(name for name in PACKAGES if not ((HERE / f"{name}.py").is_file() or (HERE / name).is_dir()))


def _rows() -> tuple[Any, ...]:
    present = [name for name in PACKAGES if name not in MISSING]
    return tuple(row for name in present for row in importlib.import_module(f"helpers.rows.{name}").ROWS)


ROWS = _rows()


def rows_of(*kinds: type) -> list[Any]:
    """Return the rows of some kinds."""
    return [row for row in ROWS if isinstance(row, kinds)]
