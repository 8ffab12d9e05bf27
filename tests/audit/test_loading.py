import textwrap

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from assay.audit import load_subject
from assay.core import AssayError, InvalidInputError, MissingDataError, binary_cross_entropy, cross_entropy
from helpers.stand_ins import small_network

GOOD = "weights.safetensors"

SUBJECT = """
import torch
from assay.audit import Subject
from assay.core import cross_entropy
from factories import network

def subject():
    return Subject(network().eval(), cross_entropy, train=(torch.rand(2, 1, 4, 4), torch.tensor([0, 1])), name="mine")
"""


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


@pytest.mark.parametrize(("given", "name"), [("", "my-net"), (', name="mine"', "mine")])
def test_a_users_subject_is_called_after_its_file_unless_it_has_a_name(folder, given, name):
    (folder / "my-net.py").write_text(SUBJECT.replace(', name="mine"', given))
    assert load_subject("my-net.py").name == name


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
        ("factories:exits", {"weights": GOOD}, InvalidInputError, "SystemExit: 0"),
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
        ("subject = 1 / 0", "mine.py failed in line 1 (ZeroDivisionError: division by zero)"),
        ("def subject():\n  helper()\n\ndef helper():\n  raise KeyError('a\\nb')", "failed in line 5 (KeyError: "),
        ("import json\n\nsubject = json.loads('{')", "failed in line 3 (JSONDecodeError: "),
        ("import sys; sys.exit(0)", "failed in line 1 (SystemExit: 0)"),
        ("def subject(): exit()", "failed in line 1 (SystemExit: None)"),
        ("def subject(): return 3", "returned int; return an assay.audit.Subject"),
        ("x = 1", "has no attribute 'subject'"),
        ("\ndef subject(:", "failed in line 2 (SyntaxError"),
    ],
)
def test_a_users_file_that_fails_is_told_so_in_one_line(tmp_path, body, message):
    path = tmp_path / "mine.py"
    path.write_text(textwrap.dedent(body))
    with pytest.raises(AssayError) as refusal:
        load_subject(str(path))
    assert message in str(refusal.value)
    assert "\n" not in str(refusal.value)


PAIR = """
from torch import nn
from factories import network

class Pair(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = network()
    def forward(self, x):
        scores = self.net(x)
        return (scores, -scores) if self.keys is None else dict(zip(self.keys, (scores, -scores)))
    keys = None

class Keyed(Pair):
    keys = ("scores", "negatives")
"""


@pytest.mark.parametrize(
    ("factory", "outputs", "sign"),
    [("Keyed", "scores", 1), ("Keyed", "negatives", -1), ("Pair", "0", 1), ("Pair", "1", -1), ("Pair", 1, -1)],
)
def test_one_of_several_outputs_of_a_factory_is_named(folder, monkeypatch, factory, outputs, sign):
    (folder / "images.py").write_text(PAIR)
    save_file({f"net.{name}": value for name, value in small_network().state_dict().items()}, "pair.safetensors")
    given = {"weights": "pair.safetensors", "train": "data.npz"}
    subject = load_subject(f"images:{factory}", outputs=outputs, **given)
    assert torch.equal(subject.model(subject.train[0]), sign * small_network()(subject.train[0]))
    with pytest.raises(InvalidInputError, match=r"or --outputs (scores|0) beside a factory"):
        load_subject(f"images:{factory}", **given)


@pytest.mark.parametrize("train", ["data.npz", "images"])
def test_a_reversed_range_is_called_that_whatever_the_data(folder, train):
    given = {"weights": GOOD, "train": train, "input_range": (1.0, 0.0)}
    with pytest.raises(InvalidInputError, match=r"^input_range is \(1.0, 0.0\), which is reversed; give \(0, 1\)$"):
        load_subject("factories:network", **given)


@pytest.mark.parametrize(
    "options", [{"input_range": (0, 2)}, {"outputs": "scores"}, {"resize": (2, 2)}, {"input_shape": (16,)}]
)
def test_what_a_file_decides_is_not_given_beside_it(folder, options):
    (folder / "mine.py").write_text(SUBJECT)
    (name,) = options
    with pytest.raises(InvalidInputError, match=f"leave out --{name.replace('_', '-')}"):
        load_subject("mine.py", **options)


@pytest.mark.parametrize(("given", "name"), [("", "Sequential"), (', name="mine"', "mine")])
def test_a_subject_that_is_refused_is_called_by_its_file_and_its_name(folder, given, name):
    (folder / "my-net.py").write_text(
        SUBJECT.replace(', name="mine"', given).replace("torch.tensor([0, 1])", "torch.tensor([0, 7])")
    )
    with pytest.raises(InvalidInputError, match=rf"^my-net.py: subject '{name}' cannot be audited: train data"):
        load_subject("my-net.py")
