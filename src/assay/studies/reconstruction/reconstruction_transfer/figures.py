"""What the study of transfer learning shows."""

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from torch import Tensor

IMAGES_CAPTION = (
    "The embeddings that most runs agree on in the first head, turned into images of 32 x 32 pixels in three ways, "
    "under the training images that they are nearest to, with the cosine of the two embeddings; and what the same ways "
    "make of the true embeddings of these training images"
)
COUNTS_CAPTION = "Training samples recovered, and what the nulls reach; bars are means over heads"
SENTENCES_CAPTION = "What the ten embeddings that the first head gave away best are nearest to among all sentences"
THRESHOLDS_CAPTION = "The selection by threshold, means over heads"
LENGTHS_CAPTION = "The same heads on images trained for longer, means: more hidden units are multiples of one another"


def draw_images(rows: dict[str, Tensor], cosines: Tensor) -> Figure:
    """Show training images above what became of their embeddings."""
    count = len(cosines)
    figure, axes = plt.subplots(len(rows), count, figsize=(1.2 * count + 2, 1.2 * len(rows) + 0.3), squeeze=False)
    for row, (name, images) in zip(axes, rows.items(), strict=True):
        for ax, image in zip(row, images, strict=True):
            ax.imshow(image.permute(1, 2, 0).squeeze().numpy(), cmap="gray", vmin=0, vmax=1)
            ax.set_xticks([])
            ax.set_yticks([])
        row[0].set_ylabel(name.removesuffix(" embeddings").replace(", ", "\n"), rotation=0, ha="right", va="center")
    for ax, value in zip(axes[0], cosines, strict=True):
        ax.set_title(f"cosine {value:.2f}")
    return figure


def draw_counts(n: int, heads: dict[str, dict[str, np.ndarray]]) -> Figure:
    """Draw counts and nulls of both kinds of heads."""
    kinds = {"n75": "> 0.75", "n90": "> 0.9", "chosen75": "selected, > 0.75"}
    kinds |= {"random75": "random, > 0.75", "held_out75": "held out, > 0.75"}
    figure, ax = plt.subplots(figsize=(7.5, 3), layout="constrained")
    for k, (key, label) in enumerate(kinds.items()):
        ax.bar(
            np.arange(len(heads)) + (k - 2) * 0.16, [found[key].mean() for found in heads.values()], 0.15, label=label
        )
    ax.set_xticks(range(len(heads)), labels=list(heads))
    ax.set_ylabel(f"training samples of {n}")
    figure.legend(frameon=False, title="cosine", loc="outside right upper")
    return figure


def threshold_rows(
    n: int, thresholds: tuple[float, ...], heads: dict[str, dict[str, np.ndarray]]
) -> list[dict[str, Any]]:
    """Return how the selection depends on its threshold."""
    columns = ("share of true ones", f"samples recovered, of {n}", "clusters of two runs or more")
    return [
        {"head": name, "threshold": threshold, **dict(zip(columns, means.round(2).tolist(), strict=True))}
        for name, found in heads.items()
        for threshold, means in zip(thresholds, found["by_threshold"].astype(float).mean(0), strict=True)
    ]


def length_rows(lengths: dict[int, dict[str, np.ndarray]], count: int) -> list[dict[str, Any]]:
    """Return what the length of training does to the first few heads."""
    columns = {
        "units": "units that differ",
        "true_residual": "weights the true embeddings leave",
        "attack_residual": "weights the candidates leave",
        "n75": "cosine > 0.75",
        "n90": "cosine > 0.9",
    }
    return [
        {"steps": steps, **{text: round(float(found[key][:count].mean()), 3) for key, text in columns.items()}}
        for steps, found in lengths.items()
    ]


def retrieved_rows(texts: list[str], found: dict[str, np.ndarray]) -> list[dict[str, Any]]:
    """Return the sentences that the first head's best ten representatives lead to."""
    return [
        {"rank": rank + 1, "nearest sentence": texts[index][:90], "trained on": bool(found["members"][0][index])}
        for rank, index in enumerate(found["retrieved"][0][:10].tolist())
        if index >= 0
    ]
