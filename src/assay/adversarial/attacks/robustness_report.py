"""Report of robust accuracy: its value, its interval, and what each attack broke."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from jaxtyping import Bool, Float, Int
from torch import Tensor

from assay.adversarial.attacks.masking import GradientMasking
from assay.adversarial.attacks.threat import Lp
from assay.core import Interval, proportion_interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_UNSUSPICIOUS = 0.002  # Share of samples that Square may break after the others: the released code of AutoAttack.
_OUTPUTS = {
    "probabilities": "The model returns probabilities, and the attacks take their logarithm as scores.",
    "sigmoids": "All outputs lie between 0 and 1 and rows do not sum to one, as those of a sigmoid for each class, "
    "whose gradient vanishes where they are sure: take the sigmoid off, and measure again.",
}


@dataclass(frozen=True)
class AttackTally:
    """Samples tried and broken by one attack of an ensemble, and its passes, counted by sample.

    `uses_gradients` is False for an attack by scores or decisions alone.
    """

    name: str
    tried: int
    broken: int
    n_forward: int
    n_backward: int
    uses_gradients: bool = True


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
        certified: Samples whose prediction no perturbation within the threat can change, by interval bounds; None where
            the network is no sequence of layers that they know, or the norm is not infinity.
        noise: How the network draws random numbers in evaluation mode, in which case all figures are of the mean of its
            scores over draws; empty where it draws none.
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
    certified: Bool[Tensor, " n"] | None = None
    noise: str = ""

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
    def certified_accuracy(self) -> Interval | None:
        """Share of samples that are certified, with its exact 95% interval: a lower bound beside the upper one."""
        return None if self.certified is None else proportion_interval(int(self.certified.sum()), len(self.certified))

    @property
    def broken_without_gradients(self) -> int:
        """Samples that attacks by gradient left and one without broke; 0 where only one kind was run."""
        by_gradient = any(tally.uses_gradients for tally in self.tallies)
        return sum(tally.broken for tally in self.tallies if by_gradient and not tally.uses_gradients)

    @property
    def at_chance(self) -> bool:
        """Whether the accuracy without attack is not above the share of the commonest label, at 95% confidence."""
        return self.accuracy.low <= self.commonest

    @property
    def caveats(self) -> tuple[str, ...]:
        """Sentences on what makes the figures say little: masked gradients, noise, squashed outputs, chance."""
        said = [str(self.masking)] if self.masking.masked.any() else []
        if self.broken_without_gradients > _UNSUSPICIOUS * len(self.correct):
            said.append(
                f"An attack without gradients broke {self.broken_without_gradients} samples that the attacks by "
                "gradient before it left: gradients may be masked, and robust accuracy be lower still."
            )
        if self.noise:
            said.append(
                f"The network {self.noise}. All figures are of the mean of its scores over fixed draws; single answers "
                "vary about it."
            )
        said += [_OUTPUTS[self.outputs]] if self.outputs in _OUTPUTS else []
        if self.at_chance:
            said.append(
                f"The accuracy without attack, {self.accuracy.mean:.1%}, is not significantly above that of always "
                f"answering the commonest label, {self.commonest:.1%}: robustness says little about such a network."
            )
        return tuple(said)

    def __str__(self) -> str:
        clean, robust, certified = self.accuracy, self.robust_accuracy, self.certified_accuracy
        tried = "; ".join(
            f"{tally.name} broke {tally.broken} of {tally.tried} ({tally.n_forward} forward and {tally.n_backward} "
            "backward passes)"
            for tally in self.tallies
        )
        return (
            f"Of {len(self.correct)} samples {clean.mean:.1%} [{clean.low:.1%}, {clean.high:.1%}] are classified "
            f"correctly, and {robust.mean:.1%} [{robust.low:.1%}, {robust.high:.1%}] under changes of at most "
            f"{self.threat.eps:.4g} in the {self.threat.norm:g}-norm. {tried}. Another attack may break more."
            + (f" Interval bounds certify {certified.mean:.1%} of the samples." if certified else "")
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
