import copy
import gzip

import numpy as np
import pytest
import torch
from PIL import Image

from assay.core import InvalidInputError, MissingDataError
from assay.data import load
from assay.data.idx import read_idx, write_idx


@pytest.fixture
def random():
    return np.random.default_rng(0)


def write_mnist(folder, random, suffix=".gz"):
    folder.mkdir(parents=True)
    arrays = {}
    for part, count in (("train", 20), ("t10k", 10)):
        arrays[part] = random.integers(256, size=(count, 28, 28)), random.permutation(np.arange(count) % 10)
        write_idx(folder / f"{part}-images-idx3-ubyte{suffix}", arrays[part][0])
        write_idx(folder / f"{part}-labels-idx1-ubyte{suffix}", arrays[part][1])
    return arrays


def write_cifar10(folder, random, count=3):
    folder.mkdir(parents=True)
    records = random.integers(256, size=(6, count, 3073), dtype=np.uint8)
    records[:, :, 0] %= 10
    for index in range(5):
        records[index].tofile(folder / f"data_batch_{index + 1}.bin")
    records[5].tofile(folder / "test_batch.bin")
    return records


@pytest.mark.parametrize("suffix", ["", ".gz", ".xz"])
@pytest.mark.parametrize("shape", [(7,), (3, 4, 5), (0, 2)])
def test_idx_round_trip(tmp_path, random, suffix, shape):
    array = random.integers(256, size=shape)
    write_idx(tmp_path / f"array{suffix}", array)
    assert np.array_equal(read_idx(tmp_path / f"array{suffix}"), array)


@pytest.mark.parametrize("folder", ["mnist", "MNIST/raw"])
@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_mnist_is_read_from_either_layout(tmp_path, random, folder, suffix):
    arrays = write_mnist(tmp_path / folder, random, suffix)
    data = load("mnist", tmp_path)
    assert data.x_train.shape == (20, 1, 28, 28)
    assert np.array_equal((data.x_train[:, 0] * 255).round().numpy(), arrays["train"][0])
    assert np.array_equal(data.y_test.numpy(), arrays["t10k"][1])


def test_the_environment_names_the_root(tmp_path, random, monkeypatch):
    write_mnist(tmp_path / "fashion-mnist", random)
    monkeypatch.setenv("ASSAY_DATA", str(tmp_path))
    assert load("fashion-mnist").class_names[8] == "Bag"


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist", "cifar10"])
def test_missing_data_says_where_it_belongs_and_comes_from(tmp_path, monkeypatch, name):
    with pytest.raises(MissingDataError, match=rf"(?s){tmp_path}.*https://"):
        load(name, tmp_path)
    monkeypatch.delenv("ASSAY_DATA", raising=False)
    with pytest.raises(MissingDataError, match="ASSAY_DATA"):
        load(name)


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(InvalidInputError, match="digits, fashion"):
        load("imagenet")


def cut(file):
    file.write_bytes(file.read_bytes()[:-5])


def scribble(file):
    raw = bytearray(file.read_bytes())
    raw[30:60] = b"\xff" * 30
    file.write_bytes(bytes(raw))


def not_gzip(file):
    file.write_bytes(b"not at all")


def short_inside(file):
    file.write_bytes(gzip.compress(gzip.decompress(file.read_bytes())[:-1]))


def no_header(file):
    file.write_bytes(gzip.compress(b"\0\0\x08\x03\0"))


def labels_instead(file):
    write_idx(file, np.zeros(20))


@pytest.mark.parametrize("damage", [cut, scribble, not_gzip, short_inside, no_header, labels_instead])
def test_a_damaged_idx_file_is_refused(tmp_path, random, damage):
    write_mnist(tmp_path / "mnist", random)
    damage(tmp_path / "mnist" / "train-images-idx3-ubyte.gz")
    with pytest.raises(InvalidInputError, match="train-images"):
        load("mnist", tmp_path)


@pytest.mark.parametrize("folder", ["cifar10", "cifar-10-batches-bin"])
def test_cifar10_is_read_from_the_binary_version(tmp_path, random, folder):
    records = write_cifar10(tmp_path / folder, random)
    data = load("cifar10", tmp_path)
    assert data.x_train.shape == (15, 3, 32, 32)
    assert data.y_test.tolist() == records[5, :, 0].tolist()
    pixels = (data.x_train * 255).round().byte().numpy().reshape(15, -1)
    assert np.array_equal(pixels, records[:5, :, 1:].reshape(15, -1))


def test_a_cut_cifar10_batch_is_refused(tmp_path, random):
    write_cifar10(tmp_path / "cifar10", random)
    cut(tmp_path / "cifar10" / "data_batch_3.bin")
    with pytest.raises(InvalidInputError, match="data_batch_3"):
        load("cifar10", tmp_path)


