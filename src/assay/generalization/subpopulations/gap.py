"""Accuracy gap between two subgroups, and its share due to spurious correlation (Liang, Mao et al., 2023)."""

from dataclasses import dataclass

from jaxtyping import Float64
from torch import Tensor

from assay.core import InvalidInputError, check_fraction
from assay.generalization.subpopulations.accuracies import SubgroupAccuracy


@dataclass(frozen=True, eq=False)
class AccuracyGap:
    """A gap between two subgroups in two parts that add up to it exactly.

    Attributes:
        gap: Accuracy of the first subgroup less that of the second.
        label_mix: What the two shares of the labels explain at the network's accuracy by label: the theorem's
            right-hand side, and the whole gap where inputs do not depend on the subgroup given the label.
        within_labels: The rest, by label: what the network gets wrong more often in one subgroup at the same label.
        strength: Largest difference between labels of P(first subgroup | label).
        labels: The label of each entry.
    """

    gap: float
    label_mix: float
    within_labels: Float64[Tensor, " c"]
    strength: float
    labels: tuple[int, ...]

    @property
    def residual(self) -> float:
        """The gap that the theorem leaves unexplained; zero where its independence assumption holds."""
        return float(self.within_labels.sum())

    def __str__(self) -> str:
        return (
            f"The accuracy gap is {self.gap:.4g}: {self.label_mix:.4g} follow from the shares of the labels in the two "
            f"subgroups (spurious correlation of strength {self.strength:.4g}), and {self.residual:.4g} from "
            "differences at the same label, which the theorem excludes by its assumption."
        )


def accuracy_gap_theorem(p_y: float, pi_1: float, pi_0: float, tpr: float, tnr: float) -> float:
    r"""Return the accuracy gap of two subgroups whose inputs do not depend on the subgroup given the label.

    $P(g{=}Y \mid Z{=}1) - P(g{=}Y \mid Z{=}0) = \frac{P(Y=1)\,P(Y=0)}{P(Z=1)\,P(Z=0)}\,
    (\pi_1 - \pi_0)\,(\mathrm{TPR} - \mathrm{TNR})$ with $\pi_y = P(Z=1 \mid Y=y)$. The paper states its absolute value.

    Args:
        p_y: P(Y = 1).
        pi_1: P(Z = 1 | Y = 1).
        pi_0: P(Z = 1 | Y = 0).
        tpr: Accuracy on label 1.
        tnr: Accuracy on label 0.

    Returns:
        The signed gap.

    Raises:
        InvalidInputError: A number is no probability, or a subgroup or a label is empty.

    Source: Liang, Mao et al., Accuracy on the Curve (2023), the theorem on spurious correlation; derived again from
    P(g=Y | Z=z) = P(Y=1 | z) TPR + P(Y=0 | z) TNR.

    >>> round(accuracy_gap_theorem(0.5, 0.9, 0.1, 0.8, 0.6), 4)
    0.16
    """
    check_fraction(p_y, "p_y")
    for name, value in (("pi_1", pi_1), ("pi_0", pi_0), ("tpr", tpr), ("tnr", tnr)):
        if not 0 <= value <= 1:
            raise InvalidInputError(f"{name} must be a probability, got {value!r}")
    p_z = p_y * pi_1 + (1 - p_y) * pi_0
    if not 0 < p_z < 1:
        raise InvalidInputError(f"P(Z = 1) is {p_z:g}, so that one subgroup is empty; change pi_1 or pi_0")
    return p_y * (1 - p_y) / (p_z * (1 - p_z)) * (pi_1 - pi_0) * (tpr - tnr)


def accuracy_gap(accuracy: SubgroupAccuracy, first: int, second: int) -> AccuracyGap:
    r"""Split the accuracy gap of two subgroups exactly into label shares and differences at the same label.

    With accuracies $a_{yz}$ of the cells, $a_y$ by label over both subgroups, and $D_y = a_{y1} - a_{y0}$:
    $\mathrm{gap} = \sum_y [P(y|1) - P(y|0)]\,a_y + \sum_y [P(y|1) P(0|y) + P(y|0) P(1|y)]\,D_y$.
    The first sum is `accuracy_gap_theorem` for two labels; the second is zero where inputs do not depend on the
    subgroup given the label. It holds for any number of labels, and at the shares of the labels in these samples.

    Args:
        accuracy: Counts of the cells, from `subgroup_accuracy`.
        first: Subgroup Z = 1.
        second: Subgroup Z = 0.

    Returns:
        The parts.

    Raises:
        InvalidInputError: There are no such two subgroups.

    Source: Liang, Mao et al., Accuracy on the Curve (2023), the theorem on spurious correlation; the second sum, which
    its assumption removes, is derived here.

    >>> from assay.generalization.subpopulations import SubgroupAccuracy
    >>> import torch
    >>> cells = torch.tensor([[40, 60], [20, 80]])
    >>> found = accuracy_gap(SubgroupAccuracy(cells, torch.full((2, 2), 100), (0, 1), (0, 1)), 1, 0)
    >>> round(found.gap, 4), round(found.label_mix, 4), [round(float(part), 4) for part in found.within_labels]
    (0.4, 0.0, [0.1, 0.3])
    """
    if first == second or not {first, second} <= set(accuracy.groups):
        raise InvalidInputError(
            f"the gap is between two of the subgroups {accuracy.groups}, got {first!r} and {second!r}"
        )
    columns = [accuracy.groups.index(first), accuracy.groups.index(second)]
    present = accuracy.count[:, columns].sum(1) > 0
    right, count = (cells[present][:, columns].double() for cells in (accuracy.right, accuracy.count))
    sizes, by_label = count.sum(0), count.sum(1)
    shares, recall, pi = count / sizes, right.sum(1) / by_label, count[:, 0] / by_label
    gap = right[:, 0].sum() / sizes[0] - right[:, 1].sum() / sizes[1]
    # P(y|z) a_yz is r_yz / n_z, also in an empty cell, which has no accuracy.
    within = (right / sizes - shares * recall[:, None]) @ count.new_tensor([1.0, -1.0])
    return AccuracyGap(
        gap=float(gap),
        label_mix=float((shares[:, 0] - shares[:, 1]) @ recall),
        within_labels=within,
        strength=float(pi.max() - pi.min()),
        labels=tuple(label for label, kept in zip(accuracy.labels, present.tolist(), strict=True) if kept),
    )
