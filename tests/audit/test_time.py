"""The time of an audit: what a probe leaves goes to those after it."""

import time

import pytest

from assay.audit import SkipProbe, restarts, run_audit
from assay.audit.restarts import restarts_in_time
from helpers.stand_ins import a_finding, a_probe, small_subject


def shares(with_probes, tmp_path, takes, *, minutes=1.0):
    """Return the time that each probe is given, where each takes a time of its own."""
    given = []

    def probe(number, seconds):
        def run(subject, context):
            given.append(context.seconds)
            clock[0] += seconds
            if number == 0:
                raise SkipProbe("it is not for this network")
            return a_finding()

        return a_probe(f"p{number}", run)

    clock = [0.0]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time, "perf_counter", lambda: clock[0])
        with_probes(*[probe(number, seconds) for number, seconds in enumerate(takes)])
        run_audit(small_subject(), out=tmp_path / "audit", minutes=minutes)
    return given


def test_what_a_probe_leaves_goes_to_those_after_it(with_probes, tmp_path):
    assert shares(with_probes, tmp_path, [0, 5, 40, 15]) == [15, 20, 27.5, 15]


def test_a_probe_that_overruns_is_paid_for_by_those_after_it(with_probes, tmp_path):
    assert shares(with_probes, tmp_path, [90, 0, 0]) == [20, 0, 0]


@pytest.mark.parametrize(("again", "n_restarts"), [(0.01, 10), (9.0, None)])
def test_a_search_that_is_slow_at_its_first_use_only_is_not_skipped(monkeypatch, again, n_restarts):
    seconds = iter([9.0, again, 0.06])
    monkeypatch.setattr(restarts, "measure_seconds", lambda work: next(seconds))
    wanted = {"wanted": 10, "fewest": 3, "n_iter": 1500, "seconds": 40.0}
    if n_restarts is None:
        with pytest.raises(SkipProbe, match="its search would take about 15 minutes"):
            restarts_in_time(lambda *given: None, "reconstruction", **wanted)
    else:
        assert restarts_in_time(lambda *given: None, "reconstruction", **wanted)[0] == n_restarts
