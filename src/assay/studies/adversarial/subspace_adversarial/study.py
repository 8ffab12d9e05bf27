"""Adversarial Examples Exist in Two-Layer ReLU Networks for Low Dimensional Linear Subspaces (Melamed et al., 2023).

The paper's theorem is tested where it can be tested exactly: on random points of a linear subspace, where the gradient
off the subspace has a known law at the end of training, whatever training did. The same networks are then flipped
off the subspace, with the paper's initialisation, a fifth of it, and weight decay.

Beyond the theorem, images of 3 and 7 get a blank half beside them, which no training sample ever uses. Both halves are
attacked alike, by the same projected gradient descent at the same radii. All images are scaled by one factor to the
mean norm that the theorem asks for, the square root of the dimension.

The paper's own experiments are pictures of decision boundaries in two and three dimensions, with biases; it states
no numbers to compare with, so the bars are ours.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial

import torch
import torch.nn.functional as F
from scipy.stats import chi2, kstest
from torch import Tensor

from assay.adversarial import (
    SubspaceBasis,
    off_subspace_gradient,
    off_subspace_radius,
)
from assay.adversarial.subspace import (
    expected_off_gradient,
)
from assay.core import Step, accuracy, binary_cross_entropy, fit, margins, seeded, spawn_seeds
from assay.data import available
from assay.lab import Lab, Paper, Study
from assay.nets import TwoLayerReLU
from assay.studies.adversarial.subspace_adversarial.figures import draw_flips, draw_law, draw_radii
from assay.studies.adversarial.subspace_adversarial.images import VARIANTS, Images, flip_images

FARTHEST = 30.0  # Radii are searched up to three times the norm of a sample; beyond it they count as this.


@dataclass(frozen=True)
class Settings:
    """Sizes of the three experiments.

    The law is tested in 60 dimensions (40 off the subspace, 400 units, 20 points), the flips in 100 (80 off, 600
    units, 10 points).
    """

    law_seeds: int = 240
    law_steps: int = 300
    seeds: int = 5
    decay_steps: int = 1500
    image_seeds: int = 3
    images: Images = field(default_factory=Images)


STUDY = Study(
    slug="subspace-adversarial",
    paper=Paper(
        "Adversarial Examples Exist in Two-Layer ReLU Networks for Low Dimensional Linear Subspaces",
        "Melamed, Yehudai, Vardi",
        2023,
        arxiv="2303.00783",
        venue="NeurIPS 2023",
    ),
    claims={
        "C1": "Training on data of a subspace leaves a large input gradient orthogonal to it",
        "C2": "Small perturbations orthogonal to the subspace flip the decision, one direction all samples of a label",
        "C3": "A smaller initialisation shrinks that gradient and makes the network more robust to them",
        "C4": "Weight decay does the same",
    },
    scales={
        "smoke": Settings(
            law_seeds=10,
            law_steps=30,
            seeds=2,
            decay_steps=400,
            image_seeds=2,
            images=Images(source="digits", units=50, n_train=200, steps=300, attacked=20),
        ),
        "small": Settings(),
        "paper": Settings(
            law_seeds=1000, seeds=20, image_seeds=10, images=Images(units=1000, n_train=10_000, attacked=1000)
        ),
    },
)


@STUDY.experiment
def run(settings: Settings, lab: Lab) -> None:
    """Test the exact law first, then the flips, then images."""
    images = replace(settings.images, source=lab.cached("source", partial(available, settings.images.source, "digits")))
    law_seeds = spawn_seeds(lab.seed, settings.law_seeds)
    measure_law(lab, lab.map(follow_law, [(settings.law_steps, seed) for seed in law_seeds], name="law"))
    seeds = spawn_seeds(lab.seed + 1, settings.seeds)
    measure_flips(lab, lab.map(flip_points, [(settings.decay_steps, seed) for seed in seeds], name="flips"))
    seeds = spawn_seeds(lab.seed + 2, settings.image_seeds)
    measure_images(lab, lab.map(flip_images, [(images, seed) for seed in seeds], name="images"))


def train(model: TwoLayerReLU, x: Tensor, y: Tensor, *, stop: Callable[[Step], bool] | None, steps: int, **sgd: float):
    """Train by full-batch gradient descent on the logistic loss."""
    optimizer = partial(torch.optim.SGD, **sgd)
    return fit(model, x, y, loss=binary_cross_entropy, optimizer=optimizer, n_iter=steps, stop=stop)


# --- C1 and C4: the law, to the last digit -------------------------------------------------------------------------


def follow_law(cell: tuple[int, int]) -> dict[str, float]:
    """Train one network on points of a subspace; compare its weights and its gradient off it with what they must be."""
    steps, seed = cell
    dim, codim, width, n = 60, 40, 400, 20
    source = seeded(seed)
    x = F.pad(torch.randn(n, dim - codim, generator=source, dtype=torch.float64), (0, codim))
    y = torch.randint(2, (n,), generator=source)
    model = TwoLayerReLU(dim, width, generator=source).double()
    first = model.weight.detach().clone()
    train(model, x, y, stop=None, steps=steps, lr=0.5)
    drift = (model.weight.detach() - first)[:, dim - codim :].abs().max()
    active = int(model.active_units(x[:1]).sum())
    law = expected_off_gradient(width=width, active=active, dim=dim, codim=codim)
    basis = SubspaceBasis(torch.eye(dim, dim - codim, dtype=torch.float64))
    off = off_subspace_gradient(model, x[:1], basis=basis).off_norm.item()
    decayed = TwoLayerReLU(dim, width, generator=seeded(seed)).double()
    first = decayed.weight.detach().clone()
    train(decayed, x, y, stop=None, steps=steps, lr=0.2, weight_decay=1e-2)
    expected = (1 - 0.2 * 1e-2) ** steps * first[:, dim - codim :]
    missed = (decayed.weight.detach()[:, dim - codim :] - expected).abs()
    error = (missed / expected.abs().clamp_min(1e-300)).max()  # some weight is drawn as zero among a few million
    return {
        "drift": drift.item(),
        "statistic": codim * off**2 / law.mean_square,
        "above": float(off >= law.lower),
        "decay-error": error.item(),
    }


def measure_law(lab: Lab, cells: list[dict[str, float]]) -> None:
    """C1 against the chi-squared law, C4 against the exact contraction."""
    statistics = [cell["statistic"] for cell in cells]
    over = f"{len(cells)} trained networks"
    drift = max(cell["drift"] for cell in cells)
    lab.measure("C1", drift, at_most=0.0, what=f"largest change of a weight off the subspace, {over}")
    pvalue = float(kstest(statistics, chi2(40).cdf).pvalue)
    lab.measure("C1", pvalue, at_least=0.01, what=f"Kolmogorov-Smirnov p-value of the gradient's law, {over}")
    ratio = abs(math.fsum(statistics) / len(statistics) / 40 - 1)
    lab.measure("C1", ratio, at_most=0.05, what="squared gradient off the subspace: relative error of the law's mean")
    above = math.fsum(cell["above"] for cell in cells) / len(cells)
    lab.measure("C1", above, at_least=0.95, what="networks whose gradient exceeds the lower bound")
    decay = max(cell["decay-error"] for cell in cells)
    lab.measure("C4", decay, at_most=1e-6, what="weights off the subspace against (1 - lr decay)^steps, relative error")
    caption = "Squared gradient off the subspace after training, scaled so that the law is chi-squared with 40 degrees."
    lab.figure("law", draw_law(statistics), caption=caption)


# --- C1 to C4: flips on the theorem's own ground -------------------------------------------------------------------


def flip_points(cell: tuple[int, int]) -> dict[str, dict[str, float]]:
    """Train all variants on the same points and flip these off the subspace."""
    decay_steps, seed = cell
    dim, codim, width, n = 100, 80, 600, 10
    source = seeded(seed)
    x = F.pad(torch.randn(n, dim - codim, generator=source, dtype=torch.float64), (0, codim))
    x = F.normalize(x) * dim**0.5
    y = torch.randint(2, (n,), generator=source)
    basis, found = SubspaceBasis(torch.eye(dim, dim - codim, dtype=torch.float64)), {}
    for name, variant in VARIANTS.items():
        scale = variant.shrink / dim**0.5
        model = TwoLayerReLU(dim, width, init_scale=scale, generator=seeded(seed)).double()
        if variant.decay:
            train(model, x, y, stop=None, steps=decay_steps, lr=0.2, weight_decay=1e-2)
        else:
            train(model, x, y, stop=lambda step: bool(margins(step.model(x), y).min() >= 1), steps=5000, lr=0.5)
        scores = model(x).detach()
        search = partial(off_subspace_radius, model, x, y, basis=basis, max_norm=FARTHEST)
        laws = [
            expected_off_gradient(width=width, active=int(k), dim=dim, codim=codim, init_scale=scale).mean_square ** 0.5
            for k in model.active_units(x).sum(1)
        ]
        found[name] = {
            "accuracy": accuracy(scores, y),
            "gradient": off_subspace_gradient(model, x, basis=basis).off_norm.median().item(),
            "expected": sorted(laws)[len(laws) // 2],
            "own": search(direction="gradient").clamp(max=FARTHEST).median().item(),
            "universal": search(direction="universal").clamp(max=FARTHEST).max().item(),
        }
    return found


def measure_flips(lab: Lab, cells: list[dict[str, dict[str, float]]]) -> None:
    """C1 to C4 on points of norm ten: ratios of each variant to the default."""

    def each(name: str, figure: str) -> list[float]:
        return [cell[name][figure] for cell in cells]

    def ratios(name: str, figure: str) -> list[float]:
        return [a / b for a, b in zip(each(name, figure), each("default", figure), strict=True)]

    lab.measure("C1", each("default", "gradient"), what="gradient off the subspace, median over the points")
    lab.measure("C1", each("default", "expected"), what="the same, as the law expects it")
    lab.measure("C2", each("default", "own"), at_most=5.0, what="median flip radius along the own gradient (norm 10)")
    what = "radius at which one direction has flipped every point (norm 10)"
    lab.measure("C2", each("default", "universal"), at_most=10.0, what=what)
    shrunk = ratios("small init", "gradient")
    lab.measure("C3", shrunk, at_least=0.15, what="gradient at a fifth of the initialisation, over the default's")
    lab.measure("C3", shrunk, at_most=0.25, what="the same from above")
    lab.measure("C3", ratios("small init", "own"), at_least=3.0, what="its median flip radius over the default's")
    lab.measure("C4", ratios("weight decay", "gradient"), what="gradient with weight decay, over the default's")
    lab.measure("C4", ratios("weight decay", "own"), at_least=3.0, what="its median flip radius over the default's")
    for name, claim in (("default", "C2"), ("small init", "C3"), ("weight decay", "C4")):
        lab.measure(claim, each(name, "accuracy"), at_least=1.0, what=f"{name}: training accuracy")
    caption = f"Distance at which decisions flip off the subspace, one dot a network; {FARTHEST:g} stands for none."
    lab.figure(
        "radii", draw_radii({name: (each(name, "own"), each(name, "universal")) for name in VARIANTS}), caption=caption
    )


# --- C2 to C4: images beside a blank half ---------------------------------------------------------------------------


def measure_images(lab: Lab, cells: list[dict[str, Tensor]]) -> None:
    """C2 to C4 on images: how far the blank half must go, against the half that holds the image."""

    def each(name: str, column: int) -> list[float]:
        return [float(cell[name][column]) for cell in cells]

    default = each("default", 1)
    over = [off / on for off, on in zip(default, each("default", 2), strict=True)]
    lab.measure("C2", over, at_most=2.0, what="images: median flip radius in the blank half over that in the image")
    for name, claim in (("small init", "C3"), ("weight decay", "C4")):
        gain = [a / b for a, b in zip(each(name, 1), default, strict=True)]
        lab.measure(claim, gain, at_least=2.0, what=f"images, {name}: flip radius in the blank half over the default's")
        cost = [b - a for a, b in zip(each(name, 0), each("default", 0), strict=True)]
        lab.measure(claim, cost, at_most=0.01, what=f"images, {name}: test accuracy lost against the default")
    columns = ("test accuracy", "flip radius, blank half", "flip radius, image half")
    means = {name: torch.stack([cell[name] for cell in cells]).mean(0) for name in VARIANTS}
    rows = [
        {
            "network": name,
            **{column: round(float(value), 4) for column, value in zip(columns, means[name], strict=True)},
        }
        for name in VARIANTS
    ]
    lab.table("images", rows, caption="Images of norm 40 on average beside a blank half, means over networks")
    caption = "Test images beside their blank half, and below them what the network takes for the other digit."
    lab.figure("flipped-images", draw_flips(cells[0]["before"], cells[0]["after"]), caption=caption)
