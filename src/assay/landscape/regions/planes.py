"""Planes through three samples (Somepalli et al., 2022, section 3.1)."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from assay.core import InvalidInputError, as_generator, check_count, check_samples

_COLLINEAR = 1e-6  # of the length of the third point's offset
_TRIES = 100  # draws for one plane


@dataclass(frozen=True, eq=False)
class Plane:
    r"""The plane through three samples, with an orthonormal basis.

    $a = \frac{x_2 - x_1}{\lVert x_2 - x_1\rVert}$ and
    $b = \frac{(x_3 - x_1) - \langle a, x_3 - x_1\rangle a}{\lVert\cdot\rVert}$; the point at $(u, v)$ is
    $x_1 + u a + v b$. Points are not clipped to the range of the inputs.

    Args:
        x1: Sample at (0, 0), of any shape.
        x2: Sample on the first axis.
        x3: Sample that spans the second axis.

    Raises:
        InvalidInputError: The samples differ in shape or type, are not finite, or lie on one line.

    Source: Somepalli, Fowl, Bansal et al. (2022), "Can Neural Nets Learn the Same Model Twice?", arXiv 2203.08124,
    section 3.1, "Plotting decision boundaries".

    >>> plane = Plane(torch.zeros(2), torch.tensor([2.0, 0.0]), torch.tensor([1.0, 3.0]))
    >>> plane.coords.tolist()
    [[0.0, 0.0], [2.0, 0.0], [1.0, 3.0]]
    """

    x1: Float[Tensor, " *d"]
    x2: Float[Tensor, " *d"]
    x3: Float[Tensor, " *d"]

    def __post_init__(self) -> None:
        for name in ("x1", "x2", "x3"):
            value = getattr(self, name)
            if not isinstance(value, Tensor):
                raise InvalidInputError(f"{name} must be a torch.Tensor, got {type(value).__name__}; pass one sample")
            if (value.shape, value.dtype, value.device) != (self.x1.shape, self.x1.dtype, self.x1.device):
                raise InvalidInputError(
                    f"{name} is of shape {tuple(value.shape)} and {value.dtype}, x1 of shape {tuple(self.x1.shape)} "
                    f"and {self.x1.dtype}; pass three samples of one shape, type and device"
                )
            object.__setattr__(self, name, check_samples(value.reshape(1, -1), name).reshape(value.shape))
        first, second, length = self._offsets()
        if length == 0 or not _spans(first, second, length):
            raise InvalidInputError("the three samples lie on one line and span no plane; choose other samples")

    def _offsets(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return the first axis, the third point's offset, and the length of the first side, in float64."""
        origin = self.x1.double().flatten()
        side, offset = self.x2.double().flatten() - origin, self.x3.double().flatten() - origin
        length = side.norm()
        return side / length, offset, length

    @property
    def basis(self) -> Float[Tensor, "2 d"]:
        """Orthonormal rows a and b, flattened, in float64."""
        first, offset, _ = self._offsets()
        rest = offset - (first @ offset) * first
        rest = rest - (first @ rest) * first  # twice, or rounding tilts the axis where the triangle is thin
        return torch.stack([first, rest / rest.norm()])

    @property
    def coords(self) -> Float[Tensor, "3 2"]:
        """Coordinates (u, v) of the three samples, in float64."""
        _, offset, length = self._offsets()
        basis = self.basis
        first = torch.stack([length, torch.zeros_like(length)])
        return torch.stack([torch.zeros_like(first), first, basis @ offset])

    def grid(
        self, resolution: int = 50, margin: float = 0.1
    ) -> tuple[Float[Tensor, "n *d"], Float[Tensor, " r"], Float[Tensor, " r"]]:
        """Return the points of a square grid over the triangle.

        Args:
            resolution: Points r along each axis. Paper: 50.
            margin: Room on each side, as a share of the triangle's extent along that axis. Paper: 0.1, and 0.5 in
                figures of double descent.

        Returns:
            The points, of shape `(r * r, ...)` in the samples' type, and the coordinates u and v. Point `i * r + j` is
            at `(u[i], v[j])`: the first axis of the grid is the first direction.

        Raises:
            InvalidInputError: The resolution is below 2, or the margin negative or not finite.
        """
        check_count(resolution, "resolution", at_least=2)
        check_margin(margin)
        low, high = self.coords.amin(0), self.coords.amax(0)
        room = margin * (high - low)
        steps = torch.linspace(0, 1, resolution, dtype=torch.float64, device=self.x1.device)
        u, v = (low - room)[:, None] + (high - low + 2 * room)[:, None] * steps
        places = torch.cartesian_prod(u, v)
        points = self.x1.double().flatten() + places @ self.basis
        return points.to(self.x1.dtype).reshape(-1, *self.x1.shape), u, v


