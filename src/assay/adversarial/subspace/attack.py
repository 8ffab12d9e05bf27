"""Attacks orthogonal to the subspace of the data (Melamed, Yehudai and Vardi, 2023)."""

import math
from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from assay.adversarial.attacks import Lp, attackable
from assay.adversarial.subspace.gradient import SubspaceBasis, margin_gradient
from assay.core import InvalidInputError, check_choice, check_count, check_model, check_positive, margins, per_sample
from assay.nets import TwoLayerReLU

Direction = Literal["gradient", "universal"]

GRID = 64  # Radii evaluated on a sample's line before the first change of the decision is bisected.
BISECTIONS = 20  # Halvings of a grid cell: the radius is exact to a millionth of the cell.


@dataclass(frozen=True)
class OffSubspaceAttack:
    r"""Perturb inputs orthogonally to a subspace, within a ball of the 2-norm and without an input range.

    "gradient" descends the margin by projected gradient steps, $\delta\leftarrow\Pi_{\varepsilon}\big(\delta -
    2.5\tfrac{\varepsilon}{T}\,\Pi_{P^\perp}\nabla g/\lVert\Pi_{P^\perp}\nabla g\rVert\big)$. "universal" moves from $x$
    to $x - \varepsilon y\,\hat z$ in $T$ equal steps, along the direction `universal_off_subspace_direction` for all
    samples. A sample stops where its margin is no longer positive.

    Args:
        basis: Subspace of the data; perturbations are orthogonal to it.
        max_norm: Largest length of the perturbation, in units of the input.
        n_iter: Steps.
        direction: "gradient" for any network; "universal" for `TwoLayerReLU`.

    Raises:
        InvalidInputError: A number is out of range or the direction is unknown.

    Cost: time `n_iter` forward and backward passes a sample, for "universal" forward passes only; memory that of one
    batch.

    Source: Melamed, Yehudai, Vardi, "Adversarial Examples Exist in Two-Layer ReLU Networks for Low Dimensional Linear
    Subspaces" (2023), main text: the theorems on perturbations orthogonal to the data. Deviations: the paper proves
    that short perturbations exist; the search for the shortest is ours, and so are networks with several outputs.

    >>> attack = OffSubspaceAttack(SubspaceBasis(torch.eye(3, 2)), max_norm=1.0)
    >>> (attack(nn.Linear(3, 2), torch.zeros(4, 3), torch.tensor([0, 1, 0, 1]))[:, :2] == 0).all().item()
    True
    """

    basis: SubspaceBasis
    max_norm: float
    n_iter: int = 40
    direction: Direction = "gradient"
    targeted: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_positive(self.max_norm, "max_norm")
        check_count(self.n_iter, "n_iter")
        check_choice(self.direction, get_args(Direction), "direction")

    @property
    def threat(self) -> Lp:
        """The ball; the attack itself keeps perturbations orthogonal to the subspace."""
        return Lp(norm=2, eps=self.max_norm, input_range=(-math.inf, math.inf))

    def __call__(
        self, model: nn.Module, x: Float[Tensor, "n *d"], y: Shaped[Tensor, "n *one"]
    ) -> Float[Tensor, "n *d"]:
        """Return perturbed inputs: the first point where the decision changed, else the last point.

        Args:
            model: Network with outputs `(n,)`, `(n, 1)` or `(n, c)`; it comes back as it was.
            x: Inputs.
            y: Class indices; for one output, labels in {0, 1} or {-1, 1}.

        Raises:
            InvalidInputError: The arguments do not fit each other.
        """
        with attackable(model, x, y, threat=self.threat, allow_single=True) as given:
            self.basis.check_fits(given.given)
            if self.direction == "gradient":
                point = self._descend(given.model, given.x, given.y)
            else:
                universal = universal_off_subspace_direction(model, basis=self.basis)
                step = directions(given.model, given.x, given.y, self.basis, universal)
                point = self._move_along(step, given.model, given.x, given.y)
            return given.returned(point, self.threat)

    def _descend(self, model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        point, threat = x, self.threat
        for _ in range(self.n_iter):
            margin, gradient = margin_gradient(model, point, y)
            step = 2.5 * self.max_norm / self.n_iter * threat.steepest(self.basis.project_off(gradient))
            point = torch.where(per_sample(margin > 0, x), threat.project(point - step, x), point)
        return point

    def _move_along(self, step: Tensor, model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        point = x
        with torch.no_grad():
            for number in range(1, self.n_iter + 1):
                correct = margins(model(point), y) > 0
                point = torch.where(per_sample(correct, x), x + self.max_norm * number / self.n_iter * step, point)
        return point


def off_subspace_radius(
    model: nn.Module,
    x: Float[Tensor, "n *d"],
    y: Shaped[Tensor, "n *one"],
    *,
    basis: SubspaceBasis,
    max_norm: float,
    direction: Direction = "gradient",
    batch_size: int = 256,
) -> Float[Tensor, " n"]:
    r"""Measure the distance at which each decision changes along a line, $\min\{r : g_y(x + r v) \le 0\}$.

    The direction $v$ is orthogonal to the subspace: for "gradient" the sample's steepest descent of the margin, for
    "universal" $-y\hat z$, the same for every sample of a label. The decision is evaluated at 64 radii, and the first
    change is bisected; a change and its reversal between two of these radii are missed.

    Args:
        model: Network with outputs `(n,)`, `(n, 1)` or `(n, c)`; it comes back as it was.
        x: Inputs.
        y: Class indices; for one output, labels in {0, 1} or {-1, 1}.
        basis: Subspace of the data; `basis.complement` measures within it instead.
        max_norm: Largest radius.
        direction: "gradient", or "universal" for `TwoLayerReLU`.
        batch_size: Samples moved at once.

    Returns:
        The radius; 0 where the sample itself is misclassified, infinite where the decision is constant up to
        `max_norm` or the gradient has no part along which to move.

    Raises:
        InvalidInputError: The arguments do not fit each other.

    Cost: time 85 forward passes and one backward pass a sample, memory that of one batch.

    Source: Melamed, Yehudai, Vardi, "Adversarial Examples Exist in Two-Layer ReLU Networks for Low Dimensional Linear
    Subspaces" (2023), main text: the theorems on the gradient orthogonal to the data and on the universal perturbation.

    >>> layer = nn.Linear(2, 1, bias=False)
    >>> _ = layer.weight.data.copy_(torch.tensor([[1.0, -2.0]]))
    >>> x, y, basis = torch.tensor([[3.0, 0.0]]), torch.tensor([1]), SubspaceBasis(torch.eye(2, 1))
    >>> round(off_subspace_radius(layer, x, y, basis=basis, max_norm=9.0).item(), 4)
    1.5
    """
    check_choice(direction, get_args(Direction), "direction")
    check_count(batch_size, "batch_size")
    ball = OffSubspaceAttack(basis, max_norm).threat
    with attackable(model, x, y, threat=ball, allow_single=True) as given, torch.no_grad():
        basis.check_fits(given.given)
        universal = universal_off_subspace_direction(model, basis=basis) if direction == "universal" else None
        batches = zip(given.x.split(batch_size), given.y.split(batch_size), strict=True)
        return torch.cat([_first_flip(given.model, *batch, basis, ball.eps, universal) for batch in batches])


def universal_off_subspace_direction(model: nn.Module, *, basis: SubspaceBasis) -> Float[Tensor, " d"]:
    r"""Compute the universal adversarial direction of a two-layer network, orthogonal to the data.

    $\hat z = \sum_i \mathrm{sign}(u_i)\,w_i^\perp$, scaled to unit length. A step along it raises the input of all
    units with a positive output weight and lowers that of all others, so that the score rises whichever units are
    active; a step against it lowers the score.

    Args:
        model: A `TwoLayerReLU`.
        basis: Subspace of its data; $w^\perp$ is a weight's part orthogonal to it.

    Returns:
        A unit vector.

    Raises:
        InvalidInputError: The model is no `TwoLayerReLU`, or its weights lie in the subspace.

    Cost: time O(m d r) for m hidden units and a subspace of dimension r, memory O(m d).

    Source: Melamed, Yehudai, Vardi, "Adversarial Examples Exist in Two-Layer ReLU Networks for Low Dimensional Linear
    Subspaces" (2023), main text: the theorem on the universal perturbation.

    >>> from assay.nets import TwoLayerReLU
    >>> z = universal_off_subspace_direction(TwoLayerReLU(3, 50), basis=SubspaceBasis(torch.eye(3, 2)))
    >>> z.abs().tolist()
    [0.0, 0.0, 1.0]
    """
    if not isinstance(model, TwoLayerReLU):
        raise InvalidInputError(
            f"the universal direction needs the weights of an assay.nets.TwoLayerReLU, got {type(model).__name__}; "
            "use direction='gradient'"
        )
    check_model(model)
    basis.check_fits(model.weight)
    weight = model.weight.detach().to(basis.on)
    direction = basis.project_off(model.output.detach().sign().to(weight)[None] @ weight)[0]
    if direction.norm() == 0:
        raise InvalidInputError(
            "the weights have no part off the subspace; pass a smaller subspace, or use direction='gradient'"
        )
    return direction / direction.norm()


def directions(model: nn.Module, x: Tensor, y: Tensor, basis: SubspaceBasis, universal: Tensor | None) -> Tensor:
    """Return a unit vector for each sample, orthogonal to the subspace, along which its margin falls."""
    if universal is not None:
        return (-y.to(x)[:, None] * universal.to(x)).view_as(x)
    steepest = Lp(norm=2, eps=1.0, input_range=(-math.inf, math.inf)).steepest
    return -steepest(basis.project_off(margin_gradient(model, x, y)[1]))


def _first_flip(
    model: nn.Module, x: Tensor, y: Tensor, basis: SubspaceBasis, max_norm: float, universal: Tensor | None
) -> Tensor:
    line = directions(model, x, y, basis, universal)

    def flipped(radius: Tensor) -> Tensor:
        return margins(model(x + per_sample(radius, x) * line), y) <= 0

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
