"""Output folder of an audit: checked before the work starts, and written atomically."""

import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from assay.core import InvalidInputError


def next_folder(name: str) -> Path:
    """Return the first ``assay-audit/<name>-<n>``, n = 1, 2, ..., that does not exist."""
    safe = re.sub(r"[^\w.-]+", "-", name).strip(".-") or "subject"
    n = 1
    while (folder := Path("assay-audit") / f"{safe}-{n}").exists():
        n += 1
    return folder


def check_writable(out: Path) -> None:
    """Refuse an output folder that cannot be written to.

    Raises:
        InvalidInputError: ``out`` holds something already, or its parent cannot be written to.
    """
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise InvalidInputError(f"{out} exists already; name another folder with --out, or remove it")
    parent = next(folder for folder in out.absolute().parents if folder.exists())
    try:
        Path(tempfile.mkdtemp(prefix=".assay-", dir=parent)).rmdir()
    except OSError as error:
        raise _refusal(out, error) from error


@contextmanager
def whole_folder(out: Path) -> Iterator[Path]:
    """Yield a temporary folder beside ``out``, renamed to ``out`` when the block ends without an error.

    Raises:
        InvalidInputError: ``out`` cannot be written.
    """
    staged = None
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        staged = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
        staged.chmod(0o755)  # mkdtemp makes folders that only their owner can read
        yield staged
        os.replace(staged, out)
    except OSError as error:
        raise _refusal(out, error) from error
    finally:
        if staged is not None:
            shutil.rmtree(staged, ignore_errors=True)


def _refusal(out: Path, error: OSError) -> InvalidInputError:
    reason = (error.strerror or str(error)).lower()
    return InvalidInputError(f"cannot write {out} ({reason}); name a folder that can be written with --out")
