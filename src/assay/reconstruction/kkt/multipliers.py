"""The weights of the candidates' gradients, in the forms that the ways of training leave them."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

import torch
from jaxtyping import Float, Int, Num
from torch import Tensor, nn

from assay.core import InvalidInputError

Objective: TypeAlias = Literal["binary", "multiclass", "vector", "regression", "displacement"]
"""How trained weights are made of their samples' gradients; see `KKTReconstructor`."""

LABELLED = ("binary", "multiclass", "vector")
"""The objectives whose multipliers have a sign that a label gives."""


@dataclass(frozen=True, eq=False)
class Multipliers(ABC):
    r"""Hold the multipliers of r restarts with m candidates each, as the search varies them.

    A candidate pulls on the weights by $J(x_i)^\top \mu_i$, J the Jacobian of its outputs in the weights. Its
    cotangent $\mu_i$ has one entry an output.

    Attributes:
        raw: What the search varies; all of it starts with the axes of restarts and candidates.
        scale: Size of a multiplier where its raw value is 1.
        labels: Labels of one restart's candidates; None where multipliers have either sign.
    """

    raw: tuple[Float[Tensor, "r m ..."], ...]
    scale: float
    labels: Int[Tensor, " m"] | None

    @abstractmethod
    def cotangents(self, outputs: Float[Tensor, "r m c"]) -> Float[Tensor, "r m c"]:
        """Return the cotangents of candidates with these outputs."""

    @abstractmethod
    def values(self) -> Float[Tensor, "r m *c"]:
        """Return the multipliers as they are reported."""

    def at(self, raw: Sequence[Tensor]) -> "Multipliers":
        """Return the same form with other raw values."""
        return replace(self, raw=tuple(raw))

    def part(self, some: slice) -> "Multipliers":
        """Return those of some candidates, detached."""
        labels = None if self.labels is None else self.labels[some]
        return replace(self, raw=tuple(value.detach()[:, some] for value in self.raw), labels=labels)


@dataclass(frozen=True, eq=False)
class MarginMultipliers(Multipliers):
    r"""Weigh margins: $\mu_i = \lambda_i (e_{y_i} - e_j)$, j the best other class; $\lambda_i s_i$ for one output.

    $\lambda_i$ is a softplus, positive by construction.
    """

    labels: Int[Tensor, " m"]

    def cotangents(self, outputs: Float[Tensor, "r m c"]) -> Float[Tensor, "r m c"]:
        """Return the gradients of the weighted margins in the outputs."""
        return margin_cotangents(outputs, self.labels, self.values())

    def values(self) -> Float[Tensor, "r m"]:
        """Return the positive factors."""
        return self.scale * nn.functional.softplus(self.raw[0])


@dataclass(frozen=True, eq=False)
class SimplexMultipliers(Multipliers):
    r"""Weigh one class against all others: $\mu_i = \lambda_i (e_{y_i} - q_i)$, $q_i$ on their simplex.

    The exact form for softmax cross-entropy with weight decay w, where $\lambda_i = (1 - p_{i y_i}) / (n w)$ and $q_i$
    are the other classes' probabilities, normalised; margins are its limit as w falls to zero.
    """

    labels: Int[Tensor, " m"]

    def cotangents(self, outputs: Float[Tensor, "r m c"]) -> Float[Tensor, "r m c"]:
        """Return the cotangents, which do not depend on the outputs."""
        return self.values()

    def values(self) -> Float[Tensor, "r m c"]:
        """Return one entry a class, summing to zero."""
        strength, logits = self.raw
        own = nn.functional.one_hot(self.labels, logits.shape[-1])
        others = logits.masked_fill(own.bool(), float("-inf")).softmax(-1)
        return self.scale * nn.functional.softplus(strength)[..., None] * (own - others)


@dataclass(frozen=True, eq=False)
class FreeMultipliers(Multipliers):
    r"""Weigh every output by a number of either sign: $\mu_i \in R^c$.

    The form for any differentiable loss with weight decay w, where $\mu_i = -\ell'(\Phi(x_i), y_i) / (n w)$, and for
    the displacement from known initial weights.
    """

    def cotangents(self, outputs: Float[Tensor, "r m c"]) -> Float[Tensor, "r m c"]:
        """Return the cotangents, which do not depend on the outputs."""
        return self.scale * self.raw[0]

    def values(self) -> Float[Tensor, "r m *c"]:
        """Return one entry an output, without the axis where there is one output."""
        return self.scale * self.raw[0].squeeze(-1)


def start_multipliers(
    objective: Objective,
    x: Float[Tensor, "r m ..."],
    n_outputs: int,
    scale: float,
    generators: Sequence[torch.Generator],
) -> Multipliers:
    """Build where the search starts: equal multipliers with balanced labels, or normal ones of either sign.

    Args:
        objective: Which form.
        x: Starting points of the candidates, for their number, dtype and device.
        n_outputs: Outputs of the network.
        scale: Size of a multiplier.
        generators: Source of each restart's draws.

    >>> start_multipliers("binary", torch.zeros(1, 4, 2), 1, 1.0, []).labels
    tensor([0, 1, 0, 1])
    """
    restarts, candidates = x.shape[:2]
    if objective not in LABELLED:
        draws = [torch.randn(candidates, n_outputs, generator=source) for source in generators]
        return FreeMultipliers((0.3 * torch.stack(draws).to(x),), scale, None)
    labels = torch.arange(candidates, device=x.device) % max(n_outputs, 2)
    strength = x.new_full((restarts, candidates), -1.0)
    if objective != "vector":
        return MarginMultipliers((strength,), scale, labels)
    return SimplexMultipliers((strength, x.new_zeros(restarts, candidates, n_outputs)), scale, labels)


def margin_cotangents(
    outputs: Float[Tensor, "*r n c"], y: Num[Tensor, " n"], multipliers: Float[Tensor, "*r n"]
) -> Float[Tensor, "*r n c"]:
    r"""Return the gradient of $\sum_i \lambda_i m_i$ in the outputs, $m_i$ the margins of `core.margins`.

    For one output the label of the other class is 0 or -1; nothing is checked.

    >>> margin_cotangents(torch.tensor([[2.0, 1.0, -1.0]]), torch.tensor([1]), torch.tensor([3.0])).tolist()
    [[-3.0, 3.0, 0.0]]
    """
    if outputs.shape[-1] == 1:
        return torch.where(y > 0, multipliers, -multipliers)[..., None]
    own = y.expand(outputs.shape[:-1])[..., None]
    best = outputs.detach().scatter(-1, own, float("-inf")).argmax(-1, keepdim=True)
    direction = torch.zeros_like(outputs).scatter(-1, own, 1.0).scatter(-1, best, -1.0)
    return multipliers[..., None] * direction


def check_objective(objective: str, n_outputs: int) -> None:
    """Require an objective that exists and fits the number of outputs.

    Raises:
        InvalidInputError: It does not.

    >>> check_objective("binary", 1)
    """
    known = Objective.__args__
    if objective not in known:
        raise InvalidInputError(f"objective must be one of {', '.join(map(repr, known))}, got {objective!r}")
    if objective in LABELLED and (objective == "binary") != (n_outputs == 1):
        fitting = "'binary'" if n_outputs == 1 else "'multiclass' or 'vector'"
        raise InvalidInputError(
            f"objective={objective!r} does not fit a network with {n_outputs} outputs; use {fitting}"
        )
