"""Settings of the study of perturbations off the data's subspace."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Points:
    """How many random points of a subspace are drawn, and what is trained on them.

    Attributes:
        dim: Dimension of the inputs.
        codim: Dimensions off the subspace.
        width: Hidden units.
        n: Points.
        n_iter: Training steps; of the flipped networks, those with weight decay only: the others stop at a margin.
    """

    dim: int
    codim: int
    width: int
    n: int
    n_iter: int


@dataclass(frozen=True)
class Images:
    """How networks are trained on images of 3 and 7, and how many test images are attacked."""

    source: str = "mnist"
    units: int = 200
    n_train: int = 4000
    steps: int = 3000
    attacked: int = 100


@dataclass(frozen=True)
class Settings:
    """Sizes of the three experiments: the law of the gradient, flips of the points, and images."""

    law_seeds: int = 240
    law: Points = Points(dim=60, codim=40, width=400, n=20, n_iter=300)
    seeds: int = 5
    flips: Points = Points(dim=100, codim=80, width=600, n=10, n_iter=1500)
    image_seeds: int = 3
    images: Images = Images()


@dataclass(frozen=True)
class Variant:
    """How a network is initialised and trained: the paper's default, or one of the two remedies."""

    shrink: float = 1.0
    decay: bool = False


VARIANTS = {"default": Variant(), "small initialisation": Variant(shrink=0.2), "weight decay": Variant(decay=True)}
