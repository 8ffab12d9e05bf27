"""Run log, ``run.json``: settings, sources, data, timings, memory, failures and status of one run."""

import os
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal

from assay.lab.store import Store
from assay.lab.workers import CellResult, peak_memory_mb

Status = Literal["running", "complete", "failed", "interrupted"]


class RunLog:
    """Keep ``run.json`` current while a run goes on; times add up over the sessions of a resumed run.

    Args:
        store: The run's folder.
        header: What is known beforehand: study, scale, settings, seed, versions, machine.
    """

    def __init__(self, store: Store, header: dict[str, Any]) -> None:
        self._store = store
        self._header = header
        earlier = store.read("run")
        timings = earlier.get("timings", {})
        self._wall_start = time.monotonic() - timings.get("wall_seconds", 0.0)
        self._cpu_start = time.process_time() - timings.get("cpu_seconds", 0.0)
        self._peak = earlier.get("peak_memory_mb", 0.0)
        self._sessions = earlier.get("sessions", 0) + 1
        self._cells_read = self._cells_computed = 0
        self._data: dict[str, str | None] = earlier.get("data", {})
        self._failures: list[dict[str, Any]] = earlier.get("failed_cells", [])

    def add_cell(self, name: str, result: CellResult) -> None:
        """Count a finished cell's time and memory, and keep the traceback of one that failed.

        Args:
            name: The map's name.
            result: What came of the cell.
        """
        if result.process != os.getpid():  # this process's own time is counted anyway
            self._cpu_start -= result.cpu_seconds
        self._peak = max(self._peak, result.peak_memory_mb)
        if result.traceback is not None:
            self._failures.append({"map": name, "cell": result.index, "traceback": result.traceback})

    def count(self, *, read: int = 0, computed: int = 0) -> None:
        """Count cells and cached values of this session.

        Args:
            read: How many were found on disk.
            computed: How many were computed and kept.
        """
        self._cells_read += read
        self._cells_computed += computed

    def use_data(self, name: str, instead: str | None, available: Callable[[str], bool]) -> str | None:
        """Choose a data set and keep the choice: a resumed run computes on the data that it began with.

        Args:
            name: The wanted set.
            instead: What takes its place where it is missing.
            available: Whether a set is on this machine; asked once a run.

        Returns:
            The set to use.
        """
        is_here = self._data[name] == name if name in self._data else available(name)
        self._data[name] = name if is_here else instead
        self.write("running")
        return self._data[name]

    def add_loss(self, name: str, error: Exception) -> None:
        """Keep that workers were lost in the midst of a map.

        Args:
            name: The map's name.
            error: What was said of it.
        """
        self._failures.append({"map": name, "cell": None, "traceback": str(error)})

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Say in ``run.json`` that the run goes on inside a ``with`` block, and how it ended.

        Yields:
            Nothing; what is raised inside goes on to the caller.
        """
        self.write("running")
        try:
            yield
        except BaseException as error:
            self.write("interrupted" if isinstance(error, KeyboardInterrupt) else "failed", traceback.format_exc())
            raise
        self.write("complete")

    def write(self, status: Status, error: str | None = None) -> dict[str, Any]:
        """Write ``run.json``.

        Args:
            status: How the run stands.
            error: The traceback that ended it.

        Returns:
            What was written.
        """
        self._peak = max(self._peak, peak_memory_mb())
        state = {
            **self._header,
            "status": status,
            "error": error,
            "sessions": self._sessions,
            "data": self._data,
            "cells_read": self._cells_read,
            "cells_computed": self._cells_computed,
            "failed_cells": self._failures,
            "peak_memory_mb": round(self._peak, 1),
            "timings": {
                "wall_seconds": round(time.monotonic() - self._wall_start, 2),
                "cpu_seconds": round(time.process_time() - self._cpu_start, 2),
            },
        }
        self._store.write("run", state)
        return state
