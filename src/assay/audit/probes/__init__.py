"""Probes of the audit, one file each.

A file's name is its probe's name and the first line of its docstring the probe's question, so that listing them
imports none of them. To add a probe, add a file that exports ``PROBE``. One that is opt-in runs only where it is named.
"""

import ast
import difflib
import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from assay.audit.probe import Probe

# In the order of the report, most important first; probes not named here follow by name.
_FIRST = ("reconstruction", "initial_weights", "membership")


def names() -> list[str]:
    """Return the probes' names in the order in which an audit runs them."""
    found = sorted(path.stem for path in Path(__file__).parent.glob("*.py") if path.stem != "__init__")
    return sorted(found, key=lambda name: (_FIRST.index(name) if name in _FIRST else len(_FIRST), name))


def questions() -> dict[str, str]:
    """Return each probe's question by its name, without importing the probe."""
    docstrings = {name: ast.get_docstring(_parse(name)) for name in names()}
    return {name: (text or "").split("\n")[0] for name, text in docstrings.items()}


def opt_in_names() -> list[str]:
    """Return the probes that run only where they are named, without importing one."""
    return [name for name in names() if any(map(_says_opt_in, ast.walk(_parse(name))))]


def _parse(name: str) -> ast.Module:
    return ast.parse((Path(__file__).parent / f"{name}.py").read_text())


def _says_opt_in(node: ast.AST) -> bool:
    if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Probe"):
        return False
    return any(word.arg == "opt_in" and ast.unparse(word.value) == "True" for word in node.keywords)


def choose(wanted: Sequence[str] = ()) -> "list[Probe]":
    """Return the probes with the given names, each once, or all that are not opt-in where none is given.

    Raises:
        InvalidInputError: There is no probe of some name.
    """
    if wanted:
        return [load(name) for name in dict.fromkeys(wanted)]
    return [probe for probe in map(load, names()) if not probe.opt_in]


def name_problem(name: str) -> str | None:
    """Return why there is no probe called ``name``, with the nearest one; None where there is. Imports no probe."""
    if name in names():
        return None
    close = difflib.get_close_matches(name, names(), n=1)
    hint = f"did you mean {close[0]!r}?" if close else f"choose from {', '.join(names())}"
    return f"there is no probe {name!r}; {hint}"


def load(name: str) -> "Probe":
    """Import and return the probe called ``name``.

    Raises:
        InvalidInputError: There is no such probe; the message names the nearest ones.
    """
    from assay.core import InvalidInputError

    if (problem := name_problem(name)) is not None:
        raise InvalidInputError(problem)
    return importlib.import_module(f"assay.audit.probes.{name}").PROBE
