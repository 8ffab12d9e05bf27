"""The studies, one package a paper: listed without importing any, loaded one at a time."""

import ast
import difflib
import importlib
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import assay.lab.study


def slugs() -> list[str]:
    """Return the names of all studies, sorted.

    A study ``some-paper`` of a room is the package ``studies/<room>/some_paper``, with its claims in ``study.py``.

    Returns:
        The slugs.

    Raises:
        InvalidInputError: Two rooms hold a study of the same name.
    """
    return sorted(_files())


def titles() -> dict[str, str]:
    """Return each study's title: the first line of the docstring of its ``study.py``, read without running it.

    Returns:
        Titles by slug, sorted.

    Raises:
        InvalidInputError: A ``study.py`` has no docstring.
    """
    return {slug: _title(path) for slug, path in sorted(_files().items())}


def rooms() -> dict[str, str]:
    """Return each study's room.

    Returns:
        Rooms by slug, sorted.
    """
    return {slug: path.parts[-3] for slug, path in sorted(_files().items())}


def methods() -> dict[str, tuple[str, ...]]:
    """Return the public names that each study tests, read from its ``study.py`` without running it.

    Returns:
        Names below ``assay`` by slug, sorted, such as ``("adversarial.MALT",)``; empty where the study names none.
    """
    return {slug: _methods(path) for slug, path in sorted(_files().items())}


def load(slug: str) -> "assay.lab.study.Study":
    """Import one study.

    Args:
        slug: One of `slugs`.

    Returns:
        The package's ``STUDY``.

    Raises:
        InvalidInputError: No such study; the message names those with a similar name.
    """
    from assay.core.errors import InvalidInputError

    files = _files()
    if slug not in files:
        close = difflib.get_close_matches(slug.replace("_", "-"), files, n=3)
        mend = f"did you mean {' or '.join(close)}?" if close else "`assay list` shows all studies."
        raise InvalidInputError(f"there is no study {slug!r}; {mend}")
    path = files[slug]
    study = importlib.import_module(f"{__name__}.{path.parts[-3]}.{path.parts[-2]}.study").STUDY
    if study.slug != slug:
        raise InvalidInputError(f"{path} declares the slug {study.slug!r}; make it {slug!r}, as its folder says.")
    return study


def _files() -> dict[str, Path]:
    files: dict[str, Path] = {}
    for root in __path__:
        for path in Path(root).glob("*/*/study.py"):
            slug = path.parent.name.replace("_", "-")
            if slug in files:
                from assay.core.errors import InvalidInputError

                raise InvalidInputError(f"two studies are named {slug!r}: {files[slug]} and {path}; rename one.")
            files[slug] = path
    return files


def _methods(path: Path) -> tuple[str, ...]:
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Study":
            given = {keyword.arg: keyword.value for keyword in node.keywords}
            return tuple(ast.literal_eval(given["methods"])) if "methods" in given else ()
    return ()


def _title(path: Path) -> str:
    docstring = ast.get_docstring(ast.parse(path.read_bytes()))
    if not docstring:
        from assay.core.errors import InvalidInputError

        raise InvalidInputError(f"{path} has no docstring; its first line is the study's title in lists.")
    return docstring.splitlines()[0]
