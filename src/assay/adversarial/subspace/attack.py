"""Change a sample only in directions that its data never take, until the decision flips (Melamed et al., 2023)."""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Num
from torch import Tensor, nn

from assay.adversarial.attacks import (
    Lp,
    check_count,
)
from assay.adversarial.subspace.gradient import SubspaceBasis, margin_gradient
from assay.core import (
    InvalidInputError,
    check_labels,
    check_logits,
    check_model,
    check_pairs,
    check_positive,
    margins,
    preserved,
    signs,
)
from assay.nets import TwoLayerReLU

Direction = Literal["gradient", "universal"]

GRID = 64  # Radii at which a sample's line is looked at before the first flip is bisected.
BISECTIONS = 20  # Halvings of a grid cell: the radius is then exact to a millionth of it.


@dataclass(frozen=True)
class OffSubspaceAttack:
    r"""Perturb orthogonally to a subspace, within a ball of the 2-norm and without a range of inputs.

    "gradient" descends the margin by projected gradient steps, $\delta\leftarrow\Pi_{\varepsilon}\big(\delta -
    2.5\tfrac{\varepsilon}{T}\,\Pi_{P^\perp}\nabla g/\lVert\Pi_{P^\perp}\nabla g\rVert\big)$. "universal" walks from $x$
    to $x - \varepsilon y\,\hat z$ in $T$ equal steps, for one direction that serves all samples,
    `universal_off_subspace_direction`. Either stops a sample where its margin is no longer positive.

    Args:
        basis: The subspace that the data span; perturbations are orthogonal to it.
        max_norm: Longest perturbation, in units of the input.
        n_iter: Steps.
        direction: "gradient" for any network; "universal" for `TwoLayerReLU`.

    Raises:
        InvalidInputError: A number is out of range or the direction unknown.

    Cost: `n_iter` forward and backward passes a sample; for "universal" forward passes only.

    Source: Melamed, Yehudai, Vardi (2023). Deviations: the paper proves that short perturbations exist; the search for
    the shortest is ours, and so are networks with several outputs.

    >>> attack = OffSubspaceAttack(SubspaceBasis(torch.eye(3, 2)), max_norm=1.0)
    >>> (attack(nn.Linear(3, 2), torch.zeros(4, 3), torch.tensor([0, 1, 0, 1]))[:, :2] == 0).all().item()
    True
    """

    basis: SubspaceBasis
    max_norm: float
    n_iter: int = 40
    direction: Direction = "gradient"

    def __post_init__(self) -> None:
        check_positive(self.max_norm, "max_norm")
        check_count(self.n_iter, "n_iter")
        check_direction(self.direction)

    @property
    def threat(self) -> Lp:
        """The ball; that perturbations leave the subspace alone is the attack's own rule."""
        return Lp(norm=2, eps=self.max_norm, input_range=(-math.inf, math.inf))

    def __call__(self, model: nn.Module, x: Float[Tensor, "n *d"], y: Num[Tensor, " n"]) -> Float[Tensor, "n *d"]:
        """Return perturbed inputs: where the decision flipped, else the last point.

        Args:
            model: Network with outputs `(n,)`, `(n, 1)` or `(n, c)`; it comes back as it was.
            x: Inputs.
            y: Class indices; for one output, labels in {0, 1} or {-1, 1}.

        Raises:
            InvalidInputError: The arguments do not fit each other.
        """
        check_attack(model, x, y, self.basis)
        with preserved(model):
            if self.direction == "universal":
                return self._walk(model, x.detach(), y)
            return self._descend(model, x.detach(), y)

    def _descend(self, model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        point, threat = x, self.threat
        for _ in range(self.n_iter):
            margin, gradient = margin_gradient(model, point, y)
            step = 2.5 * self.max_norm / self.n_iter * threat.steepest(self.basis.project_off(gradient))
            point = torch.where(_rows(margin > 0, x), threat.project(point - step, x), point)
        return point

    def _walk(self, model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        point, way = x, directions(model, x, y, self.basis, self.direction)
        with torch.no_grad():
            for step in range(1, self.n_iter + 1):
                standing = margins(model(point), y) > 0
                point = torch.where(_rows(standing, x), x + self.max_norm * step / self.n_iter * way, point)
        return point


def off_subspace_attack(
    model: nn.Module,
    x: Float[Tensor, "n *d"],
    y: Num[Tensor, " n"],
    *,
    basis: SubspaceBasis,
    max_norm: float,
    n_iter: int = 40,
    direction: Direction = "gradient",
) -> Float[Tensor, "n *d"]:
    """Return `OffSubspaceAttack(basis, max_norm, ...)(model, x, y)`: the attack as a function, with the same arguments.

    >>> basis = SubspaceBasis(torch.eye(3, 2))
    >>> off_subspace_attack(nn.Linear(3, 1), torch.ones(2, 3), torch.tensor([0, 1]), basis=basis, max_norm=1.0).shape
    torch.Size([2, 3])
    """
    return OffSubspaceAttack(basis, max_norm, n_iter, direction)(model, x, y)


def off_subspace_radius(
    model: nn.Module,
    x: Float[Tensor, "n *d"],
    y: Num[Tensor, " n"],
    *,
    basis: SubspaceBasis,
    max_norm: float,
    direction: Direction = "gradient",
    batch_size: int = 256,
) -> Float[Tensor, " n"]:
    r"""Measure how far along a line off the subspace each decision flips, $\min\{r : g_y(x + r v) \le 0\}$.

    The line's direction $v$ is, for "gradient", each sample's own steepest descent of the margin off the subspace;
    for "universal", $-y\hat z$, the same line for every sample of a label. The line is scanned at 64 radii, and the
    first flip bisected: a decision that flips and returns between two of them is not seen.

    Args:
        model: Network with outputs `(n,)`, `(n, 1)` or `(n, c)`; it comes back as it was.
        x: Inputs.
        y: Class indices; for one output, labels in {0, 1} or {-1, 1}.
        basis: The subspace; `basis.complement` measures within it instead.
        max_norm: Where the line ends.
        direction: "gradient", or "universal" for `TwoLayerReLU`.
        batch_size: Samples moved at once.

    Returns:
        The radius; 0 where the sample is misclassified at once, infinite where nothing flips up to `max_norm`.

    Raises:
        InvalidInputError: The arguments do not fit each other.

    Cost: 85 forward passes and one backward pass a sample.

    Source: Melamed, Yehudai, Vardi (2023), for both directions.

    >>> layer = nn.Linear(2, 1, bias=False)
    >>> _ = layer.weight.data.copy_(torch.tensor([[1.0, -2.0]]))
    >>> x, y, basis = torch.tensor([[3.0, 0.0]]), torch.tensor([1]), SubspaceBasis(torch.eye(2, 1))
    >>> round(off_subspace_radius(layer, x, y, basis=basis, max_norm=9.0).item(), 4)
    1.5
    """
    check_positive(max_norm, "max_norm")
    check_direction(direction)
    check_attack(model, x, y, basis)
    with preserved(model), torch.no_grad():
        batches = zip(x.split(batch_size), y.split(batch_size), strict=True)
        return torch.cat([_first_flip(model, *batch, basis, max_norm, direction) for batch in batches])


def universal_off_subspace_direction(model: nn.Module, *, basis: SubspaceBasis) -> Float[Tensor, " d"]:
    r"""Return the direction against which every positive decision of the network flips, and along which every negative.

    $\hat z = \sum_i \mathrm{sign}(u_i)\,w_i^\perp$, scaled to unit length: a step along it raises the input of all
    units with a positive output weight and lowers that of all others, whichever of them a sample has active.

    Args:
        model: A `TwoLayerReLU`.
        basis: The subspace of its data; $w^\perp$ is what is orthogonal to it.

    Raises:
        InvalidInputError: The model is no `TwoLayerReLU`, or nothing of its weights lies off the subspace.

    Source: Melamed, Yehudai, Vardi (2023): the construction of the universal perturbation.

    >>> from assay.nets import TwoLayerReLU
    >>> z = universal_off_subspace_direction(TwoLayerReLU(3, 50), basis=SubspaceBasis(torch.eye(3, 2)))
    >>> z.abs().tolist()
    [0.0, 0.0, 1.0]
    """
    if not isinstance(model, TwoLayerReLU):
        raise InvalidInputError(
            f"the universal direction is read off the weights of assay.nets.TwoLayerReLU, got {type(model).__name__}; "
            "use direction='gradient'"
        )
    basis.check_fits(model.weight)
    towards = basis.project_off(model.output.sign()[None] @ model.weight.detach())[0]
    if towards.norm() == 0:
        raise InvalidInputError("the weights have no part off the subspace; there is no direction to take")
    return towards / towards.norm()


def check_attack(model: nn.Module, x: Tensor, y: Tensor, basis: SubspaceBasis) -> None:
    """Check a network with its inputs, labels and subspace.

    Raises:
        InvalidInputError: One of them does not fit.
    """
    check_model(model)
    check_pairs(x, y)
    n_outputs = check_logits(model, x).shape[1]
    basis.check_fits(x)
    if n_outputs == 1:
        signs(y)
    else:
        check_labels(y, n_outputs)


def check_direction(direction: str) -> None:
    """Require one of the two directions.

    Raises:
        InvalidInputError: It is neither.
    """
    if direction not in ("gradient", "universal"):
        raise InvalidInputError(f"direction must be 'gradient' or 'universal', got {direction!r}")


def directions(model: nn.Module, x: Tensor, y: Tensor, basis: SubspaceBasis, direction: Direction) -> Tensor:
    """Return a unit step for each sample that lowers its margin off the subspace."""
    if direction == "universal":
        towards = universal_off_subspace_direction(model, basis=basis)
        return -signs(y).to(x)[:, None] * towards
    steepest = Lp(norm=2, eps=1.0, input_range=(-math.inf, math.inf)).steepest
    return -steepest(basis.project_off(margin_gradient(model, x, y)[1]))


def _first_flip(
    model: nn.Module, x: Tensor, y: Tensor, basis: SubspaceBasis, max_norm: float, direction: Direction
) -> Tensor:
    way = directions(model, x, y, basis, direction)

    def flipped(radius: Tensor) -> Tensor:
        return margins(model(x + _rows(radius, x) * way), y) <= 0

    low, high = x.new_zeros(len(x)), x.new_full((len(x),), math.inf)
    for radius in torch.linspace(0, max_norm, GRID + 1).tolist():
        first = flipped(torch.full_like(low, radius)) & high.isinf()
        high[first] = radius
        low[high.isinf()] = radius
    for _ in range(BISECTIONS):
        middle = (low + high.clamp(max=max_norm)) / 2
        beyond = flipped(middle) & high.isfinite()
        high, low = torch.where(beyond, middle, high), torch.where(beyond, low, middle)
    return high


def _rows(values: Tensor, like: Tensor) -> Tensor:
    """Shape one value a sample so that it multiplies the sample's entries."""
    return values.view(-1, *[1] * (like.ndim - 1))
