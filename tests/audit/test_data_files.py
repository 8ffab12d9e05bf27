"""Files of data and weights that go together: numbered alike, chosen by key, and said."""

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn

from assay.audit import load_subject
from assay.audit.data_files import read_parts
from assay.core import InvalidInputError, cross_entropy
from helpers.stand_ins import small_network

GOOD = "weights.safetensors"

SCALED = """
import torch
from torch import nn

class Scaled(nn.Module):
    def __init__(self):
        super().__init__()
        self.body, self.scale = nn.Linear(16, 3), nn.Parameter(torch.tensor(0.5))

    def forward(self, x):
        return self.body(x.flatten(1)) * self.scale
"""


def save_classes(folder, names, *, value=0):
    """Save an image of 4 x 4 pixels for each class, as grey as its place in the alphabet and the value say."""
    for name in names:
        (folder / name).mkdir(parents=True)
        Image.new("L", (4, 4), 40 * "abcdefg".index(name) + value).save(folder / name / "0.png")


def test_held_out_folders_are_numbered_as_the_training_folder_is(folder):
    save_classes(folder / "all", "abc")
    save_classes(folder / "some", "bc", value=10)
    subject = load_subject("factories:network", weights=GOOD, train="all", test="some")
    assert subject.class_names == ("a", "b", "c")
    assert subject.test[1].tolist() == [1, 2]
    assert "held-out classes are numbered as in the training data, by their names" in subject.notes
    same = load_subject("factories:network", weights=GOOD, train="all", test="all")
    assert same.test[1].tolist() == [0, 1, 2]
    save_classes(folder / "others", "bd")
    with pytest.raises(InvalidInputError, match="have classes that the training data lack: d; give both the same"):
        load_subject("factories:network", weights=GOOD, train="all", test="others")


def test_numbers_as_held_out_labels_count_as_in_the_training_data(folder):
    save_classes(folder / "all", "abc")
    subject = load_subject("factories:network", weights=GOOD, train="all", test="data.npz")
    assert subject.test[1].tolist() == [0, 1, 2, 0, 1]


def test_a_range_beside_images_is_refused(folder):
    save_classes(folder / "all", "abc")
    with pytest.raises(InvalidInputError, match="leave out --input-range"):
        load_subject("factories:network", weights=GOOD, train="all", input_range=(0, 255))


def test_how_files_are_read_is_said(folder):
    torch.save({"model": small_network().state_dict(), "epoch": 3}, "checkpoint.pt")
    save_classes(folder / "all", "abc")
    (folder / "all" / ".DS_Store").write_text("")
    subject = load_subject("factories:network", weights="checkpoint.pt", train="both.npz", test="both.npz")
    assert subject.notes == (
        "weights are read from 'model' of checkpoint.pt; left out: epoch",
        "the held-out part of both.npz is left out: --test is given",
        "the training part of both.npz is left out",
    )
    subject = load_subject("factories:network", weights=GOOD, train="all")
    assert subject.notes == ("training data: hidden files and folders are left out: .DS_Store",)


def test_a_key_chooses_among_sets_of_weights(folder):
    raw, averaged = small_network().state_dict(), small_network(seed=1).state_dict()
    torch.save({"state_dict": raw, "state_dict_ema": averaged}, "checkpoint.pt")
    with pytest.raises(InvalidInputError, match="choose one with --weights-key"):
        load_subject("factories:network", weights="checkpoint.pt")
    subject = load_subject("factories:network", weights="checkpoint.pt", weights_key="state_dict_ema")
    assert torch.equal(subject.model[1].weight, averaged["1.weight"])
    assert subject.notes[0] == "weights are read from 'state_dict_ema' of checkpoint.pt, as --weights-key says"


def test_without_data_and_shape_the_loss_must_be_named(folder):
    (folder / "images.py").write_text(
        "from torch import nn\ndef network(): return nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(8, 3))\n"
    )
    save_file(nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(8, 3)).state_dict(), "images.safetensors")
    with pytest.raises(InvalidInputError, match="name the loss with --loss, or give the shape with --input-shape"):
        load_subject("images:network", weights="images.safetensors")
    shaped = load_subject("images:network", weights="images.safetensors", input_shape=(1, 4, 4))
    assert shaped.loss is cross_entropy
    assert load_subject("images:network", weights="images.safetensors", loss="squared_error").sample_shape is None


def test_the_loss_is_asked_of_the_outputs_not_of_the_last_parameter(folder):
    (folder / "scaled.py").write_text(SCALED)
    save_file({"body.weight": torch.ones(3, 16), "body.bias": torch.zeros(3), "scale": torch.ones(())}, "s.safetensors")
    assert load_subject("scaled:Scaled", weights="s.safetensors", train="data.npz").loss is cross_entropy


def test_groups_are_those_of_the_parts_that_are_used(tmp_path):
    x, y = np.random.default_rng(0).random((4, 3)), np.array([0, 1, 0, 1])
    both, held = tmp_path / "both.npz", tmp_path / "held.npz"
    np.savez(both, x_train=x, y_train=y, groups_train=y, x_test=x[:2], y_test=y[:2], groups_test=y[:2] + 7)
    np.savez(held, x=x[:3], y=y[:3], groups=y[:3] + 5)
    parts = read_parts(both, None, (0.0, 1.0), torch.float32)
    assert (parts.groups.tolist(), parts.test_groups.tolist()) == ([0, 1, 0, 1], [7, 8])
    parts = read_parts(both, held, (0.0, 1.0), torch.float32)
    assert (parts.groups.tolist(), parts.test_groups.tolist()) == ([0, 1, 0, 1], [5, 6, 5])
    parts = read_parts(None, both, (0.0, 1.0), torch.float32)
    assert (parts.groups, parts.test_groups.tolist()) == (None, [7, 8])
