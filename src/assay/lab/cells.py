"""Resumable cells: values that are computed once, and read back while their code and item stay the same."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any

from assay.core import AssayError, track
from assay.lab.files import Value, encode
from assay.lab.log import RunLog
from assay.lab.sources import code_digest
from assay.lab.store import Store
from assay.lab.workers import CellResult, Workers, WorkersLostError


class CellsFailedError(AssayError):
    """Some cells of a map failed twice; the others are kept, and a next run computes the failed ones only."""


class Cells:
    """Compute the cells of one run, or read those that are there.

    Args:
        store: The run's folder.
        log: The run's log; it counts what was read and what was computed.
        workers: Where cells are computed.
        progress: Whether bars are drawn.
    """

    def __init__(self, store: Store, log: RunLog, workers: Workers, *, progress: bool) -> None:
        self._store, self._log, self._workers, self._progress = store, log, workers, progress

    def one(self, name: str, make: Callable[[], Value]) -> Value:
        """Return ``make()``, computed in this process.

        Args:
            name: The value's name.
            make: What computes it.

        Returns:
            The value as it is stored.

        Raises:
            InvalidInputError: The value cannot be stored, or the function carries what has no stable digest.
        """
        stem = self._store.artifact(name, code_digest(make))
        found = self._store.find(stem)
        if found is not None:
            self._log.count(read=1)
            return found[0]
        value = self._store.keep(stem, encode(make()))
        self._log.count(computed=1)
        self._log.write("running")
        return value

    def all(
        self, name: str, function: Callable[..., Value], items: Iterable[Any], *, spread: bool = False
    ) -> list[Value]:
        """Return ``[function(item) for item in items]``, computed by the workers.

        Args:
            name: The map's name.
            function: What computes a cell.
            items: Its arguments.
            spread: Call ``function(*item)`` instead.

        Returns:
            The values as they are stored, in the order of the items.

        Raises:
            InvalidInputError: An item has no stable digest, or the function carries something without one.
            CellsFailedError: Cells failed twice; all others are kept.
        """
        items = list(items)
        code = code_digest(function, items)
        stems = [self._store.cell(name, item, code) for item in items]
        found = [self._store.find(stem) for stem in stems]
        values = {index: entry[0] for index, entry in enumerate(found) if entry is not None}
        self._log.count(read=len(values))
        call = partial(_spread, function) if spread else function
        reasons: dict[int, str] = {}
        for attempt in (name, f"{name}, once more"):
            pending = {index: item for index, item in enumerate(items) if index not in values}
            if not pending:
                break
            try:
                for result in self._stream(call, pending, attempt):
                    self._log.add_cell(name, result)
                    if result.encoded is not None:
                        values[result.index] = self._store.keep(stems[result.index], result.encoded)
                        self._log.count(computed=1)
                    else:
                        reasons[result.index] = str(result.traceback).strip().splitlines()[-1]
                    self._log.write("running")
            except WorkersLostError as error:
                self._log.add_loss(name, error)
                reasons |= {index: str(error) for index in pending if index not in values}
        failed = [f"{index} ({reasons[index]})" for index in range(len(items)) if index not in values]
        if failed:
            raise CellsFailedError(
                f"{len(failed)} of {len(items)} cells of {name!r} failed twice: {'; '.join(failed)}. The others are "
                f"kept; tracebacks are in {self._store.folder / 'run.json'}."
            )
        return [values[index] for index in range(len(items))]

    def _stream(
        self, function: Callable[[Any], Value], cells: Mapping[int, Any], description: str
    ) -> Iterator[CellResult]:
        results = self._workers.compute(function, cells.items())
        return track(results, description, total=len(cells), enabled=self._progress)


def _spread(function: Callable[..., Value], item: Iterable[Any]) -> Value:
    return function(*item)
