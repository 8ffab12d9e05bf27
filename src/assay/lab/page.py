"""Pages: one self-contained HTML file each, from a template that extends the house's base page."""

import base64
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Union
from urllib.parse import quote

import jinja2
from markupsafe import Markup, escape

from assay.core.errors import InvalidInputError
from assay.lab.text import printable

if TYPE_CHECKING:
    import matplotlib.figure

_TEMPLATES = Path(__file__).parent / "templates"

_ARABIC_AND_HEBREW = r"[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc]+"
_RIGHT_TO_LEFT = re.compile(rf"({_ARABIC_AND_HEBREW}(?:\s+{_ARABIC_AND_HEBREW})*)")

_SPACES = "\n\t\N{NO-BREAK SPACE}"

_MEDIA = {".svg": "image/svg+xml", ".png": "image/png"}


def render(template: str | Path, **context: Any) -> str:
    """Render a template; values are escaped, and a name that the context lacks is an error.

    A template ``{% extends "base.html" %}`` and fills the blocks ``title``, ``masthead``, ``content`` and
    ``footer``; ``{% from "parts.html" import badge, plate, grid %}`` brings the shared pieces.

    Args:
        template: A template of this package by name, or the path of another that extends ``base.html``.
        **context: What the template shows.

    Returns:
        The page.

    >>> render("base.html", title="Nothing yet").startswith("<!doctype html>")
    True
    """
    folders = [_TEMPLATES]
    if isinstance(template, Path):
        folders.insert(0, template.parent)
        template = template.name
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(folders),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_visible,
    )
    environment.filters |= {"number": number, "isolated": isolated}
    environment.tests["figure"] = _is_figure
    return environment.get_template(template).render(**context)


def inline_figure(figure: Union[str, Path, "matplotlib.figure.Figure"], alt: str, *, pixelated: bool = False) -> Markup:
    """Return an ``<img>`` that holds its picture: the page needs no other file.

    Args:
        figure: An ``.svg`` or ``.png`` file, or a matplotlib figure.
        alt: What the picture shows, in words, for screen readers.
        pixelated: Keep the pixels of a small image sharp.

    Returns:
        Safe markup.

    Raises:
        InvalidInputError: No description, an absent file, or one of another kind.
    """
    if not alt.strip():
        raise InvalidInputError("a figure needs alt text: say in a sentence what it shows.")
    if isinstance(figure, str | Path):
        suffix, content = Path(figure).suffix, _read(Path(figure))
    else:
        from assay.lab.figures import encode_figure  # with matplotlib and torch, which a file does not need

        suffix, content = encode_figure(figure)
    if suffix not in _MEDIA:
        raise InvalidInputError(f"{figure} cannot be inlined; give an .svg or .png file.")
    source = f"data:{_MEDIA[suffix]}{_as_text(content) if suffix == '.svg' else _as_base64(content)}"
    kind = f"plate-image {suffix[1:]}" + (" pixelated" if pixelated else "")
    return Markup(f'<img class="{kind}" src="{source}" alt="{escape(_visible(alt))}">')


def _as_text(svg: bytes) -> str:
    """Escape what ends an attribute or a URL: a quarter shorter than base64."""
    return "," + quote(" ".join(svg.decode().split()), safe=" :;,.=/()!*@-_~+{}[]'<>")


def _as_base64(content: bytes) -> str:
    return f";base64,{base64.b64encode(content).decode()}"


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InvalidInputError(f"the figure {path} cannot be read ({error.strerror}); draw it again.") from error


def number(value: Any, digits: int = 4) -> str:
    """Write a value for a reader: floats with so many significant digits, whole ones in full, lists by commas.

    Args:
        value: A JSON value.
        digits: Significant digits of a float.

    Returns:
        Text.

    >>> number(0.123456), number(0.123456, 2), number(20000.0), number([1, 0.5]), number(None)
    ('0.1235', '0.12', '20000', '1, 0.5', '–')
    """
    if value is None:
        return "–"  # noqa: RUF001  (an en dash is meant)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        in_full = abs(value) < 1e15 and (value.is_integer() or abs(value) >= 10**digits)  # not 1.8e+04
        return f"{value:.0f}" if in_full else f"{value:.{digits}g}"
    if isinstance(value, list | tuple):
        return ", ".join(number(entry, digits) for entry in value)
    return str(value)


def _is_figure(cell: Any) -> bool:
    """Return whether a table's cell holds a number, with or without its unit or interval: such columns align."""
    return isinstance(cell, int | float) or re.match(r"[-<>≥≤]?\s?\d", str(cell)) is not None


def isolated(text: str) -> Markup:
    """Wrap what is written from right to left, so that it leaves the order of the words around it alone.

    >>> isolated("1 < \u05d0\u05d1 < 2").encode("ascii", "xmlcharrefreplace")
    b'1 &lt; <bdi>&#1488;&#1489;</bdi> &lt; 2'
    """
    pieces = _RIGHT_TO_LEFT.split(_visible(text))  # every other piece is a match
    return Markup("").join(Markup("<bdi>{}</bdi>").format(p) if i % 2 else escape(p) for i, p in enumerate(pieces))


def _visible(value: Any) -> Any:
    """Replace control characters in a text: a name from outside must not turn the words after it round."""
    return value if not isinstance(value, str) or isinstance(value, Markup) else printable(value, keep=_SPACES)
