from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.stats
import torch

from assay.core import InvalidInputError
from assay.lab import Grid, Lab, run_study
from assay.lab.tables import summarise, table_rows
from helpers.lab_demo import Settings, make_study


def cell(i: int, j: int, seed: int) -> dict[str, Any]:
    return {"auc": i + 0.1 * j + 0.01 * seed, "n": torch.tensor(i), "curve": torch.zeros(3), "name": "a", "none": None}


GRID = Grid(
    {"kind": ("mlp", "conv"), "seed": (3, 1, 4), "size": ((1, 2), (3, 4))},
    tuple(cell(i, j, seed) for i in range(2) for seed in (3, 1, 4) for j in range(2)),
)


def test_a_row_of_a_grid_is_its_mean_and_interval_over_seeds() -> None:
    rows = table_rows(GRID)
    assert [list(row) for row in rows] == [["kind", "size", "auc", "n"]] * 4
    assert [(row["kind"], row["size"]) for row in rows] == [
        ("mlp", "(1, 2)"), ("mlp", "(3, 4)"), ("conv", "(1, 2)"), ("conv", "(3, 4)")
    ]  # fmt: skip
    values = np.array([1.13, 1.11, 1.14])
    low, high = scipy.stats.t.interval(0.95, 2, values.mean(), scipy.stats.sem(values))
    assert rows[3]["auc"] == f"{values.mean():.3g} [{low:.3g}, {high:.3g}]"
    assert rows[3]["n"] == "1 [1, 1]"


def test_the_columns_are_chosen_in_their_order() -> None:
    assert list(table_rows(GRID, ["n", "auc"])[0]) == ["kind", "size", "n", "auc"]
    assert table_rows([{"a": 1, "b": 2}], ["b"]) == [{"b": 2}]
    assert table_rows([{"a": 1, "b": 2}]) == [{"a": 1, "b": 2}]


def test_entries_that_hold_several_values_are_no_columns() -> None:
    cell = {"auc": 0.5, "weights": {"layer": 1.0}, "name": "mlp", "scores": [1.0, 2.0]}
    assert table_rows(Grid({"seed": (0,)}, (cell,))) == [{"auc": 0.5}]


def test_a_number_that_is_missing_in_some_cell_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="auc"):
        table_rows(Grid({"seed": (0, 1)}, ({"auc": None}, {"auc": 0.5})))


def test_a_single_seed_shows_its_value() -> None:
    one = Grid({"seed": (5,)}, ({"auc": 0.123456},))
    assert table_rows(one) == [{"auc": 0.123}]
    assert table_rows(Grid({"kind": ("mlp",)}, ({"auc": 0.123456},))) == [{"kind": "mlp", "auc": 0.123}]


def test_numbers_have_three_significant_digits() -> None:
    assert summarise([12345.0, 12345.0]) == "12300 [12300, 12300]"
    assert summarise([-0.00012345]) == -0.000123


@pytest.mark.parametrize(
    ("rows", "columns", "message"),
    [
        (GRID, ["curve"], "not one number a cell"),
        (GRID, ["loss"], "have no 'loss'"),
        (GRID, ["name"], "something else than numbers"),
        (Grid({"auc": (1,)}, ({"auc": 1},)), None, "include a factor"),
        (Grid({"seed": (0,)}, (1.0,)), None, "cells return a float"),
        ([{"a": 1}], ["b"], "a row has no b; it has a"),
    ],
)
def test_what_makes_no_table_is_refused(rows: Any, columns: Any, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        table_rows(rows, columns)


def test_the_lab_keeps_the_table_of_a_grid(tmp_path: Path) -> None:
    def experiment(settings: Settings, lab: Lab) -> None:
        lab.table("attacks", GRID, columns=("n",), caption="By kind")

    (table,) = run_study(make_study(experiment), out=tmp_path).tables
    assert table["columns"] == ["kind", "size", "n"]
    assert table["rows"][0] == ["mlp", "(1, 2)", "0 [0, 0]"]
