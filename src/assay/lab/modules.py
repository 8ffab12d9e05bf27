"""Python modules as files: code without comments, imports, and the files that these lead to."""

import ast
import importlib.util
import io
import sys
import sysconfig
import tokenize
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import NamedTuple

import assay
from assay.core import InvalidInputError

Reference = tuple[str, str | None]
"""A module's dotted name, and the name taken from it: None for the module itself, ``"*"`` for all."""

_ASSAY = Path(assay.__file__).resolve().parents[1]
_INSTALLED = {
    Path(sysconfig.get_path(scheme)).resolve() for scheme in ("stdlib", "platstdlib", "purelib", "platlib")
}  # fmt: skip


_seen: dict[Path, tuple[ModuleSpec, str]] = {}
"""Imported modules by file: what identifies the import, and the text at the first look."""

_pinned: ContextVar["dict[Path, Module] | None"] = ContextVar("pinned", default=None)


@dataclass(frozen=True)
class Module:
    """Hold one module's file.

    Args:
        path: The file.
        name: Its dotted name, from the packages that it lies in.
        root: The folder that its top-level name lies in.
        text: Its code without docstrings, comments and blank lines.
        references: What it imports, imports for type checkers left out.
        exports: Each imported name and where it comes from, imports for type checkers included; the module itself for
            a name that it imports from two places or binds otherwise too.
    """

    path: Path
    name: str
    root: Path
    text: str
    references: frozenset[Reference]
    exports: dict[str, Reference]

    @property
    def top(self) -> str:
        """The first part of its dotted name."""
        return self.name.partition(".")[0]


def read_module(path: Path) -> Module:
    """Read a module's file; read once for as long as the file does not change.

    Args:
        path: A Python file.

    Returns:
        The module.
    """
    pinned = _pinned.get()
    if pinned is not None and path in pinned:
        return pinned[path]
    stat = path.stat()
    module = _read(path, stat.st_mtime_ns, stat.st_size)
    if pinned is not None:
        pinned[path] = module
    return module


def refuse_edited(module: Module) -> None:
    """Refuse a file during a run where it was edited after its import: the old code runs, the key would name the new.

    An edit before the first look at an imported module goes unnoticed, and so does a reload of a module alone, without
    those that took names from it.

    Args:
        module: A module's file, as it is now.

    Raises:
        InvalidInputError: The file has another text than at the first look, and was not loaded again since.
    """
    loaded = sys.modules.get(module.name)
    spec = getattr(loaded, "__spec__", None)
    if spec is None or spec.origin is None or Path(spec.origin).resolve() != module.path.resolve():
        return
    if _seen.get(module.path, (None, ""))[0] is not spec:  # a reload makes a new spec
        _seen[module.path] = (spec, module.text)
    elif _seen[module.path][1] != module.text and _pinned.get() is not None:
        raise InvalidInputError(
            f"{module.path} was edited after it was imported, so that the old code would run under the name of the new "
            "one; start Python again, or reload the module and what imports it."
        )


@contextmanager
def pinned_sources() -> Iterator[None]:
    """Read each file once inside a ``with`` block: a file that is edited while a run goes on is not what runs.

    Yields:
        Nothing.
    """
    token = _pinned.set({})
    try:
        yield
    finally:
        _pinned.reset(token)


def locate(reference: Reference, importer: Module) -> Path | None:
    """Return the file that defines what a module imports.

    A name taken from a package is looked up in the package's ``__init__.py``, through re-exports, to the module that
    defines it; else it is a submodule; else the package's ``__init__.py`` itself stands for it.

    Args:
        reference: What is imported.
        importer: The module that imports it.

    Returns:
        The file; None for the standard library and for installed packages other than assay and the importer's own.
    """
    return _locate(reference, importer, frozenset())


def is_installed(path: Path) -> bool:
    """Return whether a file belongs to the standard library or to an installed package."""
    return "site-packages" in path.parts or any(folder in path.parents for folder in _INSTALLED)


def plain_text(text: str) -> str:
    r"""Return source text without what changes no result: docstrings, comments, blank lines, trailing blanks.

    It is cut from the text itself, so that it is the same for every version of Python.

    Args:
        text: A module's source.

    Returns:
        The rest; strings of several lines are left as they are.

    >>> plain_text('def f():  # why\n    "What."\n\n    return 1\n')
    'def f():\n    return 1'
    """
    lines = text.split("\n")
    kept: set[int] = set()  # lines that end inside a string
    cuts = [(token.start, token.end) for token in _comments(text)]
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            cuts.append((_place(lines, node.lineno, node.col_offset), _end(lines, node)))
        elif isinstance(node, ast.JoinedStr) or (
            isinstance(node, ast.Constant) and isinstance(node.value, str | bytes)
        ):
            kept.update(range(node.lineno, node.end_lineno or node.lineno))
    for (first, start), (last, end) in sorted(cuts, reverse=True):
        lines[first - 1 : last] = [lines[first - 1][:start] + lines[last - 1][end:], *[""] * (last - first)]
        kept.difference_update(range(first, last + 1))
    stripped = (line if number in kept else line.rstrip() for number, line in enumerate(lines, 1))
    return "\n".join(line for number, line in enumerate(stripped, 1) if line or number in kept)


