"""Bounds on a layer's information by a Gaussian mixture whose noise follows its activity (Chelombiev et al., 2019)."""

import math
from typing import Literal

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from assay.core import InvalidInputError, check_choice, check_count, check_finite, check_positive, check_samples
from assay.representation.information_plane.discrete import LayerInformation, label_numbers

NOISE_VARIANCE = 1e-3


def kde_information(
    activations: Float[Tensor, "n *d"],
    labels: Shaped[Tensor, "n *one"],
    *,
    noise_variance: float = NOISE_VARIANCE,
    scale: float | Literal["max", "std"] | None = "max",
    bound: Literal["upper", "lower"] = "upper",
    batch_size: int = 512,
) -> LayerInformation:
    r"""Bound the information of $T + \mathcal N(0, s^2 I)$ about input and label, in bits.

    With $s^2 = s_0^2 a^2$ and $G(T) = -\frac1n \sum_i \log \frac1n \sum_j \exp(-\|t_i - t_j\|^2 / 2 s^2)$, the upper
    bound of $I(T; X)$ is $G(T)$, and $I(T; Y)$ is estimated by $G(T) - \sum_y p(y)\,G(T \mid y)$, a difference of two
    bounds. For the lower bound $s^2$ is replaced by $4 s^2$. With a scale a that follows the layer, neither changes
    when all activations are multiplied by a number.

    Args:
        activations: What one layer gives; axes after the first are units.
        labels: Whole numbers or booleans, one a sample.
        noise_variance: $s_0^2$, relative to $a^2$. It is ours: the paper's is not stated.
        scale: a: the largest absolute activation, the standard deviation of all activations, a number, such as the
            largest activation over all epochs, or None for 1. An activity of 0 counts as 1.
        bound: "upper" (Kullback-Leibler divergence) or "lower" (Bhattacharyya distance).
        batch_size: Samples whose distances to all others are held at once.

    Returns:
        Both in bits.

    Raises:
        InvalidInputError: The activations or the labels are unusable, or an option is out of range.
        NumericalError: A bound is NaN or infinite.

    Cost: time O(n² h), memory O(batch_size n h), for h units.

    Source: Chelombiev, Houghton and O'Donnell, "Adaptive Estimators Show Information Compression in Deep Neural
    Networks" (2019), abstract, adaptive kernel density estimation; bounds from Kolchinsky and Tracey, "Estimating
    Mixture Entropy with Pairwise Distances" (2017), section 3. Deviation: the authors' code has constant noise; its
    scaling with the activity, which the paper describes, is ours.

    >>> clusters = torch.tensor([[0.0], [0.0], [100.0], [100.0]])
    >>> kde_information(clusters, torch.tensor([0, 0, 1, 1]))
    LayerInformation(input_bits=1.0, label_bits=1.0)
    """
    check_positive(noise_variance, "noise_variance")
    check_choice(bound, ("upper", "lower"), "bound")
    check_count(batch_size, "batch_size")
    values = check_samples(activations, "activations").flatten(1).double()
    classes = label_numbers(labels, len(values))
    variance = noise_variance * activity(values, scale) ** 2 * (1 if bound == "upper" else 4)
    whole = _mixture_entropy(values, variance, batch_size)
    within = sum(
        len(part) / len(values) * _mixture_entropy(part, variance, batch_size)
        for part in (values[classes == label] for label in range(int(classes.max()) + 1))
    )
    return LayerInformation(whole, max(whole - within, 0.0))


def activity(values: Tensor, scale: float | str | None) -> float:
    """Return the activity scale of a layer; 1 where it is 0.

    Raises:
        InvalidInputError: The scale is none of those that `kde_information` takes.
    """
    if scale is None:
        return 1.0
    if scale == "max":
        return float(values.abs().max()) or 1.0
    if scale == "std":
        return float(values.std(correction=0)) or 1.0
    if isinstance(scale, str):
        raise InvalidInputError(f"scale must be 'max', 'std', a positive number or None, got {scale!r}")
    check_positive(scale, "scale")
    return float(scale)


def _mixture_entropy(values: Float[Tensor, "n d"], variance: float, batch_size: int) -> float:
    """Return $G(T)$ in bits, without the entropy of the noise."""
    total = values.new_zeros(())
    for part in values.split(batch_size):
        # Distances by matrix products lose the small ones, on which everything depends.
        distances = torch.cdist(part, values, compute_mode="donot_use_mm_for_euclid_dist")
        total += (math.log(len(values)) - torch.logsumexp(-distances.square() / (2 * variance), 1)).sum()
    check_finite(total, "the entropy of the mixture")
    return max(float(total) / len(values) / math.log(2), 0.0)
