import numpy as np
import pytest
import torch
from PIL import Image

from assay.core import InvalidInputError, MissingDataError
from assay.data import load_image_folder, load_npz


@pytest.fixture
def random():
    return np.random.default_rng(0)


def save(path, **arrays):
    np.savez(path, **arrays)
    return path


def save_images(folder, pixels):
    folder.mkdir(parents=True)
    for index, image in enumerate(pixels):
        Image.fromarray(image).save(folder / f"{index}.png")


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_npz_round_trip_keeps_floats_as_they_are(tmp_path, random, dtype):
    x, y = random.random((6, 4)).astype(dtype), np.array([0, 1, 2, 0, 1, 2])
    data = load_npz(save(tmp_path / "mine.npz", x=x, y=y))
    assert np.array_equal(data.x_train.numpy(), x)
    assert data.x_train.numpy().dtype == dtype
    assert data.y_train.tolist() == y.tolist()
    assert data.name == "mine"
    assert data.class_names == ("0", "1", "2")
    assert data.x_test.shape == (0, 4)


def test_npz_round_trip_with_a_test_part_and_names(tmp_path, random):
    x, y = random.standard_normal((4, 3)), np.array([0, 1, 0, 1])
    path = save(tmp_path / "a.npz", x_train=x, y_train=y, x_test=x[:2], y_test=y[:2], class_names=["no", "yes"])
    data = load_npz(path, input_range=(-9, 9))
    assert np.array_equal(data.x_test.numpy(), x[:2])
    assert data.class_names == ("no", "yes")
    assert data.input_range == (-9, 9)


@pytest.mark.parametrize("shape", [(5, 8, 9), (5, 8, 9, 1), (5, 8, 9, 3), (5, 3, 8, 9)])
def test_bytes_are_images(tmp_path, random, shape):
    pixels = random.integers(256, size=shape, dtype=np.uint8)
    data = load_npz(save(tmp_path / "a.npz", x=pixels, y=np.arange(5)))
    channels = 3 if 3 in shape else 1
    assert data.x_train.shape == (5, channels, 8, 9)
    first = pixels.reshape(shape)[..., 0] if shape[-1] in (1, 3) else pixels if len(shape) == 3 else pixels[:, 0]
    assert np.array_equal((data.x_train[:, 0] * 255).round().numpy(), first)


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"y": np.arange(3)}, "no x"),
        ({"x_train": np.zeros((3, 2))}, "no y_train"),
        ({"x": np.zeros((3, 2)), "y": np.arange(2)}, "one target for each"),
        ({"x": np.zeros((3, 2)), "y": np.arange(3.0)}, "vector of integers"),
        ({"x": np.zeros((3, 2)), "y": np.array([0, 1, -1])}, "labels from -1"),
        ({"x": np.full((3, 2), 7.0), "y": np.arange(3)}, "input_range"),
        ({"x": np.zeros((3, 2), np.int32), "y": np.arange(3)}, "float32 or float64"),
        ({"x": np.zeros((0, 2)), "y": np.arange(0)}, "non-empty"),
        ({"x": np.full((3, 2), np.nan), "y": np.arange(3)}, "NaN"),
        ({"x": np.array([None, {}]), "y": np.arange(2)}, "plain arrays"),
    ],
)
def test_npz_refuses_what_does_not_fit(tmp_path, arrays, words):
    with pytest.raises(InvalidInputError, match=words):
        load_npz(save(tmp_path / "a.npz", **arrays))


def test_npz_refuses_missing_and_damaged_files(tmp_path, random):
    with pytest.raises(MissingDataError, match=r"no file .*a\.npz"):
        load_npz(tmp_path / "a.npz")
    path = save(tmp_path / "a.npz", x=random.random((50, 20)), y=np.arange(50))
    path.write_bytes(path.read_bytes()[:-400])
    with pytest.raises(InvalidInputError, match="cannot be read"):
        load_npz(path)
    np.save(tmp_path / "b.npy", random.random(3))
    with pytest.raises(InvalidInputError, match="cannot be read"):
        load_npz(tmp_path / "b.npy")


def test_image_folder_round_trip(tmp_path, random):
    cats = random.integers(256, size=(3, 6, 5), dtype=np.uint8)
    dogs = random.integers(256, size=(2, 6, 5), dtype=np.uint8)
    save_images(tmp_path / "pets" / "dog", dogs)
    save_images(tmp_path / "pets" / "cat", cats)
    (tmp_path / "pets" / "cat" / "notes.txt").write_text("not an image")
    data = load_image_folder(tmp_path / "pets")
    assert data.class_names == ("cat", "dog")
    assert data.y_train.tolist() == [0, 0, 0, 1, 1]
    assert np.array_equal((data.x_train[:, 0] * 255).round().numpy(), np.concatenate([cats, dogs]))
    assert len(data.x_test) == 0


def test_image_folder_reads_colour_and_both_parts(tmp_path, random):
    pixels = random.integers(256, size=(4, 6, 5, 3), dtype=np.uint8)
    for part, images in (("train", pixels[:3]), ("test", pixels[3:])):
        save_images(tmp_path / part / "only", images)
    data = load_image_folder(tmp_path)
    assert data.x_train.shape == (3, 3, 6, 5)
    assert np.array_equal((data.x_test[0] * 255).round().numpy(), pixels[3].transpose(2, 0, 1))


def test_one_colour_image_makes_all_rgb(tmp_path, random):
    save_images(tmp_path / "a", random.integers(256, size=(1, 4, 4), dtype=np.uint8))
    save_images(tmp_path / "b", random.integers(256, size=(1, 4, 4, 3), dtype=np.uint8))
    data = load_image_folder(tmp_path)
    assert data.x_train.shape == (2, 3, 4, 4)
    assert torch.equal(data.x_train[0, 0], data.x_train[0, 2])


def test_image_folder_refuses_what_does_not_fit(tmp_path, random):
    with pytest.raises(MissingDataError, match="no folder"):
        load_image_folder(tmp_path / "absent")
    with pytest.raises(InvalidInputError, match="no sub-folders"):
        load_image_folder(tmp_path)
    (tmp_path / "a").mkdir()
    with pytest.raises(InvalidInputError, match="no images"):
        load_image_folder(tmp_path)
    Image.fromarray(random.integers(256, size=(4, 4), dtype=np.uint8)).save(tmp_path / "a" / "1.png")
    Image.fromarray(random.integers(256, size=(5, 4), dtype=np.uint8)).save(tmp_path / "a" / "2.png")
    with pytest.raises(InvalidInputError, match=r"4 x 5 pixels.*4 x 4"):
        load_image_folder(tmp_path)
    (tmp_path / "a" / "2.png").write_bytes(b"torn")
    with pytest.raises(InvalidInputError, match=r"2\.png is no readable image"):
        load_image_folder(tmp_path)


def test_image_folder_refuses_a_class_without_training_images(tmp_path, random):
    pixels = random.integers(256, size=(1, 4, 4), dtype=np.uint8)
    save_images(tmp_path / "train" / "a", pixels)
    save_images(tmp_path / "test" / "b", pixels)
    with pytest.raises(InvalidInputError, match="training part lacks: b"):
        load_image_folder(tmp_path)
