"""Images from embeddings, by a linear map or a search for each, and how like their sources they are."""

from typing import Any

import torch
import torch.nn.functional as F
from sklearn.linear_model import RidgeCV
from torch import Tensor, nn

from assay.reconstruction import invert_embedding, normalized_correlation
from assay.studies.reconstruction.reconstruction_transfer.pools import Pools, embedded, image_encoder
from assay.studies.reconstruction.reconstruction_transfer.settings import Settings

EMBEDDINGS = ("true", "recovered")
SEARCHES: dict[str, dict[str, Any]] = {
    "pixels": {"method": "pixels", "jitter": 2, "total_variation": 3.0},
    "deep image prior": {"method": "deep_image_prior", "jitter": 2, "lr": 0.01},
}
"""Options of `invert_embedding`."""

PENALTIES = (0.1, 1.0, 10.0)
"""What the linear map chooses from, by leaving out one public image at a time."""


def decode_head(settings: Settings, seed: int, head: dict[str, Any], *, pools: Pools) -> dict[str, Any]:
    """Turn the first embeddings selected from a head into images by a linear map, and the true ones they stand for.

    Beside them: how near the embeddings of the training images are to those of their mirror images and negatives.
    """
    del seed  # the map is the same for all heads
    pool, selected = pools["images"], head["selected"][: settings.n // 2]
    members, mean = head["members"], head["mean"]
    source = nearest_members(selected, mean, members, pool)
    targets = {"true": source["x"], "recovered": selected}
    both = decode(torch.cat(list(targets.values())), mean, pools["public images"]).split(len(selected))
    images = dict(zip(targets, both, strict=True))
    shares = {kind: no_more_like(found, source["images"], pool["images"]).mean() for kind, found in images.items()}
    others = altered(pool, members, mean, stand_in=settings.stand_ins)
    return {
        **targets,
        "mean": mean,
        "sources": source["images"],
        "cosines": source["cosines"],
        **{f"{kind}: images": found for kind, found in images.items()},
        **{f"{kind}: share": float(share) for kind, share in shares.items()},
        **{f"{name}: cosine": float(cosines.mean()) for name, cosines in others.items()},
    }


def invert(settings: Settings, search: str, embeddings: str, *, head: dict[str, Any], pools: Pools) -> dict[str, Any]:
    """Search for images that have the first embeddings which `decode_head` returned, true ones or recovered ones."""
    encoder = Centred(image_encoder(settings.stand_ins), head["mean"])
    sources = head["sources"][: settings.inversions]
    options = {"image_shape": tuple(sources.shape[1:]), "n_iter": settings.inversion_steps, **SEARCHES[search]}
    found = [invert_embedding(encoder, target, **options) for target in head[embeddings][: settings.inversions]]
    images = torch.stack([result.image for result in found])
    share = no_more_like(images, sources, pools["images"]["images"])
    return {"images": images, "cosine": [result.cosine for result in found], "share": share.tolist()}


class Centred(nn.Module):
    """An encoder with the mean of the head's training embeddings taken out."""

    def __init__(self, encoder: nn.Module, mean: Tensor) -> None:
        super().__init__()
        self.encoder = encoder
        self.register_buffer("mean", mean)

    def forward(self, x: Tensor) -> Tensor:
        """Encode images."""
        return self.encoder(x) - self.mean


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


def altered(pool: dict[str, Tensor], members: Tensor, mean: Tensor, *, stand_in: bool) -> dict[str, Tensor]:
    """Return the cosines of training images' embeddings with those of the same images, mirrored and as negatives."""
    images, x = pool["images"][members], pool["x"][members] - mean
    others = {"mirror image": images.flip(-1), "negative": 1 - images}
    return {name: F.cosine_similarity(embedded(other, stand_in) - mean, x) for name, other in others.items()}
