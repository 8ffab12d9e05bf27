"""Threat models: perturbations within a ball of a norm and a range of inputs (Croce and Hein, 2020, section 2)."""

import math
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from assay.adversarial.attacks.l1_projection import project_l1_box
from assay.core import InvalidInputError, check_choice, per_sample

NORMS = (1, 2, math.inf)
ROUNDING = 1e-5  # How far an input may lie outside its range, in units of the range's width.
ROOM = 0.85  # Power of the largest number that a radius may reach: the rest is for the network's own sums.
FINEST_STEP = 1 / 64  # The smallest step of an attack, in units of the radius, that its type must resolve.


@dataclass(frozen=True)
class Lp:
    r"""Threat model: $\lVert x' - x\rVert_p \le \varepsilon$ and $x'$ within the input range.

    Args:
        norm: 1, 2 or `math.inf`.
        eps: Largest distance, in units of the input.
        input_range: Lowest and highest value of an input entry; `(-math.inf, math.inf)` for unbounded features.
            The model must take inputs of this range: normalisation belongs inside the model.

    Raises:
        InvalidInputError: The norm is none of 1, 2 and infinity, the radius is not positive and finite, or the range is
            empty or not two numbers.

    >>> threat = Lp(norm=math.inf, eps=0.1, input_range=(0.0, 1.0))
    >>> threat.project(torch.tensor([[0.9, -0.3]]), torch.tensor([[0.5, 0.05]])).tolist()
    [[0.6000000238418579, 0.0]]
    """

    norm: float
    eps: float
    input_range: tuple[float, float]

    def __post_init__(self) -> None:
        # Numbers of NumPy and tensors become floats: attacks compare and hash their threat models.
        check_norm(self.norm)
        object.__setattr__(self, "norm", next(norm for norm in NORMS if norm == _as_number(self.norm)))
        object.__setattr__(self, "eps", _as_radius(self.eps))
        object.__setattr__(self, "input_range", _as_range(self.input_range))

    def check_inside(self, x: Float[Tensor, "n *d"]) -> Float[Tensor, "n *d"]:
        """Require inputs within the range, up to rounding, and return them clipped to it.

        Raises:
            InvalidInputError: Some entry lies outside.
        """
        low, high = self.input_range
        allowed = max(ROUNDING, torch.finfo(x.dtype).eps) * self._scale()
        lowest, highest = (bound.item() for bound in x.aminmax())
        if lowest < low - allowed or highest > high + allowed:
            raise InvalidInputError(
                f"x spans [{lowest:.9g}, {highest:.9g}] but input_range is {self.input_range}; give the true range, "
                "or move the normalisation into the model and pass unnormalised inputs"
            )
        return x.clamp(low, high) if lowest < low or highest > high else x

    def working_dtype(self, x: Float[Tensor, "n *d"]) -> torch.dtype:
        """Return the type in which an attack moves these inputs: wider than their own where its steps are too small.

        Raises:
            InvalidInputError: The radius is rounded away in the inputs' own type, or overflows in it.
        """
        reach, largest = self.reach(x), torch.finfo(x.dtype).max
        if reach > largest**ROOM:
            raise InvalidInputError(
                f"eps={self.eps:g} is too large for inputs of {x.dtype}: the network's sums overflow beyond "
                f"{largest**ROOM:.2g}; take a smaller radius, or float64 inputs and weights"
            )
        each = reach if self.norm == math.inf else reach / math.prod(x.shape[1:]) ** 0.5
        own = torch.promote_types(x.dtype, torch.float32)
        largest_entry = max(abs(bound.item()) for bound in x.aminmax())
        if each * FINEST_STEP > torch.finfo(x.dtype).eps * largest_entry:
            return own
        wider = torch.float64 if own == x.dtype else own
        if _is_lost(each, x) or _is_lost(each * FINEST_STEP, x.to(wider)):
            raise InvalidInputError(
                f"eps={self.eps:g} is below the resolution of inputs of {x.dtype} as large as {largest_entry:.3g}: the "
                "perturbation would be rounded away; take a larger radius, inputs and weights of a wider type, or "
                "subtract a large offset inside the model"
            )
        return wider if _is_lost(each * FINEST_STEP, x) else own

    def reach(self, x: Float[Tensor, "n *d"]) -> float:
        """Return the largest distance that a perturbation can have: the radius, or the diameter of the range."""
        low, high = self.input_range
        return min(self.eps, (high - low) * math.prod(x.shape[1:]) ** (1 / self.norm))

    def project(self, x_adv: Float[Tensor, "n *d"], x: Float[Tensor, "n *d"]) -> Float[Tensor, "n *d"]:
        """Project perturbed inputs onto the ball around `x` and the range.

        For the infinity norm and the 1-norm this is the nearest point of both. For the 2-norm the perturbation is
        shortened and then clamped; clamping to a range that contains `x` only shortens it further. Points of a wider
        type than `x` are rounded towards `x`, and so stay in the ball.

        Raises:
            InvalidInputError: The two differ in shape.
        """
        _check_alike(x_adv, x)
        low, high = self.input_range
        (moved, centre), eps = _in_common_type(x_adv, x), self.reach(x)
        if self.norm == math.inf:
            nearest = torch.minimum(torch.maximum(moved, centre - eps), centre + eps).clamp(low, high)
        elif self.norm == 1:
            flat = (moved - centre).flatten(1)
            room = (low - centre).flatten(1), (high - centre).flatten(1)
            nearest = (centre + project_l1_box(flat, *room, eps).view_as(centre)).clamp(low, high)
        else:
            change = moved - centre
            shrink = per_sample(eps / _norms(change, 2).clamp_min(eps), x)
            nearest = (centre + change * shrink).clamp(low, high)
        return nearest if nearest.dtype == x.dtype else _rounded_towards(x, nearest)

    def distance(self, x_adv: Float[Tensor, "n *d"], x: Float[Tensor, "n *d"]) -> Float[Tensor, " n"]:
        r"""Return $\lVert x' - x\rVert_p$ of every sample, in float32 for narrower inputs.

        Raises:
            InvalidInputError: The two differ in shape.
        """
        _check_alike(x_adv, x)
        moved, centre = _in_common_type(x_adv, x)
        return _norms(moved - centre, self.norm)

    def steepest(self, gradient: Float[Tensor, "n *d"]) -> Float[Tensor, "n *d"]:
        r"""Return the direction of steepest ascent of unit $p$-norm.

        The sign for the infinity norm, the gradient scaled to length one for the 2-norm, and the sign of the largest
        entry alone for the 1-norm.

        A zero gradient gives a zero direction; entries that are NaN count as zero.
        """
        gradient = gradient.nan_to_num(nan=0.0)
        if self.norm == math.inf:
            return gradient.sign()
        if self.norm == 1:
            flat = gradient.flatten(1)
            largest = flat.abs().argmax(1, keepdim=True)
            return torch.zeros_like(flat).scatter(1, largest, flat.gather(1, largest).sign()).view_as(gradient)
        # Dividing by the largest entry first keeps the squares of tiny gradients from underflow.
        scaled = gradient.flatten(1)
        scaled = scaled / scaled.abs().amax(1, keepdim=True).clamp_min(torch.finfo(gradient.dtype).tiny)
        return (scaled / scaled.norm(dim=1, keepdim=True).clamp_min(1e-12)).view_as(gradient)

    def random_start(self, x: Float[Tensor, "n *d"], *, generator: torch.Generator) -> Float[Tensor, "n *d"]:
        """Draw a point uniformly from the ball around each sample, then clamp it to the range."""
        kind = {"generator": generator, "dtype": x.dtype, "device": generator.device}
        if self.norm == math.inf:
            change = 2 * torch.rand(x.shape, **kind) - 1
        elif self.norm == 1:
            sizes = -torch.rand((len(x), math.prod(x.shape[1:]) + 1), **kind).clamp_min(1e-30).log()
            shares = sizes[:, 1:] / sizes.sum(1, keepdim=True)  # uniform in the simplex
            change = shares.view(x.shape) * (torch.rand(x.shape, **kind) - 0.5).sign()
        else:
            normal, radius = torch.randn(x.shape, **kind), torch.rand(len(x), **kind) ** (1 / math.prod(x.shape[1:]))
            change = self.steepest(normal) * per_sample(radius, x)
        return self.project(x + self.reach(x) * change.to(x), x)

    def _scale(self) -> float:
        """Return the width of the range, or the size of its bounds where one of them is infinite."""
        low, high = self.input_range
        finite = [abs(bound) for bound in (low, high) if math.isfinite(bound)]
        return high - low if len(finite) == 2 else max([1.0, *finite])


