"""Cover's function-counting theorem: the probability that a linear classifier fits random labels (Cover, 1965)."""

import math

from assay.core import check_count


def cover_probability(n: int, d: int) -> float:
    r"""Compute the probability that n points in general position in d dimensions are fitted by a linear classifier.

    $P(n, d) = 2^{1-n} \sum_{k<d} \binom{n-1}{k}$ for labels of fair coins and a classifier without bias. It is 1 up to
    n = d and one half at n = 2d: the effective model complexity of linear separation has the median 2d.

    Args:
        n: Points.
        d: Dimensions; one more for a classifier with a bias.

    Returns:
        The probability.

    Raises:
        InvalidInputError: A number is below one.

    Cost: time O(min(n, d)).

    Source: Cover, Geometrical and Statistical Properties of Systems of Linear Inequalities with Applications in Pattern
    Recognition (1965), theorem 1.

    >>> cover_probability(20, 10), cover_probability(10, 10)
    (0.5, 1.0)
    """
    check_count(n, "n")
    check_count(d, "d")
    # Whole numbers are exact, also where a float would overflow.
    return sum(math.comb(n - 1, k) for k in range(min(n, d))) / 2 ** (n - 1)
