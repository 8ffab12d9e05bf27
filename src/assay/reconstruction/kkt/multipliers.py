"""Multipliers of the stationarity conditions, one form for each objective (Haim et al., 2022; Buzaglo et al., 2023)."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

import torch
from jaxtyping import Float, Int, Num
from torch import Tensor, nn

from assay.core import InvalidInputError, check_choice

Objective: TypeAlias = Literal["binary", "multiclass", "vector", "regression", "displacement"]
"""Form of the stationarity conditions; see `KKTReconstructor`."""

LABELLED_OBJECTIVES = ("binary", "multiclass", "vector")
"""Objectives whose multipliers take their sign from a label."""


@dataclass(frozen=True, eq=False)
class Multipliers(ABC):
    r"""Hold the multipliers of r restarts with m candidates each, in the parametrisation of the search.

    A candidate contributes $J(x_i)^\top \mu_i$ to the weights, J the Jacobian of its outputs in the weights. Its
    cotangent $\mu_i$ has one entry per output.

    Attributes:
        raw: Free parameters of the search; their first two axes are restarts and candidates.
        scale: Size of a multiplier whose raw value is 1.
        labels: Labels of the candidates of one restart; None for multipliers of either sign.
    """

    raw: tuple[Float[Tensor, "r m ..."], ...]
    scale: float
    labels: Int[Tensor, "*r m"] | None

    @abstractmethod
    def cotangents(self, outputs: Float[Tensor, "r m c"]) -> Float[Tensor, "r m c"]:
        """Return the cotangents of candidates, given their outputs."""

    @abstractmethod
    def values(self) -> Float[Tensor, "r m *c"]:
        """Return the multipliers as reported to the user."""

    def at(self, raw: Sequence[Tensor]) -> "Multipliers":
        """Return a copy with other raw values."""
        return replace(self, raw=tuple(raw))

    def part(self, some: slice) -> "Multipliers":
        """Return the multipliers of a slice of the candidates, detached."""
        labels = None if self.labels is None else self.labels[..., some]
        return replace(self, raw=tuple(value.detach()[:, some] for value in self.raw), labels=labels)

    def apart(self, some: slice) -> "Multipliers":
        """Return the multipliers of a slice of the first restart's candidates, each as a restart of its own."""
        labels = None if self.labels is None else self.labels[some, None]
        return replace(self, raw=tuple(value.detach()[0, some, None] for value in self.raw), labels=labels)


@dataclass(frozen=True, eq=False)
class MarginMultipliers(Multipliers):
    r"""Weigh margins: $\mu_i = \lambda_i (e_{y_i} - e_j)$, j the best other class; $\lambda_i s_i$ for one output.

    $\lambda_i$ is a softplus, positive by construction.

    Source: Haim et al. (2022), stationarity equation, for one output; Buzaglo et al., Reconstructing Training Data from
    Multiclass Neural Networks (2023), equation of the multiclass stationarity loss.
    """

    labels: Int[Tensor, "*r m"]

    def cotangents(self, outputs: Float[Tensor, "r m c"]) -> Float[Tensor, "r m c"]:
        """Return the gradients of the weighted margins in the outputs."""
        return margin_cotangents(outputs, self.labels, self.values())

    def values(self) -> Float[Tensor, "r m"]:
        """Return the positive factors."""
        return self.scale * nn.functional.softplus(self.raw[0])


@dataclass(frozen=True, eq=False)
class SimplexMultipliers(Multipliers):
    r"""Weigh one class against all others: $\mu_i = \lambda_i (e_{y_i} - q_i)$, $q_i$ on their simplex.

    The exact form for softmax cross-entropy with weight decay w, with $\lambda_i = (1 - p_{i y_i}) / (n w)$ and $q_i$
    the normalised probabilities of the other classes; margins are its limit as w tends to zero.

    Source: Buzaglo et al., Deconstructing Data Reconstruction (2023), equation of the loss-derivative multipliers, with
    the derivative of cross-entropy; the simplex is ours.
    """

    labels: Int[Tensor, "*r m"]

    def cotangents(self, outputs: Float[Tensor, "r m c"]) -> Float[Tensor, "r m c"]:
        """Return the cotangents, which do not depend on the outputs."""
        return self.values()

    def values(self) -> Float[Tensor, "r m c"]:
        """Return one entry per class; they sum to zero."""
        strength, logits = self.raw
        own = nn.functional.one_hot(self.labels, logits.shape[-1])
        others = logits.masked_fill(own.bool(), float("-inf")).softmax(-1)
        return self.scale * nn.functional.softplus(strength)[..., None] * (own - others)


