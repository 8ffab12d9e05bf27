"""Sweeps: one function called on many settings, in parallel, with finished results kept on disk."""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from assay.core.errors import InvalidInputError
from assay.core.files import write_bytes
from assay.core.progress import track

Settings = Mapping[str, Any]
"""JSON values with names: numbers, strings, booleans, None, and lists and mappings of these."""


def sweep(
    run: Callable[[Any], Settings],
    items: Sequence[Settings],
    *,
    folder: str | Path | None = None,
    n_jobs: int = 1,
    progress: bool = False,
    description: str = "sweep",
) -> list[dict[str, Any]]:
    """Call a function on each of many settings, and return the results in the order of the settings.

    With a folder, each result is written there as soon as it is finished, under a digest of its settings, and the next
    call reads it instead of computing it again: an interrupted sweep resumes. The digest does not cover the function:
    use another folder after a change to it.

    Args:
        run: Called with one item; returns named JSON values. With `n_jobs` other than 1 it runs in other processes.
        items: The settings, JSON values with names.
        folder: Where finished results are kept; None keeps nothing.
        n_jobs: Processes at once, as in joblib; -1 uses all cores.
        progress: Show a progress bar.
        description: Label of the bar.

    Returns:
        The results as they are read from JSON: tuples become lists; NaN and infinities are kept.

    Raises:
        InvalidInputError: An item or a result is not made of JSON values, or a file of the folder is damaged.

    >>> sweep(lambda item: {"square": item["x"] ** 2}, [{"x": 2}, {"x": 3}])
    [{'square': 4}, {'square': 9}]
    """
    keys = [_encode(item, "item") for item in items]
    results = {key: found for key in keys if (found := _read(folder, key)) is not None}
    missing = {key: item for key, item in zip(keys, items, strict=True) if key not in results}
    finished = track(_stream(run, missing, n_jobs), description, total=len(missing), enabled=progress)
    for key, result in finished:
        text = _encode(result, "result")
        if folder is not None:
            write_bytes(Path(folder) / _file_name(key), text.encode())
        results[key] = json.loads(text)
    return [results[key] for key in keys]


def _stream(run: Callable, missing: Mapping[str, Settings], n_jobs: int) -> Iterable[tuple[str, Settings]]:
    if n_jobs == 1:
        return ((key, run(item)) for key, item in missing.items())
    import joblib

    parallel: Any = joblib.Parallel(n_jobs=n_jobs, return_as="generator_unordered")
    return parallel(joblib.delayed(_labelled)(run, key, item) for key, item in missing.items())


def _labelled(run: Callable, key: str, item: Settings) -> tuple[str, Settings]:
    return key, run(item)


def _encode(value: object, what: str) -> str:
    if not isinstance(value, Mapping):
        raise InvalidInputError(f"a sweep's {what} is a mapping of names to JSON values, not {type(value).__name__}")
    try:
        return json.dumps(dict(value), sort_keys=True)
    except (TypeError, ValueError) as error:
        raise InvalidInputError(
            f"a sweep's {what} must hold JSON values only ({error}); turn tensors into numbers or lists"
        ) from error


def _file_name(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()[:32] + ".json"


def _read(folder: str | Path | None, key: str) -> dict[str, Any] | None:
    path = None if folder is None else Path(folder) / _file_name(key)
    if path is None or not path.exists():
        return None
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InvalidInputError(f"{path} is not a JSON file ({error}); delete it to compute it again") from error
