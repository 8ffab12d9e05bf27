"""Two classes with planted outliers of opposing signals, after Rosenfeld and Risteski (2024, section 3)."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from assay.core import InvalidInputError, as_generator, check_count, check_positive


@dataclass(frozen=True, eq=False)
class OpposingOutliers:
    """Two classes, of which some samples share a feature of large magnitude that says nothing about the class.

    Attributes:
        x: Inputs.
        y: Labels, -1 and 1.
        positive: Outliers of class 1.
        negative: Outliers of class -1.
        feature: Unit direction of their feature.
    """

    x: Float[Tensor, "n d"]
    y: Float[Tensor, " n"]
    positive: Int64[Tensor, " k"]
    negative: Int64[Tensor, " k"]
    feature: Float[Tensor, " d"]

    @property
    def outliers(self) -> Int64[Tensor, " m"]:
        """Outliers of both classes."""
        return torch.cat([self.positive, self.negative])


def make_opposing_outliers(
    n: int = 400,
    *,
    d: int = 20,
    n_outliers: int = 10,
    scale: float = 20.0,
    separation: float = 1.5,
    generator: torch.Generator | None = None,
) -> OpposingOutliers:
    r"""Draw $x_i = z_i + y_i\, s\, e_1 + a_i\, r\, v$, with $z_i \sim N(0, I)$ and labels $y_i = \pm 1$ in turn.

    The flag $a_i$ is one for the first outliers of each class, else zero; the feature $v$ is a random unit vector.

    Args:
        n: Samples.
        d: Features.
        n_outliers: Outliers of each class; 0 gives the same samples without the feature.
        scale: Magnitude $r$ of the outliers' feature.
        separation: Distance $s$ of each class mean from zero, along the first axis.
        generator: Source of the samples; one seeded with 0 by default.

    Returns:
        Inputs in float64, labels and the outliers.

    Raises:
        InvalidInputError: There are fewer samples of a class than outliers, or a size is not positive.

    Cost: time and memory O(n d).

    Source: Rosenfeld and Risteski (2024), arXiv 2311.04163, section 3: a rare feature of large magnitude that is
    uncorrelated with the target. Deviation: both groups have the feature with one sign and opposite labels, so that a
    classifier meets it too.

    >>> data = make_opposing_outliers(40, n_outliers=2)
    >>> data.y[data.outliers].tolist()
    [1.0, 1.0, -1.0, -1.0]
    """
    check_count(n, "n")
    check_count(d, "d")
    check_count(n_outliers, "n_outliers", at_least=0)
    check_positive(scale, "scale")
    if n // 2 < n_outliers:
        raise InvalidInputError(
            f"n={n} gives {n // 2} samples of a class, fewer than n_outliers={n_outliers}; raise n or lower n_outliers"
        )
    source = as_generator(generator)
    place = {"generator": source, "dtype": torch.float64, "device": source.device}
    x = torch.randn(n, d, **place)
    feature = torch.nn.functional.normalize(torch.randn(d, **place), dim=0)
    index = torch.arange(n, device=x.device)
    y = torch.where(index % 2 == 0, 1.0, -1.0).to(x)
    x[:, 0] += separation * y
    positive, negative = index[::2][:n_outliers], index[1::2][:n_outliers]
    x[torch.cat([positive, negative])] += scale * feature
    return OpposingOutliers(x, y, positive, negative, feature)
