"""Source digests: the code that computes a cell, and the code behind a study's evidence."""

import dataclasses
import functools
import inspect
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import assay
from assay.core import InvalidInputError
from assay.lab.functions import captured, source, source_file, taken_globals, wrappers
from assay.lab.identity import digest
from assay.lab.modules import is_installed, locate, read_module, refuse_edited
from assay.lab.study import Study, require_experiment

_ASSAY = Path(assay.__file__).resolve().parent

_COMPUTES_NOTHING = (_ASSAY / "lab", _ASSAY / "audit", _ASSAY / "cli")


def code_digest(function: Callable[..., Any], items: Any = ()) -> str:
    """Return the digest of the code that computes a cell.

    It covers the file that defines the function and all that this imports, module by module, from the same top-level
    package, from assay, and from other modules that are not installed; docstrings, comments and blank lines do not
    count. What the function carries counts too: the arguments of a partial, the captured values of a closure. The
    captions and bars of a ``study.py`` and the drawings of a ``figures.py`` do not, unless the function is defined
    there. Of settings and other dataclasses that a cell is given, the class counts too, for the sake of its methods:
    the file that defines it, of a ``study.py`` the class alone.

    Args:
        function: What computes a cell.
        items: What it is called with.

    Returns:
        Twelve hexadecimal digits.

    Raises:
        InvalidInputError: The function carries something without a stable digest, its file imports from a
            ``study.py`` or ``figures.py``, or a file was edited after it was imported.

    >>> code_digest(code_digest) == code_digest(code_digest)
    True
    """
    home, seen = _top(function), set()
    code = _code(function, home, seen)
    kinds = sorted(set(_dataclasses(items)), key=lambda kind: (kind.__module__, kind.__qualname__))
    return digest([code, [_class_code(kind, home, seen) for kind in kinds]])


def study_sources(study: Study) -> dict[str, str]:
    """Return the digests of the code behind a study's evidence.

    Args:
        study: A study with an experiment.

    Returns:
        ``"study"``: the study's package without ``figures.py``, and the modules of other studies or beside it that
        these import; ``"methods"``: the modules of assay's rooms, nets, data and core that these import.
    """
    run = inspect.unwrap(require_experiment(study))
    file = source_file(run)
    if file is None:
        return {"study": digest(source(run)), "methods": digest([])}
    texts, _ = _closure(_study_files(file))
    methods = {name: text for name, text in texts.items() if _is_method(name)}
    own = {name: text for name, text in texts.items() if name not in methods}
    return {"study": digest(own), "methods": digest(methods)}


def figures_source(study: Study) -> str:
    """Return the digest of the code that only draws a study: ``figures.py``, and what that imports.

    Args:
        study: A study with an experiment.

    Returns:
        Twelve hexadecimal digits.
    """
    file = source_file(inspect.unwrap(require_experiment(study)))
    if file is None:
        return digest([])
    figures = {path for path in _closure(_study_files(file))[1] if path.name == "figures.py"}
    if _is_package(file):
        figures.update(file.parent.rglob("figures.py"))
    return digest(_closure(figures, drawing=True)[0])


def _study_files(file: Path) -> list[Path]:
    if not _is_package(file):
        return [file]
    return sorted(path for path in file.parent.rglob("*.py") if path.name != "figures.py")


def _is_package(file: Path) -> bool:
    return file.name == "study.py" and (file.parent / "__init__.py").is_file()


def _is_method(name: str) -> bool:
    return name.partition(".")[0] == "assay" and not f"{name}.".startswith("assay.studies.")


def _closure(starts: Iterable[Path], *, drawing: bool = False) -> tuple[dict[str, str], set[Path]]:
    """Return the text of each module that is reached, by name, and the presenting files that were left out."""
    texts: dict[str, str] = {}
    left_out: set[Path] = set()
    queue = deque(starts)
    while queue:
        module = read_module(queue.popleft())
        if module.name in texts:
            continue
        refuse_edited(module)
        texts[module.name] = module.text
        for reference in module.references:
            path = locate(reference, module)
            if path is None or any(path.is_relative_to(part) for part in _COMPUTES_NOTHING):
                continue
            if not _presents(path) or (drawing and path.name == "figures.py"):
                queue.append(path)
            elif _presents(module.path):
                left_out.add(path)
            else:
                raise InvalidInputError(
                    f"{module.path} imports from {path.name} ({reference[0]}.{reference[1]}), whose captions, bars and "
                    "drawings do not count as code that computes: move what it needs to a file beside it."
                )
    return texts, left_out


