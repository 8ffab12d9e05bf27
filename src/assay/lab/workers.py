"""Workers: processes of this machine, or a dask or ray cluster, that compute cells."""

import os
import resource
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import joblib
import torch
from joblib.externals.loky import get_reusable_executor

from assay.core import AssayError, InvalidInputError, require_extra
from assay.lab.files import Encoded, encode

BACKENDS = ("loky", "dask", "ray")


Stream = Callable[[Callable[[Any], Any], Iterable[tuple[int, Any]]], Iterator["CellResult"]]


class WorkersLostError(AssayError):
    """The workers failed, not a cell: killed, out of memory, out of reach."""


@dataclass(frozen=True)
class CellResult:
    """Result of one cell: its encoded value, or the text of its traceback."""

    index: int
    encoded: Encoded | None
    traceback: str | None
    process: int
    cpu_seconds: float
    peak_memory_mb: float


def run_cell(function: Callable[[Any], Any], index: int, item: Any) -> CellResult:
    """Compute one cell on one torch thread; an exception becomes the text of its traceback.

    The value leaves the worker as bytes, so that no backend has to know tensors, devices or shared memory.

    Args:
        function: Computes the cell from its item.
        index: Position of the cell in its map.
        item: The function's argument.

    Returns:
        The result, or the traceback.
    """
    threads = torch.get_num_threads()
    start = time.process_time()
    encoded = text = None
    try:
        torch.set_num_threads(1)  # the same sums whether one process computes or many
        encoded = encode(function(item))
    except Exception:
        text = traceback.format_exc()
    finally:
        torch.set_num_threads(threads)
    return CellResult(index, encoded, text, os.getpid(), time.process_time() - start, peak_memory_mb())


def peak_memory_mb() -> float:
    """Return the peak memory of this process, in MB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1e6 if sys.platform == "darwin" else 1e3)  # bytes there, kilobytes elsewhere


class Workers:
    """Processes that compute cells in parallel and return each as it finishes.

    Args:
        backend: ``"loky"`` for processes of this machine; ``"dask"`` or ``"ray"`` for a cluster.
        jobs: Number of processes; ignored for a cluster that runs already.
        address: A running cluster's scheduler (dask) or head (ray); None starts one on this machine.

    Raises:
        InvalidInputError: An unknown backend, no job, or an address for loky.
    """

    def __init__(self, backend: str = "loky", *, jobs: int = 1, address: str | None = None) -> None:
        if backend not in BACKENDS:
            raise InvalidInputError(f"unknown backend {backend!r}; choose one of {', '.join(BACKENDS)}.")
        if jobs < 1:
            raise InvalidInputError(f"jobs is {jobs}; give 1 or more.")
        if address is not None and backend == "loky":
            raise InvalidInputError("an address was given for local processes; add --backend dask or ray.")
        self.backend = backend
        self.jobs = jobs
        self.address = address

    @contextmanager
    def open(self) -> Iterator[None]:
        """Start the backend for a ``with`` block, and stop it at the end unless it ran already.

        Raises:
            MissingExtraError: The backend's package is not installed.
        """
        with _OPENERS[self.backend](self.jobs, self.address) as self._stream:
            yield

    def compute(self, function: Callable[[Any], Any], cells: Iterable[tuple[int, Any]]) -> Iterator[CellResult]:
        """Compute cells inside `open`; results come as they finish, in any order.

        Args:
            function: Computes a cell from its item.
            cells: Pairs of position and item.

        Yields:
            One result for each cell.

        Raises:
            WorkersLostError: The workers themselves failed: killed, out of memory, out of reach.
        """
        try:
            yield from self._stream(function, cells)
        except Exception as error:  # a cell's own exceptions come as results
            raise WorkersLostError(f"{type(error).__name__}: {error}") from error


@contextmanager
def _open_loky(jobs: int, address: str | None) -> Iterator[Stream]:
    try:
        with joblib.parallel_config("loky", inner_max_num_threads=1):
            yield partial(_joblib_stream, jobs)
    finally:
        if jobs > 1:  # workers outlive their tasks, and would compute a later run with the code of this one
            get_reusable_executor().shutdown()


@contextmanager
def _open_dask(jobs: int, address: str | None) -> Iterator[Stream]:
    distributed = require_extra("distributed", "dask")
    local = {"n_workers": jobs, "threads_per_worker": 1, "dashboard_address": None}
    with (
        distributed.Client(address) if address else distributed.Client(**local) as client,
        joblib.parallel_config("dask", client=client),
    ):
        yield partial(_joblib_stream, -1)


def _joblib_stream(jobs: int, function: Callable, cells: Iterable[tuple[int, Any]]) -> Iterator[CellResult]:
    options: dict[str, Any] = {"batch_size": 1, "return_as": "generator_unordered"}  # each cell as it finishes
    parallel: Any = joblib.Parallel(n_jobs=jobs, **options)
    yield from parallel(joblib.delayed(run_cell)(function, index, item) for index, item in cells)


@contextmanager
def _open_ray(jobs: int, address: str | None) -> Iterator[Stream]:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # no telemetry
    ray = require_extra("ray", "ray")
    started = not ray.is_initialized()
    if started:
        where = {"address": address} if address else {"num_cpus": jobs, "include_dashboard": False}
        ray.init(log_to_driver=False, logging_level="error", **where)
    try:
        yield partial(_ray_stream, ray)
    finally:
        if started:
            ray.shutdown()


def _ray_stream(ray: Any, function: Callable, cells: Iterable[tuple[int, Any]]) -> Iterator[CellResult]:
    # Ray's joblib backend hands results back only when all are there, which a killed run would lose: ask Ray itself.
    remote = ray.remote(num_cpus=1)(run_cell)
    function = ray.put(function)
    pending = [remote.remote(function, index, item) for index, item in cells]
    while pending:
        finished, pending = ray.wait(pending)
        yield from ray.get(finished)


_OPENERS = {"loky": _open_loky, "dask": _open_dask, "ray": _open_ray}
