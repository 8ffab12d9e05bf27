from zipfile import ZipFile

import numpy as np
import pytest

from assay.core import InvalidInputError, MissingDataError
from assay.data import load_npz


@pytest.fixture
def random():
    return np.random.default_rng(0)


def save(path, **arrays):
    np.savez(path, **arrays)
    return path


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
        ({"x": np.array([None, {}]), "y": np.arange(2)}, "x in .* plain array .it holds Python objects"),
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


X = np.linspace(0, 1, 12).reshape(6, 2)
Y = np.array([0, 1, 2, 0, 1, 2])
BYTES = np.arange(6 * 4 * 5 * 3, dtype=np.uint8).reshape(6, 4, 5, 3)


@pytest.mark.parametrize("part", ["val", "valid", "validation", "dev"])
def test_a_validation_part_is_the_held_out_part_where_there_is_no_test_part(tmp_path, part):
    arrays = {"x_train": X, "y_train": Y, f"x_{part}": X[:2], f"y_{part}": Y[:2]}
    data = load_npz(save(tmp_path / "a.npz", **arrays))
    assert data.y_test.tolist() == [0, 1]
    assert data.notes == (f"the held-out part is x_{part}, y_{part}",)
    data = load_npz(save(tmp_path / "a.npz", **arrays, x_test=X[:3], y_test=Y[:3], weights=X))
    assert data.y_test.tolist() == [0, 1, 2]
    assert data.notes == (f"arrays of a.npz are left out: x_{part}, y_{part}, weights",)


def test_a_test_part_without_labels_is_named_as_left_out(tmp_path):
    data = load_npz(save(tmp_path / "a.npz", x=X, y=Y, x_test=X))
    assert len(data.x_test) == 0
    assert data.notes == ("arrays of a.npz are left out: x_test",)


@pytest.mark.parametrize("names", [("X", "Y"), ("images", "labels"), ("data", "targets"), ("arr_0", "arr_1")])
def test_other_names_are_listed_and_never_taken_for_samples(tmp_path, names):
    path = save(tmp_path / "a.npz", **dict(zip(names, (X, Y), strict=True)))
    with pytest.raises(InvalidInputError, match=rf"holds {names[0]}, {names[1]} but no x; save it with numpy\.savez"):
        load_npz(path)


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (Y[:, None], Y),
        (Y.astype(np.uint8), Y),
        (Y.astype(">i2"), Y),
        (Y == 1, (Y == 1).astype(int)),
    ],
)
def test_labels_of_any_integer_type_are_a_vector_of_integers(tmp_path, labels, expected):
    assert load_npz(save(tmp_path / "a.npz", x=X, y=labels)).y_train.tolist() == expected.tolist()


@pytest.mark.parametrize("kind", [str, bytes])
def test_names_as_labels_are_numbered_in_the_order_of_class_names(tmp_path, kind):
    names = ("dog", "ant", "cat")
    labels = np.array([kind(names[label], "ascii") if kind is bytes else names[label] for label in Y])
    data = load_npz(save(tmp_path / "a.npz", x=X, y=labels, class_names=names))
    assert (data.y_train.tolist(), data.class_names) == (Y.tolist(), names)
    assert data.notes == ("labels are names, numbered in the order of class_names",)
    with pytest.raises(InvalidInputError, match=r"names \(ant, cat, dog\), unnumbered; add class_names"):
        load_npz(save(tmp_path / "b.npz", x=X, y=labels))
    with pytest.raises(InvalidInputError, match=r"names \(cat\), which class_names lacks"):
        load_npz(save(tmp_path / "c.npz", x=X, y=labels, class_names=names[:2]))


@pytest.mark.parametrize(
    ("labels", "mend"),
    [
        (np.eye(3)[Y], r"one-hot, save y\.argmax\(1\)"),
        (Y.astype(np.float32), r"save y\.astype\('int64'\)"),
        (Y + 0.5, r"regression.*subject\(\)"),
        (np.array(3), "one for each sample"),
        (np.stack([Y, Y], 1), "one number for each sample"),
        (2 * (Y == 1) - 1, r"from -1 to 1.*save \(y \+ 1\) // 2"),
        (Y - 7, "from -7 to -5.*relabel the classes from 0"),
    ],
)
def test_labels_that_are_no_class_indices_are_refused_with_their_mend(tmp_path, labels, mend):
    with pytest.raises(InvalidInputError, match=mend):
        load_npz(save(tmp_path / "a.npz", x=X, y=labels))


