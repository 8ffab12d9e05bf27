"""Verdict on a reconstruction from the weights alone: what they explain, and which assumption fails."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from jaxtyping import Float, Int
from torch import Tensor

from assay.reconstruction.kkt.target import Target

# The guide on choices in reconstruction says on which networks these were set, and the errors on others.
BETTER_THAN_CHANCE = 0.5
TELLING_CHANCE = 0.25
FAR_FROM_CHANCE = 0.1
START_LEFT = 0.5
IN_BALANCE = 0.1
NO_FLOOR = 0.9

Outcome = Literal["found", "partly found", "nothing found"]

OUTCOME_TITLES: dict[Outcome, str] = {
    "found": "Samples found",
    "partly found": "Samples found in part",
    "nothing found": "Nothing found",
}


@dataclass(frozen=True)
class ReconstructionVerdict:
    """Hold what the weights tell about their reconstruction, without any data.

    The outcome is "nothing found" where candidates leave more than half as much of the weights as random ones do, or
    where the weights are fewer than the coordinates of one sample; then nothing is called a reconstruction. It is
    "partly found" where random candidates leave less than a quarter and those found more than a tenth of that, where
    more than half of the weights' norm is left, or where the restarts agree on fewer reconstructions than half the
    directions: reconstructions may then be mixtures of samples. Else it is "found".

    Attributes:
        outcome: One of these.
        unexplained: Norm of what candidates leave of the weights to explain, relative to theirs; mean over restarts.
        unexplained_in_span: The same in the space that was searched.
        unexplained_by_chance: What as many random candidates of the same lengths leave there, with the best factors.
        rank: Directions above the noise floor of the first trained dense layer; None without such a layer.
        near_floor: Those within twice the noise floor.
        n_agreed: Reconstructions that two restarts found, and at least half of all.
        imbalance: Imbalance of the layers, 0 for every sum of gradients; None where it need not vanish.
        left_out: Names of the parameters that are frozen or unused, and need no explanation.
        failures: Assumptions that fail, and what else makes the reconstructions doubtful.
        advice: What to give to go on.
    """

    outcome: Outcome
    unexplained: float
    unexplained_in_span: float
    unexplained_by_chance: float
    rank: int | None
    near_floor: int
    n_agreed: int
    imbalance: float | None
    left_out: tuple[str, ...] = ()
    failures: tuple[str, ...] = ()
    advice: tuple[str, ...] = ()

    @property
    def explained(self) -> float:
        """Share of the weights' norm that the candidates explain."""
        return 1 - self.unexplained

    def __str__(self) -> str:
        shares = (self.unexplained, self.unexplained_in_span, self.unexplained_by_chance)
        left, inside, chance = (f"{share:.1%}" if share < 0.1 else f"{share:.0%}" for share in shares)
        sentences = [
            f"{OUTCOME_TITLES[self.outcome]}: the candidates leave {left} of the weights' norm; in the space that was "
            f"searched they leave {inside}, and as many random candidates {chance}.",
            *self._samples(),
        ]
        if self.failures:
            sentences.append(f"Why: {'; '.join(self.failures)}.")
        if self.left_out:
            names = ", ".join(self.left_out[:4]) + (", ..." if len(self.left_out) > 4 else "")
            sentences.append(f"Left out, since they are frozen or unused: {names}.")
        return " ".join([*sentences, *self.advice])

    def _samples(self) -> Iterator[str]:
        """Say how many samples there are, and what the reconstructions are worth."""
        if self.outcome == "nothing found":
            yield "No candidate is called a reconstruction."
            if self.rank is not None:
                yield f"Directions of the first trained layer above its noise floor: {self.rank}."
            return
        if self.rank:
            yield (
                f"At least {self.rank} samples: as many directions of the first trained layer rise above its noise "
                f"floor, {self.near_floor} of them to less than twice of it. What else there is lies under that floor."
            )
        worth = "which may be mixtures of samples" if self.outcome == "partly found" else "the heaviest first"
        yield f"Most restarts agree on {self.n_agreed} reconstructions, {worth}."


