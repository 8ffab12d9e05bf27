"""Figures and tables of the study of reconstruction from transfer learning."""

from typing import Any

from matplotlib.figure import Figure

from assay.lab import Grid, plots
from assay.lab.tables import summarise
from assay.studies.reconstruction.reconstruction_transfer.inversions import EMBEDDINGS

COUNTS = ("candidates > 0.75", "candidates > 0.9", "selected > 0.75", "random > 0.75", "held out > 0.75")


def draw_counts(n: int, heads: Grid) -> Figure:
    """Draw how many training samples are recovered, and what the nulls reach."""
    kinds = heads.by("data")
    groups = {name: {data: found[name] for data, found in kinds.items()} for name in COUNTS}
    return plots.dots(groups, ylabel=f"training samples of {n}")


def draw_inverted(count: int, head: dict[str, Any], inverted: Grid) -> Figure:
    """Draw training images of one head above what became of their embeddings."""
    rows = {"training image": head["sources"][:count]}
    rows |= {f"{at['search']}\n{at['embeddings']}": cell["images"] for at, cell in inverted.places()}
    rows |= {f"linear map\n{kind}": head[f"{kind}: images"][:count] for kind in EMBEDDINGS}
    return plots.image_rows(rows, titles=[f"cosine {value:.2f}" for value in head["cosines"][:count]])


def inversion_rows(inverted: Grid) -> list[dict[str, Any]]:
    """Return the means over images of one search after the other, with 95% intervals."""
    return [{**at, **{key: summarise(cell[key]) for key in ("cosine", "share")}} for at, cell in inverted.places()]


def threshold_rows(n: int, thresholds: tuple[float, ...], heads: Grid) -> list[dict[str, Any]]:
    """Return what the selection gives at each threshold, as means over heads."""
    columns = ("share of true ones", f"samples recovered, of {n}", "clusters of two runs or more")
    return [
        {"head": data, "threshold": threshold, **dict(zip(columns, means.round(2).tolist(), strict=True))}
        for data, found in heads.by("data").items()
        for threshold, means in zip(thresholds, found["by threshold"].astype(float).mean(0), strict=True)
    ]


def retrieved_rows(texts: list[str], head: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the sentences that the best ten embeddings selected from one head are nearest to."""
    return [
        {"rank": rank + 1, "nearest sentence": texts[index][:90], "trained on": bool(head["members"][index])}
        for rank, index in enumerate(head["retrieved"][:10].tolist())
    ]
