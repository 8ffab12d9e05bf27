"""Run lock: one writer for a run's folder, released when its process ends."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from assay.core import AssayError


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a folder's lock for the length of a ``with`` block.

    The operating system holds the lock (``flock``) and drops it with its process, also after SIGKILL: what a dead
    process left behind is taken over. The file's content only serves the message.

    Args:
        folder: An existing folder; the lock is its file ``lock``.

    Yields:
        Nothing.

    Raises:
        AssayError: Another process holds it; the message names its process id.
    """
    with open(folder / "lock", "a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise AssayError(
                f"process {file.read().strip() or 'unknown'} is writing {folder} at this moment; "
                "wait until it ends, or give another --out or --seed."
            ) from None
        file.seek(0)
        file.truncate()
        file.write(str(os.getpid()))
        file.flush()
        yield
