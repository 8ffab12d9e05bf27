"""Files of weights that would take more than their size, or time without end, and are refused."""

import zipfile

import pytest
import torch
from safetensors.torch import save_file

from assay.audit.checkpoints import load_state
from assay.core import InvalidInputError
from helpers.stand_ins import small_network


def saved(path, value):
    torch.save(value, path)
    return path


def packed(path):
    """Write the archive of a PyTorch file again, compressed."""
    saved(path, {"w": torch.zeros(2**20)})
    with zipfile.ZipFile(path) as archive:
        contents = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in contents.items():
            archive.writestr(name, content)
    return path


def nested(levels, width):
    value = [1.0]
    for _ in range(levels):
        value = [value] * width
    return value


def endless():
    value = []
    value.append(value)
    return value


WEIGHTS = {"w": torch.ones(2)}
HOSTILE = {
    "a packed archive": (packed, "is a compressed archive, which no file of weights is"),
    "one number as a large tensor": (
        lambda path: saved(path, {"w": torch.zeros(1).expand(10**6, 10**6)}),
        "takes 3.73e.03 GiB in memory, more than the .* that are read here",
    ),
    "lists in lists": (lambda path: saved(path, {"m": nested(30, 100), "model": WEIGHTS}), "nested without end"),
    "a chain of lists": (lambda path: saved(path, {"m": nested(200, 1), "model": WEIGHTS}), "nested without end"),
    "a list in itself": (lambda path: saved(path, {"m": endless(), "model": WEIGHTS}), "nested without end"),
}


@pytest.mark.parametrize(("write", "words"), HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_weights_are_refused_in_a_sentence(tmp_path, write, words):
    with pytest.raises(InvalidInputError, match=words):
        load_state(write(tmp_path / "w.pt"))


@pytest.mark.parametrize("name", ["w.pt", "w.safetensors"])
def test_weights_above_the_limit_are_refused_unread(tmp_path, monkeypatch, name):
    state = small_network().state_dict()
    (save_file if name.endswith("s") else torch.save)(state, tmp_path / name)
    assert load_state(tmp_path / name).keys() == state.keys()
    monkeypatch.setattr("assay.data.limits.LARGEST", 500)
    for reader in ("torch.load", "assay.audit.weight_files.load_file"):
        monkeypatch.setattr(reader, lambda *arguments, **options: pytest.fail("must not be read"))
    with pytest.raises(
        InvalidInputError, match=r"more than the .* that are read here.*; give the weights of a smaller"
    ):
        load_state(tmp_path / name)