def test_labels_that_count_from_1_are_refused_or_said(tmp_path):
    with pytest.raises(InvalidInputError, match=r"from 1 to 3 for 3 class_names.*save y - 1"):
        load_npz(save(tmp_path / "a.npz", x=X, y=Y + 1, class_names=["a", "b", "c"]))
    data = load_npz(save(tmp_path / "a.npz", x=X, y=Y + 1))
    assert data.y_train.tolist() == (Y + 1).tolist()
    assert data.notes == ("no sample has label 0; if the labels of a.npz count from 1, save y - 1",)
    with pytest.raises(InvalidInputError, match="labels from 0 to 2, but there are 2 class_names"):
        load_npz(save(tmp_path / "a.npz", x=X, y=Y, class_names=["a", "b"]))


@pytest.mark.parametrize(
    ("samples", "expected", "said"),
    [
        (BYTES, BYTES.transpose(0, 3, 1, 2) / 255, "(n, 4, 5, 3) are read as images of shape (n, 3, 4, 5)"),
        (BYTES.transpose(0, 3, 1, 2), BYTES.transpose(0, 3, 1, 2) / 255, "(n, 3, 4, 5) are read as images, divided"),
        (BYTES[..., 0], BYTES[:, None, :, :, 0] / 255, "(n, 4, 5) are read as images of shape (n, 1, 4, 5)"),
        (X.astype(np.float16), X.astype(np.float16), "float16 samples are read as float32"),
    ],
)
def test_bytes_and_short_floats_are_understood_and_said(tmp_path, samples, expected, said):
    data = load_npz(save(tmp_path / "a.npz", x=samples, y=Y))
    np.testing.assert_allclose(data.x_train.numpy(), expected, rtol=1e-6)
    assert len(data.notes) == 1
    assert said in data.notes[0]


def test_floats_keep_their_values_and_axes_in_any_byte_order(tmp_path):
    images = BYTES / 255
    for samples in (images, images.astype(">f4"), np.asfortranarray(images)):
        data = load_npz(save(tmp_path / "a.npz", x=samples, y=Y))
        np.testing.assert_allclose(data.x_train.numpy(), images, rtol=1e-6)
        assert ["its last axis looks like channels" in note for note in data.notes] == [True]


@pytest.mark.parametrize(
    ("samples", "words"),
    [
        (BYTES[:, :3, :, :3], r"\(6, 3, 5, 3\): both its second and its last axis could be 1 or 3 channels"),
        (BYTES[:, :, :, :2], r"neither its second nor its last axis could be 1 or 3 channels"),
        (
            BYTES[:, 0, :, 0],
            r"bytes of shape \(6, 5\), and bytes are read as images; save x\.astype\('float32'\) / 255",
        ),
        (BYTES % 2, r"all 0 or 1, where 255 is read as white"),
        (BYTES.astype(np.uint16), r"uint16.*divide pixels by the largest value of their depth"),
        (X > 0.5, r"bool.*save x\.astype\('float32'\)"),
        (X + 0j, "complex128.*convert them"),
        (X[:, 0], r"shape \(6,\).*x\[:, None\]"),
        (np.array(1.0), r"shape \(\)"),
    ],
)
def test_samples_without_a_certain_meaning_are_refused(tmp_path, samples, words):
    with pytest.raises(InvalidInputError, match=words):
        load_npz(save(tmp_path / "a.npz", x=samples, y=Y))


def test_class_names_that_are_no_names_are_refused(tmp_path):
    for names in (np.array("ab"), np.array([["a"], ["b"]]), np.array([0.5, 1.5])):
        with pytest.raises(InvalidInputError, match=r"class_names in .* one text for each class"):
            load_npz(save(tmp_path / "a.npz", x=X, y=Y, class_names=names))
    with pytest.raises(InvalidInputError, match=r"class_names in .* plain array"):
        load_npz(save(tmp_path / "a.npz", x=X, y=Y, class_names=np.array(["a", None])))


def test_members_that_are_no_arrays_are_refused(tmp_path):
    with ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("x.npy", "no array")
        archive.writestr("y.npy", "no array")
    with pytest.raises(InvalidInputError, match=r"x in .* cannot be read as a plain array"):
        load_npz(tmp_path / "a.npz")


@pytest.mark.parametrize(
    ("labels", "mend"),
    [(Y + 10**12, r"numpy\.unique\(y, return_inverse=True\)"), (Y.astype(str), r"numbers as text.*astype\('int64'\)")],
)
def test_labels_that_number_no_classes_are_refused(tmp_path, labels, mend):
    with pytest.raises(InvalidInputError, match=mend):
        load_npz(save(tmp_path / "a.npz", x=X, y=labels))


def test_a_reversed_range_is_refused_as_such(tmp_path):
    with pytest.raises(InvalidInputError, match=r"input_range of 'a' is \(1, 0\), which is reversed; give \(0, 1\)"):
        load_npz(save(tmp_path / "a.npz", x=X, y=Y), input_range=(1, 0))
