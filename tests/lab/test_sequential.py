"""Runs that take more seeds until their claims are decided."""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from assay.core import InvalidInputError
from assay.lab import Lab, Looks, Run, Study, record, run_study, write_study_page
from assay.lab.sequential import find_looks
from helpers.lab_demo import log_call, make_study

NOISE = (1.0, -1.0, 2.0, -2.0, 0.5, 0.0, 1.5, -1.5, 0.2, -0.2, 0.1, -0.1)


LOOKS = Looks((4, 8, 12))


@dataclasses.dataclass(frozen=True)
class Planned:
    """A study of four seeds, up to twelve; values are the mean plus some noise by the seed's place."""

    means: tuple[float, ...] = (0.0,)
    seeds: Looks = LOOKS
    log: str = ""


def value(settings: Planned, kind: float, seed: int) -> dict[str, float]:
    log_call(Path(settings.log), f"{kind} {seed}")
    place = Path(settings.log).read_text().split().index(str(seed)) // 2
    return {"value": kind + NOISE[place % 12]}


def compute(settings: Planned, lab: Lab) -> None:
    """Bring one claim for each kind."""
    found = lab.grid(value, settings, kind=settings.means, seed=settings.seeds)
    for number, values in enumerate(found["value"], 1):
        lab.measure(f"C{number}", values, at_least=0.0, what="value")
    lab.table("values", found)


def study(tmp_path: Path, means: Sequence[float]) -> Study:
    planned = make_study(compute, claims={f"C{number}": "It is positive" for number in range(1, len(means) + 1)})
    settings = Planned(tuple(means), log=str(tmp_path / "log"))
    return dataclasses.replace(planned, scales={"small": settings})


def run(tmp_path: Path, means: Sequence[float]) -> Run:
    planned = study(tmp_path, means)
    planned.experiment(compute)
    return run_study(planned, out=tmp_path / "runs")


def calls(tmp_path: Path) -> list[str]:
    return (tmp_path / "log").read_text().splitlines()


def test_a_clear_claim_is_decided_at_the_first_look(tmp_path: Path) -> None:
    finished = run(tmp_path, [50.0])
    assert (finished.verdicts, finished.looks) == ({"C1": "holds"}, (4,))
    assert len(calls(tmp_path)) == 4


def test_an_undecided_claim_asks_for_more_seeds_up_to_the_maximum(tmp_path: Path) -> None:
    finished = run(tmp_path, [0.0])
    assert (finished.verdicts, finished.looks) == ({"C1": "undecided"}, (4, 8, 12))
    assert len(finished.evidence[0].values) == 12
    assert len(set(calls(tmp_path))) == len(calls(tmp_path)) == 12  # a further look only adds seeds


def test_what_was_decided_stays_as_it_was_while_others_ask_for_more(tmp_path: Path) -> None:
    finished = run(tmp_path, [50.0, 0.0])
    assert finished.verdicts == {"C1": "holds", "C2": "undecided"}
    assert [len(entry.values) for entry in finished.evidence] == [4, 12]
    assert len(set(calls(tmp_path))) == len(calls(tmp_path)) == 24


def test_a_broken_off_run_keeps_its_seeds(tmp_path: Path) -> None:
    whole = run(tmp_path, [0.0])
    path = whole.folder / "run.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "status": "running"}))
    again = run(tmp_path, [0.0])
    assert not again.resumed
    assert (again.evidence, again.looks) == (whole.evidence, whole.looks)
    assert len(calls(tmp_path)) == 12
    assert run(tmp_path, [0.0]).looks == whole.looks  # read back


def test_the_record_and_the_page_tell_the_looks(tmp_path: Path) -> None:
    finished = run(tmp_path, [50.0, 0.0])
    stored = json.loads(record(finished, tmp_path / "records").read_text())
    assert stored["looks"] == {"taken": [4, 8, 12], "planned": [4, 8, 12]}
    assert [entry["looks"] for entry in stored["evidence"]] == [[4, 8, 12]] * 2
    assert stored["settings"]["seeds"] == {"seeds": [4, 8, 12]}
    page = write_study_page(finished).read_text()
    assert "over 4 seeds, at look 1 of 3" in page
    assert "over 12 seeds, at look 3 of 3" in page


def test_evidence_of_a_fixed_number_of_seeds_asks_for_none(tmp_path: Path) -> None:
    def body(settings: Planned, lab: Lab) -> None:
        assert len(lab.seeds(settings.seeds)) == 4
        assert lab.seeds(12)[:4] == lab.seeds(settings.seeds)
        lab.measure("C1", [1.0, -1.0], at_least=0.0, what="two seeds")

    planned = study(tmp_path, [0.0])
    planned.experiment(body)
    finished = run_study(planned, out=tmp_path)
    assert (finished.verdicts, finished.looks) == ({"C1": "undecided"}, (4,))


def test_values_that_grow_with_the_seeds_without_being_one_a_seed_are_refused(tmp_path: Path) -> None:
    def body(settings: Planned, lab: Lab) -> None:
        n = len(lab.seeds(settings.seeds))
        lab.measure("C1", NOISE[:n], at_least=0.0, what="one a seed")
        lab.measure("C1", NOISE[:n] * 2, at_least=0.0, what="two a seed")

    planned = study(tmp_path, [0.0])
    planned.experiment(body)
    with pytest.raises(InvalidInputError, match="'two a seed': 16 values grew with the seeds"):
        run_study(planned, out=tmp_path)


@pytest.mark.parametrize("seeds", [(), (5,), (5, 5), (8, 5), (1, 5)])
def test_looks_that_are_no_plan_are_refused(seeds: tuple[int, ...]) -> None:
    with pytest.raises(InvalidInputError, match=r"two or more growing numbers.*Looks\(\(5, 8, 12, 20\)\)"):
        Looks(seeds)


def test_settings_plan_looks_once() -> None:
    nested = dataclasses.make_dataclass("Nested", ["a", "b"], frozen=True)
    one, other = Looks((4, 8)), Looks((4, 12))
    assert find_looks(nested(3, "x")) is None
    assert find_looks(nested((nested(one, 1),), one)) == one
    with pytest.raises(InvalidInputError, match="one plan"):
        find_looks(nested(one, [other]))
