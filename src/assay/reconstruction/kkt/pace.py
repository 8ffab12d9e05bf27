"""How far the search starts and steps, by what it searches."""

from dataclasses import dataclass

from assay.reconstruction.kkt.target import Target

MANY = 32
"""Dimensions of the span beyond which starts, steps and first gates shrink; what suits 30 samples was chosen first."""


@dataclass(frozen=True)
class Pace:
    """Hold what a network changes in the search's settings.

    Attributes:
        length: Factor on starts and learning rates.
        sharpness: Factor on the gates' first sharpness.
        memory: Decay of Adam's mean of squared gradients.
    """

    length: float
    sharpness: float
    memory: float


def pace(target: Target) -> Pace:
    """Return the pace that suits a network; what decided is in the guide on choices in reconstruction.

    Sharp gates make gradients jump: behind dense layers a shorter memory of their squares than usual finds more. The
    more samples there are, the softer the search has to begin, and the gates of a candidate near zero are soft: its
    multiplier, larger by as much, makes up for its length. Where the first layer is not dense, long steps find nothing,
    and a short memory loses images.
    """
    if len(target.coordinates) > 1:
        return Pace(length=0.1, sharpness=1.0, memory=0.999)
    smaller = min(1.0, MANY / max(target.rank, 1))
    return Pace(length=smaller, sharpness=smaller, memory=0.95)
