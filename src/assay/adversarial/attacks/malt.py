"""MALT: aim targeted attacks at the nearest classes, not at the likeliest ones (Melamed et al., 2024)."""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from assay.adversarial.attacks.base import (
    Attack,
    AttackResult,
    Lp,
    check_attackable,
    check_count,
    join_results,
    measure,
)
from assay.adversarial.attacks.counting import PassCounter
from assay.adversarial.attacks.targeting import malt_targets, naive_targets
from assay.core import InvalidInputError, predict, track


@dataclass(frozen=True)
class MALTResult(AttackResult):
    """What MALT did: an `AttackResult`, and which targets it took.

    Attributes:
        target: The class aimed at when the sample broke; -1 where none succeeded or none was needed.
        n_targets: Targets tried: 0 where the sample was misclassified before, all of them where none succeeded.
    """

    target: Int[Tensor, " n"]
    n_targets: Int[Tensor, " n"]

    def __str__(self) -> str:
        tried = self.n_targets[self.target >= 0].double()
        needed = f" A broken sample took {tried.mean():.2f} targets on average." if len(tried) else ""
        return super().__str__() + needed


@dataclass(frozen=True)
class MALT:
    r"""Attack each sample through its nearest classes in turn, until one of them breaks it.

    Targets are ranked once, by `malt_targets`; a targeted attack is then run towards the first, the second, ... on the
    samples that still stand. Every success is measured by a forward pass of its own after projection.

    Args:
        attack: A targeted attack, such as `TargetedAPGD`; its threat model gives the norm of the ranking.
        k: Targets tried at most. Paper: 9.
        candidates: Classes ranked, the likeliest first. Paper: 100.
        strict_target: Count only predictions of the target as success; otherwise any misclassification.
        ranking: "malt", or "naive" for the order of confidence: the baseline, all else equal.

    Raises:
        InvalidInputError: `k` or `candidates` is below one; or `strict_target` is asked of an attack that stops early.

    Cost: at most `candidates` vector-Jacobian products and `k` runs of the attack a sample.

    Source: Melamed, Yehudai, Shamir, "MALT Powers Up Adversarial Attacks" (2024), algorithm 1.

    >>> from assay.adversarial import TargetedAPGD
    >>> malt = MALT(TargetedAPGD(Lp(norm=2, eps=9.0, input_range=(-99.0, 99.0)), n_iter=5, loss="ce"))
    >>> malt(nn.Linear(2, 3), torch.zeros(4, 2), torch.tensor([0, 1, 2, 0])).shape
    torch.Size([4, 2])
    """

    attack: Attack
    k: int = 9
    candidates: int = 100
    strict_target: bool = False
    ranking: Literal["malt", "naive"] = "malt"

    def __post_init__(self) -> None:
        check_count(self.k, "k")
        check_count(self.candidates, "candidates")
        if self.ranking not in ("malt", "naive"):
            raise InvalidInputError(f"ranking must be 'malt' or 'naive', got {self.ranking!r}")
        if self.strict_target and not getattr(self.attack, "strict_target", True):
            raise InvalidInputError(
                "strict_target needs an attack that goes on until it reaches the target; "
                "build it with strict_target=True as well"
            )

    @property
    def threat(self) -> Lp:
        """The threat model of the attack."""
        return self.attack.threat

    def __call__(self, model: nn.Module, x: Float[Tensor, "n *d"], y: Int[Tensor, " n"]) -> Float[Tensor, "n *d"]:
        """Return perturbed inputs; arguments and errors are those of `run`."""
        return self.run(model, x, y).x_adv

    def run(
        self,
        model: nn.Module,
        x: Float[Tensor, "n *d"],
        y: Int[Tensor, " n"],
        *,
        batch_size: int = 256,
        progress: bool = False,
    ) -> MALTResult:
        """Attack and measure.

        Args:
            model: Classifier with outputs `(n, c)`, `c >= 2`; it comes back as it was.
            x: Inputs within the threat's range.
            y: True labels.
            batch_size: Samples attacked at once.
            progress: Draw a bar on standard error.

        Raises:
            InvalidInputError: The model, inputs and labels do not fit each other or the threat model.
            NumericalError: The attack proposed NaN.
        """
        check_attackable(model, x, y, threat=self.threat)
        batches = list(zip(x.split(batch_size), y.split(batch_size), strict=True))
        return join_results(
            [self._run_batch(PassCounter(model), *batch) for batch in track(batches, "attacking", enabled=progress)]
        )

    def _run_batch(self, model: PassCounter, x: Tensor, y: Tensor) -> MALTResult:
        success = predict(model, x, batch_size=len(x)).argmax(1) != y
        x_adv, reached, n_targets = x.clone(), torch.full_like(y, -1), torch.zeros_like(y)
        standing = (~success).nonzero().squeeze(1)
        targets = self._targets(model, x[standing], y[standing]) if len(standing) else y[:0, None]
        for rank in range(targets.shape[1]):
            if not len(standing):
                break
            aim = targets[:, rank]
            proposed = self.attack(model, x[standing], aim)
            proposed, predicted = measure(model, proposed, x[standing], self.threat)
            broken = predicted == aim if self.strict_target else predicted != y[standing]
            n_targets[standing] += 1
            hit = standing[broken]
            x_adv[hit], reached[hit], success[hit] = proposed[broken], aim[broken], True
            standing, targets = standing[~broken], targets[~broken]
        distance = self.threat.distance(x_adv, x)
        return MALTResult(x_adv, success, distance, model.n_forward, model.n_backward, reached, n_targets)

    def _targets(self, model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        if self.ranking == "naive":
            return naive_targets(model, x, y, k=self.k)
        return malt_targets(model, x, y, k=self.k, norm=self.threat.norm, candidates=self.candidates)
