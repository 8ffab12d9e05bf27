"""Information of a layer's codes about the input and the label, in bits (Chelombiev et al., 2019)."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int, Int64, Shaped
from torch import Tensor

from assay.core import InvalidInputError
from assay.representation.information_plane.binning import entropy_adaptive_codes, fixed_codes

_CAPACITY = 2**62  # numbers of rows that fit into int64


@dataclass(frozen=True)
class LayerInformation:
    """Mutual information of a layer with the input and with the label.

    Attributes:
        input_bits: I(T; X) in bits.
        label_bits: I(T; Y) in bits.
    """

    input_bits: float
    label_bits: float


def layer_information(codes: Int[Tensor, "n d"], labels: Shaped[Tensor, "n *one"]) -> LayerInformation:
    r"""Compute $I(T; X) = H(T)$ and $I(T; Y) = H(T) + H(Y) - H(T, Y)$ of discrete codes, in bits.

    X is uniform over the n inputs and the network is deterministic, so that $H(T \mid X) = 0$. The entropies are those
    of the observed frequencies of rows.

    Args:
        codes: One row a sample, as `entropy_adaptive_codes` gives them.
        labels: Whole numbers or booleans, of shape (n,) or (n, 1).

    Returns:
        Both in bits; the first is $\log_2 n$ at most, the second at most the entropy of the labels.

    Raises:
        InvalidInputError: The codes are no matrix of integers, or the labels are not one whole number a sample.

    Cost: time O(n d log n), memory O(n d).

    Source: Chelombiev, Houghton and O'Donnell, "Adaptive Estimators Show Information Compression in Deep Neural
    Networks" (2019), main text, the section on mutual information by binning.

    >>> layer_information(torch.tensor([[0, 1], [0, 1], [2, 1], [3, 3]]), torch.tensor([0, 0, 1, 1]))
    LayerInformation(input_bits=1.5, label_bits=1.0)
    """
    if codes.ndim != 2 or codes.numel() == 0 or codes.is_floating_point() or codes.is_complex():
        raise InvalidInputError(
            f"codes must be integers of shape (n, d), got {codes.dtype} of shape {tuple(codes.shape)}; pass what "
            "entropy_adaptive_codes returns"
        )
    classes, rows = label_numbers(labels, len(codes)), row_numbers(codes)
    joint = row_numbers(torch.stack([rows, classes], 1))
    inputs = entropy_bits(rows)
    about = inputs + entropy_bits(classes) - entropy_bits(joint)
    return LayerInformation(inputs, min(max(about, 0.0), inputs))


def label_numbers(labels: Tensor, n: int) -> Int64[Tensor, " n"]:
    """Return labels as the numbers 0, 1, ... of the classes that occur.

    Raises:
        InvalidInputError: They are not one whole number a sample.
    """
    one_each = labels.ndim > 0 and labels.numel() == len(labels) == n and not labels.is_complex()
    if not one_each or (labels.is_floating_point() and not bool((labels == labels.round()).all())):
        raise InvalidInputError(
            f"labels must be {n} whole numbers, one a sample, got {labels.dtype} of shape {tuple(labels.shape)}; "
            "bin real targets first"
        )
    return labels.reshape(-1).long().unique(return_inverse=True)[1]


def row_numbers(codes: Int[Tensor, "n d"]) -> Int64[Tensor, " n"]:
    """Number the distinct rows: equal rows, and they alone, have one number.

    As many columns at a time as fit are written into one integer, whose distinct values are numbered again.

    >>> row_numbers(torch.tensor([[5, 1], [0, 2], [5, 1]])).tolist()
    [1, 0, 1]
    """
    codes = codes.long()
    codes = codes - codes.amin(0)
    sizes = [int(size) + 1 for size in codes.amax(0)]
    numbers, count = torch.zeros_like(codes[:, 0]), 1
    for column, size in zip(codes.T, sizes, strict=True):
        if count * size >= _CAPACITY:
            numbers = numbers.unique(return_inverse=True)[1]
            count = int(numbers.max()) + 1
            if count * size >= _CAPACITY:
                column = column.unique(return_inverse=True)[1]
                size = len(column)
        numbers, count = numbers * size + column, count * size
    return numbers.unique(return_inverse=True)[1]


def entropy_bits(numbers: Int64[Tensor, " n"]) -> float:
    """Return the entropy of the frequencies of numbers from 0 on, in bits."""
    shares = torch.bincount(numbers).double() / len(numbers)
    return float(-torch.special.xlogy(shares, shares).sum() / torch.log(shares.new_tensor(2.0))) + 0.0


def adaptive_information(
    activations: Float[Tensor, "n *d"],
    labels: Shaped[Tensor, "n *one"],
    *,
    n_bins: int = 30,
    lower: float | None = None,
) -> LayerInformation:
    """Compute a layer's information about input and label with entropy-based adaptive bins.

    Args:
        activations: What one layer gives; axes after the first are units.
        labels: Whole numbers or booleans, one a sample.
        n_bins: Bins. Paper's code: 30.
        lower: Least value of the activation function, see `entropy_adaptive_codes`.

    Raises:
        InvalidInputError: The activations or the labels are unusable, or some activation lies below `lower`.

    Cost: time O(n h log(n h)), memory O(n h), for h units.

    Source: Chelombiev et al. (2019), abstract, entropy-based adaptive binning.

    >>> adaptive_information(torch.tensor([[0.0], [0.0], [1.0], [5.0]]), torch.tensor([0, 0, 1, 1]), lower=0.0)
    LayerInformation(input_bits=1.5, label_bits=1.0)
    """
    return layer_information(entropy_adaptive_codes(activations, n_bins=n_bins, lower=lower), labels)


def fixed_information(
    activations: Float[Tensor, "n *d"], labels: Shaped[Tensor, "n *one"], *, edges: Sequence[float]
) -> LayerInformation:
    """Compute a layer's information about input and label with the same bins for every layer and epoch.

    Args:
        activations: What one layer gives; axes after the first are units.
        labels: Whole numbers or booleans, one a sample.
        edges: See `fixed_codes`.

    Raises:
        InvalidInputError: The activations, the labels or the edges are unusable.

    Cost: time O(n h log n), memory O(n h), for h units.

    Source: Shwartz-Ziv and Tishby (2017), section 3.1.

    >>> fixed_information(torch.tensor([[5.0], [9.0]]), torch.tensor([0, 1]), edges=(-1.0, 0.0, 1.0))
    LayerInformation(input_bits=0.0, label_bits=0.0)
    """
    return layer_information(fixed_codes(activations, edges), labels)
