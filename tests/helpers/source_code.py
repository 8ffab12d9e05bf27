"""The package's source code as the house rules read it."""

import ast
import io
import tokenize
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import assay

PACKAGE = Path(assay.__file__).parent
PROJECT = Path(__file__).parents[2]
FILES = sorted(PACKAGE.rglob("*.py"))
OTHERS = sorted(
    path for folder in ("tests", "tools", "benchmarks", "docs") for path in (PROJECT / folder).rglob("*.py")
)

Documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
_LAYOUT = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}


def short(path: Path) -> str:
    """Return a file's path for the name of a test."""
    return "/".join(path.parts[-3:])


@cache
def parse(path: Path) -> ast.Module:
    """Return a file's syntax tree."""
    return ast.parse(path.read_text(encoding="utf-8"))


def module_name(path: Path) -> str:
    """Return the dotted name of a file of the package."""
    return ".".join(("assay", *path.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(".__init__")


def docstrings(path: Path) -> Iterator[tuple[int, str]]:
    """Return the docstrings of a file's module, classes and functions, each with its line."""
    for node in ast.walk(parse(path)):
        if isinstance(node, Documented) and (text := ast.get_docstring(node)):
            yield node.body[0].lineno, text


def code_lines(text: str) -> set[int]:
    """Return the numbers of the lines that hold code: neither docstring (of a field too), comment nor blank."""
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in _LAYOUT:
            lines.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            lines.difference_update(range(node.lineno, (node.end_lineno or 0) + 1))
    return lines
