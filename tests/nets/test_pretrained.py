import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from assay.core import InvalidInputError, MissingDataError, accuracy, predict
from assay.data import load
from assay.nets import load_pretrained, small_conv

ROOT = Path(os.environ.get("ASSAY_DATA", "nowhere"))
needs_weights = pytest.mark.skipif(not (ROOT / "weights").is_dir(), reason="needs ASSAY_DATA with published weights")


@needs_weights
@pytest.mark.parametrize(("name", "clean"), [("mnist", 0.982), ("fashion-mnist", 0.7827)])
def test_the_provable_networks_reach_their_accuracy(name, clean):
    held_out = load(name, ROOT)
    logits = predict(load_pretrained(f"{name}-provable"), held_out.x_test)
    assert accuracy(logits, held_out.y_test) == pytest.approx(clean, abs=5e-4)


@needs_weights
def test_the_smallest_residual_network_reaches_its_accuracy():
    model = load_pretrained("cifar10-resnet20")
    assert not model.training
    x, y = first_test_images(500)
    # Published: 91.73% on all 10,000; the tolerance is three standard errors of 500.
    assert accuracy(predict(model, x), y) == pytest.approx(0.9173, abs=3 * (0.9173 * 0.0827 / 500) ** 0.5)


@needs_weights
@pytest.mark.parametrize("depth", [32, 44, 56])
def test_the_deeper_ones_find_their_weights(depth):
    x, y = first_test_images(50)
    assert accuracy(predict(load_pretrained(f"cifar10-resnet{depth}"), x), y) > 0.8


def first_test_images(n):
    """Read the head of one mosaic: the whole set would take seconds."""
    if not (ROOT / "cifar10" / "test_00.webp").is_file():
        pytest.skip("needs CIFAR-10 as mosaics")

    pixels = np.asarray(Image.open(ROOT / "cifar10" / "test_00.webp").convert("RGB").crop((0, 0, 320, 32 * n // 10)))
    tiles = pixels.reshape(n // 10, 32, 10, 32, 3).swapaxes(1, 2).reshape(n, 32, 32, 3)
    y = np.load(ROOT / "cifar10" / "labels.npz", allow_pickle=False)["y_test"][:n]
    return torch.tensor(tiles).permute(0, 3, 1, 2) / 255, torch.tensor(y).long()


def stored(folder, content):
    path = folder / "weights" / "mnist_provable_linf0.1.pth"
    path.parent.mkdir()
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        torch.save(content, path)


def test_weights_come_back_as_they_were_stored(tmp_path):
    model = small_conv((1, 28, 28), 10, generator=torch.Generator().manual_seed(5))
    stored(tmp_path, model.state_dict())
    loaded = load_pretrained("mnist-provable", tmp_path)
    assert all(torch.equal(value, loaded.state_dict()[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize("content", [b"", b"no weights", {"0.weight": torch.zeros(1)}, torch.zeros(2)])
def test_a_damaged_file_or_another_network_is_refused(tmp_path, content):
    stored(tmp_path, content)
    with pytest.raises(InvalidInputError, match="does not hold the weights of mnist-provable"):
        load_pretrained("mnist-provable", tmp_path)


def test_what_is_missing_is_said(tmp_path, monkeypatch):
    with pytest.raises(InvalidInputError, match="choose one of: cifar10-resnet20"):
        load_pretrained("resnet20")
    with pytest.raises(MissingDataError, match="akamaster/pytorch_resnet"):
        load_pretrained("cifar10-resnet20", tmp_path)
    monkeypatch.delenv("ASSAY_DATA", raising=False)
    with pytest.raises(MissingDataError, match="ASSAY_DATA"):
        load_pretrained("cifar10-resnet20")
