"""Evidence: what was measured for a claim, the bar it had to clear, and the verdict."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, SupportsFloat

from assay.core import Interval, InvalidInputError, NumericalError
from assay.lab.intervals import design_effect, proportion, sign, student, wilcoxon

Verdict = Literal["fails", "undecided", "not tested at this scale", "holds", "reported"]

SEVERITY: tuple[Verdict, ...] = ("fails", "undecided", "not tested at this scale", "holds", "reported")
"""Verdicts, the worst first."""

NOT_REACHED = "the study did not reach this claim"

ERROR = 0.05
"""The chance of a wrong verdict where the truth is at the bar, of all looks together."""

Test = Literal["student", "wilcoxon", "sign"]

_INTERVALS = {"student": student, "wilcoxon": wilcoxon, "sign": sign}


@dataclass(frozen=True)
class Bar:
    """Hold the value that a measurement must reach (``at_least``) or stay below (``at_most``)."""

    side: Literal["at_least", "at_most"]
    value: float

    def __str__(self) -> str:
        return f"{'≥' if self.side == 'at_least' else '≤'} {self.value:g}"


@dataclass(frozen=True)
class Evidence:
    """Hold one measurement for one claim; its interval and its verdict follow from what it holds.

    Args:
        claim: The claim's identifier in its study.
        what: One line: what was measured.
        values: The measured values, one for each seed; of counts, the shares. Where looks were planned, those up to the
            look that decided.
        bar: What the measurement had to clear; None where a number is only reported.
        test: What the interval inverts: Student's test of the mean, Wilcoxon's signed-rank test, or the sign test.
        trials: Each seed's number of trials, of counts; empty otherwise.
        looks: Planned numbers of seeds, where the study may ask for more seeds; empty otherwise.
        reason: Why a claim was not tested; None otherwise.
    """

    claim: str
    what: str
    values: tuple[float, ...]
    bar: Bar | None = None
    test: Test = "student"
    trials: tuple[int, ...] = ()
    looks: tuple[int, ...] = ()
    reason: str | None = None

    @property
    def mean(self) -> float | None:
        """The mean of the values, of counts the share of all trials; None where nothing was measured."""
        if not self.values:
            return None
        weights = self.trials or (1,) * len(self.values)
        return math.fsum(value * n for value, n in zip(self.values, weights, strict=True)) / sum(weights)

    @property
    def interval(self) -> Interval | None:
        """The confidence interval at the level of this look; None for too few values."""
        if not self.values:
            return None
        if self.trials:
            return proportion(self.values, self.trials, level(self.looks, len(self.values)))
        return _INTERVALS[self.test](self.values, level(self.looks, len(self.values)))

    @property
    def verdict(self) -> Verdict:
        """The verdict, from the place of the bar and the interval; a single value is compared as a point."""
        if self.reason is not None:
            return "not tested at this scale"
        if self.bar is None:
            return "reported"
        interval = self.interval
        if interval is not None:
            return _place(interval.low, interval.high, self.bar)
        if len(self.values) == 1 and self.test == "student":
            return _place(self.values[0], self.values[0], self.bar)
        return "undecided"


def level(looks: Sequence[int], n: int) -> float:
    r"""Return the confidence of the interval over so many seeds.

    Without planned looks it is 95%. With looks at $n_1 < \dots < n_K$ seeds, the error of 5% is spent in proportion to
    the seeds: the look at $n_k$ has $\alpha_k = 0.05\,(n_k - n_{k-1}) / n_K$, with $n_0 = 0$. By the union bound all
    looks together err with 5% at most, however they depend on each other and however few the seeds.

    Args:
        looks: The planned numbers of seeds; empty for none.
        n: The number of seeds, one of them.

    Returns:
        $1 - \alpha_k$.

    After Lan and DeMets, "Discrete sequential boundaries for clinical trials" (1983), the spending function
    $\alpha t$, with Bonferroni's bound in the place of the joint distribution.

    >>> level((5, 8, 12, 20), 5), level((), 5)
    (0.9875, 0.95)
    """
    if not looks:
        return 1 - ERROR
    place = list(looks).index(n)
    earlier = looks[place - 1] if place else 0
    return 1 - ERROR * (n - earlier) / looks[-1]


def weigh(
    claim: str,
    values: SupportsFloat | Iterable[SupportsFloat],
    *,
    what: str,
    at_least: float | None = None,
    at_most: float | None = None,
    test: Test = "student",
    of: SupportsFloat | Iterable[SupportsFloat] | None = None,
    looks: Sequence[int] = (),
) -> Evidence:
    """Compare values with a bar: the claim holds when the whole interval clears it.

    For ``at_least=b`` the verdict is ``holds`` when low >= b, ``fails`` when high < b, else ``undecided`` (mirrored for
    ``at_most``). A single value is compared as a point. Without a bar the number is ``reported``. The interval is at
    95%: of the mean by Student's test, by default; of the median of paired differences by Wilcoxon's signed-rank or
    the sign test, where a few of them would make the mean; of counts, exact for the proportion of all trials
    (`assay.lab.intervals`). With looks, each at its own level (`level`) is judged in turn, and the first that decides
    counts: later values are left out.

    Args:
        claim: The claim's identifier.
        values: One value, or one for each seed; with ``of``, successes.
        what: One line: what was measured.
        at_least: The bar that the values must reach; of counts, as a share.
        at_most: The bar that the values must not exceed.
        test: ``"student"``, or for paired differences ``"wilcoxon"`` or ``"sign"``.
        of: How many trials the successes are of, the same for all seeds or one number a seed.
        looks: Planned numbers of seeds, of which there are as many values as one says.

    Returns:
        The evidence, with its verdict.

    Raises:
        InvalidInputError: Both bars, no value, no description, counts that are none, or an unknown test.
        NumericalError: A value or a bar is not finite.

    >>> weigh("C1", [0.9, 0.91, 0.92], what="recall", at_least=0.8).verdict
    'holds'
    >>> weigh("C1", [0, 1], of=300, what="missed", at_most=0.05).verdict
    'holds'
    """
    if not what.strip():
        raise InvalidInputError(f"claim {claim!r} was measured without what=: say in one line what it was.")
    bar, measured = read_bar(claim, at_least, at_most), read_values(values)
    if not measured:
        raise InvalidInputError(f"claim {claim!r} was measured with no value; give one, or untested='why'.")
    for value in (*measured, *(() if bar is None else (bar.value,))):
        if not math.isfinite(value):
            raise NumericalError(f"claim {claim!r}, {what!r}: {value} is not a finite number.")
    if test not in _INTERVALS:
        raise InvalidInputError(f"claim {claim!r} has test={test!r}; choose one of {', '.join(_INTERVALS)}.")
    trials: tuple[int, ...] = ()
    if of is not None:
        measured, trials = _shares(claim, measured, read_values(of), test)
    looks = tuple(looks) if bar is not None else ()
    found = Evidence(claim, what, measured, bar, test, trials, looks)
    for n in looks[: looks.index(len(measured)) + 1] if looks else ():
        found = replace(found, values=measured[:n], trials=trials[:n])
        if found.verdict != "undecided":
            break
    return found


def read_values(values: SupportsFloat | Iterable[SupportsFloat]) -> tuple[float, ...]:
    """Return one number, such as a tensor without dimensions, or many as a tuple of floats."""
    try:
        return tuple(float(value) for value in values)  # type: ignore[union-attr]
    except TypeError:
        return (float(values),)  # type: ignore[arg-type]


def read_bar(claim: str, at_least: float | None, at_most: float | None) -> Bar | None:
    """Return the bar of a measurement; None without one.

    Raises:
        InvalidInputError: Both bars.
    """
    if at_least is not None and at_most is not None:
        raise InvalidInputError(f"claim {claim!r} was given two bars; give at_least or at_most, not both.")
    if at_least is not None:
        return Bar("at_least", float(at_least))
    return None if at_most is None else Bar("at_most", float(at_most))


def not_tested(claim: str, reason: str, *, what: str = "", bar: Bar | None = None) -> Evidence:
    """Say that a claim was not tested at this scale, and why.

    Args:
        claim: The claim's identifier.
        reason: One sentence.
        what: What would have been measured.
        bar: What it would have had to clear; without a bar the claim's other evidence decides alone.

    Returns:
        Evidence without values.

    Raises:
        InvalidInputError: No reason.
    """
    if not reason.strip():
        raise InvalidInputError(f"claim {claim!r} is not tested: say in one sentence why.")
    return Evidence(claim, what, (), bar, reason=reason)


def judge(evidence: Iterable[Evidence]) -> Verdict:
    """Return the verdict on a claim: the worst of its evidence that has a bar.

    Evidence without a bar never decides. Where none has one, the claim is not tested, if some evidence says so, or
    its numbers are reported.

    Args:
        evidence: All evidence of one claim, one piece at least.

    Returns:
        The first of `SEVERITY` that decides.
    """
    evidence = list(evidence)
    deciding = [entry for entry in evidence if entry.bar is not None]
    verdicts: list[Verdict] = [entry.verdict for entry in deciding or evidence]
    return min(verdicts, key=SEVERITY.index)


def evidence_to_json(evidence: Evidence) -> dict[str, Any]:
    """Return the evidence as JSON values; `evidence_from_json` is the inverse."""
    interval, bar = evidence.interval, evidence.bar
    plain: dict[str, Any] = {
        "claim": evidence.claim,
        "what": evidence.what,
        "values": list(evidence.values),
        "interval": interval and {"mean": interval.mean, "low": interval.low, "high": interval.high},
        "bar": bar and {"side": bar.side, "value": bar.value},
        "verdict": evidence.verdict,
        "reason": evidence.reason,
    }
    if evidence.test != "student":
        plain["test"] = evidence.test
    if evidence.trials:
        plain |= {"trials": list(evidence.trials), "design_effect": design_effect(evidence.values, evidence.trials)}
    if evidence.looks:
        plain["looks"] = list(evidence.looks)
    return plain


def evidence_from_json(stored: Mapping[str, Any]) -> Evidence:
    """Return the evidence that `evidence_to_json` wrote; its interval and verdict are of today's rule."""
    return Evidence(
        claim=stored["claim"],
        what=stored["what"],
        values=tuple(stored["values"]),
        bar=Bar(**stored["bar"]) if stored["bar"] else None,
        test=stored.get("test", "student"),
        trials=tuple(stored.get("trials", ())),
        looks=tuple(stored.get("looks", ())),
        reason=stored["reason"],
    )


def _shares(
    claim: str, counts: tuple[float, ...], of: tuple[float, ...], test: Test
) -> tuple[tuple[float, ...], tuple[int, ...]]:
    """Return the shares, and the trials that they are of."""
    if test != "student":
        raise InvalidInputError(f"claim {claim!r} has counts and test={test!r}; give of= or test=, not both.")
    trials = of * len(counts) if len(of) == 1 else of
    pairs = list(zip(counts, trials, strict=False))
    whole = all(float(k).is_integer() and float(n).is_integer() and 0 <= k <= n and n >= 1 for k, n in pairs)
    if len(counts) != len(trials) or not whole:
        raise InvalidInputError(
            f"claim {claim!r} counts {counts} of {of}; give whole numbers of successes and, for each, of trials."
        )
    return tuple(k / n for k, n in pairs), tuple(int(n) for n in trials)


def _place(low: float, high: float, bar: Bar) -> Verdict:
    if bar.side == "at_most":  # mirror, so that one rule is written once
        low, high, value = -high, -low, -bar.value
    else:
        value = bar.value
    if low >= value:
        return "holds"
    return "fails" if high < value else "undecided"