def check_norm(norm: float) -> None:
    """Require the norm 1, 2 or infinity.

    Raises:
        InvalidInputError: It is none of them.
    """
    number = _as_number(norm)
    check_choice(norm if number is None else number, NORMS, "norm")


def dual_norms(gradient: Float[Tensor, "n *d"], norm: float) -> Float[Tensor, " n"]:
    r"""Return the dual norm of each gradient, the largest gain of a unit step: $\max_{\|u\|_p\le1}\langle g,u\rangle$.

    >>> dual_norms(torch.tensor([[3.0, -4.0]]), math.inf).item(), dual_norms(torch.tensor([[3.0, -4.0]]), 2).item()
    (7.0, 5.0)
    """
    return gradient.flatten(1).norm(p={1: math.inf, 2: 2, math.inf: 1}[norm], dim=1)


def _as_number(value: Any) -> float | None:
    """Read one number, also from a tensor or an array; None where there is none or more than one."""
    value = value.tolist() if hasattr(value, "tolist") else value
    while isinstance(value, (list, tuple)) and len(value) == 1:
        value = value[0]
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def _as_radius(eps: Any) -> float:
    radius = _as_number(eps)
    if radius is None or not 0 < radius < math.inf:
        mend = "pass one number, such as 0.1"
        if radius == 0:
            mend = "without a perturbation robust accuracy is assay.core.accuracy"
        elif radius == math.inf:
            mend = "for no limit pass the width of the input range"
        raise InvalidInputError(f"eps must be a positive and finite number, got {eps!r}; {mend}")
    return radius


