"""Outcomes of the methods over all worlds, of a baseline at its best checkpoint."""

from collections.abc import Sequence

import numpy as np

from assay.lab import Grid
from assay.studies.privacy.unlearning_logit_difference.cells import ALPHAS, BASELINES

ENOUGH = 0.1
"""A baseline's checkpoint counts if it is right about at most this share of the forget facts."""

AT_ONE = ALPHAS.index(1.0)
"""The place of alpha 1 in a series of the logit difference."""


def best(worlds: Grid, names: Sequence[str], figure: str) -> np.ndarray:
    """Return the largest figure among the checkpoints that forgot enough, one a world; 0 where none did."""
    looks, forget = (np.concatenate([worlds[f"{name}: {each}"] for name in names], 1) for each in (figure, "forget"))
    return np.where(forget <= ENOUGH, looks, 0.0).max(1)


def best_checkpoint(worlds: Grid, name: str) -> np.ndarray:
    """Return the place of a baseline's checkpoint to show, one a world.

    It is the one that keeps most among those that forgot enough, or else the one that forgot most.
    """
    forget, unseen = worlds[f"{name}: forget"], worlds[f"{name}: unseen"]
    return np.where(forget <= ENOUGH, 1 + unseen, -forget).argmax(1)


def by_method(worlds: Grid) -> Grid:
    """Return the outcome of each method in each world, for a baseline that of its best checkpoint."""
    places = {"target": [0] * len(worlds), "retrained": [0] * len(worlds), "logit difference": [AT_ONE] * len(worlds)}
    places |= {name: best_checkpoint(worlds, name).tolist() for name in BASELINES}
    columns = ("forget", "retain", "unseen", "utility", "forget loss", "forget quality")
    cells = tuple(
        {column: cell[f"{name}: {column}"][place] for column in columns}
        for name, chosen in places.items()
        for cell, place in zip(worlds, chosen, strict=True)
    )
    return Grid({"method": tuple(places), **worlds.factors}, cells)