@torch.inference_mode(False)
def sample_planes(
    x: Float[Tensor, "n *d"],
    y: Shaped[Tensor, " n"] | None = None,
    *,
    n: int,
    distinct_labels: bool = True,
    generator: torch.Generator | None = None,
) -> list[Plane]:
    """Draw planes through random triplets of samples.

    The same generator state gives the same triplets, so that all networks to be compared see the same planes. Pass
    images as they are, without augmentation, in the normalisation that all networks share.

    Args:
        x: Samples, of shape `(n, ...)`.
        y: Labels; None for triplets without a condition on labels.
        n: Number of planes. Paper: 500 for reproducibility, 1000 for double descent.
        distinct_labels: Whether the labels of a triplet must differ pairwise; needs `y`.
        generator: Source of the triplets; a fixed seed by default.

    Returns:
        The planes.

    Raises:
        InvalidInputError: There are fewer than three samples or classes, the labels do not fit, or no triplet in 100
            draws spans a plane.

    Source: Somepalli et al. (2022), arXiv 2203.08124, sections 3 and 5: triplets for reproducibility and fragmentation.

    >>> planes = sample_planes(torch.eye(4), torch.tensor([0, 1, 2, 2]), n=2)
    >>> len(planes)
    2
    """
    x = check_samples(x)
    check_count(n, "n")
    distinct = distinct_labels and y is not None
    if distinct:
        if y.ndim != 1 or len(y) != len(x):  # pyright: ignore[reportOptionalMemberAccess, reportArgumentType]
            raise InvalidInputError(
                f"y must hold one label for each of the {len(x)} samples, got {tuple(y.shape)}"  # pyright: ignore[reportOptionalMemberAccess]
            )
        groups = [(y == label).nonzero().flatten() for label in y.unique()]  # pyright: ignore[reportOptionalMemberAccess]
    else:
        groups = [index[None] for index in torch.arange(len(x), device=x.device)]
    if len(groups) < 3:
        raise InvalidInputError(
            f"a plane goes through samples of three {'labels' if distinct else 'indices'}, got {len(groups)}; pass "
            "more samples, or distinct_labels=False"
        )
    source = as_generator(generator)
    return [_draw(x, groups, source) for _ in range(n)]


def _draw(x: Tensor, groups: list[Tensor], source: torch.Generator) -> Plane:
    sizes = torch.tensor([len(group) for group in groups], dtype=torch.float64)
    for _ in range(_TRIES):
        chosen = torch.multinomial(sizes, 3, generator=source).tolist()
        places = [
            int(torch.randint(len(groups[group]), (1,), generator=source, device=source.device)) for group in chosen
        ]
        triplet = [x[groups[group][place]] for group, place in zip(chosen, places, strict=True)]
        try:
            return Plane(*triplet)
        except InvalidInputError:
            continue  # duplicates among the samples
    raise InvalidInputError(f"no triplet in {_TRIES} draws spans a plane; the samples lie on one line or are copies")


def check_margin(margin: float) -> None:
    """Require a finite margin that is not negative."""
    if not (math.isfinite(margin) and margin >= 0):
        raise InvalidInputError(f"margin must be zero or a positive number, got {margin!r}")


def _spans(axis: Tensor, offset: Tensor, length: Tensor) -> bool:
    size = offset.norm()
    rest = (offset - (axis @ offset) * axis).norm()
    return bool(size > _COLLINEAR * length) and bool(rest >= _COLLINEAR * size)
