import dataclasses
import itertools
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from assay.core import InvalidInputError, spawn_seeds
from assay.lab import Grid, Lab, Run, run_study
from assay.lab.grid import expand_factors
from helpers.lab_demo import Settings, log_call, make_study

KINDS = ("mlp", "conv")


@dataclasses.dataclass(frozen=True)
class Net:
    width: int


def product(settings: Settings, kind: str, width: int, seed: int) -> dict[str, Any]:
    return {
        "kind": kind,
        "rate": settings.rate,
        "product": width * (seed % 1000),
        "row": torch.arange(3.0) + width,
        "pair": [width, seed % 1000],
    }


def double(settings: Settings, kind: str, width: int, seed: int, previous: dict[str, Any]) -> dict[str, Any]:
    assert (previous["kind"], previous["pair"]) == (kind, [width, seed % 1000])
    return {"row": 2 * previous["row"]}


def logged(log: Path, settings: Settings, net: Net, seed: int) -> int:
    log_call(log, f"{net.width}-{seed}")
    return net.width


def run(tmp_path: Path, body: Callable[[Settings, Lab], Any], **options: Any) -> tuple[Any, Run]:
    results: list[Any] = []
    study = make_study(lambda settings, lab: results.append(body(settings, lab)))
    finished = run_study(study, out=tmp_path, **options)
    return results[0], finished


def test_a_grid_calls_the_function_for_each_combination(tmp_path: Path) -> None:
    grid, _ = run(
        tmp_path, lambda settings, lab: lab.grid(product, settings, kind=KINDS, width=[2, 3, 5], seed=4), seed=7
    )
    seeds = spawn_seeds(7, 4)
    assert grid.factors == {"kind": KINDS, "width": (2, 3, 5), "seed": tuple(seeds)}
    assert len(grid) == len(list(grid)) == 24
    assert grid["product"].shape == (2, 3, 4)
    assert grid["row"].shape == (2, 3, 4, 3)
    assert grid["pair"].shape == (2, 3, 4, 2)
    for (i, _), (j, width), (k, seed) in itertools.product(*map(enumerate, (KINDS, (2, 3, 5), seeds))):
        assert grid["product"][i, j, k] == width * (seed % 1000)
        assert grid["row"][i, j, k].tolist() == [width, width + 1, width + 2]
        assert grid["pair"][i, j, k].tolist() == [width, seed % 1000]
    assert np.all(grid["rate"] == 0.1)
    assert grid["row"].dtype == np.float32


def test_a_chain_hands_each_value_on(tmp_path: Path) -> None:
    def chain(settings: Settings, lab: Lab) -> tuple[Grid, Grid]:
        first = lab.grid(product, settings, kind=KINDS, width=(2, 3), seed=2)
        return first, lab.grid(double, settings, after=first)

    (first, second), finished = run(tmp_path, chain)
    assert second.factors == first.factors
    np.testing.assert_array_equal(second["row"], 2 * first["row"])
    names = {path.name.split("-")[0] for path in (finished.folder / "cells").iterdir()}
    assert names == {"product", "double"}


def test_the_cells_of_a_grid_are_kept(tmp_path: Path) -> None:
    log = tmp_path / "log"
    seen: list[Grid] = []

    def experiment(settings: Settings, lab: Lab) -> None:
        seen.append(lab.grid(partial(logged, log), settings, name="widths", net=(Net(1), Net(2)), seed=(5, 6)))
        if len(seen) == 1:
            raise KeyboardInterrupt

    study = make_study(experiment)
    with pytest.raises(KeyboardInterrupt):
        run_study(study, out=tmp_path / "runs")
    finished = run_study(study, out=tmp_path / "runs")
    assert seen[0] == seen[1]
    assert seen[0].cells == (1, 1, 2, 2)
    assert log.read_text().split() == ["1-5", "1-6", "2-5", "2-6"]
    assert (finished.log["cells_read"], finished.log["cells_computed"]) == (4, 0)


def grid() -> Grid:
    cells = tuple({"v": 10 * i + j, "t": torch.tensor([i, j])} for i in range(2) for j in range(3))
    return Grid({"kind": KINDS, "width": (2, 3, 5)}, cells)


def test_a_part_of_a_grid_is_a_grid() -> None:
    assert grid().at(kind="conv").factors == {"width": (2, 3, 5)}
    assert grid().at(kind="conv")["v"].tolist() == [10, 11, 12]
    assert grid().at(width=3)["v"].tolist() == [1, 11]
    assert grid().at(width=3, kind="mlp")["v"] == 1
    assert grid().at(width=3, kind="mlp")["t"].tolist() == [0, 1]
    assert {level: part["v"].tolist() for level, part in grid().by("width").items()} == {
        2: [0, 10], 3: [1, 11], 5: [2, 12]
    }  # fmt: skip
    np.testing.assert_array_equal(np.stack([part["t"] for part in grid().by("kind").values()]), grid()["t"])
    assert [place for place, _ in grid().places()][1] == {"kind": "mlp", "width": 3}


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"other": 1}, r"cells have no 'v': kind='conv', width=3\. .* the keys other, t, v"),
        (None, r"cells have no 'v': kind='conv', width=3\."),
        ({"v": "text"}, r"cells hold something else than numbers in 'v': kind='conv', width=3"),
        ({"v": None}, "something else than numbers"),
        ({"v": [[1], [1, 2]]}, "something else than numbers"),
        ({"v": [1, 2]}, r"have 'v' in another shape than \(\): kind='conv', width=3\."),
    ],
)
def test_cells_that_do_not_fit_are_named(changed: Any, message: str) -> None:
    cells = list(grid().cells)
    cells[4] = changed
    with pytest.raises(InvalidInputError, match=message):
        Grid(grid().factors, tuple(cells))["v"]


def test_small_floats_and_truth_values_become_arrays() -> None:
    cells = ({"half": torch.tensor(0.5, dtype=torch.bfloat16), "true": True},)
    assert Grid({"seed": (0,)}, cells)["half"].tolist() == [0.5]
    assert Grid({"seed": (0,)}, cells)["true"].dtype == bool


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Grid({"seed": (0, 1)}, (1,)), "2 of seed has 2 cells; 1 were given"),
        (lambda: grid().at(depth=1), "no factor 'depth'; it has kind, width"),
        (lambda: grid().at(width=7), "no level 7; it has 2, 3, 5"),
        (lambda: grid().by("depth"), "no factor 'depth'"),
        (lambda: expand_factors({}), "needs a factor"),
        (lambda: expand_factors({"kind": "mlp"}), r"kind=\('mlp',\)"),
        (lambda: expand_factors({"width": 3}), "sequence of levels"),
        (lambda: expand_factors({"width": ()}), "one or more, each once"),
        (lambda: expand_factors({"seed": ()}), "one or more, each once"),
        (lambda: expand_factors({"width": (1, 2, 1)}), "one or more, each once"),
    ],
)
def test_what_makes_no_grid_is_refused(call: Callable[[], object], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        call()


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (lambda settings, lab: lab.grid(product, settings, after=grid(), seed=2), "leave out seed"),
        (lambda settings, lab: lab.grid(partial(product), settings, seed=2), "letters, digits"),
        (lambda settings, lab: [lab.grid(product, settings, seed=0) for _ in range(2)], "each once"),
        (lambda settings, lab: lab.grid(product, settings, kind=(object(),)), "no stable digest"),
    ],
)
def test_a_grid_that_cannot_be_kept_is_refused(tmp_path: Path, body: Callable[..., Any], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        run(tmp_path, body)
