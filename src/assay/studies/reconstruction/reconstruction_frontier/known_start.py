"""Networks trained without weight decay from initial weights that the attacker knows, attacked and scored."""

import copy
import time
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from scipy.stats import spearmanr
from torch import Tensor, nn

from assay.core import (
    accuracy,
    flatten,
    named_parameters,
    output_jacobian,
    predict,
    seeded,
    signs,
    single_logit,
    squared_error,
    unflatten,
)
from assay.data import load
from assay.nets import mlp
from assay.reconstruction import (
    KKTReconstructor,
    ReconstructionScore,
    reconstruction_roc,
    score_reconstructions,
    train_in_span,
)
from assay.studies.reconstruction.shared.victims import Victim, draw

SHOWN = 10
"""Images kept of each network."""


@dataclass(frozen=True)
class KnownStart:
    """One cell: a network and its attack.

    Attributes:
        source: Data set.
        n: Training images, half of each class.
        width: Units of the only hidden layer.
        steps: Steps of gradient descent with momentum 0.9.
        learning_rate: Where its cosine starts; small, so that few gates change.
        seed: Of data and initial weights.
        n_restarts: Searches.
        max_iter: Steps of each.
        linear: Whether the network is replaced by its linearisation at the start, trained to zero loss.
        kernels: As `KKTReconstructor` takes them.
    """

    source: str
    n: int
    width: int
    steps: int
    learning_rate: float
    seed: int
    n_restarts: int
    max_iter: int
    linear: bool = False
    kernels: Literal["initial", "final", "both"] = "both"


@dataclass(frozen=True)
class KnownVictim:
    """The network before and after training, in the coordinates of its images less their mean."""

    start: nn.Sequential
    end: nn.Sequential
    loss: float
    x: Tensor
    y: Tensor
    others: Tensor

    @property
    def inputs(self) -> Tensor:
        """Training images as the network sees them."""
        return (self.x - self.x.mean(0)).flatten(1).double()


def attack_known_start(cell: KnownStart) -> dict[str, Tensor]:
    """Train, attack with the displacement of the weights, and return counts, nulls and what L1 to L3 need."""
    victim = train_known_start(cell)
    begin = time.process_time()
    found = KKTReconstructor(
        "displacement",
        init_state=victim.start.state_dict(),
        kernels=cell.kernels,
        n_candidates=2 * cell.n,
        n_restarts=cell.n_restarts,
        n_iter=cell.max_iter,
    ).fit(victim.end)
    seconds = time.process_time() - begin
    pool, chosen = _scored(victim, found.pool_, found), _scored(victim, found.reconstructions_, found)
    nulls = pool.nulls()
    x_test, y_test = load(cell.source).x_test[:2000], load(cell.source).y_test[:2000] % 2
    numbers = {
        "n75": pool.n75,
        "n90": pool.n90,
        "median": pool.ncc.median(),
        "chosen90": chosen.n90,
        "chosen": len(found.reconstructions_),
        "random": nulls["random"],
        "rows": nulls["rows"],
        "held_out": nulls["held out"],
        "seconds": seconds,
        "loss": victim.loss,
        "tpr": reconstruction_roc(found.pool_, victim.x, x_test[:1000], mean=victim.x.mean(0)).tpr_at(0.01),
        "outliers": _outliers(victim, pool.ncc),
    }
    numbers |= unexplained(victim) | _distilled(cell, victim, found, x_test, y_test)
    best = pool.ncc.argsort(descending=True)[:SHOWN]
    images = {"train": pool.train_x[best] + pool.mean, "found": pool.rescaled()[best], "ncc": pool.ncc[best]}
    return {name: torch.as_tensor(value, dtype=torch.float64) for name, value in {**numbers, **images}.items()}


