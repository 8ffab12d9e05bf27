"""Heads trained on embeddings: what they are trained on, how, and what an attack on one brings back."""

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from assay.core import binary_cross_entropy, roc, seeded
from assay.data import load
from assay.nets import load_encoder, mlp, small_conv
from assay.reconstruction import (
    ConsensusSelector,
    predicted_multipliers,
    retrieval_audit,
    stationarity_residual,
    train_in_span,
)

NORM = 10.0
"""Mean norm that embeddings are scaled to: about a centred MNIST digit's, for which the learning rate is known."""


@dataclass(frozen=True)
class Head:
    """A trained head with the space that it works in.

    Attributes:
        model: Takes embeddings less `mean`, times `scale`.
        members: Which of the pool it was trained on.
        others: As many that it was not trained on, of the same classes.
        inputs: The whole pool as the head takes it.
        mean: Mean embedding of the members.
        labels: Classes of the members.
        weight_decay: What it was trained with.
    """

    model: nn.Sequential
    members: Tensor
    others: Tensor
    inputs: Tensor
    mean: Tensor
    labels: Tensor
    weight_decay: float


def train_head(x: Tensor, y: Tensor, seed: int, *, n: int, width: int, steps: int, weight_decay: float = 1e-3) -> Head:
    """Draw `n` members of a pool of embeddings, balanced over two classes, and train a head with one hidden layer."""
    mixed = torch.randperm(len(x), generator=seeded(seed))
    halves = [mixed[y[mixed] == label] for label in (0, 1)]
    seen = torch.cat([half[: n // 2] for half in halves])
    members, others = torch.zeros(2, len(x), dtype=torch.bool)
    members[seen] = True
    others[torch.cat([half[n // 2 : n] for half in halves])] = True
    mean = x[seen].mean(0)
    inputs = (x - mean) * NORM / (x[seen] - mean).norm(dim=1).mean()
    model = mlp((x.shape[1], width, 1), bias="first", generator=seeded(seed)).double()
    options = {"loss": binary_cross_entropy, "weight_decay": weight_decay, "n_iter": steps}
    train_in_span(model, inputs[seen].double(), y[seen], **options)
    return Head(model.float(), members, others, inputs, mean, y[members], weight_decay)


def best_cosines(a: Tensor, b: Tensor) -> Tensor:
    """Return each row's best cosine with a row of `b`."""
    return (F.normalize(a) @ F.normalize(b).T).amax(1)


def select(pool: Tensor, runs: Tensor, multipliers: Tensor, threshold: float = 0.15) -> ConsensusSelector:
    """Select by agreement of two runs; where no two agree, every cluster counts as selected."""
    selector = ConsensusSelector(threshold).fit(pool, runs, multipliers=multipliers)
    if not len(selector.sizes_):
        selector = ConsensusSelector(threshold, min_runs=1).fit(pool, runs, multipliers=multipliers)
    return selector


def precision(candidates: Tensor, seen: Tensor) -> float:
    """Return the share of candidates with cosine above 0.75 to some training embedding."""
    return float((best_cosines(candidates, seen) > 0.75).double().mean())


def scores(selector: ConsensusSelector, seen: Tensor) -> Tensor:
    """Return the precision of as many as were trained on, how many samples these recover, and how many there are."""
    chosen = selector.representatives_[: len(seen)]
    recovered = (best_cosines(seen, chosen) > 0.75).sum()
    return torch.tensor([precision(chosen, seen), recovered, len(selector.sizes_)])


def unexplained(head: Head) -> float:
    """Return what the true embeddings, with the multipliers that training should end in, leave of the weights."""
    seen = head.inputs[head.members]
    options = {"loss": binary_cross_entropy, "weight_decay": head.weight_decay}
    multipliers = predicted_multipliers(head.model, seen, head.labels, **options)
    return stationarity_residual(head.model, seen, multipliers, objective="regression").total_relative


def denoised(selector: ConsensusSelector, pool: Tensor, seen: Tensor) -> float:
    """Return how much nearer representatives are to a training embedding than their members, in the median."""
    gains = []
    for label, representative in enumerate(selector.representatives_):
        nearest = seen[torch.cosine_similarity(seen, representative[None]).argmax()][None]
        members = torch.cosine_similarity(pool[selector.labels_ == label], nearest)
        gains.append(torch.cosine_similarity(representative[None], nearest)[0] - members.median())
    return float(torch.stack(gains).mean())


def look_up(head: Head, chosen: Tensor, basis: Tensor, k: int) -> dict[str, Any]:
    """Retrieve from the pool, and tell members from the rest by their best cosine with what was selected.

    The naive leak beside it: how much of an embedding lies in the span of the first layer.
    """
    audit = retrieval_audit(chosen, head.inputs, head.members, k)
    nearness = best_cosines(head.inputs, chosen)
    inside = F.normalize(head.inputs).matmul(basis.T).norm(dim=1)
    curve = roc(nearness[head.members].tolist(), nearness[~head.members].tolist())
    naive = roc(inside[head.members].tolist(), inside[~head.members].tolist())
    blank = torch.full((k,), -1)
    blank[: len(audit.retrieved)] = audit.retrieved
    return {
        "retrieved": blank,
        "retrieval": audit.precision,
        "retrieval_recall": audit.recall,
        "retrieval_chance": audit.chance,
        "auc": curve.auc,
        "tpr": curve.tpr_at(0.01),
        "naive_auc": naive.auc,
    }


def image_encoder(stand_in: bool) -> nn.Module:
    """Return EfficientNet-Lite0, or a random convolution network for Fashion-MNIST where a stand-in is asked for."""
    if stand_in:
        return small_conv((1, 28, 28), 64, generator=seeded(0)).eval().requires_grad_(False)
    return load_encoder("efficientnet-lite0")


def look_up_blindly(x: Tensor, members: Tensor, k: int, seed: int) -> dict[str, float]:
    """Retrieve by random directions in the span of the members, which the first layer tells without any search."""
    centred = x - x[members].mean(0)
    random = torch.randn(k, int(members.sum()), generator=seeded(seed)) @ centred[members]
    audit = retrieval_audit(random, centred, members, k)
    return {"span_retrieval": audit.precision, "span_recall": audit.recall}


class Centred(nn.Module):
    """An encoder with the mean of the head's training embeddings taken out."""

    def __init__(self, encoder: nn.Module, mean: Tensor) -> None:
        super().__init__()
        self.encoder = encoder
        self.register_buffer("mean", mean)

    def forward(self, x: Tensor) -> Tensor:
        """Encode images."""
        return self.encoder(x) - self.mean


def image_pool(source: str, size: int, stand_in: bool) -> dict[str, Tensor]:
    """Return images, their embeddings, and whether each shows a vehicle (of CIFAR-10) or an odd class (of others)."""
    data = load(source)
    images = data.x_test[:size]
    wanted = torch.tensor([0, 1, 8, 9] if source == "cifar10" else [1, 3, 5, 7, 9])
    return {"images": images, "x": embedded(images, stand_in), "y": torch.isin(data.y_test[:size], wanted).long()}


def embedded(images: Tensor, stand_in: bool) -> Tensor:
    """Return the embeddings of images."""
    encoder = image_encoder(stand_in)
    with torch.no_grad():
        return torch.cat([encoder(batch) for batch in images.split(50)])


def sentence_pool(texts: list[str], kinds: list[int], stand_in: bool) -> dict[str, Tensor]:
    """Return embeddings of sentences and their kinds; a stand-in is random vectors with a common mean."""
    x = 1 + torch.randn(len(texts), 96, generator=seeded(1)) if stand_in else load_encoder("minilm-l6")(texts)
    return {"x": x, "y": torch.tensor(kinds)}
