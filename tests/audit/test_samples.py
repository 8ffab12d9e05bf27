"""Samples with targets from what their owner keeps them in: the same two tensors, or a sentence."""

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, IterableDataset, TensorDataset, WeightedRandomSampler
from torch.utils.data import Dataset as TorchDataset

from assay.audit.samples import as_pairs
from assay.core import InvalidInputError, seeded
from assay.data import Dataset

X = torch.rand(10, 4, generator=seeded(0))
Y = torch.arange(10) % 3


class OwnDataset(TorchDataset):
    def __init__(self, items):
        self.items = items

    def __len__(self):
        return len(self.items)

    def __getitem__(self, index):
        return self.items[index]


class Stream(IterableDataset):
    def __iter__(self):
        return iter(zip(X, Y, strict=True))


ITEMS = [(x, int(y)) for x, y in zip(X, Y, strict=True)]


@pytest.mark.parametrize(
    "data",
    [
        (X, Y),
        [X, Y],
        (X.clone().requires_grad_(), Y),
        (X.numpy(), Y.numpy()),
        (X.numpy()[::-1][::-1], Y.numpy()[::-1][::-1]),
        (X.tolist(), Y.tolist()),
        (X.to_sparse().to_dense(), Y),
        ITEMS,
        tuple((x.numpy(), np.int64(y)) for x, y in ITEMS),
        TensorDataset(X, Y),
        OwnDataset(ITEMS),
        OwnDataset([(x.numpy(), y) for x, y in ITEMS]),
        Stream(),
        DataLoader(TensorDataset(X, Y), batch_size=3),
        DataLoader(OwnDataset(ITEMS), batch_size=4),
        Dataset("d", X, Y, X[:0], Y[:0], class_names=("a", "b", "c")),
    ],
)
def test_what_holds_the_samples_makes_no_difference(data):
    (x, y), notes = as_pairs(data, "train")
    torch.testing.assert_close(x, X, check_dtype=False)
    assert y.tolist() == Y.tolist()
    assert not x.requires_grad
    assert notes == ()


def test_a_shuffling_loader_keeps_samples_and_targets_together_and_the_global_state():
    before = torch.get_rng_state()
    (x, y), _ = as_pairs(DataLoader(TensorDataset(X, Y), batch_size=4, shuffle=True), "train")
    assert torch.equal(torch.get_rng_state(), before)
    order = [int((row == X).all(1).nonzero()) for row in x]
    assert sorted(order) == list(range(10))
    assert y.tolist() == Y[order].tolist()


def test_samples_that_a_loader_leaves_out_are_counted():
    (x, _), notes = as_pairs(DataLoader(TensorDataset(X, Y), batch_size=4, drop_last=True), "train")
    assert len(x) == 8
    assert notes == ("the loader gives 8 of the 10 samples of its data set",)


def test_a_data_set_of_assay_gives_the_part_and_its_notes():
    data = Dataset("d", X, Y, X[:2], Y[:2], class_names=("a", "b", "c"), notes=("as bytes",))
    (x, y), notes = as_pairs(data, "test")
    assert (len(x), y.tolist(), notes) == (2, [0, 1], ("as bytes",))
    without = Dataset("d", X, Y, X[:0], Y[:0], class_names=("a", "b", "c"))
    with pytest.raises(InvalidInputError, match="has no test part; leave out test="):
        as_pairs(without, "test")


def broken_item():
    data = OwnDataset(ITEMS)
    data.items = [*ITEMS, None]
    return data


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (X, "got Tensor; give"),
        ((X, Y, Y), "got tuple of 3; give"),
        ({"x": X, "y": Y}, "got dict with x, y; give"),
        ("data.npz", "got str; give"),
        ((), "got tuple of 0; give"),
        (TensorDataset(X, Y, Y), "the TensorDataset holds 3 parts for each sample instead of two"),
        (DataLoader(TensorDataset(X), batch_size=5), "a batch of the loader holds 1 parts"),
        (DataLoader(OwnDataset([{"x": x, "y": y} for x, y in ITEMS])), "a batch of the loader is a dict with x, y"),
        (DataLoader(TensorDataset(X[:0], Y[:0])), "gives no batch"),
        (DataLoader(TensorDataset(X, Y), batch_size=None), "batches differ in shape"),
        (DataLoader(OwnDataset(ITEMS), sampler=WeightedRandomSampler([1.0] * 10, 10)), r"replacement.*loader\.dataset"),
        (broken_item(), "the samples cannot be stacked"),
        (OwnDataset([(x[: 1 + y], y) for x, y in ITEMS]), "the samples cannot be stacked"),
        ((np.array([{}, {}]), Y[:2]), "inputs are no array of numbers, but ndarray of object"),
        ((X, ["a"] * 10), "targets are no array of numbers, but list"),
        ((np.ma.masked_less(X.numpy(), 0.5), Y), "inputs are a masked array"),
        ((X.to_sparse(), Y), r"inputs have the layout torch.sparse_coo; make them dense with \.to_dense"),
    ],
)  # fmt: skip
def test_what_holds_no_pairs_is_refused_in_a_sentence(data, message):
    with pytest.raises(InvalidInputError, match=message):
        as_pairs(data, "train")
