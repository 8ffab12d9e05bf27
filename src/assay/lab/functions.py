"""Functions as code: file, text, instructions, and the values that they take from around them."""

import dis
import inspect
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

from assay.lab.modules import plain_text


def wrappers(function: Any) -> list[Any]:
    """Return the functions that were put around a function by a call, as `functools.wraps` does.

    Args:
        function: A function.

    Returns:
        The wrappers that Python code defines, the outermost first; none for a function as its module defines it, whose
        decorations are in the module's text.
    """
    place = sys.modules.get(getattr(function, "__module__", None) or "")
    for part in getattr(function, "__qualname__", "").split("."):
        place = getattr(place, part, None)
    found = []
    while place is not function and hasattr(function, "__wrapped__"):
        found.append(function)
        function = function.__wrapped__
    return [wrapper for wrapper in found if hasattr(wrapper, "__code__")]


def captured(function: Any) -> dict[str, Any]:
    """Return the values that a nested function took from where it was made, and its instructions.

    Args:
        function: A function.

    Returns:
        Values by name; nothing for a function that is not nested.
    """
    code = getattr(function, "__code__", None)
    if code is None or "<l" not in code.co_qualname:  # neither <locals> nor <lambda>
        return {}
    cells = dict(zip(code.co_freevars, function.__closure__ or (), strict=True))
    values = {name: cell.cell_contents for name, cell in cells.items() if not _is_empty(cell)}
    defaults = {"defaults": function.__defaults__, "keyword defaults": function.__kwdefaults__}
    return {**values, **defaults, "instructions": _instructions(code)}  # several may have one name


def taken_globals(function: Any) -> dict[str, Any]:
    """Return what a function or class without a file, such as a console's, takes from around it.

    Args:
        function: A function or class.

    Returns:
        Values by name, modules left out.
    """
    return {
        name: member.__globals__[name]
        for member in _members(function).values()
        if isinstance(member, FunctionType)
        for name in _global_names(member.__code__)
        if not isinstance(member.__globals__.get(name, sys), ModuleType)
    }


def _members(function: Any) -> dict[str, Any]:
    """Return what a class defines, properties and static methods as functions; of a function, itself."""
    members = vars(function) if isinstance(function, type) else {"": function}
    return {name: inspect.unwrap(getattr(member, "fget", None) or member) for name, member in members.items()}


def _global_names(code: CodeType) -> Iterator[str]:
    yield from (step.argval for step in dis.get_instructions(code) if step.opname == "LOAD_GLOBAL")
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            yield from _global_names(inner)


def _is_empty(cell: Any) -> bool:
    try:
        return cell.cell_contents is cell
    except ValueError:  # a name that is bound later
        return True


def source_file(function: Any) -> Path | None:
    """Return the file that defines a function or class.

    Args:
        function: A function or class.

    Returns:
        The file; None for builtins and for what a console defines.
    """
    if isinstance(function, type):
        place = getattr(sys.modules.get(function.__module__), "__file__", None)
    else:
        place = function.__code__.co_filename if hasattr(function, "__code__") else None
    return Path(place).resolve() if place and Path(place).is_file() else None


def source(function: Any) -> Any:
    """Return what a function or class does, without its file.

    Args:
        function: A function or class.

    Returns:
        Its text without docstrings and comments, else its instructions; nothing for a builtin.
    """
    try:
        text = textwrap.dedent(inspect.getsource(function))
    except (OSError, TypeError):
        return [[name, _member(value)] for name, value in sorted(_members(function).items())]
    try:
        return plain_text(text)
    except SyntaxError:  # a lambda amid its line
        return text


def _instructions(code: CodeType) -> list[Any]:
    constants = code.co_consts[1:] if _has_docstring(code) else code.co_consts
    return [code.co_code.hex(), list(code.co_names), [_constant(value) for value in constants]]


def _has_docstring(code: CodeType) -> bool:
    if sys.version_info >= (3, 13):
        return bool(code.co_flags & inspect.CO_HAS_DOCSTRING)
    return not code.co_name.startswith("<") and isinstance(code.co_consts[0], str)


def _member(value: Any) -> Any:
    if isinstance(value, FunctionType):
        return _instructions(value.__code__)
    return value if isinstance(value, bool | int | float | str) else None


def _constant(value: Any) -> Any:
    if isinstance(value, CodeType):
        return _instructions(value)
    return sorted(map(repr, value)) if isinstance(value, frozenset) else repr(value)  # sets have no order
