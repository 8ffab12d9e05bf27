"""Search for the largest training set that is fitted: geometric growth, then bisection (Shwartz-Ziv et al., 2024)."""

import math
from collections.abc import Generator


def growth_and_bisection(
    start: int, growth: float, tolerance: float, most: int
) -> Generator[int, bool, tuple[int, int | None]]:
    """Yield numbers of samples, be sent whether they were fitted, and return the bracket of the answer.

    The number grows by a factor until the first failure, and is then bisected between the last success a and the first
    failure b until b - a is at most one or `tolerance` times a.

    Args:
        start: The first number.
        growth: The factor.
        tolerance: Relative width at which the bisection ends; 0 gives the exact number of a monotone procedure.
        most: Samples that there are.

    Returns:
        The largest number that was fitted before the failure, 0 where none was, and the smallest that was not; None
        where all samples were fitted.

    >>> search = growth_and_bisection(8, 1.5, 0.0, 100)
    >>> n = next(search)
    >>> try:
    ...     while True:
    ...         n = search.send(n <= 20)
    ... except StopIteration as end:
    ...     print(end.value)
    (20, 21)
    """
    fitted, n = 0, min(start, most)
    while (yield n):
        fitted = n
        if n == most:
            return fitted, None
        n = min(most, max(n + 1, math.ceil(growth * n)))
    failed = n
    while failed - fitted > max(1.0, tolerance * fitted):
        n = (fitted + failed) // 2
        if (yield n):
            fitted = n
        else:
            failed = n
    return fitted, failed
