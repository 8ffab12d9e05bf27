"""Groups of a subject's training and held-out samples."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, SequentialSampler

from assay.data import Dataset

_NAMES = {"train": "groups", "test": "test_groups"}


def take_groups(subject: Any, put: Callable[[str, object], None]) -> Iterator[str]:
    """Take the groups that a data set brings along, and yield what is wrong with a loader's order.

    Args:
        subject: A subject whose data are as they were given.
        put: Sets one of its fields.
    """
    for part, name in _NAMES.items():
        given = getattr(subject, part)
        shuffled = isinstance(given, DataLoader) and not isinstance(given.sampler, SequentialSampler)
        if shuffled and getattr(subject, name) is not None:
            yield f"{name} follow the order of the samples, which the loader shuffles; give its data set as {part}"
        if isinstance(given, Dataset) and getattr(subject, name) is None:
            put(name, getattr(given, f"groups_{part}"))


def check_groups(subject: Any, put: Callable[[str, object], None]) -> Iterator[str]:
    """Bring the groups to one form, and yield what is wrong with them.

    Args:
        subject: A subject whose data are pairs of tensors.
        put: Sets one of its fields.
    """
    for part, name in _NAMES.items():
        given, pairs = getattr(subject, name), getattr(subject, part)
        if given is None:
            continue
        groups = _whole_numbers(given)
        if groups is None:
            yield f"{name} must be a vector of whole numbers; number the groups from 0"
        elif pairs is None or len(groups) != len(pairs[0]):
            samples = "training sample" if part == "train" else "held-out sample"
            yield f"{name} must hold one entry for each {samples}; align them with {part}"
        else:
            put(name, groups)


def _whole_numbers(given: object) -> Tensor | None:
    try:
        groups = torch.as_tensor(given)
    except (TypeError, ValueError, RuntimeError):  # text, for example
        return None
    is_vector = groups.ndim == 1 and not groups.is_floating_point() and not groups.is_complex()
    return groups if is_vector else None
