"""Draw the README's picture: every training image of the built-in subject beside what its weights gave away.

Usage: python tools/draw_readme_picture.py docs/images/recovered.png
"""

import sys

import matplotlib.pyplot as plt
import torch

from assay.audit import Context, load_subject
from assay.audit.known_start import attacked, population_of, score_candidates
from assay.audit.matches import match_table
from assay.audit.start_search import find_start
from assay.reconstruction import KnownStartReconstructor

COLUMNS = 10


def main(path: str) -> None:
    """Attack the subject at seed 0, as its audit does, and draw all of its images, the best recovered first."""
    torch.set_num_threads(1)
    subject, context = load_subject("fashion"), Context()
    start = find_start(subject, context.seconds).start
    where = attacked(subject, start)
    options = {"population": population_of(subject, where, context), "input_shape": subject.sample_shape}
    attack = KnownStartReconstructor(where.start, **options).fit(subject.model)
    score, matches = score_candidates(subject, where, attack, context)
    print(start, attack.verdict_, *match_table(matches).rows, sep="\n")
    x, recovered = score.train_x + score.mean, score.best + score.mean
    rows = -(-len(x) // COLUMNS)
    figure, axes = plt.subplots(2 * rows, COLUMNS, figsize=(COLUMNS, 2.35 * rows))
    for place, index in enumerate(score.ncc.argsort(descending=True).tolist()):
        row, column = 2 * (place // COLUMNS), place % COLUMNS
        axes[row, column].imshow(recovered[index, 0], cmap="gray", vmin=0, vmax=1)
        axes[row, column].set_title(f"NCC {score.ncc[index]:.2f}", fontsize=7, pad=2)
        axes[row + 1, column].imshow(x[index, 0], cmap="gray", vmin=0, vmax=1)
    for label, row in (("recovered", 0), ("training", 1)):
        for block in range(rows):
            axes[2 * block + row, 0].set_ylabel(label, fontsize=8)
    for ax in axes.flat:
        ax.set(xticks=[], yticks=[])
        ax.spines[:].set_visible(False)
    figure.subplots_adjust(0.03, 0.01, 1, 0.97, wspace=0.04, hspace=0.12)
    figure.savefig(path, dpi=100, facecolor="white")


if __name__ == "__main__":
    main(sys.argv[1])