class _Imported(NamedTuple):
    alias: str
    reference: Reference
    for_types: bool


@cache
def _read(path: Path, mtime_ns: int, size: int) -> Module:
    with tokenize.open(path) as file:
        text = file.read()
    parts, folder = [path.stem], path.parent
    while (folder / "__init__.py").is_file():
        parts.insert(0, folder.name)
        folder = folder.parent
    is_package = parts[-1] == "__init__"
    name = ".".join(parts[:-1] if is_package else parts)
    tree = ast.parse(text)
    imports = list(_imports(tree, name if is_package else name.rpartition(".")[0]))
    bound = {entry.alias: entry.reference for entry in imports if not entry.for_types}
    references = {entry.reference for entry in imports if not entry.for_types} | set(_attributes(tree, bound))
    return Module(path, name, folder, plain_text(text), frozenset(references), _exports(tree, imports, name))


def _imports(tree: ast.Module, package: str) -> Iterator[_Imported]:
    stack: list[tuple[ast.AST, bool]] = [(tree, False)]
    while stack:
        node, for_types = stack.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
            stack.extend((child, True) for child in node.body)
            stack.extend((child, for_types) for child in node.orelse)
            continue
        if isinstance(node, ast.Import):
            for entry in node.names:
                yield _Imported(entry.asname or entry.name, (entry.name, None), for_types)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: package.count(".") + 2 - node.level] if node.level else []
            module = ".".join([*above, *([node.module] if node.module else [])])
            for entry in node.names:
                yield _Imported(entry.asname or entry.name, (module, entry.name), for_types)
        stack.extend((child, for_types) for child in ast.iter_child_nodes(node))


def _exports(tree: ast.Module, imports: list[_Imported], module: str) -> dict[str, Reference]:
    nodes = list(ast.walk(tree))
    bound = {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    bound |= {node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.ClassDef)} | {"*"}
    exports: dict[str, Reference] = {}
    for entry in imports:
        is_alone = entry.alias not in bound and exports.get(entry.alias, entry.reference) == entry.reference
        exports[entry.alias] = entry.reference if is_alone else (module, None)
    return exports


def _attributes(tree: ast.Module, bound: dict[str, Reference]) -> Iterator[Reference]:
    # ``from package import room`` names no module that defines ``room.function``; its use does.
    tops = {alias.partition(".")[0] for alias in bound}
    for node in ast.walk(tree):
        parts: list[str] = []
        while isinstance(node, ast.Attribute):
            parts.insert(0, node.attr)
            node = node.value
        if parts and isinstance(node, ast.Name) and node.id in tops:
            module, name = bound.get(node.id, (node.id, None))
            yield ".".join([module, *([name] if name else []), *parts[:-1]]), parts[-1]


def _locate(reference: Reference, importer: Module, seen: frozenset[Reference]) -> Path | None:
    module, name = reference
    path = _find(module, importer)
    if name is None or (path is not None and path.name != "__init__.py"):
        return path
    if path is not None and reference not in seen:
        package = read_module(path)
        exported = package.exports.get(name)
        found = exported and _locate(exported, package, seen | {reference})
        if found:
            return found
    return _find(f"{module}.{name}", importer) or path


def _find(name: str, importer: Module) -> Path | None:
    for root in _roots(name.partition(".")[0], importer.top, importer.root, tuple(sys.path)):
        stem = root.joinpath(*name.split("."))
        for path in (stem / "__init__.py", Path(f"{stem}.py")):
            if path.is_file():
                return path
    return None


@cache
def _roots(top: str, importer_top: str, importer_root: Path, search_path: tuple[str, ...]) -> tuple[Path, ...]:
    """Return the folders where a top-level name is followed: beside its importer, assay's, or on the search path."""
    roots: list[Path] = []
    if top == importer_top or not is_installed(importer_root / top):
        roots += [importer_root] if any((importer_root / name).exists() for name in (top, f"{top}.py")) else []
    if top == "assay":
        roots.append(_ASSAY)
    elif top not in sys.stdlib_module_names:
        try:
            spec = importlib.util.find_spec(top)  # of a top-level name: imports nothing
        except (ImportError, ValueError):  # a module without a spec, such as a notebook's __main__
            spec = None
        places = [*(spec.submodule_search_locations or ()), spec.origin] if spec else []
        if places and places[0] and not is_installed(Path(places[0])):
            roots.append(Path(places[0]).resolve().parent)
    return tuple(roots)


def _comments(text: str) -> Iterator[tokenize.TokenInfo]:
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            yield token


def _end(lines: list[str], node: ast.expr | ast.stmt) -> tuple[int, int]:
    return _place(lines, node.end_lineno or node.lineno, node.end_col_offset or 0)


def _place(lines: list[str], line: int, offset: int) -> tuple[int, int]:
    return line, len(lines[line - 1].encode()[:offset].decode())  # ast counts bytes
