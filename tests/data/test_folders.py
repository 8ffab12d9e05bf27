import os

import numpy as np
import pytest
import torch
from PIL import Image

from assay.core import InvalidInputError, MissingDataError
from assay.data import load_image_folder


@pytest.fixture
def random():
    return np.random.default_rng(0)


def save_images(folder, pixels):
    folder.mkdir(parents=True)
    for index, image in enumerate(pixels):
        Image.fromarray(image).save(folder / f"{index}.png")


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


@pytest.fixture
def pets(tmp_path, random):
    """A folder of two classes with two images each."""
    for name in ("cat", "dog"):
        save_images(tmp_path / "pets" / name, random.integers(256, size=(2, 4, 4), dtype=np.uint8))
    return tmp_path / "pets"


def copy_tree(source, target):
    import shutil

    shutil.copytree(source, target)


def test_hidden_files_and_folders_are_left_out_and_named(pets):
    for name in (".ipynb_checkpoints", "__MACOSX"):
        save_images(pets / name, np.zeros((1, 4, 4), np.uint8))
    save_images(pets / "cat" / ".ipynb_checkpoints", np.zeros((1, 4, 4), np.uint8))
    (pets / "cat" / "._0.png").write_bytes(b"no picture")
    (pets / "dog" / "Thumbs.db").write_bytes(b"no picture")
    data = load_image_folder(pets)
    assert (data.class_names, data.y_train.tolist()) == (("cat", "dog"), [0, 0, 1, 1])
    assert data.notes == (
        "hidden files and folders are left out: .ipynb_checkpoints, __MACOSX, cat/._0.png, cat/.ipynb_checkpoints "
        "and 1 more",
    )


def test_what_is_no_image_or_lies_outside_the_classes_is_counted(pets):
    for name in ("cat/a.txt", "cat/b.TXT", "dog/c.heic", "labels.csv"):
        (pets / name).write_text("no image")
    Image.new("L", (4, 4)).save(pets / "stray.png")
    data = load_image_folder(pets)
    assert len(data.x_train) == 4
    assert data.notes == (
        "files that are no images are left out: 1 .csv, 1 .heic, 2 .txt",
        "images and folders outside the classes are left out: stray.png",
    )


def test_upper_case_suffixes_are_images(pets):
    (pets / "cat" / "0.png").rename(pets / "cat" / "0.PNG")
    assert len(load_image_folder(pets).x_train) == 4


def test_classes_without_images_keep_their_number_and_are_named(pets):
    (pets / "ant").mkdir()
    data = load_image_folder(pets)
    assert (data.class_names, data.y_train.tolist()) == (("ant", "cat", "dog"), [1, 1, 2, 2])
    assert data.notes == ("classes without training images: ant",)


def test_folders_named_by_numbers_are_numbered_by_their_alphabet_and_that_is_said(tmp_path, random):
    for name in ("1", "2", "10"):
        save_images(tmp_path / name, random.integers(256, size=(1, 4, 4), dtype=np.uint8))
    data = load_image_folder(tmp_path)
    assert data.class_names == ("1", "10", "2")
    assert data.notes == ("classes are numbered in alphabetical order, not by their numbers: 1, 10, 2",)


@pytest.mark.parametrize("name", ["val", "valid", "validation", "Val", "dev"])
def test_a_validation_part_is_used_where_there_is_no_test_part(pets, name):
    root = pets.parent / "root"
    copy_tree(pets, root / "train")
    copy_tree(pets, root / name)
    data = load_image_folder(root)
    assert (len(data.x_train), len(data.x_test)) == (4, 4)
    assert data.notes == (f"the held-out part is {name}",)
    copy_tree(pets, root / "test")
    (root / "test" / "dog" / "0.png").unlink()
    (root / "extra").mkdir()
    data = load_image_folder(root)
    assert len(data.x_test) == 3
    left_out = ", ".join(sorted(["extra", name]))
    assert data.notes == (
        "the held-out part is test",
        f"images and folders outside the classes are left out: {left_out}",
    )


def test_a_test_part_without_classes_is_named_as_left_out(pets, random):
    root = pets.parent / "root"
    copy_tree(pets, root / "train")
    save_images(root / "test", random.integers(256, size=(2, 4, 4), dtype=np.uint8))
    data = load_image_folder(root)
    assert len(data.x_test) == 0
    assert data.notes == ("images and folders outside the classes are left out: test",)


def test_a_class_that_the_held_out_part_lacks_is_named(pets):
    root = pets.parent / "root"
    copy_tree(pets, root / "train")
    copy_tree(pets / "dog", root / "test" / "dog")
    data = load_image_folder(root)
    assert data.y_test.tolist() == [1, 1]
    assert data.notes == ("the held-out part is test", "classes without held-out images: cat")


def test_a_class_may_be_called_train(pets):
    (pets / "dog").rename(pets / "train")
    data = load_image_folder(pets)
    assert (data.class_names, data.y_train.tolist()) == (("cat", "train"), [0, 0, 1, 1])


@pytest.mark.parametrize(
    ("folders", "words"),
    [
        (("test", "val"), "holds test, val, none of them for training; name one of them train"),
        (("train", "training"), "holds train, training, 2 of them for training"),
        (("images",), r"class folder .*images holds folders \(cat, dog\).*give the folder whose sub-folders are"),
        (("train/animals",), r"class folder .*animals holds folders \(cat, dog\)"),
    ],
)
def test_folders_at_an_uncertain_depth_are_refused(pets, folders, words):
    root = pets.parent / "root"
    for folder in folders:
        copy_tree(pets, root / folder)
    with pytest.raises(InvalidInputError, match=words):
        load_image_folder(root)


def test_images_of_differing_sizes_are_brought_to_one(pets):
    Image.new("L", (9, 7), 255).save(pets / "dog" / "9.png")
    data = load_image_folder(pets, resize=(4, 4))
    assert data.x_train.shape == (5, 1, 4, 4)
    assert torch.equal(data.x_train[4], torch.ones(1, 4, 4))
    assert [note[:38] for note in data.notes] == ["1 of 5 images are resized to 4 x 4 (he"]


@pytest.mark.parametrize("size", [(0, 4), (4, -1), (10**5, 10**5)])
def test_sizes_that_are_none_are_refused(pets, size):
    with pytest.raises(InvalidInputError, match="resize"):
        load_image_folder(pets, resize=size)


@pytest.mark.parametrize("kind", ["a loop as a class", "a loop in a class", "a broken link", "a pipe"])
def test_what_is_neither_file_nor_folder_is_refused(pets, kind):
    place = pets / "ant" if kind == "a loop as a class" else pets / "cat" / "9.png"
    if kind == "a pipe":
        os.mkfifo(place)
    else:
        place.symlink_to(place.name if "loop" in kind else "nowhere.png")
    with pytest.raises(InvalidInputError, match=f"{place.name} is neither a file nor a folder.*; remove it"):
        load_image_folder(pets)


def test_a_link_to_the_folder_itself_is_no_class(pets):
    (pets / "again").symlink_to(pets)
    with pytest.raises(InvalidInputError, match=r"the class folder .*again holds folders"):
        load_image_folder(pets)