def judge(
    target: Target,
    residual: Float[Tensor, " r"],
    chance: float,
    support: Int[Tensor, " k"],
    *,
    doubts: Sequence[str],
    knows_start: bool,
) -> ReconstructionVerdict:
    """Weigh what a search has found.

    Args:
        target: What was searched.
        residual: Relative residual of each restart, in the space that was searched.
        chance: The same of random candidates.
        support: Restarts that found each cluster of candidates.
        doubts: Parts of the network whose weights are no sum of gradients, or that the search cannot follow.
        knows_start: Whether the displacement from known initial weights was explained.
    """
    inside = float(sum(value.double().square().sum() for value in target.goal.values()))
    left = float(residual.mean())
    unexplained = float(((residual.double().square() * inside + target.lost) / (inside + target.lost)).sqrt().mean())
    agreed = int((support >= max(2, len(residual) / 2)).sum())
    reasons = [*_too_little(left, chance, unexplained), *_no_agreement(target, agreed, len(residual))]
    arbitrary = list(_too_few_weights(target))
    if left > BETTER_THAN_CHANCE * chance:
        outcome, reasons = "nothing found", [*doubts, *_no_sum(target, named=bool(doubts), knows_start=knows_start)]
    elif arbitrary:
        outcome, reasons = "nothing found", arbitrary
    elif reasons:
        outcome, reasons = "partly found", [*reasons, *_out_of_balance(target), *doubts]
    else:
        outcome = "found"
    floor = target.floor
    return ReconstructionVerdict(
        outcome,
        unexplained,
        left,
        chance,
        None if floor is None else floor.rank,
        0 if floor is None else floor.near,
        agreed,
        target.imbalance,
        target.left_out,
        tuple(reasons),
        () if outcome == "found" else tuple(_advice(target, bool(doubts), knows_start)),
    )


def _too_few_weights(target: Target) -> Iterator[str]:
    n_weights = sum(value.numel() for value in target.goal.values())
    n_coordinates = math.prod(target.coordinates)
    if n_weights <= n_coordinates:
        yield f"{n_weights} weights cannot determine a sample of {n_coordinates} coordinates: any candidates would do"


def _too_little(left: float, chance: float, unexplained: float) -> Iterator[str]:
    if chance < TELLING_CHANCE and left > FAR_FROM_CHANCE * chance:
        yield (
            "random candidates explain nearly as much, so that others could stand in for those found: the samples "
            "differ in few directions above the noise floor, as inputs do that are not centred"
        )
    if unexplained > START_LEFT:
        yield "most of the weights' norm lies where no candidate can be: it is left of the initial weights"


def _no_agreement(target: Target, agreed: int, restarts: int) -> Iterator[str]:
    if restarts == 1:
        yield "a single restart has no other to agree with"
    elif agreed < max(1, target.rank / 2 if target.floor is None else target.floor.rank / 2):
        yield f"the restarts agree on {agreed} reconstructions only"


def _no_sum(target: Target, *, named: bool, knows_start: bool) -> Iterator[str]:
    """Say why weights are no sum of gradients, where the network itself does not tell."""
    reasons = list(_out_of_balance(target))
    yield from reasons
    if knows_start:
        yield (
            "the displacement is no sum of gradients at these weights: training was far from linear, with weight decay "
            "or by Adam, or started elsewhere"
        )
    elif not (reasons or named):
        yield (
            "the weights are no sum of gradients in this form: training did not end at a stationary point of loss and "
            "weight decay, or its loss needs another objective"
        )


def _out_of_balance(target: Target) -> Iterator[str]:
    if target.imbalance is not None and target.imbalance > IN_BALANCE:
        yield (
            f"the layers are out of balance by {target.imbalance:.2f} of 1, and in a sum of gradients they are in "
            "balance: the initial weights are still in them, for want of weight decay or by an early stop, or the "
            "steps were Adam's"
        )


def _advice(target: Target, has_doubts: bool, knows_start: bool) -> Iterator[str]:
    floor = target.floor
    if floor is not None and floor.rank > NO_FLOOR * floor.size:
        yield "The first trained layer shows no noise floor: pass the number of training samples as subspace=."
    if not knows_start and not any(_too_few_weights(target)):
        yield "If you have the weights before training, pass them as init_state= with objective='displacement'."
    if has_doubts or target.basis is None:
        yield "If the network ends in dense layers, dense_head(model, x) returns them, to be attacked in their inputs."
