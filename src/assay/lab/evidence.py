"""Evidence: what was measured for a claim, the bar it had to clear, and the verdict."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, SupportsFloat

from assay.core import Interval, InvalidInputError, NumericalError, mean_interval

Verdict = Literal["fails", "undecided", "not tested at this scale", "holds", "reported"]

SEVERITY: tuple[Verdict, ...] = ("fails", "undecided", "not tested at this scale", "holds", "reported")
"""Verdicts, the worst first: a claim with several pieces of evidence has the worst of their verdicts."""

NOT_REACHED = "the study did not reach this claim"


@dataclass(frozen=True)
class Bar:
    """Hold the value that a measurement must reach (``at_least``) or stay below (``at_most``)."""

    side: Literal["at_least", "at_most"]
    value: float

    def __str__(self) -> str:
        return f"{'≥' if self.side == 'at_least' else '≤'} {self.value:g}"


@dataclass(frozen=True)
class Evidence:
    """Hold one measurement for one claim.

    Args:
        claim: The claim's identifier in its study.
        what: One line: what was measured.
        values: The measured values, one for each seed.
        interval: The 95% Student interval of their mean; None for fewer than two values.
        bar: What the measurement had to clear; None where a number is only reported.
        verdict: One of `SEVERITY`.
        reason: Why a claim was not tested; None otherwise.
    """

    claim: str
    what: str
    values: tuple[float, ...]
    interval: Interval | None
    bar: Bar | None
    verdict: Verdict
    reason: str | None = None

    @property
    def mean(self) -> float | None:
        """The mean of the values; None where nothing was measured."""
        return math.fsum(self.values) / len(self.values) if self.values else None


def weigh(
    claim: str,
    values: SupportsFloat | Iterable[SupportsFloat],
    *,
    what: str,
    at_least: float | None = None,
    at_most: float | None = None,
) -> Evidence:
    """Compare values with a bar: the claim holds when the whole 95% interval clears it.

    With values v_1..v_n, n > 1, the interval is mean ± t_{0.975, n-1} s/√n. For ``at_least=b`` the verdict is
    ``holds`` when low ≥ b, ``fails`` when high < b, else ``undecided`` (mirrored for ``at_most``). A single
    value is compared as a point. Without a bar the number is ``reported``.

    Args:
        claim: The claim's identifier.
        values: One value, or one for each seed.
        what: One line: what was measured.
        at_least: The bar that the values must reach.
        at_most: The bar that the values must not exceed.

    Returns:
        The evidence, with its verdict.

    Raises:
        InvalidInputError: Both bars, no value, or no description.
        NumericalError: A value or a bar is not finite.

    >>> weigh("C1", [0.9, 0.91, 0.92], what="recall", at_least=0.8).verdict
    'holds'
    """
    if not what.strip():
        raise InvalidInputError(f"claim {claim!r} was measured without what=: say in one line what it was.")
    if at_least is not None and at_most is not None:
        raise InvalidInputError(f"claim {claim!r} was given two bars; give at_least or at_most, not both.")
    measured = _floats(values)
    if not measured:
        raise InvalidInputError(f"claim {claim!r} was measured with no value; give one, or untested='why'.")
    bar = None
    if at_least is not None:
        bar = Bar("at_least", float(at_least))
    elif at_most is not None:
        bar = Bar("at_most", float(at_most))
    for value in (*measured, *(() if bar is None else (bar.value,))):
        if not math.isfinite(value):
            raise NumericalError(f"claim {claim!r}, {what!r}: {value} is not a finite number.")
    interval = interval_over_seeds(measured)
    return Evidence(claim, what, measured, interval, bar, _verdict(measured, interval, bar))


def interval_over_seeds(values: tuple[float, ...]) -> Interval | None:
    """Return the 95% Student interval of the mean; a point where all values are equal.

    Args:
        values: One value a seed.

    Returns:
        The interval; None for fewer than two values.
    """
    if len(values) < 2:
        return None
    if len(set(values)) == 1:  # a mean may be off by one bit, which must not decide a verdict at the bar
        return Interval(values[0], values[0], values[0])
    return mean_interval(values)


def not_tested(claim: str, reason: str, *, what: str = "") -> Evidence:
    """Say that a claim was not tested at this scale, and why.

    Args:
        claim: The claim's identifier.
        reason: One sentence.
        what: What would have been measured.

    Returns:
        Evidence without values.

    Raises:
        InvalidInputError: No reason.
    """
    if not reason.strip():
        raise InvalidInputError(f"claim {claim!r} is not tested: say in one sentence why.")
    return Evidence(claim, what, (), None, None, "not tested at this scale", reason)


def worst(verdicts: Iterable[Verdict]) -> Verdict:
    """Return the worst of some verdicts: fails, undecided, not tested, holds, reported.

    Args:
        verdicts: At least one.

    Returns:
        The first of `SEVERITY` among them.
    """
    return min(verdicts, key=SEVERITY.index)


def evidence_to_json(evidence: Evidence) -> dict[str, Any]:
    """Return the evidence as JSON values; `evidence_from_json` is the inverse."""
    interval, bar = evidence.interval, evidence.bar
    return {
        "claim": evidence.claim,
        "what": evidence.what,
        "values": list(evidence.values),
        "interval": interval and {"mean": interval.mean, "low": interval.low, "high": interval.high},
        "bar": bar and {"side": bar.side, "value": bar.value},
        "verdict": evidence.verdict,
        "reason": evidence.reason,
    }


def evidence_from_json(stored: Mapping[str, Any]) -> Evidence:
    """Return the evidence that `evidence_to_json` wrote."""
    return Evidence(
        claim=stored["claim"],
        what=stored["what"],
        values=tuple(stored["values"]),
        interval=Interval(**stored["interval"]) if stored["interval"] else None,
        bar=Bar(**stored["bar"]) if stored["bar"] else None,
        verdict=stored["verdict"],
        reason=stored["reason"],
    )


def _floats(values: SupportsFloat | Iterable[SupportsFloat]) -> tuple[float, ...]:
    try:
        return tuple(float(value) for value in values)  # type: ignore[union-attr]
    except TypeError:  # one number: a float, a NumPy scalar, a tensor without dimensions
        return (float(values),)  # type: ignore[arg-type]


def _verdict(values: tuple[float, ...], interval: Interval | None, bar: Bar | None) -> Verdict:
    if bar is None:
        return "reported"
    low, high = (interval.low, interval.high) if interval else (values[0], values[0])
    if bar.side == "at_most":  # mirror, so that one rule is written once
        low, high, value = -high, -low, -bar.value
    else:
        value = bar.value
    if low >= value:
        return "holds"
    return "fails" if high < value else "undecided"
