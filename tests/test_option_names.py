"""One spelling an idea: the options of public functions and classes are those of the table in CONTRIBUTING."""

import importlib
import inspect
import re

import pytest

import assay
from assay.rooms import ALL_ROOMS
from helpers.source_code import PROJECT

PACKAGES = [
    *(f"assay.{name}" for name in (*assay.ROOMS, "core", "nets", "nets.diffusion")),
    *(f"assay.{room.name}.{topic}" for room in ALL_ROOMS for topic in room.topics),
]

# Where a number is turned into what everything else takes, and where it is the answer.
EXEMPT = {("seeded", "seed"), ("spawn_seeds", "seed"), ("isolated_rng", "seed"), ("InitialState", "seed")}


def table():
    """Return what CONTRIBUTING says: each idea's spelling, and the spellings that it replaces."""
    text = (PROJECT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    (rows,) = re.findall(r"^\| an option for \| is \| and never \|\n\| --- .*\n((?:\|.*\n)+)", text, re.MULTILINE)
    for row in rows.splitlines():
        _, spelling, others = (re.findall(r"`(\w+)`", cell) for cell in row.strip("|").split("|"))
        yield spelling, others


def parameters(value):
    """Return the parameters of a function, or of a class and its public methods."""
    if inspect.isfunction(value):
        return set(inspect.signature(value).parameters)
    if not inspect.isclass(value) or issubclass(value, BaseException):
        return set()
    own = [member for name, member in inspect.getmembers(value) if name == "__call__" or not name.startswith("_")]
    found = set().union(*(parameters(member) for member in own if inspect.isfunction(member)))
    return found | set(inspect.signature(value).parameters)


FORBIDDEN = {other for _, others in table() for other in others}


@pytest.mark.parametrize("package", PACKAGES)
def test_options_have_one_spelling(package):
    module = importlib.import_module(package)
    used = {(name, option) for name in module.__all__ for option in parameters(getattr(module, name))}
    assert {entry for entry in used - EXEMPT if entry[1] in FORBIDDEN or entry[1].startswith("num_")} == set()


def test_the_table_is_read_whole_and_contradicts_itself_nowhere():
    spellings = {spelling for spelt, _ in table() for spelling in spelt}
    assert spellings >= {"n_iter", "lr", "batch_size", "generator", "random_state", "progress"}
    assert {"seed", "steps", "n_steps", "max_iter", "learning_rate", "rng", "verbose"} <= FORBIDDEN
    assert not spellings & FORBIDDEN


def test_the_rule_sees_functions_classes_and_methods():
    class Estimator:
        def __init__(self, *, max_iter=1):
            pass

        def fit(self, x, *, verbose=False):
            pass

        def _inner(self, seed):
            pass

    assert parameters(Estimator) >= {"max_iter", "verbose"}
    assert "seed" not in parameters(Estimator)
    assert parameters(lambda steps: steps) == {"steps"}