def _presents(path: Path) -> bool:
    return path.name in ("study.py", "figures.py") and (path.parent / "study.py").is_file()


def _code(function: Any, home: str, seen: set[int]) -> Any:
    """Return what identifies a function, as a value that `digest` takes; `home` is the package that is followed."""
    if isinstance(function, functools.partial):
        carried = _carried([list(function.args), function.keywords], function.func, home, seen)
        return ["partial", _code(function.func, home, seen), carried]
    inner = inspect.unwrap(function)
    if not _is_function(inner):
        return _carried(inner, type(inner), home, seen)
    name = f"{getattr(inner, '__module__', None)}.{inner.__qualname__}"
    if id(inner) in seen:
        return name
    seen.add(id(inner))
    if around := wrappers(function):
        return [[_own_code(wrapper, home, seen) for wrapper in around], _own_code(inner, home, seen)]
    return _own_code(inner, home, seen)


def _own_code(inner: Any, home: str, seen: set[int]) -> Any:
    name = f"{getattr(inner, '__module__', None)}.{inner.__qualname__}"
    owner = getattr(inner, "__self__", None)
    if owner is not None and not isinstance(owner, ModuleType):
        kind = owner if isinstance(owner, type) else type(owner)  # its file may override what the method calls
        method = [_code(kind, home, seen), _code(getattr(inner, "__func__", len), home, seen)]
        return [name, _carried(owner, inner, home, seen), method]
    file = source_file(inner)
    if file is None:
        defaults = getattr(inner, "__defaults__", None)
        return [name, source(inner), _carried([taken_globals(inner), captured(inner), defaults], inner, home, seen)]
    if is_installed(file) and read_module(file).top not in ("assay", home):
        return name
    return [inner.__qualname__, _closure([file])[0], _carried(captured(inner), inner, home, seen)]


def _carried(value: Any, function: Any, home: str, seen: set[int]) -> Any:
    if isinstance(value, list | tuple):
        return [_carried(entry, function, home, seen) for entry in value]
    if isinstance(value, dict):
        return {key: _carried(entry, function, home, seen) for key, entry in value.items()}
    if _is_function(value) or isinstance(value, functools.partial):
        return _code(value, home, seen)
    if dataclasses.is_dataclass(value):  # of a class, `_code` has taken care
        fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        code = _code if callable(value) else _class_code
        return [code(type(value), home, seen), _carried(fields, function, home, seen)]
    try:
        return digest(value)
    except InvalidInputError as error:
        raise InvalidInputError(
            f"{getattr(function, '__qualname__', function)!r} carries a value of its surroundings: {error} "
            "Or compute that value inside the function."
        ) from error


def _dataclasses(value: Any) -> Iterator[type]:
    """Yield the classes of the dataclasses in a value."""
    if isinstance(value, list | tuple | dict):
        for entry in value.values() if isinstance(value, dict) else value:
            yield from _dataclasses(entry)
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        yield type(value)
        for field in dataclasses.fields(value):
            yield from _dataclasses(getattr(value, field.name))


def _class_code(kind: type, home: str, seen: set[int]) -> Any:
    file = source_file(kind)
    return [kind.__qualname__, source(kind)] if file and _presents(file) else _code(kind, home, seen)


def _is_function(value: Any) -> bool:
    return inspect.isroutine(value) or isinstance(value, type) or hasattr(value, "__wrapped__")


def _top(function: Any) -> str:
    while isinstance(function, functools.partial):
        function = function.func
    file = source_file(inspect.unwrap(function))
    return read_module(file).top if file else ""
