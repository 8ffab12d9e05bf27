"""Samples with their targets, from what their owner keeps them in: tensors, arrays, data sets, loaders."""

from collections.abc import Iterable, Mapping, Sized
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset, TensorDataset, default_collate
from torch.utils.data import Dataset as TorchDataset

from assay.core import InvalidInputError, isolated_rng
from assay.data import Dataset

Pairs = tuple[Tensor, Tensor]
_FORMS = "give (inputs, targets) as tensors, or a DataLoader or Dataset of such pairs"


def as_pairs(data: object, part: Literal["train", "test"]) -> tuple[Pairs, tuple[str, ...]]:
    """Return inputs and targets as two tensors, and notes on how they were read.

    Args:
        data: A pair of tensors, NumPy arrays or lists; a data set of `assay` or PyTorch; a loader, which is read once,
            in its order; or a list of samples, each with its target.
        part: Part of a data set of `assay`.

    Raises:
        InvalidInputError: It is none of these, or cannot be read.
    """
    if isinstance(data, Dataset):
        return _of_dataset(data, part)
    if isinstance(data, TensorDataset):
        return _pair(data.tensors, "the TensorDataset"), ()
    if isinstance(data, DataLoader):
        return _of_loader(data)
    if isinstance(data, TorchDataset):
        return _collated(_items(data)), ()
    if isinstance(data, tuple | list) and len(data) == 2 and not all(_is_sample(entry) for entry in data):
        return _pair(data, "the pair"), ()
    if isinstance(data, tuple | list) and data and all(_is_sample(entry) for entry in data):
        return _collated(data), ()
    what = f"{type(data).__name__} of {len(data)}" if isinstance(data, tuple | list) else type(data).__name__
    keys = f" with {', '.join(map(str, data))}" if isinstance(data, Mapping) else ""
    raise InvalidInputError(f"samples with targets are needed, got {what}{keys}; {_FORMS}")


def _of_dataset(data: Dataset, part: str) -> tuple[Pairs, tuple[str, ...]]:
    x, y = (data.x_train, data.y_train) if part == "train" else (data.x_test, data.y_test)
    if not len(x):
        raise InvalidInputError(f"{data!r} has no test part; leave out test=, or give other samples")
    return (x, y), data.notes


def _is_sample(entry: object) -> bool:
    """Return whether this is one sample with its target, rather than all samples or all targets."""
    return isinstance(entry, tuple) and len(entry) == 2 and np.ndim(entry[1]) == 0


def _pair(parts: Iterable[object], what: str) -> Pairs:
    parts = tuple(parts)
    if len(parts) != 2:
        raise InvalidInputError(f"{what} holds {len(parts)} parts for each sample instead of two; {_FORMS}")
    return _tensor(parts[0], "inputs"), _tensor(parts[1], "targets")


def _tensor(values: object, name: str) -> Tensor:
    """Return values as a dense tensor without a graph."""
    if isinstance(values, np.ma.MaskedArray):
        raise InvalidInputError(f"{name} are a masked array; fill or drop what is masked first")
    if not isinstance(values, Tensor):
        try:
            array = np.asarray(values) if hasattr(values, "__array__") else values
            tensor = torch.as_tensor(np.ascontiguousarray(array) if isinstance(array, np.ndarray) else array)
        except (TypeError, ValueError, RuntimeError) as error:
            kind = (
                f"{type(values).__name__} of {values.dtype}"
                if isinstance(values, np.ndarray)
                else type(values).__name__
            )
            raise InvalidInputError(f"{name} are no array of numbers, but {kind}; {_FORMS}") from error
        return tensor
    if values.layout != torch.strided:
        raise InvalidInputError(f"{name} have the layout {values.layout}; make them dense with .to_dense()")
    return values.detach() if values.requires_grad else values


def _items(data: TorchDataset[Any]) -> Iterable[Any]:
    if isinstance(data, IterableDataset) or not isinstance(data, Sized):
        return data if isinstance(data, Iterable) else [data]
    return (data[index] for index in range(len(data)))


def _collated(samples: Iterable[Any]) -> Pairs:
    """Stack samples in their order."""
    with isolated_rng(0):
        try:
            return _pair(default_collate(list(samples)), "the data set")
        except InvalidInputError:
            raise
        except Exception as error:  # the user's own code: any failure is an answer to show them
            raise InvalidInputError(f"the samples cannot be stacked ({_reason(error)}); {_FORMS}") from error


def _of_loader(loader: DataLoader[Any]) -> tuple[Pairs, tuple[str, ...]]:
    """Read a loader once: its batches one after another."""
    if getattr(loader.sampler, "replacement", False):
        raise InvalidInputError(
            "the loader draws samples with replacement, some more than once; give its data set: loader.dataset"
        )
    with isolated_rng(0):  # a loader that shuffles draws from the global state
        try:
            batches = list(loader)
        except Exception as error:  # the user's own code: any failure is an answer to show them
            raise InvalidInputError(f"the loader cannot be read ({_reason(error)}); {_FORMS}") from error
    if not batches:
        raise InvalidInputError(f"the loader gives no batch; {_FORMS}")
    if not isinstance(batches[0], tuple | list):
        keys = f" with {', '.join(map(str, batches[0]))}" if isinstance(batches[0], Mapping) else ""
        raise InvalidInputError(f"a batch of the loader is a {type(batches[0]).__name__}{keys}; {_FORMS}")
    pairs = [_pair(batch, "a batch of the loader") for batch in batches]
    try:
        x, y = torch.cat([x for x, _ in pairs]), torch.cat([y for _, y in pairs])
    except RuntimeError as error:
        raise InvalidInputError(f"the loader's batches differ in shape ({_reason(error)}); {_FORMS}") from error
    whole = len(loader.dataset) if isinstance(loader.dataset, Sized) else len(x)
    return (x, y), (f"the loader gives {len(x)} of the {whole} samples of its data set",) if len(x) < whole else ()


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {(str(error).strip() or 'no message').splitlines()[0]}"


def beside(model: nn.Module, pairs: Pairs | None) -> Pairs | None:
    """Return inputs and targets on the device of a model's parameters."""
    weight = next(model.parameters(), None)
    if pairs is None or weight is None or weight.device.type == "meta":
        return pairs
    return pairs[0].to(weight.device), pairs[1].to(weight.device)
