"""Number of restarts of a search that the time of a probe allows."""

from collections.abc import Callable
from functools import partial

from assay.audit.budget import measure_seconds, too_slow
from assay.audit.probe import SkipProbe

_TRIAL_STEPS = (10, 100)
_CLEAR_OF_SETTING_UP = 4  # times the time of a single step, with all that goes before it


def restarts_in_time(
    attack: Callable[[int, int], object], probe: str, *, wanted: int, fewest: int, n_iter: int, seconds: float
) -> tuple[int, float]:
    """Return how many restarts the time allows, and an estimate of the time for all, from a few steps of the search.

    Args:
        attack: Searches with a number of restarts and of steps.
        probe: The probe.
        wanted: Restarts with time enough.
        fewest: Restarts below which the search tells nothing.
        n_iter: Steps of the search.
        seconds: The time.

    Raises:
        SkipProbe: The fewest take longer.
    """
    alone = measure_seconds(lambda: attack(1, 1))
    if seconds / wanted < alone < seconds / 2:  # the first use of its kernels may be all of that
        alone = min(alone, measure_seconds(lambda: attack(1, 1)))
    if alone > seconds / wanted:
        raise SkipProbe(too_slow(probe, "its search", alone * wanted**2, seconds))
    n_steps, steps = 1, alone
    for n_steps in _TRIAL_STEPS:
        steps = measure_seconds(partial(attack, wanted, n_steps)) - alone
        if steps > _CLEAR_OF_SETTING_UP * alone:
            break
    timed = alone + n_iter / n_steps * max(steps, 0.0)
    n = min(wanted, int(wanted * seconds / timed))
    if n < fewest:
        work = f"a search with {fewest} restarts"
        raise SkipProbe(too_slow(probe, work, timed * fewest / wanted, seconds))
    return n, timed
