import dataclasses
import functools
import math
import os
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from assay.core import InvalidInputError
from assay.lab.sources import code_digest
from helpers.lab_demo import draw, make_study, measure_draws


@dataclasses.dataclass(frozen=True)
class Rate:
    rate: float = 0.1


@dataclasses.dataclass(frozen=True)
class Scale:
    factor: float = 2.0

    def __call__(self, x: float) -> float:
        return self.factor * x


def closing_over(value: Any) -> Callable[[], Any]:
    return lambda: value


def with_default(value: Any) -> Callable[[], Any]:
    def inner(value: Any = value) -> Any:
        return value

    return inner


def scaled(factor: float) -> Callable[[Callable[[float], float]], Callable[[float], float]]:
    def decorate(function: Callable[[float], float]) -> Callable[[float], float]:
        @functools.wraps(function)
        def inner(x: float) -> float:
            return factor * function(x)

        return inner

    return decorate


def doubled(x: float) -> float:
    return 2 * x


@scaled(2.0)
def decorated(x: float) -> float:
    return x


def by_kind(kind: str) -> Callable[[float], float]:
    if kind == "once":

        def inner(x: float) -> float:
            """Return the number."""
            return x
    elif kind == "again":

        def inner(x: float) -> float:
            """Return the very number."""
            return x
    else:

        def inner(x: float) -> float:
            return 2 * x

    return inner


def test_what_a_function_carries_counts() -> None:
    values = [
        0, 1.0, "a", (1, 2), (1, 3), None, {"a": 1}, Path("a"), Rate(), Rate(0.2), Scale(), Scale(3.0), draw, Rate,
        math.sqrt, math.exp, torch.relu, torch.optim.SGD, torch.optim.Adam, torch.arange(3), torch.arange(4),
        partial(draw, 1), partial(draw, 2), [draw], [measure_draws], functools.lru_cache(draw),
    ]  # fmt: skip
    for carry in (closing_over, with_default, partial(partial, draw), lambda value: partial(draw, seed=value)):
        digests = [code_digest(carry(value)) for value in values]
        assert digests == [code_digest(carry(value)) for value in values]
        assert len(set(digests)) == len(values) - 1  # a wrapped function is the function
    assert code_digest(Scale()) != code_digest(Scale(3.0))


def test_the_function_itself_counts() -> None:
    assert len({code_digest(f) for f in (draw, make_study, measure_draws, partial(draw), math.sqrt)}) == 5


def test_a_wrapper_counts_with_what_it_carries() -> None:
    wrapped = [scaled(2.0)(doubled), scaled(3.0)(doubled), scaled(3.0)(scaled(2.0)(doubled)), doubled]
    assert len({code_digest(function) for function in wrapped}) == 4
    assert code_digest(scaled(2.0)(doubled)) == code_digest(scaled(2.0)(doubled))
    assert code_digest(decorated) == code_digest(decorated)
    assert code_digest(torch.no_grad()(doubled)) == code_digest(torch.no_grad()(doubled))


@pytest.mark.parametrize("value", [object(), torch.nn.Linear(1, 1), [object()], {"a": object()}])
def test_a_carried_value_without_a_stable_digest_is_refused(value: object) -> None:
    for carry in (closing_over, partial(partial, draw)):
        with pytest.raises(InvalidInputError, match=r"carries a value of its surroundings.*no stable digest.*inside"):
            code_digest(carry(value))


def test_a_function_that_closes_over_itself_has_a_digest() -> None:
    def inner(n: int) -> int:
        return n and inner(n - 1)

    assert code_digest(inner) == code_digest(inner)


def test_functions_of_one_name_are_told_apart() -> None:
    once, again, twice = (code_digest(by_kind(kind)) for kind in ("once", "again", "twice"))
    assert once == again != twice
    first, second = (lambda x: x), (lambda x: 2 * x)
    assert code_digest(first) != code_digest(second)


def test_a_set_in_a_functions_code_has_one_digest_in_every_process() -> None:
    program = 'from assay.lab.sources import code_digest; print(code_digest(eval(\'lambda x: x in {"a", "b", "c"}\')))'
    digests = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": seed},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(digests) == 1


def test_a_function_of_a_console_counts_by_its_instructions() -> None:
    digests = []
    for text in ("lambda x: x + 1", "lambda x: x + 1", "lambda x: x + 2", "lambda x: abs(x)", "lambda x: min(x)"):
        digests.append(code_digest(eval(text)))  # noqa: S307
    assert len(set(digests)) == 4
    assert digests[0] == digests[1]


CONSOLE = """
class Rate:
    start = 1.0
    @property
    def now(self): return self.start / 2
def helper(x): return STEP * x
STEP = 4.0
def make(offset): return lambda x, rate=Rate.start: [helper(x), Rate().now, rate, offset]
cell = make(9.0)
"""


@pytest.mark.parametrize(
    ("old", "new"), [("", ""), ("1.0", "1.5"), ("/ 2", "/ 3"), ("* x", "+ x"), ("4.0", "5.0"), ("9.0", "8.0")]
)
def test_what_a_console_function_calls_counts(old: str, new: str) -> None:
    digests = []
    for text in (CONSOLE, CONSOLE.replace(old, new) if old else CONSOLE):
        scope: dict[str, Any] = {"__name__": "console", "x": object()}
        exec(compile(text, "<console>", "exec"), scope)  # noqa: S102
        digests.append(code_digest(scope["cell"]))
    assert (digests[0] == digests[1]) == (old == new)
