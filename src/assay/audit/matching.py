"""Tensors of a checkpoint under the names of a model."""

from collections import Counter
from collections.abc import Iterable, Mapping
from functools import reduce

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from assay.audit.checkpoints import AVERAGE, State
from assay.core import InvalidInputError

# Parts of names that DataParallel, torch.compile and FSDP add wherever they wrap.
_WRAPPERS = {"module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"}
_HOLDERS = {"model", "net", "network"}  # usual names of the network within a training module
_BATCHES = "num_batches_tracked"  # a counter that evaluation does not read
_COUNTERS = {_BATCHES, "total_ops", "total_params"}  # the last two are left by the profiler thop
_UPDATES = "n_averaged"  # of torch.optim.swa_utils.AveragedModel
_COMPUTED = {  # endings of the tensors from which a weight is computed, and what folds them
    ("_orig", "_mask"): "torch.nn.utils.prune.remove(module, name)",
    ("_g", "_v"): "torch.nn.utils.remove_weight_norm(module)",
}
_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)

Names = dict[str, str]  # names without wrappers, and as they are


def match_state(model: nn.Module, state: Mapping[str, Tensor], *, name: str) -> State:
    """Bring the tensors of a checkpoint to a model's names, and note how.

    A prefix that all names share is taken off or put on (``module.``, ``_orig_mod.``, ``model.``); what lies outside
    ``model.``, ``net.`` and ``network.`` is then left out. Tied tensors may appear once. Counters of batches may be
    missing.

    Args:
        model: The model.
        state: Named tensors.
        name: Name of the model's factory in messages.

    Returns:
        The tensors under the model's names, and the notes.

    Raises:
        InvalidInputError: Names, shapes or types differ, and the message lists the first layers that do; or several
            sets of tensors fit.
    """
    expected = model.state_dict(keep_vars=True)
    twins = _twins(expected)
    found, notes = _renamed(expected, twins, state, name)
    if not expected.keys() & found.keys():
        raise InvalidInputError(
            f"the weights do not fit {name}: they are of {_some(found)}, the model's of {_some(expected)}; give the "
            "factory they belong to"
        )
    _check_computed(expected, found)
    notes += _fill(expected, twins, found)
    differences = _differences(expected, found)
    if differences:
        extra = [key for key in found if key not in expected]
        if len(extra) == len(differences) and expected.keys() <= found.keys():
            raise InvalidInputError(
                f"the weights hold {_some(extra)} beside those of {name}; drop {'it' if len(extra) == 1 else 'them'} "
                "from the file, or give the factory that has such layers"
            )
        more = f", and {len(differences) - 3} layers more" if len(differences) > 3 else ""
        raise InvalidInputError(
            f"the weights do not fit {name}: {', '.join(differences[:3])}{more}; give the factory they belong to"
        )
    matched = {key: found[key] for key in expected}
    dtype = precision(expected, matched)
    stored = {value.dtype for value in matched.values() if value.is_floating_point()}
    if dtype is not None and stored != {dtype}:
        notes.append(f"weights stored as {', '.join(sorted(map(str, stored)))} are computed with as {dtype}")
    return State(matched, (*getattr(state, "notes", ()), *notes))


