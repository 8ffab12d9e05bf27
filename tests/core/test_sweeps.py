"""Sweeps: order, resumption, processes, refusals."""

import json
import math

import pytest

from assay.core import InvalidInputError, sweep

ITEMS = [{"x": 3}, {"x": 1}, {"x": 2}]


def square(item):
    return {"square": item["x"] ** 2}


def test_results_have_the_order_of_the_items():
    assert [found["square"] for found in sweep(square, ITEMS)] == [9, 1, 4]


def test_processes_give_the_same_as_one_process():
    assert sweep(lambda item: {"square": item["x"] ** 2}, ITEMS, n_jobs=2) == sweep(square, ITEMS)


def test_an_interrupted_sweep_goes_on_where_it_was(tmp_path):
    calls = []

    def stops_at_one(item):
        calls.append(item["x"])
        if item["x"] == 1 and calls.count(1) == 1:
            raise KeyboardInterrupt
        return square(item)

    with pytest.raises(KeyboardInterrupt):
        sweep(stops_at_one, ITEMS, folder=tmp_path)
    assert sweep(stops_at_one, ITEMS, folder=tmp_path) == sweep(square, ITEMS)
    assert calls == [3, 1, 1, 2]


def test_equal_items_are_computed_once():
    calls = []
    found = sweep(lambda item: calls.append(1) or square(item), [{"x": 5}, {"x": 5}])
    assert found == [{"square": 25}, {"square": 25}]
    assert len(calls) == 1


def test_divergent_results_are_kept(tmp_path):
    run = lambda item: {"loss": math.nan, "top": math.inf}  # noqa: E731
    for _ in range(2):
        (found,) = sweep(run, [{"lr": 1.0}], folder=tmp_path)
        assert math.isnan(found["loss"])
        assert found["top"] == math.inf


def test_values_that_json_cannot_hold_are_refused():
    with pytest.raises(InvalidInputError, match="result must hold JSON values only"):
        sweep(lambda item: {"x": object()}, [{}])
    with pytest.raises(InvalidInputError, match="item must hold JSON values only"):
        sweep(square, [{"x": object()}])
    with pytest.raises(InvalidInputError, match="mapping of names"):
        sweep(lambda item: 3.0, [{}])  # pyright: ignore[reportArgumentType]


def test_a_damaged_file_is_named(tmp_path):
    sweep(square, [{"x": 2}], folder=tmp_path)
    (path,) = tmp_path.iterdir()
    path.write_text(json.dumps({"square": 4})[:-1])
    with pytest.raises(InvalidInputError, match=f"{path.name} is not a JSON file"):
        sweep(square, [{"x": 2}], folder=tmp_path)
