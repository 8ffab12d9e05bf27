import hashlib
from pathlib import Path

import pytest
import torch
from sklearn.datasets import load_digits

import assay.data.embedded
from assay.data import load, names

SIZES = {
    "breast-cancer": ((426, 30), (143, 30), 2),
    "digits": ((1347, 1, 8, 8), (450, 1, 8, 8), 10),
    "fashion": ((2000, 1, 28, 28), (500, 1, 28, 28), 10),
    "iris": ((112, 4), (38, 4), 3),
    "wine": ((133, 13), (45, 13), 3),
}


@pytest.mark.parametrize("name", SIZES)
def test_has_the_stated_size_type_and_range(name):
    data = load(name)
    train, test, n_classes = SIZES[name]
    assert data.x_train.shape == train
    assert data.x_test.shape == test
    assert data.x_train.dtype == data.x_test.dtype == torch.float32
    assert data.y_train.dtype == data.y_test.dtype == torch.int64
    assert data.n_classes == n_classes
    assert data.input_range == (0.0, 1.0)
    assert data.x_train.min() == 0
    assert data.x_train.max() == 1


@pytest.mark.parametrize("name", SIZES)
def test_every_load_gives_the_same(name):
    first, second = load(name), load(name)
    assert torch.equal(first.x_train, second.x_train)
    assert torch.equal(first.y_test, second.y_test)


def bunch_shares(bunch):
    return (torch.from_numpy(bunch.target).bincount() / len(bunch.target)).tolist()


def test_digits_are_those_of_scikit_learn():
    data, bunch = load("digits"), load_digits()
    ours = sorted(map(tuple, (torch.cat([data.x_train, data.x_test]).flatten(1) * 16).tolist()))
    assert ours == sorted(map(tuple, bunch.data.tolist()))
    assert data.y_test.bincount().tolist() == pytest.approx(
        [len(data.y_test) * share for share in bunch_shares(bunch)], abs=1
    )


def test_fashion_is_balanced_and_in_the_order_of_its_hashes():
    data = load("fashion")
    assert data.y_train.bincount().tolist() == [200] * 10
    assert data.y_test.bincount().tolist() == [50] * 10
    hashes = [hashlib.sha256((x * 255).round().byte().numpy().tobytes()).hexdigest() for x in data.x_train]
    assert hashes == sorted(hashes)
    # Spread over the classes: each tenth of the order holds every class.
    assert all(len(part.unique()) == 10 for part in data.y_train.chunk(10))


def test_fashion_is_a_part_of_fashion_mnist(data_root):
    whole, part = load("fashion-mnist", data_root), load("fashion")
    labels = {x.numpy().tobytes(): int(y) for x, y in zip(whole.x_test, whole.y_test, strict=True)}
    assert [labels[x.numpy().tobytes()] for x in part.x_test] == part.y_test.tolist()


def test_fashion_stays_small_and_keeps_its_licence():
    folder = Path(assay.data.embedded.__file__).parent / "embedded"
    assert sum(file.stat().st_size for file in folder.iterdir()) < 1_000_000
    assert "Zalando SE" in (folder / "LICENSE-fashion-mnist").read_text(encoding="utf-8")


def test_names_are_those_that_load():
    assert set(SIZES) | {"mnist", "fashion-mnist", "cifar10"} == set(names())
