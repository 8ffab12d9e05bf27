"""Images from embeddings: by a search for each or a linear map, and how like their sources they are."""

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.linear_model import RidgeCV
from torch import Tensor

from assay.data import load
from assay.reconstruction import invert_embedding, normalized_correlation
from assay.studies.reconstruction.reconstruction_transfer.heads import Centred, embedded, image_encoder

INVERSION = {"pixels": {"jitter": 2, "total_variation": 3.0}, "deep_image_prior": {"jitter": 2, "lr": 0.01}}

PENALTIES = (0.1, 1.0, 10.0)
"""What the linear map chooses from, by leaving out one public image at a time."""


def invert(cell: tuple[Any, Tensor, Tensor, str]) -> dict[str, Tensor]:
    """Turn one embedding into an image of the data's size, by settings, through the encoder less a mean."""
    settings, target, mean, method = cell
    encoder = Centred(image_encoder(settings.stand_ins), mean)
    shape = (1, 28, 28) if settings.stand_ins else (3, 32, 32)
    options = {"method": method, "n_iter": settings.inversion_steps, **INVERSION[method]}
    found = invert_embedding(encoder, target, image_shape=shape, **options)
    return {"image": found.image, "cosine": torch.tensor(found.cosine)}


def public_images(source: str, size: int, stand_in: bool) -> dict[str, Tensor]:
    """Return images that no head was trained on and that are not in the pool, and their embeddings."""
    images = load(source).x_train[:size]
    return {"images": images, "x": embedded(images, stand_in)}


def decode(targets: Tensor, mean: Tensor, public: dict[str, Tensor]) -> Tensor:
    """Turn centred embeddings into images by ridge regression of public images on the directions of theirs."""
    decoder = RidgeCV(PENALTIES).fit(F.normalize(public["x"] - mean), public["images"].flatten(1))
    images = torch.from_numpy(decoder.predict(F.normalize(targets))).to(targets)
    return images.unflatten(1, public["images"].shape[1:]).clamp(0, 1)


def nearest_members(selected: Tensor, mean: Tensor, members: Tensor, pool: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the training images that selected embeddings are nearest to, their true embeddings, and the cosines."""
    seen = pool["x"][members] - mean
    cosines, nearest = (F.normalize(selected) @ F.normalize(seen).T).max(1)
    return {"images": pool["images"][members][nearest], "x": seen[nearest], "cosines": cosines}


def no_more_like(inverted: Tensor, sources: Tensor, images: Tensor) -> Tensor:
    """Return for each inverted image the share of `images` that are no more like it than its source: 0.5 by chance."""
    own = normalized_correlation(inverted, sources).diagonal()[:, None]
    return (normalized_correlation(inverted, images) <= own).double().mean(1)


def decode_heads(
    count: int, pool: dict[str, Tensor], public: dict[str, Tensor], found: dict[str, np.ndarray]
) -> list[tuple[dict[str, Tensor], ...]]:
    """Decode the first selected embeddings of each head, and before these the true ones that they stand for."""
    heads = []
    columns = (torch.from_numpy(found[name]) for name in ("selected", "mean", "members"))
    for selected, mean, members in zip(*columns, strict=True):
        source = nearest_members(selected[:count], mean, members.bool(), pool)
        images = decode(torch.cat([source["x"], selected[:count]]), mean, public).split(count)
        shares = (no_more_like(part, source["images"], pool["images"]) for part in images)
        heads.append(tuple({"images": part, "shares": share} for part, share in zip(images, shares, strict=True)))
    return heads


def altered(pool: dict[str, Tensor], members: Tensor, mean: Tensor, stand_in: bool) -> dict[str, Tensor]:
    """Return the cosines of training images' embeddings with those of the same images, mirrored and as negatives."""
    images, x = pool["images"][members], pool["x"][members] - mean
    others = {"mirror image": images.flip(-1), "negative": 1 - images}
    return {name: F.cosine_similarity(embedded(other, stand_in) - mean, x) for name, other in others.items()}
