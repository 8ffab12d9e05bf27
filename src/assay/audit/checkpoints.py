"""Checkpoints: named tensors from files, read without running code, and never one of several sets in silence."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TypeGuard

from torch import Tensor

from assay.audit.weight_files import CONVERT, INDEX, check_contents, inside, read_file, read_shards
from assay.core import InvalidInputError

AVERAGE = re.compile(r"(?<![a-z])(ema|swa)(?![a-z])|averag|shadow", re.IGNORECASE)
_DEEPEST = 6  # levels of a checkpoint at which a state dict may lie


class State(dict[str, Tensor]):
    """Named tensors of a network.

    Attributes:
        notes: How they were read where that could be done in another way.
    """

    def __init__(self, tensors: Mapping[str, Tensor], notes: tuple[str, ...] = ()) -> None:
        super().__init__(tensors)
        self.notes = notes


def load_state(path: Path, key: str | None = None) -> State:
    """Read a state dict from ``.safetensors``, or from a PyTorch file that loads without running code.

    A checkpoint that holds one state dict among other things (``state_dict``, ``model``, ...) is understood; one that
    holds several, as raw and averaged weights, is refused unless ``key`` names one of them.

    Args:
        path: The file; for weights in several files, their index (``model.safetensors.index.json``).
        key: The state dict's place in the checkpoint, such as ``"state_dict_ema"``, with full stops between levels;
            or a prefix of the tensors' names.

    Raises:
        MissingDataError: There is no such file.
        InvalidInputError: Reading it would run code, or it is damaged, larger than what is read (see
            `assay.data.limits`), or holds no named tensors, or several sets.
    """
    if path.is_dir():
        inside = ", ".join(sorted(entry.name for entry in path.iterdir() if entry.is_file())[:6]) or "no files"
        raise InvalidInputError(f"{path} is a folder ({inside}); give the file of the weights in it")
    if path.name.endswith(INDEX):
        loaded, notes = read_shards(path), [f"weights are read from the files that {path.name} lists"]
    else:
        loaded, notes = read_file(path), []
    check_contents(loaded, path)
    if key is not None:
        return State(*_named_set(loaded, key, path, notes))
    sets = dict(_state_dicts(loaded)) or dict(_tensors_among_others(loaded))
    if not sets:
        raise InvalidInputError(f"{path} holds no state dict (names and tensors); {CONVERT}")
    rivals = [*sets, *(place for place in _averages(loaded) if not any(_related(place, other) for other in sets))]
    if len(rivals) > 1:
        averaged = [place for place in rivals if AVERAGE.search(place)]
        likely = next((place for place in averaged if place in sets), rivals[0])
        released = " (averaged weights, EMA or SWA, are usually what is released)" if averaged else ""
        raise InvalidInputError(
            f"{path} holds several sets of weights: {', '.join(rivals)}; choose one with --weights-key, such as "
            f"--weights-key {likely}{released}"
        )
    ((place, tensors),) = sets.items()
    return State(tensors, (*notes, *_said(loaded, place, path)))


def _is_state(value: object) -> TypeGuard[Mapping[str, object]]:
    """Return whether this maps names to tensors, with arrays among them that can be weights."""
    if not isinstance(value, Mapping) or not all(isinstance(name, str) for name in value):
        return False
    entries = [entry for name, entry in value.items() if not name.endswith("_extra_state")]
    return all(isinstance(entry, Tensor) for entry in entries) and any(map(_is_array, entries))


def _is_array(value: object) -> bool:
    return isinstance(value, Tensor) and value.is_floating_point() and value.ndim > 0


def _state_dicts(value: object, place: str = "", depth: int = _DEEPEST) -> Iterator[tuple[str, dict[str, Tensor]]]:
    """Yield each state dict in a checkpoint by its place, without the optimizer's."""
    if _is_state(value):
        yield place, _tensors(value)
    elif depth:
        for where, inner in inside(value, place):
            if "optim" not in where.lower():
                yield from _state_dicts(inner, where, depth - 1)


def _tensors_among_others(value: object) -> Iterator[tuple[str, dict[str, Tensor]]]:
    """Yield the tensors of a checkpoint that holds them beside other things, without a state dict."""
    if isinstance(value, Mapping) and any(map(_is_array, value.values())):
        yield "", {str(name): entry for name, entry in value.items() if isinstance(entry, Tensor)}


def _averages(value: object, place: str = "") -> Iterator[str]:
    """Yield the places of averaged weights, also where they are a list without names."""
    for where, inner in inside(value, place):
        if AVERAGE.search(where) and _holds_weights(inner):
            yield where
        else:
            yield from _averages(inner, where)


def _holds_weights(value: object) -> bool:
    return _is_array(value) or any(_holds_weights(inner) for _, inner in inside(value, ""))


def _related(place: str, other: str) -> bool:
    """Return whether one place lies within the other."""
    return f"{place}.".startswith(f"{other}.") or f"{other}.".startswith(f"{place}.") or not other


def _tensors(state: Mapping[str, object]) -> dict[str, Tensor]:
    return {name: value for name, value in state.items() if isinstance(value, Tensor)}


def _said(loaded: object, place: str, path: Path) -> list[str]:
    """Say where in a checkpoint the weights were, and what lies beside them."""
    if not isinstance(loaded, Mapping):
        return []
    beside = [str(name) for name, value in loaded.items() if not _lies_in(name, value, place)]
    if not place and not beside:
        return []
    left_out = f"; left out: {', '.join(beside[:6])}{', ...' if len(beside) > 6 else ''}" if beside else ""
    return [f"weights are read from {repr(place) if place else 'the tensors'} of {path.name}{left_out}"]


def _lies_in(name: object, value: object, place: str) -> bool:
    return _related(str(name), place) if place else isinstance(value, Tensor) or str(name).endswith("_extra_state")


def _named_set(loaded: object, key: str, path: Path, notes: list[str]) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """Return the state dict at a place; what remains of the key in a state dict is a prefix of its names."""
    found, rest = loaded, key
    while rest and not _is_state(found):
        step = next(((name, inner) for name, inner in inside(found, "") if f"{rest}.".startswith(f"{name}.")), None)
        if step is None:
            break
        found, rest = step[1], rest[len(step[0]) + 1 :]
    if not _is_state(found):
        places = ", ".join(place for place, _ in _state_dicts(loaded)) or "no state dict"
        raise InvalidInputError(f"{path} holds no state dict at {key!r}; it holds {places}")
    tensors = _tensors(found)
    if rest:
        prefixes = dict.fromkeys(name.split(".")[0] for name in tensors)
        tensors = {
            name.removeprefix(f"{rest}."): value for name, value in tensors.items() if name.startswith(f"{rest}.")
        }
        if not tensors:
            raise InvalidInputError(f"{path} holds no weights at {key!r}; their names begin with {', '.join(prefixes)}")
    return tensors, (*notes, f"weights are read from {key!r} of {path.name}, as --weights-key says")
