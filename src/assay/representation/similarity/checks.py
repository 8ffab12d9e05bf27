"""Input checks of two representations of the same samples."""

from jaxtyping import Float
from torch import Tensor

from assay.core import InvalidInputError, check_samples


def check_representations(
    a: Float[Tensor, "n d"], b: Float[Tensor, "m e"], *, at_least: int = 2
) -> tuple[Float[Tensor, "n d"], Float[Tensor, "m e"]]:
    """Require two matrices with the same number of rows, and return them without a graph.

    Raises:
        InvalidInputError: They are not, or have too few rows.
    """
    a, b = check_samples(a, "a"), check_samples(b, "b")
    if a.ndim != 2 or b.ndim != 2 or len(a) != len(b):
        raise InvalidInputError(
            f"representations must be matrices with one row for each of the same samples, got shapes {tuple(a.shape)} "
            f"and {tuple(b.shape)}; flatten them with .flatten(1)"
        )
    if len(a) < at_least:
        raise InvalidInputError(f"the similarity needs {at_least} samples or more, got {len(a)}")
    return a, b
