from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import pytest
import torch
from matplotlib.figure import Figure

from assay.lab import Lab
from helpers.lab_demo import draw
from helpers.lab_runs import refuse, run


def test_names_are_used_once(tmp_path: Path) -> None:
    def twice(verb: str, *arguments: object) -> Callable[[Lab], None]:
        def body(lab: Lab) -> None:
            for _ in range(2):
                if verb == "map":
                    lab.map(draw, [], name="a")
                else:
                    getattr(lab, verb)("a", *arguments)

        return body

    refuse(tmp_path, twice("map"), "used twice")
    refuse(tmp_path, twice("cached", lambda: 1), "used twice")
    refuse(tmp_path, twice("figure", Figure()), "used twice")
    refuse(tmp_path, twice("table", [{"a": 1}]), "used twice")


def test_measuring_is_refused_where_it_says_nothing(tmp_path: Path) -> None:
    refuse(tmp_path, lambda lab: lab.measure("C9", 1.0, what="w"), "no claim 'C9'; it makes C1, C2")
    refuse(tmp_path, lambda lab: lab.measure("C1", what="w"), "values or untested")
    refuse(tmp_path, lambda lab: lab.measure("C1", 1.0, what="w", untested="no"), "values or untested")
    refuse(tmp_path, lambda lab: lab.table("t", []), "one or more rows")
    refuse(tmp_path, lambda lab: lab.table("t", [{"a": 1}, {"b": 1}]), "same keys")
    refuse(tmp_path, lambda lab: lab.map(draw, [object()], name="m"), "no stable digest")


@pytest.mark.parametrize(
    "what", ["the same from above", "Its null", "their mean", "of these, precise", "over that of APGD"]
)
def test_a_measurement_that_leans_on_the_one_before_is_refused(tmp_path: Path, what: str) -> None:
    refuse(tmp_path, lambda lab: lab.measure("C1", 1.0, what=what), "cannot be read alone")


def test_a_measurement_stands_once_under_its_claim(tmp_path: Path) -> None:
    def body(lab: Lab) -> None:
        lab.measure("C1", 1.0, what="itself, the same size")
        lab.measure("C2", 1.0, what="itself, the same size")
        lab.measure("C1", untested="too large")
        lab.measure("C1", untested="too slow")
        lab.measure("C1", 2.0, what="itself, the same size")

    refuse(tmp_path, body, "'C1' is measured by 'itself, the same size' twice")


def test_figures_and_tables_are_kept(tmp_path: Path) -> None:
    def body(lab: Lab) -> None:
        figure = Figure()
        axes = figure.subplots()
        axes.plot([1, 2])
        axes.set(title="Growth", xlabel="step", ylabel="loss")
        lab.figure("growth", figure)
        lab.table("by-width", [{"width": 4, "loss": 0.5}, {"width": 8, "loss": None}])

    finished = run(tmp_path, body)
    assert finished.figures == ({"name": "growth", "file": "growth.svg", "caption": "Growth; loss against step"},)
    assert (finished.folder / "figures" / "growth.svg").read_text().startswith("<?xml")
    assert finished.tables == (
        {"name": "by-width", "caption": "By width", "columns": ["width", "loss"], "rows": [[4, 0.5], [8, None]]},
    )


def test_a_figure_of_pyplot_is_closed(tmp_path: Path) -> None:
    before = plt.get_fignums()
    run(tmp_path, lambda lab: lab.figure("empty", plt.subplots()[0]))
    assert plt.get_fignums() == before


def test_the_lab_tells_its_seed_scale_and_device_and_nothing_can_change_them(tmp_path: Path) -> None:
    def body(lab: Lab) -> None:
        assert (lab.seed, lab.scale, lab.device) == (7, "small", torch.device("cpu"))
        assert list(lab.progress(range(3), "counting")) == [0, 1, 2]
        with pytest.raises(AttributeError):
            lab.seed = 8

    run(tmp_path, body, seed=7)


def test_a_data_set_that_is_missing_is_replaced_for_the_whole_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here: list[str] = []
    asked: list[str] = []
    seen: list[Any] = []

    def available(name: str, instead: str) -> str:
        asked.append(name)
        return name if name in here else instead

    monkeypatch.setattr("assay.lab.lab.available", available)

    def body(lab: Lab) -> None:
        seen.append([lab.data("mnist"), lab.data("mnist", instead="digits"), lab.data("cifar10", instead=None)])
        here.extend(["mnist", "cifar10"])
        seen.append([lab.data("mnist"), lab.data("cifar10", instead=None)])
        if len(seen) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, body)
    finished = run(tmp_path, body)
    assert seen == [["fashion", "digits", None], ["fashion", None]] * 2
    assert asked == ["mnist", "cifar10"]
    assert finished.log["data"] == {"mnist": "fashion", "cifar10": None}
    fresh = run(tmp_path, body, fresh=True)
    assert fresh.log["data"] == {"mnist": "mnist", "cifar10": "cifar10"}


def test_the_embedded_data_sets_are_always_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASSAY_DATA", str(tmp_path))
    seen: list[Any] = []
    run(tmp_path, lambda lab: seen.extend([lab.data("digits"), lab.data("cifar10")]))
    assert seen == ["digits", "fashion"]
    refuse(tmp_path / "other", lambda lab: lab.data("no-such"), "no data set named 'no-such'")
