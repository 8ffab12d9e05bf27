"""MALT, targeted attacks on the nearest classes (Melamed, Yehudai and Shamir, 2024, algorithm 1)."""

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor, nn

from assay.adversarial.attacks.base import (
    Attack,
    AttackResult,
    check_attack,
    join_results,
    measure,
)
from assay.adversarial.attacks.counting import PassCounter
from assay.adversarial.attacks.door import check_attackable
from assay.adversarial.attacks.masking import find_masking, no_masking
from assay.adversarial.attacks.targeting import malt_targets, naive_targets
from assay.adversarial.attacks.threat import Lp
from assay.core import InvalidInputError, check_choice, check_count, predict, preserved, track


@dataclass(frozen=True)
class MALTResult(AttackResult):
    """Result of MALT: an `AttackResult` and the targets.

    Attributes:
        target: Target of the successful attack; -1 where none succeeded or the sample was already misclassified.
        n_targets: Targets tried; 0 where the sample was already misclassified.
    """

    target: Int[Tensor, " n"]
    n_targets: Int[Tensor, " n"]

    def __str__(self) -> str:
        tried = self.n_targets[self.target >= 0].double()
        mean = f" Successful attacks took {tried.mean():.2f} targets on average." if len(tried) else ""
        return super().__str__() + mean


@dataclass(frozen=True)
class MALT:
    r"""Attack each sample towards its nearest classes in turn, until it is misclassified.

    `malt_targets` ranks the targets once. A targeted attack then runs towards the first, the second, ... on the samples
    that are still classified correctly. Success is measured by a separate forward pass after projection.

    Args:
        attack: A targeted attack, such as `TargetedAPGD`; the ranking uses the norm of its threat model.
        k: Largest number of targets. Paper: 9.
        candidates: Classes ranked, those with the highest scores. Paper: 100.
        strict_target: Count only predictions of the target as success; otherwise any misclassification. The attack must
            state by its own `strict_target` that it continues until it reaches the target.
        ranking: "malt", or "naive" for the baseline, the order of confidence.

    Raises:
        InvalidInputError: `k` or `candidates` is below one, the attack is not targeted, or it stops before it reaches a
            strict target.

    Cost: time at most `candidates` vector-Jacobian products and `k` runs of the attack a sample, memory that of one
    batch.

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
    targeted: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_attack(self.attack, targeted=True)
        check_count(self.k, "k")
        check_count(self.candidates, "candidates")
        check_choice(self.ranking, ("malt", "naive"), "ranking")
        if self.strict_target and not getattr(self.attack, "strict_target", False):
            raise InvalidInputError(
                f"strict_target needs an attack that continues until it reaches the target, and "
                f"{type(self.attack).__name__} does not say that it does: build it with strict_target=True as well"
            )

    @property
    def threat(self) -> Lp:
        """The threat model of the attack."""
        return self.attack.threat

    def __call__(
        self, model: nn.Module, x: Float[Tensor, "n *d"], y: Shaped[Tensor, "n *one"]
    ) -> Float[Tensor, "n *d"]:
        """Return perturbed inputs; arguments and errors are those of `run`."""
        x, y, _ = check_attackable(model, x, y, threat=self.threat)
        with preserved(model):
            return self._run_batches(model, x, y).x_adv

    def run(
        self,
        model: nn.Module,
        x: Float[Tensor, "n *d"],
        y: Shaped[Tensor, "n *one"],
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
            NumericalError: The attack returned NaN.
        """
        check_count(batch_size, "batch_size")
        x, y, _ = check_attackable(model, x, y, threat=self.threat)
        with preserved(model):
            result = self._run_batches(model, x, y, batch_size, progress=progress)
            options = {"threat": self.threat, "attacks": [self], "batch_size": batch_size}
            return replace(result, masking=find_masking(model, x, y, ~result.success, **options))

    def _run_batches(
        self, model: nn.Module, x: Tensor, y: Tensor, batch_size: int = 256, *, progress: bool = False
    ) -> MALTResult:
        batches = track(list(zip(x.split(batch_size), y.split(batch_size), strict=True)), "attacking", enabled=progress)
        return join_results([self._run_batch(PassCounter(model, checked=True), *batch) for batch in batches])

    def _run_batch(self, model: PassCounter, x: Tensor, y: Tensor) -> MALTResult:
        success = predict(model, x, batch_size=len(x), look=False).argmax(1) != y
        x_adv, reached, n_targets = x.clone(), torch.full_like(y, -1), torch.zeros_like(y)
        remaining = (~success).nonzero().squeeze(1)
        ranked = self._targets(model, x[remaining], y[remaining]) if len(remaining) else y[:0, None]
        for rank in range(ranked.shape[1]):
            if not len(remaining):
                break
            target = ranked[:, rank]
            proposed = self.attack(model, x[remaining], target)
            proposed, predicted = measure(model, proposed, x[remaining], self.threat)
            broken = predicted == target if self.strict_target else predicted != y[remaining]
            n_targets[remaining] += 1
            hit = remaining[broken]
            x_adv[hit], reached[hit], success[hit] = proposed[broken], target[broken], True
            remaining, ranked = remaining[~broken], ranked[~broken]
        distance = self.threat.distance(x_adv, x)
        found = (x_adv, success, distance, model.n_forward, model.n_backward, no_masking(x))
        return MALTResult(*found, reached, n_targets)

    def _targets(self, model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        if self.ranking == "naive":
            return naive_targets(model, x, y, k=self.k)
        return malt_targets(model, x, y, k=self.k, norm=self.threat.norm, candidates=self.candidates)