@dataclass(frozen=True, eq=False)
class FreeMultipliers(Multipliers):
    r"""Weigh every output by a number of either sign: $\mu_i \in R^c$.

    The form for any differentiable loss with weight decay w, with $\mu_i = -\ell'(\Phi(x_i), y_i) / (n w)$, and for
    the displacement from known initial weights.

    Source: Buzaglo et al., Deconstructing Data Reconstruction (2023), equation of the general reconstruction loss; Loo
    et al. (2024), equation of the reconstruction loss, for the displacement.
    """

    def cotangents(self, outputs: Float[Tensor, "r m c"]) -> Float[Tensor, "r m c"]:
        """Return the cotangents, which do not depend on the outputs."""
        return self.scale * self.raw[0]

    def values(self) -> Float[Tensor, "r m *c"]:
        """Return one entry per output, without that axis for a single output."""
        return self.scale * self.raw[0].squeeze(-1)


def start_multipliers(
    objective: Objective,
    x: Float[Tensor, "r m ..."],
    n_outputs: int,
    scale: float,
    generators: Sequence[torch.Generator],
) -> Multipliers:
    """Build the initial multipliers: equal ones with balanced labels, or normal ones of either sign.

    Args:
        objective: Form of the multipliers.
        x: Starting points of the candidates, for their number, dtype and device.
        n_outputs: Outputs of the network.
        scale: Size of a multiplier.
        generators: One generator per restart.

    Returns:
        Multipliers of the objective's form.

    >>> start_multipliers("binary", torch.zeros(1, 4, 2), 1, 1.0, []).labels
    tensor([0, 1, 0, 1])
    """
    restarts, candidates = x.shape[:2]
    if objective not in LABELLED_OBJECTIVES:
        draws = [torch.randn(candidates, n_outputs, generator=source) for source in generators]
        return FreeMultipliers((0.3 * torch.stack(draws).to(x),), scale, None)
    labels = torch.arange(candidates, device=x.device) % max(n_outputs, 2)
    strength = x.new_full((restarts, candidates), -1.0)
    if objective != "vector":
        return MarginMultipliers((strength,), scale, labels)
    return SimplexMultipliers((strength, x.new_zeros(restarts, candidates, n_outputs)), scale, labels)


def margin_cotangents(
    outputs: Float[Tensor, "*r n c"], y: Num[Tensor, "*s n"], multipliers: Float[Tensor, "*r n"]
) -> Float[Tensor, "*r n c"]:
    r"""Return the gradient of $\sum_i \lambda_i m_i$ in the outputs, $m_i$ the margins of `core.margins`.

    For one output the negative class is 0 or -1. The classes are not checked.

    Raises:
        InvalidInputError: The numbers of rows differ.

    >>> margin_cotangents(torch.tensor([[2.0, 1.0, -1.0]]), torch.tensor([1]), torch.tensor([3.0])).tolist()
    [[-3.0, 3.0, 0.0]]
    """
    rows = outputs.shape[-2:-1]
    if y.shape[-1:] != rows or multipliers.shape != outputs.shape[:-1]:
        raise InvalidInputError(
            f"y and multipliers must have one entry for each row of outputs, got shapes {tuple(outputs.shape)}, "
            f"{tuple(y.shape)} and {tuple(multipliers.shape)}; pass as many of each"
        )
    if outputs.shape[-1] == 1:
        return torch.where(y > 0, multipliers, -multipliers)[..., None]
    own = y.expand(outputs.shape[:-1])[..., None]
    best = outputs.detach().scatter(-1, own, float("-inf")).argmax(-1, keepdim=True)
    direction = torch.zeros_like(outputs).scatter(-1, own, 1.0).scatter(-1, best, -1.0)
    return multipliers[..., None] * direction


def default_objective(n_outputs: int, *, knows_start: bool = False) -> Objective:
    """Return the objective that a network's outputs suggest.

    "binary" for one output, "vector" for several, as cross-entropy with weight decay leaves them; "displacement" where
    the initial weights are known.

    Args:
        n_outputs: Outputs of the network.
        knows_start: Whether its initial weights are given.

    >>> default_objective(1), default_objective(10)
    ('binary', 'vector')
    """
    if knows_start:
        return "displacement"
    return "binary" if n_outputs == 1 else "vector"


def check_objective(objective: str, n_outputs: int) -> None:
    """Require a known objective that fits the number of outputs.

    Raises:
        InvalidInputError: The objective is unknown or does not fit.

    >>> check_objective("binary", 1)
    """
    check_choice(objective, Objective.__args__, "objective")
    if objective in LABELLED_OBJECTIVES and (objective == "binary") != (n_outputs == 1):
        fitting = "'binary'" if n_outputs == 1 else "'multiclass' or 'vector'"
        raise InvalidInputError(
            f"objective={objective!r} does not fit a network with {n_outputs} outputs; use {fitting}"
        )
