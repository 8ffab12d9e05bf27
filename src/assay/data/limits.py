"""Bound of what a file may take in memory, asked before it is read."""

import os
from pathlib import Path

from assay.core import InvalidInputError

LARGEST = 8 * 2**30
"""Bytes that one source of data or weights may take in memory."""
_SHARE = 1 / 4  # of the free memory: checks and changes of type make copies beside it
_CGROUP = ("memory.max", "memory.current")  # of a container


def memory_limit() -> float:
    """Return the bytes that a file may take in memory: at most `LARGEST`, and a quarter of what is free."""
    return min(LARGEST, _SHARE * _free_memory())


def check_size(n_bytes: float, path: Path, mend: str) -> None:
    """Refuse a file that would take more memory than `memory_limit`.

    Args:
        n_bytes: What it takes in memory.
        path: The file or folder.
        mend: What to do instead.

    Raises:
        InvalidInputError: It is too large.

    >>> check_size(100, Path("data.npz"), "save a part of it")
    """
    limit = memory_limit()
    if n_bytes > limit:
        raise InvalidInputError(
            f"{path} takes {_gib(n_bytes)} in memory, more than the {_gib(limit)} that are read here (at most "
            f"{_gib(LARGEST)}, and a quarter of the free memory); {mend}"
        )


def _gib(n_bytes: float) -> str:
    return f"{n_bytes / 2**30:.3g} GiB"


def _free_memory() -> float:
    """Return the free memory of the machine, and of the container where it has less; infinity where none tells."""
    free = [float("inf")]
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        free += [1024.0 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")]
    except (OSError, ValueError, IndexError):
        free.append(_physical_memory())
    try:
        limit, used = (Path("/sys/fs/cgroup", name).read_text(encoding="ascii") for name in _CGROUP)
        free.append(float(limit) - float(used))
    except (OSError, ValueError):  # no container, or one without a limit ("max")
        pass
    return max(min(free), 0.0)


def _physical_memory() -> float:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return float("inf")
