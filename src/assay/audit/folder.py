"""Output folder of an audit: reserved before the work starts, and written as a whole at its end."""

import fcntl
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from assay.core import InvalidInputError

_NUMBERED = Path("assay-audit")


def check_writable() -> None:
    """Refuse a working folder in which no numbered folder could be made.

    Raises:
        InvalidInputError: It cannot be written to.
    """
    try:
        Path(tempfile.mkdtemp(prefix=".assay-", dir=_NUMBERED if _NUMBERED.exists() else Path())).rmdir()
    except OSError as error:
        raise _refusal(_NUMBERED, error) from error


@contextmanager
def reserved(out: Path | str | None, name: str) -> Iterator[Path]:
    """Hold the output folder of an audit, and remove it again when the block ends and nothing was written.

    The operating system holds the folder for this process (``flock``) and drops it with the process: an empty folder
    that a killed audit left behind is used by the next one, which says so on stderr.

    Args:
        out: The folder; None for the first free ``assay-audit/<name>-<n>``, n = 1, 2, ....
        name: Name of the subject.

    Yields:
        The folder.

    Raises:
        InvalidInputError: ``out`` holds something, another audit writes it, or it cannot be made.
    """
    folder, missing, descriptor = _reserve(None if out is None else Path(out), name)
    if folder not in missing:
        print(f"{folder} is there and empty, as a killed audit leaves it; this audit uses it", file=sys.stderr)
    try:
        yield folder
    finally:
        with suppress(OSError):  # it holds the audit, or others have put something there
            for path in missing:
                path.rmdir()
        os.close(descriptor)


def _reserve(out: Path | None, name: str) -> tuple[Path, list[Path], int]:
    """Return a folder, what was missing of it and its parents before, and the descriptor that holds it."""
    safe = re.sub(r"[^\w.-]+", "-", name).strip(".-") or "subject"
    n = 0
    while True:
        n += 1
        folder = out or _NUMBERED / f"{safe}-{n}"
        missing = [path for path in (folder, *folder.parents) if not path.exists()]
        descriptor = _take(folder)
        if descriptor is not None:
            return folder, missing, descriptor
        if out is not None:
            raise InvalidInputError(f"{out} {_occupant(folder)}; name another folder with --out, or remove it")


def _occupant(folder: Path) -> str:
    taken = folder.is_dir() and not any(folder.iterdir())
    return "is being written by another audit" if taken else "exists already"


def _take(folder: Path) -> int | None:
    """Make and lock a folder; None where it holds something or another audit holds it."""
    for again in (True, True, False):  # an audit that fails at this moment may take its empty folder away
        try:
            folder.mkdir(parents=True, exist_ok=True)
            return _lock(folder)
        except FileExistsError:  # a file
            return None
        except OSError as error:
            if not (again and isinstance(error, FileNotFoundError)):
                raise _refusal(folder, error) from error
    return None


def _lock(folder: Path) -> int | None:
    """Return a descriptor that holds an empty folder; None where it holds something or another audit holds it."""
    held = False
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return None
        except OSError:  # a file system without locks
            pass
        same = os.path.samestat(os.fstat(descriptor), folder.stat())  # else it was replaced before the lock
        held = same and not any(folder.iterdir())
        return descriptor if held else None
    finally:
        if not held:
            os.close(descriptor)


@contextmanager
def whole_folder(out: Path) -> Iterator[Path]:
    """Yield a temporary folder beside ``out``, renamed to ``out`` when the block ends without an error.

    Raises:
        InvalidInputError: ``out`` cannot be written.
    """
    staged = out.with_name(f".{out.name}.partial")
    try:
        shutil.rmtree(staged, ignore_errors=True)  # of an audit that was killed while it wrote
        staged.mkdir(parents=True)
        yield staged
        os.replace(staged, out)
    except OSError as error:
        raise _refusal(out, error) from error
    finally:
        shutil.rmtree(staged, ignore_errors=True)


def _refusal(out: Path, error: OSError) -> InvalidInputError:
    reason = (error.strerror or str(error)).lower()
    return InvalidInputError(f"cannot write {out} ({reason}); name a folder that can be written with --out")
