"""Verdict on a search from known initial weights: whether they are the start, how many samples, what is found."""

from collections.abc import Iterator
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from assay.reconstruction.kkt import OUTCOME_TITLES, Outcome
from assay.reconstruction.known_start.displacement import Displacement

EXPLAINED = 0.3
"""Largest gap at which the candidates count as an explanation."""

AGREED = 0.9
"""Vote from which restarts agree on a candidate."""


@dataclass(frozen=True)
class KnownStartVerdict:
    """Hold what the weights tell about their training, the initial ones being known, without any data.

    The outcome is "nothing found" where the initial weights are not in the trained ones, where their difference has no
    rank below full, or where candidates leave more than 0.3 of it; then nothing is called a reconstruction. It is
    "partly found" where the restarts agree on fewer than half the samples. Else it is "found".

    Attributes:
        outcome: One of these.
        is_start: Whether the trained weights still hold the initial ones.
        n_samples: Training samples, counted in the rank of the displacement; None where it has none below full, and
            where gradients of so many samples do not explain it.
        share: Share of the initial weights that is left; 1 without weight decay.
        correlation: Correlation of the trained with the initial weights of the first layer.
        gap: Smallest part of the displacement, squared and weighted as in the search, that candidates leave; None
            without a search.
        n_agreed: Reconstructions that all restarts agree on.
        n_exact: Samples that are solved for exactly, by the units that they never activated.
        left_out: Names of the parameters that did not move.
        failures: Why nothing, or not all, is found.
        advice: What to give to go on.
    """

    outcome: Outcome
    is_start: bool
    n_samples: int | None
    share: float
    correlation: float
    gap: float | None
    n_agreed: int
    n_exact: int = 0
    left_out: tuple[str, ...] = ()
    failures: tuple[str, ...] = ()
    advice: tuple[str, ...] = ()

    def __str__(self) -> str:
        return " ".join([f"{OUTCOME_TITLES[self.outcome]}:", *self._sentences(), *self.advice])

    def _sentences(self) -> Iterator[str]:
        if not self.is_start:
            yield f"wrong start; the correlation of the weights with it is {self.correlation:.3f}."
        elif self.n_samples is None:
            yield "no count of samples can be read off the displacement from the start."
        else:
            decayed = "" if self.share == 1 else f", of which training left {self.share:.1%}"
            yield f"trained on {self.n_samples} samples, as the displacement from the start counts them{decayed}."
        if self.n_exact:
            yield f"{self.n_exact} samples are solved for exactly, by the units that each of them never activated."
        elif self.gap is not None:
            yield f"Candidates leave {self.gap:.1%} of that displacement."
        if self.outcome == "nothing found":
            yield "No candidate is called a reconstruction."
        else:
            yield f"The restarts agree on {self.n_agreed} reconstructions."
        if self.failures:
            yield f"Why: {'; '.join(self.failures)}."
        if self.left_out:
            names = ", ".join(self.left_out[:4]) + (", ..." if len(self.left_out) > 4 else "")
            yield f"Left out, since training did not move them: {names}."


def judge(
    moved: Displacement,
    gaps: Float[Tensor, " r"] | None,
    votes: Float[Tensor, " k"] | None,
    left_out: tuple[str, ...],
    *,
    n_exact: int = 0,
) -> KnownStartVerdict:
    """Weigh what a search from known initial weights has found.

    Args:
        moved: Displacement of the first layer.
        gaps: Gap of each restart; None where there was nothing to search for.
        votes: Votes on the reconstructions.
        left_out: Names of the parameters that did not move.
        n_exact: Samples that are solved for exactly. Half of all are proof enough, whatever the gap.
    """
    gap = None if gaps is None else float(gaps.min())
    n_agreed = 0 if votes is None else int((votes > AGREED).sum())
    is_start = moved.from_start
    explained = gap is None or gap <= EXPLAINED or 2 * n_exact > moved.rank
    failures, advice = list(_reasons(moved, None if explained else gap)), ()
    if failures:
        outcome, n_agreed, advice = "nothing found", 0, tuple(_advice(moved))
    elif 2 * n_agreed < moved.rank:
        outcome = "partly found"
        failures = ["the restarts agree on less than half the samples, so that the others may be mixtures"]
    else:
        outcome = "found"
    count = moved.rank if moved.rank and is_start and explained else None
    return KnownStartVerdict(
        outcome,
        is_start,
        count,
        moved.share,
        moved.correlation,
        gap,
        n_agreed,
        n_exact,
        left_out,
        tuple(failures),
        advice,
    )


def _reasons(moved: Displacement, gap: float | None) -> Iterator[str]:
    """Say why nothing is found."""
    if not moved.from_start:
        yield "the trained weights do not hold these initial weights, or weight decay has wiped them out"
    elif not moved.rank:
        yield (
            "the displacement has more directions than a span of samples allows: the steps were those of Adam or of "
            "another optimiser that scales each weight by itself, batch-norm was in the training, or the samples were "
            "about as many as the inputs"
        )
    elif gap is not None:
        yield (
            f"the displacement has {moved.rank} directions, but no sum of gradients on the straight path from start to "
            "end explains it: the steps were those of Adam or of another optimiser that scales each weight by "
            "itself, the network had other activations in training, or it went a long way"
        )


def _advice(moved: Displacement) -> Iterator[str]:
    if not moved.from_start:
        yield "Pass the weights that this network had before its first step as init_state=."
