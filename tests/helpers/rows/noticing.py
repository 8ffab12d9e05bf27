"""Proof that checks can fail: stand-ins that misbehave in one way each, and the checks that notice."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from types import FunctionType
from typing import Any

import pytest

# RuntimeError is how torch and safetensors refuse what they are given.
NOTICED = (AssertionError, pytest.fail.Exception, RuntimeError)


@dataclass(frozen=True, eq=False)
class Misbehaviour:
    """A stand-in that does one thing wrong, the check that notices it, and a part of what the check says."""

    row: Any
    check: Callable[[Any], None]
    says: str | None = None

    def must_be_noticed(self) -> None:
        """Fail unless the check does."""
        with pytest.raises(NOTICED, match=self.says):
            self.check(self.row)


def checks_of(module: dict[str, Any]) -> list[FunctionType]:
    """Return the checks in a module's globals: the tests of one row; those for a GPU are not tried on stand-ins."""
    tests = [value for name, value in module.items() if name.startswith("test_") and isinstance(value, FunctionType)]
    rowwise = [test for test in tests if test.__code__.co_varnames[: test.__code__.co_argcount] == ("row",)]
    return [test for test in rowwise if not any(mark.name == "gpu" for mark in getattr(test, "pytestmark", []))]


def unnoticed(module: dict[str, Any], stand_ins: Iterable[Misbehaviour]) -> list[str]:
    """Return the names of the checks that no stand-in fails."""
    noticing = {stand_in.check.__name__ for stand_in in stand_ins}
    return [check.__name__ for check in checks_of(module) if check.__name__ not in noticing]
