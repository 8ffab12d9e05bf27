"""Networks trained without weight decay from initial weights that the attacker knows, attacked and scored."""

import copy
import time
from dataclasses import dataclass
from typing import Any, Literal

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
from assay.studies.reconstruction.reconstruction_frontier.settings import Settings
from assay.studies.reconstruction.shared.victims import Victim, draw

SHOWN = 10
"""Images kept of each network."""


@dataclass(frozen=True)
class Network:
    """One kind of network and attack: its place in `Settings.widths`, whether it is linearised, and the kernels."""

    place: int
    linear: bool = False
    kernels: Literal["initial", "final", "both"] = "both"


NETWORKS = {
    "wide": Network(2),
    "middle": Network(1),
    "narrow": Network(0),
    "middle, linearised": Network(1, linear=True, kernels="initial"),
    "middle, final kernel": Network(1, kernels="final"),
}


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


def attack_known_start(settings: Settings, network: str, seed: int) -> dict[str, Any]:
    """Train, attack with the displacement of the weights, and return counts, nulls and what L1 to L3 need."""
    kind = NETWORKS[network]
    victim = train_known_start(settings, settings.widths[kind.place], seed, linear=kind.linear)
    begin = time.process_time()
    found = KKTReconstructor(
        "displacement",
        init_state=victim.start.state_dict(),
        kernels=kind.kernels,
        n_candidates=2 * settings.n,
        n_restarts=settings.n_restarts,
        n_iter=settings.max_iter,
    ).fit(victim.end)
    seconds = time.process_time() - begin
    pool, agreed = _scored(victim, found.pool_, found), _scored(victim, found.reconstructions_, found)
    data = load(settings.source)
    x_test, y_test = data.x_test[:2000], data.y_test[:2000] % 2
    distilled = _distilled(settings, seed, victim, found, x_test, y_test)
    best = pool.ncc.argsort(descending=True)[:SHOWN]
    return {
        "NCC > 0.75": pool.n75,
        "NCC > 0.9": pool.n90,
        "median NCC": float(pool.ncc.median()),
        "agreed, NCC > 0.9": agreed.n90,
        **{f"null: {name}": count for name, count in pool.nulls().items()},
        "members told": reconstruction_roc(found.pool_, victim.x, x_test[:1000], mean=victim.x.mean(0)).tpr_at(0.01),
        "outliers": _outliers(victim, pool.ncc),
        **{f"unexplained: {kernels}": share for kernels, share in unexplained(victim).items()},
        **{f"accuracy: {images}": share for images, share in distilled.items()},
        "loss": victim.loss,
        "CPU seconds": seconds,
        "train": pool.train_x[best] + pool.mean,
        "found": pool.rescaled()[best],
        "ncc": pool.ncc[best],
    }


def train_known_start(settings: Settings, width: int, seed: int, *, linear: bool = False) -> KnownVictim:
    """Draw data and initial weights by the seed, and fit targets of +-1 by least squares.

    With `linear`, the network is replaced by its linearisation at the start, trained to zero loss.
    """
    x, y, others = draw(Victim(settings.source, settings.n, (width,), settings.steps), seeded(seed))
    start = mlp((x[0].numel(), width, 1), bias="first", generator=seeded(seed)).double()
    end = copy.deepcopy(start)
    inputs, targets = (x - x.mean(0)).flatten(1).double(), signs(y).double()
    if linear:
        gradients = output_jacobian(start, inputs)[:, 0]
        missing = targets - single_logit(start(inputs)).detach()
        # Where gradient flow on the linearised network ends: the least change of the weights that fits.
        moved = torch.linalg.lstsq(gradients, missing, driver="gelsd").solution
        state = named_parameters(start)
        end.load_state_dict(unflatten(flatten(state) + moved, state))
        return KnownVictim(start, end, float((gradients @ moved - missing).square().mean()), x, y, others)
    options = {"n_iter": settings.steps, "weight_decay": 0.0, "lr": settings.lr}
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
    return {name: float(value.norm() / moved.norm()) for name, value in rest.items()}


def _outliers(victim: KnownVictim, ncc: Tensor) -> float:
    """Correlate how well an image is recovered with its distance from the mean of its class."""
    flat, labels = victim.inputs, victim.y
    centres = torch.stack([flat[labels == label].mean(0) for label in (0, 1)])
    return float(np.asarray(spearmanr((flat - centres[labels]).norm(dim=1).numpy(), ncc.cpu().numpy()))[0])


def _distilled(
    settings: Settings, seed: int, victim: KnownVictim, found: KKTReconstructor, x_test: Tensor, y_test: Tensor
) -> dict[str, float]:
    """Return the test accuracy of new networks trained on reconstructions, true images and as many others (L3)."""
    mean = victim.x.mean(0)
    sets = {"true": (victim.inputs, victim.y), "other": ((victim.others - mean).flatten(1).double(), victim.y)}
    accuracies = {"found": 0.5}  # nothing recovered: a guess
    if len(found.reconstructions_):
        sets["found"] = (found.reconstructions_.double(), (found.multipliers_ > 0).long())
    for name, (x, y) in sets.items():
        net = mlp((x.shape[1], 200, 1), bias="first", generator=seeded(seed + 1)).double()
        options = {"n_iter": min(1000, settings.steps), "weight_decay": 0.0, "lr": 0.01}
        train_in_span(net, x, signs(y).double(), loss=squared_error, **options)
        accuracies[name] = float(accuracy(predict(net, (x_test - mean).flatten(1).double()), y_test))
    return accuracies
