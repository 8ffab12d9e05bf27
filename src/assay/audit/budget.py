"""Time of a probe: the cost of its work, measured on the subject's own network before it begins."""

import math
import time
from collections.abc import Callable

import torch

PROBE_SECONDS = 35.0  # of a probe that is called by itself; an audit shares its minutes out
_SHORT, _LONG = 0.2, 2.0  # seconds: a shorter run is repeated twice, a longer one never, others once
_MARGIN = 1.25  # of the time that is asked for over the estimate


def measure_seconds(work: Callable[[], object]) -> float:
    """Return the wall-clock time of a piece of work: the shortest of up to three runs.

    >>> measure_seconds(lambda: time.sleep(0.01)) >= 0.01
    True
    """
    shortest = _seconds_of(work)  # what is slow only once, as the first use of a kernel, would count without a second
    for _ in range(2 if shortest < _SHORT else 1 if shortest < _LONG else 0):
        shortest = min(shortest, _seconds_of(work))
    return shortest


def _seconds_of(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    if torch.cuda.is_available():  # kernels run on after the call
        torch.cuda.synchronize()
    return time.perf_counter() - start


def affordable(wanted: int, *, each: float, seconds: float) -> int:
    """Return how many of the wanted pieces of work fit into the time.

    >>> affordable(48, each=2.0, seconds=30.0), affordable(4, each=2.0, seconds=30.0)
    (15, 4)
    """
    return min(wanted, int(seconds / max(each, 1e-9)))


def say_seconds(seconds: float) -> str:
    """Return a duration in words, with two digits.

    >>> say_seconds(39.6), say_seconds(341.0)
    ('40 seconds', '5.7 minutes')
    """
    return f"{seconds:.2g} seconds" if seconds < 100 else f"{float(f'{seconds / 60:.2g}'):g} minutes"


def command_for(probe: str, seconds: float) -> str:
    """Return the command that runs one probe with enough time.

    >>> command_for("curvature", 341.0)
    'assay audit SUBJECT --probe curvature --minutes 8'
    """
    return f"assay audit SUBJECT --probe {probe} --minutes {math.ceil(_MARGIN * seconds / 60)}"


def too_slow(probe: str, what: str, seconds: float, budget: float) -> str:
    """Return why a probe is skipped whose least effort takes longer than it may, and the command that runs it."""
    return (
        f"{what} would take about {say_seconds(seconds)} on this network, and one probe may take "
        f"{say_seconds(budget)} here; run it alone with more time: {command_for(probe, seconds)}"
    )


def cut_short(probe: str, done: int, wanted: int, what: str, seconds: float) -> str:
    """Return a sentence on what was left out for time, and the command that does all of it; nothing where all is done.

    Args:
        probe: The probe.
        done: How many were done.
        wanted: How many there would be with more time.
        what: Their name, such as "training samples".
        seconds: Estimate of the time for all of them.
    """
    if done >= wanted:
        return ""
    return f"To keep its time, it used {done} of {wanted} {what}; all of them: {command_for(probe, seconds)}."