def _as_range(input_range: Any) -> tuple[float, float]:
    try:
        low, high = (_as_number(bound) for bound in input_range)
    except (TypeError, ValueError):
        low = high = None
    if low is None or high is None or not low < high:
        raise InvalidInputError(
            f"input_range must be (lowest, highest), two numbers for all entries, got {input_range!r}; e.g. "
            "(0.0, 1.0), with a normalisation by channel inside the model"
        )
    return low, high


def _check_alike(x_adv: Tensor, x: Tensor) -> None:
    if x_adv.shape != x.shape or x.ndim < 2:
        raise InvalidInputError(
            f"perturbed inputs of shape {tuple(x_adv.shape)} and inputs of shape {tuple(x.shape)} must have the same "
            "shape (n, ...); pass one perturbed input for each input"
        )


def _in_common_type(x_adv: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """Return both in the wider of their types, and in float32 at least."""
    common = torch.promote_types(torch.promote_types(x_adv.dtype, x.dtype), torch.float32)
    return x_adv.to(common), x.to(common)


def _norms(change: Tensor, norm: float) -> Tensor:
    """Return the norm of each row, also where squares of its entries overflow or underflow."""
    flat = change.flatten(1)
    size = flat.norm(p=norm, dim=1)
    limits = torch.finfo(flat.dtype)
    extreme = size.isinf() | (size < limits.tiny**0.5 / limits.eps)
    if norm == 2 and extreme.any():
        largest = flat.abs().amax(1).clamp_min(limits.tiny)
        size = torch.where(extreme, (flat / largest[:, None]).norm(dim=1) * largest, size)
    return size


def _rounded_towards(x: Tensor, point: Tensor) -> Tensor:
    """Round points to the type of `x`, no entry further from `x` than it was."""
    rounded, centre = point.to(x.dtype), x.to(point)
    # Comparisons are exact; differences would be rounded.
    too_far = torch.where(point > centre, rounded.to(point) > point, rounded.to(point) < point)
    return torch.where(too_far, torch.nextafter(rounded, x), rounded)


def _is_lost(step: float, x: Tensor) -> bool:
    """Tell whether most entries, zeros apart, stay as they are when a step is added."""
    lost = (x + step == x) & (x - step == x)
    return 2 * int(lost.sum()) > int((x != 0).sum())
