"""Training and evaluation sets of subpopulations from counts by label and attribute (Liang, Mao et al., 2023)."""

import torch
from jaxtyping import Int64, Shaped
from torch import Tensor

from assay.core import InvalidInputError, as_generator, check_count, check_fraction


def spurious_counts(n: int, p_y: float, p_z: float, strength: float) -> Int64[Tensor, "2 2"]:
    r"""Count the samples of each cell (label, attribute) for a correlation of given strength at fixed marginals.

    With $\pi_y = P(Z=1 \mid Y=y)$ the strength is $\pi_1 - \pi_0$, so that $\pi_0 = P(Z=1) - P(Y=1)\,(\pi_1 - \pi_0)$.
    Both marginals are rounded first and then kept, so that tables of different strengths differ in nothing else.

    Args:
        n: Samples in all.
        p_y: P(Y = 1), between 0 and 1.
        p_z: P(Z = 1), between 0 and 1.
        strength: Difference of the two conditional probabilities; 0 for independence, negative where Z = 1 goes with
            Y = 0.

    Returns:
        The table, one row a label and one column an attribute value.

    Raises:
        InvalidInputError: A number is out of range, or these marginals do not allow the strength.

    Source: Liang, Mao et al., Accuracy on the Curve (2023), the controlled experiment on Modified-CIFAR4, whose four
    tables these are for n = 10000, P(Y=1) = 0.5, P(Z=1) = 0.6.

    >>> spurious_counts(10_000, 0.5, 0.6, 0.6).tolist()
    [[3500, 1500], [500, 4500]]
    """
    check_count(n, "n")
    check_fraction(p_y, "p_y")
    check_fraction(p_z, "p_z")
    low = -min(p_z / (1 - p_y), (1 - p_z) / p_y)
    high = min(p_z / p_y, (1 - p_z) / (1 - p_y))
    if not low - 1e-9 <= strength <= high + 1e-9:
        raise InvalidInputError(
            f"strength must lie between {low:.4g} and {high:.4g} where P(Y=1) = {p_y:g} and P(Z=1) = {p_z:g}, got "
            f"{strength!r}; take a weaker one or other marginals"
        )
    ones, with_attribute = round(n * p_y), round(n * p_z)
    both = round(ones * (p_z + (1 - p_y) * strength))
    both = min(max(both, 0, ones + with_attribute - n), ones, with_attribute)  # rounding may leave the table
    only_attribute, only_label = with_attribute - both, ones - both
    return torch.tensor([[n - ones - only_attribute, only_attribute], [only_label, both]])


def draw_cells(
    y: Shaped[Tensor, " n"],
    z: Shaped[Tensor, " _"],
    counts: Shaped[Tensor, "c k"],
    *,
    generator: torch.Generator | None = None,
) -> Int64[Tensor, " drawn"]:
    """Draw as many samples of each cell (label, attribute) as a table says, without replacement.

    Cost: time O(n c k), memory O(n).

    Args:
        y: Labels from 0 to c - 1; samples with other labels are never drawn.
        z: Attribute values from 0 to k - 1; samples with others are never drawn.
        counts: Samples of each cell, one row a label and one column an attribute value.
        generator: Source of the draw; a fixed seed by default.

    Returns:
        Places of the drawn samples, in random order.

    Raises:
        InvalidInputError: A cell has fewer samples than the table asks for, or the arguments do not fit each other.

    Source: Liang, Mao et al., Accuracy on the Curve (2023), main text, construction of the subpopulation shifts.

    >>> y, z = torch.tensor([0, 0, 1, 1]), torch.tensor([0, 1, 0, 1])
    >>> draw_cells(y, z, torch.tensor([[1, 0], [0, 1]])).sort().values.tolist()
    [0, 3]
    """
    y, z = check_cells(y, z)
    if not _is_table(counts):
        raise InvalidInputError(
            "counts must be a table of whole numbers from 0, one row a label and one column an attribute value, not "
            "all zero; make it with `spurious_counts`"
        )
    source, drawn = as_generator(generator), []
    for label, row in enumerate(counts.tolist()):
        for value, wanted in enumerate(row):
            found = ((y == label) & (z == value)).nonzero().flatten()
            if len(found) < wanted:
                raise InvalidInputError(
                    f"the cell of label {label} and attribute {value} has {len(found)} samples, and the table asks for "
                    f"{wanted}; scale the table down"
                )
            drawn.append(found[_shuffled(len(found), source)[:wanted].to(found.device)])
    places = torch.cat(drawn)
    return places[_shuffled(len(places), source).to(places.device)]


def balanced_subgroups(
    y: Shaped[Tensor, " n"], groups: Shaped[Tensor, " _"], *, generator: torch.Generator | None = None
) -> dict[int, Int64[Tensor, " k"]]:
    """Draw an evaluation set of each subgroup in which every label has the same number of samples.

    Without this a network that prefers one label bends the curve of minority against majority accuracy by itself.

    Cost: time O(n c g) for c labels and g groups, memory O(n).

    Args:
        y: Labels.
        groups: Subgroup of each sample.
        generator: Source of the draw; a fixed seed by default.

    Returns:
        Places of the samples by subgroup: of each label as many as the subgroup has of its rarest one.

    Raises:
        InvalidInputError: A subgroup lacks a label, or labels and groups do not fit each other.

    Source: Liang, Mao et al., Accuracy on the Curve (2023), main text, evaluation on majority and minority test sets.

    >>> sets = balanced_subgroups(torch.tensor([0, 0, 1, 0, 1]), torch.tensor([0, 0, 0, 1, 1]))
    >>> {group: len(places) for group, places in sets.items()}
    {0: 2, 1: 2}
    """
    y, groups = check_cells(y, groups)
    sets, source, labels = {}, as_generator(generator), y.unique().tolist()
    for group in groups.unique().tolist():
        cells = [((y == label) & (groups == group)).nonzero().flatten() for label in labels]
        size = min(map(len, cells))
        if not size:
            missing = labels[[len(cell) for cell in cells].index(0)]
            raise InvalidInputError(
                f"subgroup {group} has no sample of label {missing}, so that its labels cannot be balanced; merge "
                "subgroups, or leave that label out"
            )
        sets[group] = torch.cat([cell[_shuffled(len(cell), source)[:size].to(cell.device)] for cell in cells])
    return sets


def check_cells(y: Tensor, z: Tensor) -> tuple[Int64[Tensor, " n"], Int64[Tensor, " n"]]:
    """Require a label and a group for each sample, and return both as int64.

    Raises:
        InvalidInputError: They are not two non-empty vectors of whole numbers of one length.

    >>> check_cells(torch.tensor([0, 1]), torch.tensor([True, False]))[1].tolist()
    [1, 0]
    """
    for name, values in (("labels", y), ("groups", z)):
        if not isinstance(values, Tensor) or values.ndim != 1 or values.is_floating_point() or not len(values):
            got = f"{values.dtype} of shape {tuple(values.shape)}" if isinstance(values, Tensor) else type(values)
            raise InvalidInputError(f"{name} must be a non-empty vector of whole numbers, got {got}")
    if len(y) != len(z):
        raise InvalidInputError(f"{len(y)} labels came with {len(z)} groups; give one of each for every sample")
    return y.long(), z.long().to(y.device)


def _is_table(counts: object) -> bool:
    if not isinstance(counts, Tensor) or counts.ndim != 2 or counts.is_floating_point():
        return False
    return bool((counts >= 0).all()) and bool(counts.any())


def _shuffled(n: int, source: torch.Generator) -> Int64[Tensor, " n"]:
    return torch.randperm(n, generator=source, device=source.device)
