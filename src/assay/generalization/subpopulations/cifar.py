"""Modified-CIFAR4: CIFAR-10 with a majority and a minority subgroup (Liang, Mao et al., 2023)."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int64, Shaped
from torch import Tensor

from assay.core import InvalidInputError, check_choice
from assay.generalization.subpopulations.counts import draw_cells

CLASSES = ((0, 2), (1, 7))
"""CIFAR-10 classes by label (air, land) and attribute (vehicle, animal): airplane, bird; automobile, horse."""


@dataclass(frozen=True, eq=False)
class Subpopulations:
    """Places of samples in a data set, with their labels and attributes.

    Attributes:
        index: Place of each sample.
        y: Its label.
        z: Its attribute.
        majority: Which cells (label, attribute) are the majority subgroup; the others are the minority.
    """

    index: Int64[Tensor, " n"]
    y: Int64[Tensor, " n"]
    z: Int64[Tensor, " n"]
    majority: Bool[Tensor, "c k"]

    @property
    def is_majority(self) -> Bool[Tensor, " n"]:
        """Whether each sample belongs to the majority subgroup."""
        return self.majority.to(self.y.device)[self.y, self.z]


def modified_cifar4(
    labels: Shaped[Tensor, " n"],
    version: str = "V1",
    *,
    n_majority: int = 4500,
    n_minority: int = 500,
    generator: torch.Generator | None = None,
) -> Subpopulations:
    """Choose the images of Modified-CIFAR4: air against land, with vehicles and animals on both sides.

    In V1 the attribute is spurious: airplanes and horses are the majority, birds and automobiles the minority. In V2
    the subpopulation is rare and says nothing of the label: airplanes and automobiles are the majority, birds and
    horses the minority. A test set has as many of each: `n_majority=1000, n_minority=1000`.

    Cost: time and memory O(n).

    Args:
        labels: Classes of CIFAR-10, from 0 to 9.
        version: "V1" or "V2".
        n_majority: Images of each class of the majority; the paper's number by default.
        n_minority: Images of each class of the minority; the paper's number by default.
        generator: Source of the draw; a fixed seed by default.

    Returns:
        Places in the data set, labels (0 air, 1 land) and attributes (0 vehicle, 1 animal).

    Raises:
        InvalidInputError: There is no such version, or there are fewer images of a class.

    Source: Liang, Mao et al., Accuracy on the Curve (2023), main text, Modified-CIFAR4 V1 and V2.

    >>> chosen = modified_cifar4(torch.arange(10).repeat(3), n_majority=2, n_minority=1)
    >>> [int(((chosen.y == label) & (chosen.z == value)).sum()) for label in (0, 1) for value in (0, 1)]
    [2, 1, 1, 2]
    """
    check_choice(version, ("V1", "V2"), "version")
    if not isinstance(labels, Tensor) or labels.is_floating_point() or labels.ndim != 1:
        raise InvalidInputError("labels must be a vector of the whole numbers of CIFAR-10's classes, from 0 to 9")
    y, z = torch.full_like(labels, -1).long(), torch.full_like(labels, -1).long()
    for label, row in enumerate(CLASSES):
        for value, number in enumerate(row):
            y[labels == number], z[labels == number] = label, value
    aligned = torch.tensor([[True, False], [False, True]])
    majority = aligned if version == "V1" else torch.tensor([[True, False], [True, False]])
    counts = torch.where(majority, n_majority, n_minority)
    index = draw_cells(y, z, counts, generator=generator)
    return Subpopulations(index, y[index], z[index], majority)
