"""Accuracy by label and subgroup, with exact intervals (Liang, Mao et al., 2023)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Float64, Int, Int64, Shaped
from torch import Tensor, nn

from assay.core import (
    Interval,
    InvalidInputError,
    check_choice,
    check_pairs,
    margins,
    predict,
    proportion_interval,
    signs,
)
from assay.generalization.subpopulations.counts import check_cells


@dataclass(frozen=True, eq=False)
class SubgroupAccuracy:
    """Correct answers in each cell of label and subgroup.

    Attributes:
        right: Correct answers of each cell.
        count: Samples of each cell; a cell may be empty.
        labels: The label of each row.
        groups: The subgroup of each column.
    """

    right: Int64[Tensor, "c g"]
    count: Int64[Tensor, "c g"]
    labels: tuple[int, ...]
    groups: tuple[int, ...]

    def __str__(self) -> str:
        worst = min(self.groups, key=lambda group: self.accuracy(group).mean)
        overall = int(self.right.sum()) / int(self.count.sum())
        return (
            f"{overall:.4g} of {int(self.count.sum())} samples are classified correctly; the lowest accuracy of "
            f"{len(self.groups)} subgroups is that of {worst}, {self.accuracy(worst)}."
        )

    def accuracy(self, group: int, *, level: float = 0.95) -> Interval:
        """Return a subgroup's accuracy with its exact (Clopper-Pearson) interval.

        Raises:
            InvalidInputError: There is no such subgroup.
        """
        column = self._column(group)
        return proportion_interval(int(self.right[:, column].sum()), int(self.count[:, column].sum()), level)

    def balanced(self, cells: Bool[Tensor, "c g"]) -> float:
        """Return the accuracy on some cells at equal shares of the labels.

        Args:
            cells: Which cells count, for example those of the minority.

        Raises:
            InvalidInputError: A label has no sample among them.
        """
        return float(balanced_accuracy(self.right, self.count, cells))

    def deficit(self, group: int, *, labels: Sequence[int] | None = None, level: float = 0.95) -> Interval:
        r"""Return how much lower the accuracy of a subgroup is than that of all others on the same labels.

        $\sum_y w_y (q_y - p_y)$ with accuracies $p_y$ in the subgroup and $q_y$ in the others, and $w_y$ the labels'
        shares in the subgroup. Labels that either side lacks are left out. The interval combines the exact intervals of
        all proportions (MOVER); it is wider than needed rather than narrower.

        Args:
            group: The subgroup.
            labels: Labels to compare on; all that both sides have by default.
            level: Confidence, in (0, 1).

        Raises:
            InvalidInputError: There is no such subgroup, or no label that both sides have.

        Source: Zou and Donner, Construction of confidence limits about effect measures: a general approach (2008),
        equations 2 and 3.
        """
        wanted = self.shared_labels(group) if labels is None else tuple(labels)
        if not wanted or not set(wanted) <= set(self.shared_labels(group)):
            raise InvalidInputError(
                f"subgroup {group} and the others share the labels {self.shared_labels(group)}, and {wanted} are to be "
                "compared; give labels that both have"
            )
        column = self._column(group)
        rows = [self.labels.index(label) for label in wanted]
        total = int(self.count[rows, column].sum())
        mean = below = above = 0.0
        for row in rows:
            weight = int(self.count[row, column]) / total
            own = proportion_interval(int(self.right[row, column]), int(self.count[row, column]), level)
            others = proportion_interval(*self._others(row, column), level)
            mean += weight * (others.mean - own.mean)
            below += weight**2 * ((others.mean - others.low) ** 2 + (own.high - own.mean) ** 2)
            above += weight**2 * ((others.high - others.mean) ** 2 + (own.mean - own.low) ** 2)
        return Interval(mean, mean - math.sqrt(below), mean + math.sqrt(above))

    def shared_labels(self, group: int) -> tuple[int, ...]:
        """Return the labels that both a subgroup and the others have.

        Raises:
            InvalidInputError: There is no such subgroup.
        """
        column = self._column(group)
        own, others = self.count[:, column], self.count.sum(1) - self.count[:, column]
        return tuple(label for label, shared in zip(self.labels, (own > 0) & (others > 0), strict=True) if shared)

    def _column(self, group: int) -> int:
        check_choice(group, self.groups, "group")
        return self.groups.index(group)

    def _others(self, row: int, column: int) -> tuple[int, int]:
        right, count = (int(cells[row].sum() - cells[row, column]) for cells in (self.right, self.count))
        return right, count


def subgroup_accuracy(
    model: nn.Module,
    x: Shaped[Tensor, "n *d"],
    y: Shaped[Tensor, "n *one"],
    *,
    groups: Shaped[Tensor, " _"],
    batch_size: int = 256,
    progress: bool = False,
) -> SubgroupAccuracy:
    """Count the correct answers of a network in each cell of label and subgroup.

    Where you have predictions already, use `count_cells`.

    Cost: time n forward passes, memory that of one batch.

    Args:
        model: Classifier with a score for each class, or one logit; it comes back as it was.
        x: Inputs; integers for a network that reads tokens.
        y: Class indices, or binary labels in {0, 1} or {-1, 1} for one logit, which count as 0 and 1.
        groups: Subgroup of each sample.
        batch_size: Samples a forward pass.
        progress: Draw a bar on standard error.

    Returns:
        The counts, with accuracies and gaps as methods.

    Raises:
        InvalidInputError: The data do not fit the model or each other.
        NumericalError: Some scores are NaN or infinite.

    Source: Liang, Mao et al., Accuracy on the Curve (2023), main text, accuracies of majority and minority.

    >>> x = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    >>> model = nn.Linear(2, 2, bias=False)
    >>> with torch.no_grad():
    ...     _ = model.weight.copy_(torch.eye(2))
    >>> found = subgroup_accuracy(model, x, torch.tensor([0, 1, 0]), groups=torch.tensor([0, 0, 1]))
    >>> found.accuracy(0).mean, found.accuracy(1).mean
    (1.0, 0.0)
    """
    x, y = check_pairs(x, y, tokens=True)
    scores = predict(model, x, batch_size=batch_size, progress=progress)
    is_right = margins(scores, y) > 0
    one_logit = scores.ndim == 1 or scores.shape[1] == 1
    return count_cells(is_right, (signs(y) > 0).long() if one_logit else y.flatten(), groups)


def count_cells(
    is_right: Shaped[Tensor, " _"], y: Shaped[Tensor, " n"], groups: Shaped[Tensor, " _"]
) -> SubgroupAccuracy:
    """Count correct answers in each cell of label and subgroup.

    Cost: time and memory O(n).

    Args:
        is_right: Whether the answer to each sample is correct, such as `predictions == y`.
        y: Labels.
        groups: Subgroup of each sample.

    Returns:
        The counts, with accuracies and gaps as methods.

    Raises:
        InvalidInputError: The three do not fit each other.

    Source: Liang, Mao et al., Accuracy on the Curve (2023), main text, accuracies of majority and minority.

    >>> count_cells(torch.tensor([True, False]), torch.tensor([0, 0]), torch.tensor([3, 5])).accuracy(3).mean
    1.0
    """
    y, groups = check_cells(y, groups)
    if not isinstance(is_right, Tensor) or is_right.dtype != torch.bool or is_right.shape != y.shape:
        raise InvalidInputError(f"is_right must be a truth value for each of {len(y)} samples; pass predictions == y")
    labels, rows = y.unique(return_inverse=True)
    names, columns = groups.unique(return_inverse=True)
    places, size = rows * len(names) + columns, len(labels) * len(names)
    shape = (len(labels), len(names))
    count = places.bincount(minlength=size).reshape(shape).cpu()
    right = places[is_right.to(places.device)].bincount(minlength=size).reshape(shape).cpu()
    return SubgroupAccuracy(right, count, tuple(labels.tolist()), tuple(names.tolist()))


def balanced_accuracy(
    right: Int[Tensor, "*models c g"], count: Int[Tensor, "c g"], cells: Bool[Tensor, "c g"]
) -> Float64[Tensor, "*models"]:
    r"""Return accuracies on some cells at equal shares of the labels: $\frac1c \sum_y \sum_z r_{yz} / \sum_z n_{yz}$.

    Args:
        right: Correct answers of each cell, of many models at once.
        count: Samples of each cell.
        cells: Which cells count.

    Raises:
        InvalidInputError: A label has no sample in these cells, or the shapes differ.

    >>> float(balanced_accuracy(torch.tensor([[4, 1], [0, 9]]), torch.full((2, 2), 10), torch.eye(2).bool()))
    0.65
    """
    if cells.shape != count.shape or right.shape[-2:] != count.shape or cells.dtype != torch.bool:
        raise InvalidInputError(
            f"cells must be a truth value for each of {tuple(count.shape)} cells, got {cells.dtype} of shape "
            f"{tuple(cells.shape)} for counts of shape {tuple(right.shape)}"
        )
    samples = (count * cells).sum(1)
    if not samples.all():
        raise InvalidInputError("a label has no sample in these cells, so that its accuracy is unknown; add a cell")
    return ((right * cells).sum(-1).double() / samples).mean(-1)


def mixture_accuracy(
    majority: Float[Tensor, "*m"], minority: Float[Tensor, "..."], share: float
) -> Float[Tensor, "*m"]:
    r"""Return the accuracy where the majority has a given share of the samples: $r\,a + (1 - r)\,b$.

    In distribution r is the majority's share of the training set; the shifted test set of the paper has r = 1/2.

    Args:
        majority: Accuracies on the majority.
        minority: Accuracies on the minority.
        share: The majority's share r, from 0 to 1.

    Raises:
        InvalidInputError: The share is no probability, or the shapes differ.

    Source: Liang, Mao et al., Accuracy on the Curve (2023), main text, mixtures of subpopulations.

    >>> round(float(mixture_accuracy(torch.tensor(0.9), torch.tensor(0.5), 0.75)), 6)
    0.8
    """
    if not 0 <= share <= 1 or majority.shape != minority.shape:
        raise InvalidInputError(
            f"a mixture needs a share between 0 and 1 and as many accuracies of both subgroups, got {share!r} and "
            f"shapes {tuple(majority.shape)} and {tuple(minority.shape)}"
        )
    return share * majority + (1 - share) * minority
