"""Draw the README's picture: every training image of the built-in subject beside what its weights gave away.

Usage: python tools/draw_readme_picture.py docs/images/recovered.png
"""

import sys

import matplotlib.pyplot as plt
import torch

from assay.audit import load_subject
from assay.reconstruction import KKTReconstructor, score_reconstructions

COLUMNS = 10


def main(path: str) -> None:
    """Attack the subject at seed 0 and draw all of its images, the best recovered first."""
    torch.set_num_threads(1)
    subject = load_subject("fashion")
    attack = KKTReconstructor(random_state=0, input_shape=subject.sample_shape).fit(subject.model)
    x = subject.raw(subject.train[0])
    score = score_reconstructions(attack.pool_, x, mean=subject.mean, basis=attack.basis_)
    recovered = score.rescaled()  # the weights do not tell a sample's scale
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
