"""Pools of images and sentences with the embeddings that frozen encoders give them."""

from typing import Any

import torch
from torch import Tensor, nn

from assay.core import seeded
from assay.data import load
from assay.nets import load_encoder, small_conv
from assay.studies.reconstruction.reconstruction_transfer.settings import Settings
from assay.studies.reconstruction.reconstruction_transfer.texts import sentences

POOLS = ("images", "sentences", "public images")
"""Heads are trained on parts of the first two; public images are known to the attacker and in neither."""

Pools = dict[str, dict[str, Any]]
"""By pool: embeddings `x`, classes `y` of what heads are trained on, and `images` or `texts`."""


def embed(settings: Settings, pool: str) -> dict[str, Any]:
    """Return the images or sentences of one pool, their embeddings, and their classes where heads learn them.

    Sentences are of two kinds; images show a vehicle (in CIFAR-10), or an odd class (in other data), or not. The
    stand-ins for embeddings of sentences are random vectors with a common mean.
    """
    if pool == "sentences":
        texts, kinds = sentences(settings.sentences)
        random = 1 + torch.randn(len(texts), 96, generator=seeded(1))
        x = random if settings.stand_ins else load_encoder("minilm-l6")(texts)
        return {"texts": texts, "x": x, "y": torch.tensor(kinds)}
    data = load(settings.source)
    if pool == "public images":
        images = data.x_train[: 2 * settings.images]
        return {"images": images, "x": embedded(images, settings.stand_ins)}
    images, labels = data.x_test[: settings.images], data.y_test[: settings.images]
    wanted = torch.tensor([0, 1, 8, 9] if settings.source == "cifar10" else [1, 3, 5, 7, 9])
    return {"images": images, "x": embedded(images, settings.stand_ins), "y": torch.isin(labels, wanted).long()}


def embedded(images: Tensor, stand_in: bool) -> Tensor:
    """Return the embeddings of images."""
    encoder = image_encoder(stand_in)
    with torch.no_grad():
        return torch.cat([encoder(batch) for batch in images.split(50)])


def image_encoder(stand_in: bool) -> nn.Module:
    """Return EfficientNet-Lite0, or a random convolution network for Fashion-MNIST where a stand-in is asked for."""
    if stand_in:
        return small_conv((1, 28, 28), 64, generator=seeded(0)).eval().requires_grad_(False)
    return load_encoder("efficientnet-lite0")
