"""Figures and tables of the study of poisons from scratch."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor


def over(cells: list[dict[str, Tensor]], name: str) -> np.ndarray:
    """Return one figure of every target."""
    return np.array([float(cell[name]) for cell in cells])


def draw_images(cell: dict[str, Tensor], bases: Sequence[str]) -> Figure:
    """Draw bases of every kind."""
    kinds = ("plain", *bases)
    figure, axes = plt.subplots(len(kinds), 1)
    for each, kind in zip(axes, kinds, strict=True):
        strip = torch.cat(list(cell[f"images, {kind}"].mean(1)), 1)
        each.imshow(strip.numpy(), cmap="gray", vmin=0, vmax=1)
        each.set_title("without guidance" if kind == "plain" else kind, fontsize="small")
        each.set_axis_off()
    return figure


def draw_victims(cells: list[dict[str, Tensor]], bases: Sequence[str]) -> Figure:
    """Draw what the victims answer after gradient matching from every kind of base."""
    names = ["clean: probability", *(f"gradient matching, {base}: probability" for base in bases)]
    values = np.array([over(cells, name) for name in names])
    figure, axes = plt.subplots()
    axes.plot(range(len(names)), values, "o", color="C0", alpha=0.5)
    axes.plot(range(len(names)), values.mean(1), color="C1")
    axes.set_xticks(range(len(names)), ["no poison", *bases])
    axes.set(xlabel="bases", ylabel="probability of the aimed-at class", ylim=(0, 1))
    return figure


def rows(cells: list[dict[str, Tensor]]) -> list[dict[str, str]]:
    """Return one row for each attack and kind of base."""
    columns = ("mismatch", "probability", "success", "accuracy")
    names = [name.rpartition(":")[0] for name in cells[0] if name.endswith(": success")]
    return [
        {"poisons": name, **{column: f"{over(cells, f'{name}: {column}').mean():.3f}" for column in columns}}
        for name in names
    ]
