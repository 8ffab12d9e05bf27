"""Peak of a curve over widths near the interpolation threshold (Liu and Flanigan, 2023)."""

from collections.abc import Sequence
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from assay.core import InvalidInputError, NumericalError

PRESENT = 1.5
"""A peak is present above this height."""


@dataclass(frozen=True)
class Peak:
    """The highest point of a curve near the threshold.

    Attributes:
        height: Its value over that at the largest width.
        width: Where it is.
        is_interior: Whether the curve is no higher at the widths beside it, both of which there are.
    """

    height: float
    width: int
    is_interior: bool

    @property
    def present(self) -> bool:
        """Whether the height exceeds 1.5, at a maximum between smaller and larger widths."""
        return self.is_interior and self.height > PRESENT


def find_peak(widths: Sequence[int], curve: Float[Tensor, " w"], threshold: float | None = None) -> Peak:
    r"""Find the highest point of a curve e(N) near the threshold: $\max_{|N/N^* - 1| \le 1/2} e(N)\,/\,e(N_{\max})$.

    Args:
        widths: Widths N, growing.
        curve: Values at them, such as test losses.
        threshold: Interpolation threshold $N^*$; where it is None, the highest of all local maxima between the ends is
            the peak, or the highest point of a curve without any.

    Returns:
        The peak.

    Raises:
        InvalidInputError: There are fewer than three widths, they do not grow, or none is near the threshold.
        NumericalError: The curve is not positive at the largest width.

    Source: Liu and Flanigan, Understanding the Role of Optimization in Double Descent (2023), abstract: the peak; the
    measure is chosen here.

    >>> import torch
    >>> find_peak((50, 100, 400), torch.tensor([1.0, 6.0, 2.0]), threshold=100)
    Peak(height=3.0, width=100, is_interior=True)
    """
    widths = check_widths(widths)
    if curve.shape != (len(widths),):
        raise InvalidInputError(f"curve must hold one value for each of {len(widths)} widths, got {tuple(curve.shape)}")
    values = curve.tolist()
    tops = [place for place in range(1, len(values) - 1) if values[place] >= max(values[place - 1], values[place + 1])]
    if threshold is None:
        near = tops or list(range(len(values)))
    else:
        near = [place for place, width in enumerate(widths) if abs(width / threshold - 1) <= 0.5]
    if not near:
        raise InvalidInputError(f"no width is within half of the threshold {threshold:g}, got {widths}; add some")
    place = max(near, key=values.__getitem__)
    if not values[-1] > 0:
        raise NumericalError(f"the curve is {values[-1]:g} at the largest width, so that no height is relative to it")
    return Peak(values[place] / values[-1], widths[place], place in tops)


def check_widths(widths: Sequence[int]) -> tuple[int, ...]:
    """Return three or more growing widths as a tuple.

    Raises:
        InvalidInputError: They are not.
    """
    found = tuple(int(width) for width in widths)
    if len(found) < 3 or found[0] < 1 or list(found) != sorted(set(found)):
        raise InvalidInputError(f"widths must be three or more growing numbers from 1 on, got {found}")
    return found
