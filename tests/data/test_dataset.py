import dataclasses

import pytest
import torch

from assay.core import InvalidInputError, seeded
from assay.data import Dataset, balanced_subset, odd_even


def coin(**changes):
    fields = {
        "name": "coin",
        "x_train": torch.rand(4, 2, generator=seeded(0)),
        "y_train": torch.tensor([0, 1, 0, 1]),
        "x_test": torch.rand(3, 2, generator=seeded(1)),
        "y_test": torch.tensor([0, 1, 1]),
        "class_names": ("heads", "tails"),
    }
    return Dataset(**(fields | changes))


def test_holds_what_it_was_given():
    data = coin()
    assert data.n_classes == 2
    assert repr(data) == "Dataset('coin': 4 training and 3 test samples of 2, 2 classes)"
    with pytest.raises(dataclasses.FrozenInstanceError):
        data.name = "dice"


def test_keeps_labels_as_int64_and_samples_without_a_graph():
    data = coin(x_train=torch.rand(4, 2, requires_grad=True), y_train=torch.tensor([0, 1, 0, 1], dtype=torch.int32))
    assert data.y_train.dtype == torch.int64
    assert not data.x_train.requires_grad


def test_may_lack_a_test_part():
    empty = coin(x_test=torch.zeros(0, 2), y_test=torch.zeros(0, dtype=torch.int64))
    assert len(empty.x_test) == 0


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"x_train": torch.full((4, 2), 1.5)}, "outside its input_range"),
        ({"x_test": torch.full((3, 2), -0.5)}, "outside its input_range"),
        ({"x_train": torch.full((4, 2), torch.nan)}, "NaN"),
        ({"y_train": torch.tensor([0, 1, 2, 1])}, "labels from 0 to 2"),
        ({"x_train": torch.zeros(0, 2), "y_train": torch.zeros(0, dtype=torch.int64)}, "non-empty"),
        ({"x_test": torch.zeros(3, 5)}, "one shape"),
        ({"class_names": ()}, "name every class"),
    ],
)
def test_refuses_what_does_not_fit(changes, words):
    with pytest.raises(InvalidInputError, match=words):
        coin(**changes)


def test_odd_even_is_the_parity_of_the_label():
    data = coin(y_train=torch.tensor([0, 3, 2, 1]), class_names=("a", "b", "c", "d"))
    view = odd_even(data)
    assert view.y_train.tolist() == [0, 1, 0, 1]
    assert view.n_classes == 2
    assert torch.equal(view.x_train, data.x_train)


def test_balanced_subset_takes_distinct_samples_of_every_class():
    y = torch.randint(3, (60,), generator=seeded(0))
    x = torch.arange(60.0)[:, None]
    kept, classes = balanced_subset(x, y, 5, generator=seeded(1))
    assert classes.bincount().tolist() == [5, 5, 5]
    assert len(kept.unique()) == 15
    assert torch.equal(y[kept.flatten().long()], classes)
    again, _ = balanced_subset(x, y, 5, generator=seeded(1))
    assert torch.equal(kept, again)
    other, _ = balanced_subset(x, y, 5, generator=seeded(2))
    assert not torch.equal(kept, other)


def test_balanced_subset_without_generator_takes_the_first():
    x = torch.arange(6.0)[:, None]
    kept, _ = balanced_subset(x, torch.tensor([0, 0, 1, 0, 1, 1]), 2)
    assert kept.flatten().tolist() == [0, 1, 2, 4]


@pytest.mark.parametrize("count", [0, 3])
def test_balanced_subset_refuses_impossible_counts(count):
    with pytest.raises(InvalidInputError):
        balanced_subset(torch.zeros(4, 1), torch.tensor([0, 0, 1, 1]), count)
