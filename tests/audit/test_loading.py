import textwrap

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn

from assay.audit import load_subject
from assay.core import AssayError, InvalidInputError, MissingDataError, binary_cross_entropy, cross_entropy
from helpers.stand_ins import small_network

GOOD = "weights.safetensors"

FACTORY = """
from torch import nn

def network():
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 3))

def not_a_network():
    return "a string"

def raises():
    raise KeyError("no such thing")
"""

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

SUBJECT = """
import torch
from assay.audit import Subject
from assay.core import cross_entropy
from factories import network

def subject():
    return Subject(network().eval(), cross_entropy, train=(torch.rand(2, 1, 4, 4), torch.tensor([0, 1])), name="mine")
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working folder with a factory, healthy weights and data."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "factories.py").write_text(FACTORY)
    save_file(small_network().state_dict(), tmp_path / "weights.safetensors")
    draw = np.random.default_rng(0)
    arrays = {"x": draw.random((5, 1, 4, 4), np.float32), "y": np.array([0, 1, 2, 0, 1])}
    np.savez(tmp_path / "data.npz", **arrays)
    np.savez(
        tmp_path / "both.npz", x_train=arrays["x"], y_train=arrays["y"], x_test=arrays["x"][:2], y_test=arrays["y"][:2]
    )
    yield tmp_path
    import sys

    for name in ("factories", "images", "scaled", "single"):
        sys.modules.pop(name, None)


def test_a_factory_with_weights_and_data(folder):
    subject = load_subject("factories:network", weights="weights.safetensors", train="both.npz")
    expected = small_network().state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in subject.model.state_dict().items())
    assert subject.loss is cross_entropy
    assert not subject.model.training
    assert (len(subject.train[0]), len(subject.test[0]), subject.name) == (5, 2, "weights")


def test_weights_alone_are_enough(folder):
    subject = load_subject("factories:network", weights="weights.safetensors")
    assert (subject.train, subject.test, subject.sample_shape) == (None, None, (1, 4, 4))


def test_a_file_given_for_testing_is_used_whole(folder):
    subject = load_subject("factories:network", weights="weights.safetensors", train="both.npz", test="data.npz")
    assert len(subject.test[0]) == 5


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


def test_weights_in_double_precision_make_the_model_double(folder):
    save_file({name: value.double() for name, value in small_network().state_dict().items()}, "double.safetensors")
    subject = load_subject("factories:network", weights="double.safetensors", train="data.npz")
    assert {parameter.dtype for parameter in subject.model.parameters()} == {torch.float64}
    assert subject.train[0].dtype == torch.float64


def test_the_loss_follows_the_outputs_unless_it_is_named(folder):
    (folder / "single.py").write_text("from torch import nn\ndef network(): return nn.Linear(16, 1)\n")
    save_file(nn.Linear(16, 1).state_dict(), "single.safetensors")
    assert load_subject("single:network", weights="single.safetensors").loss is binary_cross_entropy
    named = load_subject("single:network", weights="single.safetensors", loss="squared_error")
    assert named.loss.__name__ == "squared_error"


def test_a_plain_state_dict_of_torch_is_read_also_inside_a_checkpoint(folder):
    torch.save(small_network().state_dict(), "plain.pt")
    torch.save({"state_dict": small_network().state_dict(), "epoch": 3}, "checkpoint.pt")
    for name in ("plain.pt", "checkpoint.pt"):
        assert load_subject("factories:network", weights=name).n_parameters == 163


def test_a_users_file_is_run_and_finds_its_neighbours(folder, monkeypatch):
    (folder / "mine.py").write_text(SUBJECT)
    monkeypatch.chdir("/")
    assert load_subject(str(folder / "mine.py")).name == "mine"


def test_a_pickle_is_refused_and_its_code_is_not_run(folder):
    torch.save(Trap(folder / "sprung"), "trap.pt")
    for name in ("trap.pt", "trap.pkl"):
        if name.endswith(".pkl"):
            (folder / "trap.pt").rename(name)
        with pytest.raises(InvalidInputError, match=r"save_file\(model.state_dict\(\), 'weights.safetensors'\)"):
            load_subject("factories:network", weights=name)
    assert not (folder / "sprung").exists()


class Trap:
    """Writes a file when it is unpickled."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return open, (self.path, "w")


@pytest.mark.parametrize(
    ("spec", "options", "error", "message"),
    [
        ("fashoin", {}, InvalidInputError, "did you mean 'fashion'"),
        ("weights.safetensors", {}, InvalidInputError, "--weights weights.safetensors"),
        ("gone.py", {}, MissingDataError, "give a Python file with a function subject"),
        ("digits", {"weights": GOOD, "loss": "cross_entropy"}, InvalidInputError, "leave out --weights, --loss"),
        ("factories:network", {}, InvalidInputError, "add its trained weights with --weights FILE"),
        ("factories:gone", {"weights": GOOD}, InvalidInputError, "importable from here"),
        ("nowhere:network", {"weights": GOOD}, InvalidInputError, "No module named 'nowhere'"),
        ("factories:raises", {"weights": GOOD}, InvalidInputError, "KeyError: 'no such thing'"),
        ("factories:not_a_network", {"weights": GOOD}, InvalidInputError, "must return a torch.nn.Module"),
        ("factories:network", {"weights": "gone.safetensors"}, MissingDataError, "no file gone.safetensors"),
        ("factories:network", {"weights": "data.npz"}, InvalidInputError, "is a NumPy archive"),
        ("factories:network", {"weights": "factories.py"}, InvalidInputError, "damaged or would run code"),
        ("factories:network", {"weights": GOOD, "train": "gone.npz"}, MissingDataError, "gone.npz"),
        ("factories:network", {"weights": GOOD, "train": "factories.py"}, InvalidInputError, "numpy.savez"),
        ("factories:network", {"weights": GOOD, "loss": "hinge"}, InvalidInputError, "squared_error"),
    ],
)  # fmt: skip
def test_what_cannot_be_loaded_is_refused_with_its_mend(folder, spec, options, error, message):
    with pytest.raises(error) as refusal:
        load_subject(spec, **options)
    assert message in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_weights_of_another_model_are_refused_by_name_and_shape(folder):
    other = nn.Sequential(nn.Flatten(), nn.Linear(16, 9), nn.ReLU(), nn.Linear(9, 3), nn.Linear(3, 3))
    save_file(other.state_dict(), "other.safetensors")
    with pytest.raises(
        InvalidInputError, match=r"\(8, 16\), 3\.weight .*, 4\.bias is not in the model; give the factory"
    ):
        load_subject("factories:network", weights="other.safetensors")


def test_a_damaged_safetensors_file_is_refused(folder):
    (folder / "cut.safetensors").write_bytes((folder / "weights.safetensors").read_bytes()[:50])
    with pytest.raises(InvalidInputError, match="is damaged"):
        load_subject("factories:network", weights="cut.safetensors")


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("subject = 1 / 0", "ZeroDivisionError: division by zero"),
        ("def subject(): return 3", "returned int; return an assay.audit.Subject"),
        ("x = 1", "has no attribute 'subject'"),
        ("def subject(:", "SyntaxError"),
    ],
)
def test_a_users_file_that_fails_is_told_so_in_one_line(tmp_path, body, message):
    path = tmp_path / "mine.py"
    path.write_text(textwrap.dedent(body))
    with pytest.raises(AssayError) as refusal:
        load_subject(str(path))
    assert message in str(refusal.value)
    assert "\n" not in str(refusal.value)
