"""Figures and tables of poisons from guided diffusion."""

from collections.abc import Mapping
from typing import Any

from matplotlib.figure import Figure

from assay.lab.grid import Grid
from assay.lab.plots import dots, image_rows
from assay.lab.tables import summarise, table_rows
from assay.studies.privacy.guided_diffusion_poisoning.cells import BASES, POISONS


def draw_bases(target: dict[str, Any]) -> Figure:
    """Draw images from the diffusion model without guidance, and bases of every kind."""
    return image_rows({name: target[f"images, {name}"] for name in ("unguided", *BASES)})


def draw_victims(goals: Grid) -> Figure:
    """Draw what the victims answer after gradient matching from every kind of base, one dot a goal."""
    groups = {"no poison": goals["clean: probability"]}
    groups |= {base: goals[f"gradient matching, {base}: probability"] for base in BASES}
    figure = dots(groups, ylabel="probability of the attacker's class")
    figure.axes[0].set_ylim(0, 1)
    return figure


def base_rows(found: Mapping[str, Grid]) -> list[dict[str, Any]]:
    """Return a row for each case: what images are like before any attack."""
    columns = (
        *(f"alignment loss, {name}" for name in ("real", "best 16 real", "unguided", "guided")),
        *("surrogate's agreement", "judge's agreement", "distance, unguided", "distance, guided"),
    )
    return [{"case": case, **row} for case, goals in found.items() for row in table_rows(goals, columns)]


def poison_rows(found: Mapping[str, Grid]) -> list[dict[str, Any]]:
    """Return a row for each case and kind of poison: what victims answer, and how much more than without poison."""
    rows = []
    for case, goals in found.items():
        unpoisoned = goals["clean: probability"]
        for name in ("clean", *POISONS):
            if f"{name}: probability" in goals.cells[0]:
                loss = "" if name == "clean" else summarise(goals[f"{name}: alignment loss"])
                answers = {key: goals[f"{name}: {key}"] for key in ("probability", "success", "clean accuracy")}
                answers["gain in probability over no poison"] = answers["probability"] - unpoisoned
                columns = {key: summarise(values) for key, values in answers.items()}
                rows.append({"case": case, "poisons": name, "alignment loss": loss} | columns)
    return rows