def test_an_incomplete_cifar10_names_the_missing_file(tmp_path, random):
    write_cifar10(tmp_path / "cifar10", random)
    (tmp_path / "cifar10" / "test_batch.bin").unlink()
    with pytest.raises(MissingDataError, match="test_batch"):
        load("cifar10", tmp_path)


def test_the_pickles_of_cifar10_are_refused(tmp_path):
    (tmp_path / "cifar-10-batches-py").mkdir()
    (tmp_path / "cifar-10-batches-py" / "data_batch_1").write_bytes(b"")
    with pytest.raises(InvalidInputError, match="binary version"):
        load("cifar10", tmp_path)


def test_a_damaged_mosaic_is_refused(tmp_path):
    folder = tmp_path / "cifar10"
    folder.mkdir()
    np.savez(folder / "labels.npz", y_train=np.zeros(5000))
    (folder / "train_00.webp").write_bytes(b"RIFF")
    with pytest.raises(InvalidInputError, match="train_00"):
        load("cifar10", tmp_path)
    Image.new("RGB", (32, 32)).save(folder / "train_00.webp", lossless=True)
    with pytest.raises(InvalidInputError, match="500 rows"):
        load("cifar10", tmp_path)


def mosaics(folder, random):
    """Write tiles whose every pixel tells its number modulo 251, without loss; return the labels."""
    folder.mkdir(parents=True)
    for split, count in (("train", 10), ("test", 2)):
        for index in range(count):
            shade = ((5000 * index + np.arange(5000)) % 251).astype(np.uint8).reshape(500, 1, 10, 1)
            pixels = np.broadcast_to(shade, (500, 32, 10, 32)).reshape(16000, 320)
            Image.fromarray(pixels).convert("RGB").save(folder / f"{split}_{index:02d}.webp", "PNG", compress_level=1)
    classes = {f"y_{split}": random.integers(10, size=n) for split, n in (("train", 50000), ("test", 10000))}
    np.savez(folder / "labels.npz", **classes)
    return classes


def test_mosaics_are_decoded_a_part_at_a_time(tmp_path, random):
    classes = mosaics(tmp_path / "cifar10", random)
    data = load("cifar10", tmp_path)
    assert np.array_equal(data.y_train.numpy(), classes["y_train"])
    assert "x_train" not in vars(data)
    shades = data.x_test[:, 0, 5, 7].mul(255).round().long()
    assert torch.equal(shades, torch.arange(10000) % 251)
    assert torch.equal(data.x_test[:, 1, 31, 0], data.x_test[:, 0, 0, 31])
    assert "x_train" not in vars(data)
    assert data.x_test is data.x_test


def test_images_stay_bytes_until_they_are_asked_for(tmp_path, random):
    arrays = write_mnist(tmp_path / "mnist", random)
    data = load("mnist", tmp_path)
    assert "x_train" not in vars(data)
    copied = copy.deepcopy(data)
    assert torch.equal(copied.x_train, data.x_train)
    assert np.array_equal((data.x_train[:, 0] * 255).round().numpy(), arrays["train"][0])
    assert "x_test" not in vars(data)
    with pytest.raises(AttributeError, match="no attribute 'x_valid'"):
        data.x_valid  # noqa: B018


def test_labels_that_do_not_fit_are_refused_with_their_images(tmp_path, random):
    write_mnist(tmp_path / "mnist", random)
    write_idx(tmp_path / "mnist" / "t10k-labels-idx1-ubyte.gz", np.zeros(3))
    data = load("mnist", tmp_path)
    with pytest.raises(InvalidInputError, match="3"):
        data.x_test  # noqa: B018


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
def test_the_real_sets_have_their_published_statistics(data_root, name):
    data = load(name, data_root)
    assert data.x_train.shape == (60000, 1, 28, 28)
    assert data.x_test.shape == (10000, 1, 28, 28)
    mean, std = {"mnist": (0.1307, 0.3081), "fashion-mnist": (0.2860, 0.3530)}[name]
    assert float(data.x_train.mean()) == pytest.approx(mean, abs=1e-4)
    assert float(data.x_train.std()) == pytest.approx(std, abs=1e-4)


def test_the_real_cifar10_has_its_published_statistics(data_root):
    data = load("cifar10", data_root)
    assert data.x_train.shape == (50000, 3, 32, 32)
    assert data.y_train.bincount().tolist() == [5000] * 10
    assert data.y_test.bincount().tolist() == [1000] * 10
    expected = torch.tensor([0.4914, 0.4822, 0.4465])
    torch.testing.assert_close(data.x_train.mean((0, 2, 3)), expected, atol=1e-4, rtol=0)