def train_known_start(cell: KnownStart) -> KnownVictim:
    """Draw data and initial weights by the seed, and fit targets of +-1 by least squares."""
    x, y, others = draw(Victim(cell.source, cell.n, (cell.width,), cell.steps), seeded(cell.seed))
    start = mlp((x[0].numel(), cell.width, 1), bias="first", generator=seeded(cell.seed)).double()
    end = copy.deepcopy(start)
    inputs, targets = (x - x.mean(0)).flatten(1).double(), signs(y).double()
    if cell.linear:
        gradients = output_jacobian(start, inputs)[:, 0]
        missing = targets - single_logit(start(inputs)).detach()
        # Where gradient flow on the linearised network ends: the least change of the weights that fits.
        moved = torch.linalg.lstsq(gradients, missing, driver="gelsd").solution
        state = named_parameters(start)
        end.load_state_dict(unflatten(flatten(state) + moved, state))
        return KnownVictim(start, end, float((gradients @ moved - missing).square().mean()), x, y, others)
    options = {"n_iter": cell.steps, "weight_decay": 0.0, "lr": cell.learning_rate}
    result = train_in_span(end, inputs, targets, loss=squared_error, **options)
    return KnownVictim(start, end, result.loss, x, y, others)


def _scored(victim: KnownVictim, candidates: Tensor, found: KKTReconstructor) -> ReconstructionScore:
    moved = victim.end.get_parameter("0.weight") - victim.start.get_parameter("0.weight")
    candidates = candidates if len(candidates) else torch.zeros_like(found.pool_[:1])
    return score_reconstructions(
        candidates,
        victim.x,
        mean=victim.x.mean(0),
        basis=found.basis_,
        first_layer=moved,
        held_out_x=victim.others,
    )


def unexplained(victim: KnownVictim) -> dict[str, float]:
    """Return what the true images leave of the displacement with the best multipliers, by kernel.

    In the coordinates of the images' span, outside of which nothing moves: the same figures at less memory.
    """
    basis = torch.linalg.svd(victim.inputs, full_matrices=False)[2][: torch.linalg.matrix_rank(victim.inputs)]
    nets = []
    for net in (victim.start, victim.end):
        narrow = copy.deepcopy(net)
        narrow[0].register_parameter("weight", nn.Parameter(net.get_parameter("0.weight").detach() @ basis.T))
        nets.append(narrow)
    moved = flatten(named_parameters(nets[1])) - flatten(named_parameters(nets[0]))
    kernels = [output_jacobian(net, victim.inputs @ basis.T)[:, 0].T for net in nets]
    wanted = {"initial": kernels[0], "final": kernels[1], "both": torch.cat(kernels, 1)}
    rest = {name: moved - matrix @ torch.linalg.lstsq(matrix, moved).solution for name, matrix in wanted.items()}
    return {f"unexplained_{name}": float(value.norm() / moved.norm()) for name, value in rest.items()}


def _outliers(victim: KnownVictim, ncc: Tensor) -> float:
    """Correlate how well an image is recovered with its distance from the mean of its class."""
    flat, labels = victim.inputs, victim.y
    centres = torch.stack([flat[labels == label].mean(0) for label in (0, 1)])
    return float(np.asarray(spearmanr((flat - centres[labels]).norm(dim=1).numpy(), ncc.cpu().numpy()))[0])


def _distilled(
    cell: KnownStart, victim: KnownVictim, found: KKTReconstructor, x_test: Tensor, y_test: Tensor
) -> dict[str, float]:
    """Return the test accuracy of fresh networks trained on reconstructions, true images and as many others (L3)."""
    mean = victim.x.mean(0)
    kept = found.reconstructions_.double()
    sets = {
        "true": (victim.inputs, victim.y),
        "random": ((victim.others - mean).flatten(1).double(), victim.y),
    }
    if len(kept):
        sets["found"] = (kept, (found.multipliers_ > 0).long())
    accuracies = {"accuracy_found": 0.5}  # nothing recovered: a guess
    for name, (x, y) in sets.items():
        net = mlp((x.shape[1], 200, 1), bias="first", generator=seeded(cell.seed + 1)).double()
        options = {"n_iter": min(1000, cell.steps), "weight_decay": 0.0, "lr": 0.01}
        train_in_span(net, x, signs(y).double(), loss=squared_error, **options)
        accuracies[f"accuracy_{name}"] = float(accuracy(predict(net, (x_test - mean).flatten(1).double()), y_test))
    return accuracies
