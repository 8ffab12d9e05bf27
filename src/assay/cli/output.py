"""Output of the commands: results on stdout, one sentence for an error on stderr."""

import io
import os
import sys
from collections.abc import Sequence
from contextlib import redirect_stderr
from typing import Any

import assay
from assay.lab import printable


class Refusal(Exception):
    """Bad input that is known before torch is imported, or output that cannot be printed; the message is a sentence."""


def check_seed(seed: int) -> None:
    """Refuse a seed that NumPy or PyTorch does not take."""
    if not 0 <= seed < 2**32:
        raise Refusal(f"--seed is {seed}; give a number from 0 to {2**32 - 1}")


def say(text: object) -> None:
    """Print on stdout at once; a reader who has seen enough (``| head``) is no error.

    Raises:
        Refusal: The text cannot be written, as on a full disk.
    """
    try:
        print(text, flush=True)
    except UnicodeEncodeError:  # a terminal that knows few characters
        print(str(text).encode("ascii", "backslashreplace").decode(), flush=True)
    except BrokenPipeError:
        silence(sys.stdout)
    except OSError as error:
        silence(sys.stdout)
        reason = (error.strerror or str(error)).lower()
        raise Refusal(f"cannot print the result ({reason}); send standard output where there is room") from error


def drain() -> None:
    """Write what stdout still holds, or drop it where it cannot be written."""
    try:
        print(end="", flush=True)
    except OSError:
        silence(sys.stdout)


def silence(stream: Any) -> None:
    """Lead a stream into nothing, or what it still holds raises the same error when Python ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


class _Forgiving:
    """A stream that goes silent where it cannot be written: progress must not cost what it tells of."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        try:
            return self._stream.write(text)
        except OSError:
            silence(self._stream)
            return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except OSError:
            silence(self._stream)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def forgiving_stderr() -> redirect_stderr[Any]:
    """Return a context in which stderr may be full, closed or broken: the exit code then speaks alone."""
    return redirect_stderr(_Forgiving(sys.stderr or io.StringIO()))


def complain(text: str) -> None:
    """Print one line on stderr."""
    print(f"assay: {printable(text)}", file=sys.stderr, flush=True)


def sentence(error: BaseException) -> str:
    """Return an error as one sentence."""
    text = " ".join(str(error).split())
    if isinstance(error, Refusal) or isinstance(error, assay.core.AssayError):  # noqa: SIM101 - torch comes with core
        return text
    return f"unexpected {type(error).__name__}: {text}; run it again with --debug to see where"


def columns(cells: Sequence[Sequence[str]]) -> str:
    """Return rows of cells as lines of aligned columns."""
    widths = [max(len(row[column]) for row in cells) for column in range(len(cells[0]))] if cells else []
    lines = ["  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in cells]
    return "\n".join(line.rstrip() for line in lines)
