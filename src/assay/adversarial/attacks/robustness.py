"""Robust accuracy under an ensemble of attacks (Croce and Hein, 2020, section 5)."""

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor, nn

from assay.adversarial.attacks.apgd import APGD, TargetedAPGD
from assay.adversarial.attacks.base import (
    Attack,
    attack_batches,
    check_attack,
    join_results,
)
from assay.adversarial.attacks.door import check_attackable, returns_probabilities
from assay.adversarial.attacks.malt import MALT
from assay.adversarial.attacks.masking import GradientMasking, find_masking
from assay.adversarial.attacks.threat import Lp
from assay.core import (
    Interval,
    InvalidInputError,
    LogProbabilities,
    check_count,
    predict,
    preserved,
    proportion_interval,
    stays_in_unit_interval,
    track,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_FEW = 200  # samples whose outputs are looked at far away
_OUTPUTS = {
    "probabilities": "The model returns probabilities, and the attacks take their logarithm as scores.",
    "sigmoids": "All outputs lie between 0 and 1 and rows do not sum to one, as those of a sigmoid for each class, "
    "whose gradient vanishes where they are sure: take the sigmoid off, and measure again.",
}


@dataclass(frozen=True)
class AttackTally:
    """Samples tried and broken by one attack of an ensemble, and its passes, counted by sample."""

    name: str
    tried: int
    broken: int
    n_forward: int
    n_backward: int


@dataclass(frozen=True, eq=False)
class RobustnessReport:
    """Accuracy without and under attack, and which attack broke what.

    Attributes:
        threat: Threat model of the attacks.
        tallies: One for each attack, in the order of the runs; each attack tries the samples that earlier ones left.
        x_adv: Perturbed inputs; the input itself where no attack succeeded or the sample was already misclassified.
        correct: Whether the model classifies the input as labelled.
        broken_by: Index into `tallies` of the successful attack; -1 where there is none.
        distance: Size of the perturbation in the threat's norm.
        masking: Samples that stay correct and where the gradient gives an attack no direction.
        commonest: Share of the commonest label, which is the accuracy of a network that always answers it.
        outputs: What the model returns: "scores"; "probabilities", attacked through their logarithm; or "sigmoids",
            columns between 0 and 1 whose rows do not sum to one, attacked as they are.
    """

    threat: Lp
    tallies: tuple[AttackTally, ...]
    x_adv: Float[Tensor, "n *d"]
    correct: Bool[Tensor, " n"]
    broken_by: Int[Tensor, " n"]
    distance: Float[Tensor, " n"]
    masking: GradientMasking
    commonest: float
    outputs: Literal["scores", "probabilities", "sigmoids"] = "scores"

    @property
    def robust(self) -> Bool[Tensor, " n"]:
        """Whether each sample is classified correctly under every attack."""
        return self.correct & (self.broken_by < 0)

    @property
    def accuracy(self) -> Interval:
        """Accuracy without attack, with its exact 95% interval."""
        return proportion_interval(int(self.correct.sum()), len(self.correct))

    @property
    def robust_accuracy(self) -> Interval:
        """Accuracy under every attack, with its exact 95% interval."""
        return proportion_interval(int(self.robust.sum()), len(self.correct))

    @property
    def at_chance(self) -> bool:
        """Whether the accuracy without attack is not above the share of the commonest label, at 95% confidence."""
        return self.accuracy.low <= self.commonest

    @property
    def caveats(self) -> tuple[str, ...]:
        """Sentences on what makes the figures say little: masked gradients, an accuracy at chance, squashed outputs."""
        said = [str(self.masking)] if self.masking.masked.any() else []
        said += [_OUTPUTS[self.outputs]] if self.outputs in _OUTPUTS else []
        if self.at_chance:
            said.append(
                f"The accuracy without attack, {self.accuracy.mean:.1%}, is not significantly above that of always "
                f"answering the commonest label, {self.commonest:.1%}: robustness says little about such a network."
            )
        return tuple(said)

    def __str__(self) -> str:
        clean, robust = self.accuracy, self.robust_accuracy
        tried = "; ".join(
            f"{tally.name} broke {tally.broken} of {tally.tried} ({tally.n_forward} forward and {tally.n_backward} "
            "backward passes)"
            for tally in self.tallies
        )
        return (
            f"Of {len(self.correct)} samples {clean.mean:.1%} [{clean.low:.1%}, {clean.high:.1%}] are classified "
            f"correctly, and {robust.mean:.1%} [{robust.low:.1%}, {robust.high:.1%}] under changes of at most "
            f"{self.threat.eps:.4g} in the {self.threat.norm:g}-norm. {tried}. Another attack may break more."
            + "".join(f" {caveat}" for caveat in self.caveats)
        )

    def plot(self, ax: "Axes | None" = None) -> "Axes":
        """Draw the accuracy left after each attack with its 95% interval, and return the axes."""
        import matplotlib.pyplot as plt

        axes = ax if ax is not None else plt.subplots()[1]
        left = [tally.tried - tally.broken for tally in self.tallies]
        stages = [proportion_interval(n, len(self.correct)) for n in (int(self.correct.sum()), *left)]
        spread = [[s.mean - s.low for s in stages], [s.high - s.mean for s in stages]]
        names = ["no attack", *(f"+ {tally.name}" for tally in self.tallies)]
        axes.bar(names, [s.mean for s in stages], yerr=spread, color="C0", ecolor="C5", capsize=4)
        axes.set(ylim=(0, 1), ylabel="share still classified correctly")
        return axes


def standard_attacks(threat: Lp, n_classes: int, *, n_iter: int = 100) -> dict[str, Attack]:
    """Return the attacks of `robust_accuracy` by name: untargeted Auto-PGD on two objectives, and MALT.

    They fail in different ways: the gradient of the cross-entropy vanishes for confident networks, that of the
    difference of logits ratio (which needs three classes) does not; MALT attacks towards chosen classes, where both
    objectives follow the likeliest one. None of the attacks is random.

    Args:
        threat: Threat model.
        n_classes: Outputs of the model.
        n_iter: Gradient steps of each run. Paper: 100.

    Raises:
        InvalidInputError: `n_iter` is below one.

    Source: Croce, Hein, "Reliable evaluation of adversarial robustness with an ensemble of diverse parameter-free
    attacks" (2020), section 5, for the first two; Melamed, Yehudai, Shamir, "MALT Powers Up Adversarial Attacks"
    (2024), algorithm 1, for the third.

    >>> list(standard_attacks(Lp(norm=2, eps=1.0, input_range=(0.0, 1.0)), n_classes=10))
    ['APGD-CE', 'APGD-DLR', 'MALT']
    """
    check_count(n_iter, "n_iter")
    attacks: dict[str, Attack] = {"APGD-CE": APGD(threat, n_iter, "ce")}
    if n_classes >= 3:
        attacks["APGD-DLR"] = APGD(threat, n_iter, "dlr")
    return attacks | {"MALT": MALT(TargetedAPGD(threat, n_iter, "dlr" if n_classes >= 4 else "ce"))}


def robust_accuracy(
    model: nn.Module,
    x: Float[Tensor, "n *d"],
    y: Shaped[Tensor, "n *one"],
    *,
    threat: Lp,
    attacks: Mapping[str, Attack] | None = None,
    batch_size: int = 256,
    time_limit: float = math.inf,
    progress: bool = False,
) -> RobustnessReport:
    r"""Measure the share of samples that are classified correctly under every attack, $\frac1n\sum_i \min_a r_{ia}$.

    The attacks run in turn, each on the samples that earlier ones left, with the same result as all attacks on all
    samples. `run_attack` measures success by projection and a separate forward pass. The result is an upper bound of
    the true robust accuracy; its interval covers the choice of samples only. Where gradients are masked (they vanish,
    are not finite, or are lost in a saturated softmax) the report says at how many samples. Probabilities are attacked
    through their logarithm, and the report says so.

    Args:
        model: Classifier with outputs `(n, c)`, `c >= 2`; it comes back as it was.
        x: Inputs within the threat's range.
        y: True labels.
        threat: Threat model.
        attacks: Untargeted attacks by name, all of this threat; `standard_attacks` when None.
        batch_size: Samples attacked at once.
        time_limit: Seconds after which no further batch starts. The report then covers the first samples only: put
            them in random order, in batches of a suitable size.
        progress: Draw a bar on standard error.

    Returns:
        Accuracy and robust accuracy with their intervals, the attack that broke each sample, and where gradients are
        masked.

    Raises:
        InvalidInputError: The arguments do not fit each other, or an attack has another threat model.
        NumericalError: An attack returned NaN.

    Cost: time with the standard attacks at most 11 runs of 100 forward and backward passes a sample, memory that of one
    batch.

    Source: Croce, Hein, "Reliable evaluation of adversarial robustness with an ensemble of diverse parameter-free
    attacks" (2020), section 5. Deviation: MALT replaces the paper's targeted attacks and its attack without gradients,
    so that robust accuracy is overestimated for networks with masked gradients, which the report names.

    >>> threat = Lp(norm=math.inf, eps=0.5, input_range=(-9.0, 9.0))
    >>> layer = nn.Linear(1, 2, bias=False)
    >>> _ = layer.weight.data.copy_(torch.tensor([[1.0], [-1.0]]))
    >>> report = robust_accuracy(layer, torch.tensor([[0.4], [0.6]]), torch.tensor([0, 0]), threat=threat)
    >>> report.robust.tolist(), report.robust_accuracy.mean
    ([False, True], 0.5)
    """
    check_count(batch_size, "batch_size")
    x, y, n_classes = check_attackable(model, x, y, threat=threat, allow_probabilities=True)
    of_probabilities = returns_probabilities(model, x)
    model = nn.Sequential(model, LogProbabilities()) if of_probabilities else model
    named = _checked_attacks(standard_attacks(threat, n_classes) if attacks is None else attacks, threat)
    with preserved(model):
        batches, start = [], time.monotonic()
        pairs = list(zip(x.split(batch_size), y.split(batch_size), strict=True))
        for batch in track(pairs, "attacking", enabled=progress):
            batches.append(_attack_batch(model, *batch, threat, list(named.values())))
            if time.monotonic() - start > time_limit:
                break
        joined = join_results(batches)
        x, y = x[: len(joined.x_adv)], y[: len(joined.x_adv)]
        unbroken = joined.correct & (joined.broken_by < 0)
        options = {"threat": threat, "attacks": list(named.values()), "batch_size": batch_size}
        masking = find_masking(model, x, y, unbroken, **options)
        outputs = "probabilities" if of_probabilities else _kind_of_scores(model, x, joined)
    return _report(threat, list(named), joined, masking, y.bincount().max().item() / len(y), outputs)


def _kind_of_scores(model: nn.Module, x: Tensor, joined: "_Batch") -> Literal["scores", "sigmoids"]:
    return "sigmoids" if joined.squashed.all() and stays_in_unit_interval(model, x[:_FEW]) else "scores"


def _checked_attacks(attacks: Mapping[str, Attack], threat: Lp) -> dict[str, Attack]:
    if not isinstance(attacks, Mapping) or not attacks:
        raise InvalidInputError(
            f"attacks must hold at least one attack by name, all with threat {threat}, got {attacks!r}; e.g. "
            "{'PGD': PGD(threat)}"
        )
    for attack in attacks.values():
        check_attack(attack, targeted=False)
    different = [name for name, attack in attacks.items() if attack.threat != threat]
    if different:
        raise InvalidInputError(f"attacks must be all with threat {threat}; got another threat in {different}")
    return dict(attacks)


@dataclass(frozen=True)
class _Batch:
    """Results of one batch: one row a sample, except `passes`, of shape (1, attacks, 2), with one row a batch."""

    x_adv: Tensor
    correct: Tensor
    squashed: Tensor
    broken_by: Tensor
    distance: Tensor
    passes: Tensor


def _attack_batch(model: nn.Module, x: Tensor, y: Tensor, threat: Lp, attacks: list[Attack]) -> _Batch:
    scores = predict(model, x, batch_size=len(x), look=False)
    correct, squashed = scores.argmax(1) == y, ((scores >= 0) & (scores <= 1)).all(1)
    x_adv, broken_by = x.clone(), torch.full_like(y, -1)
    remaining, passes = correct.nonzero().squeeze(1), torch.zeros(1, len(attacks), 2, dtype=torch.long)
    for number, attack in enumerate(attacks):
        if not len(remaining):
            break
        result = attack_batches(model, x[remaining], y[remaining], attack, len(remaining))
        hit = remaining[result.success]
        x_adv[hit], broken_by[hit] = result.x_adv[result.success], number
        remaining = remaining[~result.success]
        passes[0, number] = torch.tensor([result.n_forward, result.n_backward])
    return _Batch(x_adv, correct, squashed, broken_by, threat.distance(x_adv, x), passes)


def _report(
    threat: Lp,
    names: list[str],
    joined: _Batch,
    masking: GradientMasking,
    commonest: float,
    outputs: Literal["scores", "probabilities", "sigmoids"],
) -> RobustnessReport:
    tallies, remaining = [], int(joined.correct.sum())
    for number, (name, passes) in enumerate(zip(names, joined.passes.sum(0).tolist(), strict=True)):
        broken = int((joined.broken_by == number).sum())
        tallies.append(AttackTally(name, remaining, broken, *passes))
        remaining -= broken
    found = (joined.x_adv, joined.correct, joined.broken_by, joined.distance)
    return RobustnessReport(threat, tuple(tallies), *found, masking, commonest, outputs)
