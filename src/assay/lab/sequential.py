"""Group-sequential runs: when a study takes more seeds, and what may be judged at each look."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from assay.core import InvalidInputError
from assay.lab.evidence import Evidence, judge
from assay.lab.looks import Looks


def find_looks(settings: Any) -> Looks | None:
    """Return the looks that a study's settings plan; None where all its numbers of seeds are fixed.

    Args:
        settings: The settings of one scale.

    Returns:
        The plan.

    Raises:
        InvalidInputError: Two plans that differ.
    """
    plans = set(_plans(settings))
    if len(plans) > 1:
        raise InvalidInputError(
            f"the settings plan looks at {' and at '.join(str(plan.seeds) for plan in plans)} seeds; give one plan, or "
            "fixed numbers of seeds beside it."
        )
    return plans.pop() if plans else None


def asks_for_more(evidence: Sequence[Evidence]) -> bool:
    """Return whether a claim is undecided by evidence that more seeds can decide.

    Args:
        evidence: All evidence of a look.
    """
    by_claim: dict[str, list[Evidence]] = {}
    for entry in evidence:
        by_claim.setdefault(entry.claim, []).append(entry)
    return any(
        judge(entries) == "undecided" and any(entry.looks and entry.verdict == "undecided" for entry in entries)
        for entries in by_claim.values()
    )


def refuse_unplanned(before: Sequence[Evidence], now: Sequence[Evidence]) -> None:
    """Raise where evidence with a bar grew with the seeds, but was judged at 95% at each look.

    Args:
        before: The evidence of the last look.
        now: The evidence of this look.

    Raises:
        InvalidInputError: Such evidence is not one value for each seed.
    """
    sizes = {(entry.claim, entry.what): len(entry.values) for entry in before}
    for entry in now:
        grew = len(entry.values) != sizes.get((entry.claim, entry.what), len(entry.values))
        if grew and entry.bar is not None and not entry.looks:
            raise InvalidInputError(
                f"claim {entry.claim!r}, {entry.what!r}: {len(entry.values)} values grew with the seeds, not one "
                "for each: give one value a seed in their order, so that the error can be spent over the looks."
            )


def _plans(value: Any) -> list[Looks]:
    if isinstance(value, Looks):
        return [value]
    if isinstance(value, list | tuple):
        return [plan for entry in value for plan in _plans(entry)]
    if dataclasses.is_dataclass(value):
        return [plan for field in dataclasses.fields(value) for plan in _plans(getattr(value, field.name))]
    return []