def _check_computed(expected: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> None:
    """Refuse tensors from which pruning or weight normalisation computes a weight that the model holds itself."""
    for (one, other), mend in _COMPUTED.items():
        names = [key.removesuffix(one) for key in found if key.endswith(one) and key not in expected]
        names = [key for key in names if key in expected and key not in found and key + other in found]
        if names:
            raise InvalidInputError(
                f"the weights hold {names[0] + one} and {names[0] + other} in place of {names[0]}; fold them by "
                f"{mend} before saving"
            )


def precision(expected: Mapping[str, Tensor], matched: Mapping[str, Tensor]) -> torch.dtype | None:
    """Return the type that a model takes to hold all weights exactly, None where its own types are the weights'.

    It is float32 at least: in half precision, gradients vanish that attacks need.
    """
    floats = {name: value for name, value in expected.items() if value.is_floating_point()}
    if all(matched[name].dtype == value.dtype for name, value in floats.items()):
        return None
    return reduce(torch.promote_types, {matched[name].dtype for name in floats}, torch.float32)


def _twins(expected: Mapping[str, Tensor]) -> dict[str, list[str]]:
    """Return for each name the names of the same tensor."""
    groups: dict[int, list[str]] = {}
    for name, value in expected.items():
        groups.setdefault(id(value), []).append(name)
    return {name: group for group in groups.values() for name in group}


def _without_wrappers(names: Iterable[str]) -> Names:
    """Return the names by what remains without wrappers; two that become one are two sets of weights."""
    plain: Names = {}
    for name in names:
        short = _plain(name)
        if short in plain:
            raise InvalidInputError(
                f"the weights hold both {plain[short]} and {name}; choose one set with --weights-key and its prefix"
            )
        plain[short] = name
    return plain


def _plain(name: str) -> str:
    return ".".join(part for part in name.split(".") if part not in _WRAPPERS)


def _renamed(
    expected: Mapping[str, Tensor], twins: dict[str, list[str]], state: Mapping[str, Tensor], name: str
) -> tuple[dict[str, Tensor], list[str]]:
    """Return the tensors by the model's names where they are the same but for a prefix, and notes."""
    if expected.keys() == state.keys():
        return dict(state), []
    ours, theirs, notes = _without_wrappers(expected), _without_wrappers(state), []
    if _UPDATES in theirs and _UPDATES not in ours:
        notes.append(f"weights are an average (SWA or EMA) of {int(state[theirs.pop(_UPDATES)])} updates")
    prefix, put_on = _prefix(expected, twins, state, (ours, theirs), name)
    outside = [long for short, long in theirs.items() if not short.startswith(prefix)]
    notes += _outside_note(outside, prefix, name)
    renamed = {put_on + short.removeprefix(prefix): long for short, long in theirs.items() if short.startswith(prefix)}
    changed = [(long, ours[short]) for short, long in renamed.items() if ours.get(short, long) != long]
    if changed:
        notes.append(f"names of the weights are understood: {changed[0][0]} is read as {changed[0][1]}")
    counters = [short for short in renamed if short not in ours and short.split(".")[-1] in _COUNTERS]
    if counters:
        notes.append(f"counters beside the weights are left out: {_some(renamed.pop(short) for short in counters)}")
    return {ours.get(short, short): state[long] for short, long in renamed.items()}, notes


def _prefix(
    expected: Mapping[str, Tensor],
    twins: dict[str, list[str]],
    state: Mapping[str, Tensor],
    names: tuple[Names, Names],
    model: str,
) -> tuple[str, str]:
    """Return the prefix to take off the tensors' names, and the one to put on; both empty where none fits."""
    ours, theirs = names

    def fits(prefix: str, put_on: str) -> bool:
        """Return whether every name has a tensor of its shape, its twin's where it has none."""
        for name in expected:
            at = [prefix + _plain(twin).removeprefix(put_on) for twin in twins[name] if _plain(twin).startswith(put_on)]
            shapes = [state[theirs[place]].shape for place in at if place in theirs]
            counted = name.split(".")[-1] == _BATCHES
            if not (counted and not shapes) and not any(_same_shape(expected[name], shape) for shape in shapes):
                return False
        return True

    taken_off, put_on = _candidates(ours, theirs), _candidates(theirs, ours)
    fitting = [(prefix, "") for prefix in taken_off if fits(prefix, "")]
    fitting = fitting or [("", prefix) for prefix in put_on if fits("", prefix)]
    if len(fitting) > 1:
        places = ", ".join(prefix.rstrip(".") or "no prefix" for prefix, _ in fitting)
        raise InvalidInputError(
            f"several sets of the weights fit {model}, by the prefix of their names: {places}; choose one with "
            f"--weights-key, such as --weights-key {fitting[-1][0].rstrip('.')}"
        )
    return fitting[0] if fitting else (taken_off.most_common(1)[0][0] if taken_off else "", "")


def _candidates(inner: Names, outer: Names) -> Counter[str]:
    """Count the prefixes after which the outer names go on as an inner name."""
    found: Counter[str] = Counter()
    for name in outer:
        parts = name.split(".")
        for start in range(len(parts)):
            if ".".join(parts[start:]) in inner:
                found["".join(f"{part}." for part in parts[:start])] += 1
    return found


def _same_shape(value: Tensor, shape: torch.Size) -> bool:
    return is_lazy(value) or value.shape == shape  # a lazy module takes its shape from the weights


def _outside_note(outside: list[str], prefix: str, name: str) -> list[str]:
    """Say what lies outside the prefix, where it is the usual one of a network within a training module."""
    if not outside:
        return []
    place = prefix.rstrip(".")
    if place.split(".")[-1] not in _HOLDERS or any(AVERAGE.search(other) for other in outside):
        raise InvalidInputError(
            f"{name} has the names of the weights in {place!r}, and others lie outside ({_some(outside)}); give their "
            f"factory, or choose with --weights-key {place}"
        )
    return [f"weights outside {place!r} are left out: {_some(outside)}"]


def _fill(expected: Mapping[str, Tensor], twins: dict[str, list[str]], found: dict[str, Tensor]) -> list[str]:
    """Add what a checkpoint may lack: counters of batches, and tensors tied to others."""
    notes = []
    for name in expected:
        present = [twin for twin in twins[name] if twin in found]
        if any(not torch.equal(found[twin], found[present[0]]) for twin in present[1:]):
            raise InvalidInputError(
                f"{' and '.join(present)} are one tensor in the model, and differ in the weights; give their factory"
            )
        if name not in found and name.split(".")[-1] == _BATCHES:
            found[name] = expected[name].detach().clone()
        elif name not in found and present:
            found[name] = found[present[0]]
            notes.append(f"{name} is tied to {present[0]}, which the weights hold once")
    return notes


def _differences(expected: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> list[str]:
    """Return one phrase for each layer that differs, in the order of the network."""
    layers: dict[str, list[str]] = {}
    for name in (*expected, *(name for name in found if name not in expected)):
        layer = name.rpartition(".")[0]
        if name not in found:
            layers.setdefault(layer, []).append(f"{name} is missing")
        elif name not in expected:
            layers.setdefault(layer, []).append(f"{name} is not in the model")
        elif not _same_shape(expected[name], found[name].shape):
            shapes = f"{tuple(found[name].shape)} but the model {tuple(expected[name].shape)}"
            layers.setdefault(layer, []).append(f"{name} has shape {shapes}")
        elif expected[name].is_floating_point() and found[name].dtype not in _FLOATS:
            layers.setdefault(layer, []).append(f"{name} holds {found[name].dtype} instead of floating-point weights")
    return [problems[0] for problems in layers.values()]


def _some(names: Iterable[str]) -> str:
    names = list(names)
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
