"""How one cell of the networks' battery is judged: answered, refused in a sentence, or failed."""

import re
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache, reduce
from typing import Any, Literal

import torch
from jaxtyping import config
from torch import Tensor, nn

from assay.core import InvalidInputError
from helpers.entries import Entry, Given, SkippedProbe, given_by
from helpers.expectations import PARTS, THEORY, must_answer, must_refuse
from helpers.networks import Network
from helpers.oracles import ORACLES
from helpers.rows.answers import Answer, assert_near, assert_same, state
from helpers.user_networks import Build

LONGEST = 600
"""Characters of a sentence at most."""

NOISE = 1e-8
"""Size of a figure, beside the largest, below which it is rounding: the root of float64's resolution."""


@dataclass(frozen=True)
class Verdict:
    """What became of one cell.

    Attributes:
        status: Answered as the twin does, refused in a sentence, or failed.
        reason: The sentence, or what went wrong.
        where: The last place in the package that an error came through, or the module of the entry.
    """

    status: Literal["answered", "refused", "failed"]
    reason: str = ""
    where: str = ""


def attempt(entry: Entry, given: Given) -> Answer:
    """Call an entry; the global random state starts from a seed, for training that draws from it."""
    torch.manual_seed(0)
    with warnings.catch_warnings(), unchecked():
        warnings.simplefilter("ignore")
        return entry.call(given)


@contextmanager
def unchecked() -> Iterator[None]:
    """Take the test run's type checks off: users have none, and read our sentences instead."""
    before = config.jaxtyping_disable
    config.update("jaxtyping_disable", True)
    try:
        yield
    finally:
        config.update("jaxtyping_disable", before)


def judge(entry: Entry, network: Network) -> Verdict:
    """Try one entry on one network."""
    found = judged(entry, given_by(network, entry.n), lambda answer: compare(entry, network, answer))
    if found.status == "answered" and must_refuse(entry, network):
        return Verdict("failed", "answers, where it must refuse", entry.room.replace(".", "/"))
    if found.status == "refused" and must_answer(entry, network):
        return Verdict("failed", f"refuses, where it can answer: {found.reason}", found.where)
    return found


def judged(entry: Entry, given: Given, check: Callable[[Answer], None]) -> Verdict:
    """Call an entry; tell an answer that passes a check from a refusal in a sentence and from anything else."""
    before = kept(given)
    try:
        answer = attempt(entry, given)
        well_formed(answer)
        check(answer)
        found = Verdict("answered")
    except InvalidInputError as error:
        found = refusal(error, entry)
    except Exception as error:
        found = Verdict("failed", f"{type(error).__name__}: {_first_line(error)}", _where(error, entry))
    try:
        if not entry.changes or found.status == "refused":
            assert_same(before, kept(given))
    except AssertionError as error:
        return Verdict("failed", f"changed: {_first_line(error)}", entry.room.replace(".", "/"))
    return found


def kept(given: Given) -> dict[str, Any]:
    """Copy what must be left alone: weights, modes, inputs, hooks and the settings of torch."""
    if any(value.is_meta or isinstance(value, nn.UninitializedParameter) for value in given.model.parameters()):
        return {}
    found = state(given.model, given.x, given.y)
    del found["random"]  # seeded before each call
    hooks = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    found["hooks"] = [len(getattr(module, name)) for module in given.model.modules() for name in hooks]
    return found


def well_formed(answer: Answer) -> None:
    """Require figures that are not NaN, carry no graph, and are of inference mode only where the caller is in it."""
    assert answer, "no figure in the answer"
    for name, value in answer.items():
        assert not value.requires_grad, f"{name} carries a graph"
        assert torch.is_inference_mode_enabled() or not value.is_inference(), f"{name} is an inference tensor"
        assert not value.isnan().any(), f"{name} is NaN"


def compare(entry: Entry, network: Network, answer: Answer) -> None:
    """Require the answers of the twins, by hand and by the package, or where weights are frozen of one of both.

    What rounds much is compared by hand only; what trains a network that changes with its mode has no twin, nor has
    what leaves frozen layers out and reads the others off the network's modules, which a formula does not have.
    """
    as_it_is = entry.name in PARTS and (network.fatal or network.refused)
    if entry.structural or as_it_is or (entry.trains and (network.modes_differ or network.whole)):
        return
    twins = [twin for twin in (network.twin or network.build, network.whole) if twin is not None]
    if entry.name in ORACLES:
        by_hand = [_by_hand(entry, network, twin) for twin in twins[:1]]
        assert_near({name: answer[name] for name in by_hand[0]}, by_hand[0], network.tolerance, noise=NOISE)
    if not network.rough and network.twin is not None:
        expected = [answer_of(entry, network, twin) for twin in twins]
        if not (network.whole and entry.name in THEORY and expected[0] is None):
            _compare_with_any(answer, expected, network.tolerance)


def _compare_with_any(answer: Answer, expected: list[Answer | None], tolerance: float) -> None:
    found = [each for each in expected if each is not None]
    for place, each in enumerate(found, 1):
        try:
            assert_alike(answer, each, tolerance)
        except AssertionError:
            if place == len(found):
                raise
        else:
            return


def _by_hand(entry: Entry, network: Network, twin: Build) -> Answer:
    model, (x, y) = twin(), network.samples(entry.n)
    return ORACLES[entry.name](model, _of_type(model, x), y)


def _of_type(model: nn.Module, x: Tensor) -> Tensor:
    """Return inputs in the widest type of a network's weights."""
    kinds = {value.dtype for value in model.parameters() if value.is_floating_point()}
    return x.to(reduce(torch.promote_types, kinds)) if x.is_floating_point() else x


def assert_alike(answer: Answer, expected: Answer, tolerance: float) -> None:
    """Compare figures in their order, since a wrapper changes names; those of a type's rounding differ by type."""
    kept = [[value for name, value in each.items() if not name.endswith(".floor")] for each in (answer, expected)]
    numbered = [{str(place): value for place, value in enumerate(each)} for each in kept]
    assert_near(*numbered, tolerance, noise=NOISE)


@cache
def answer_of(entry: Entry, network: Network, twin: Build) -> Answer | None:
    """Return what a plain network answers; None where it has no answer, which is not the fault of this cell."""
    given = given_by(network, entry.n)
    model = twin()
    try:
        return attempt(entry, replace(given, model=model, x=_of_type(model, given.x), build=twin))
    except Exception:
        return None


def refusal(error: InvalidInputError, entry: Entry) -> Verdict:
    """Require one sentence that says what was given and the mend."""
    text, place = str(error), _where(error, entry)
    if "\n" in text or len(text) > LONGEST:
        return Verdict("failed", f"not one sentence: {text[:200]!r}", place)
    if not isinstance(error, SkippedProbe) and not re.search(r"[;:,]", text):
        return Verdict("failed", f"without a mend: {text!r}", place)
    return Verdict("refused", text, place)


def _first_line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), "")[:300]


def _where(error: Exception, entry: Entry) -> str:
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "/src/assay/" in frame.filename]
    return f"{frames[-1].filename.split('/src/')[1]}:{frames[-1].lineno}" if frames else entry.room.replace(".", "/")
