"""Training of the built-in subjects."""

import copy
from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from assay.audit.subject import Subject
from assay.core import binary_cross_entropy, seeded
from assay.data import Dataset, balanced_subset, load
from assay.nets import mlp
from assay.reconstruction import train_in_span


def train_digits(seed: int = 0, *, progress: bool = False) -> Subject:
    """Train 64-200-1 to tell odd from even on 30 of scikit-learn's digits."""
    groups = ((0, 2, 4, 6, 8), (1, 3, 5, 7, 9))
    return _train_binary(
        load("digits"), groups, ("even", "odd"), width=200, decay=3e-3, n_iter=2000, seed=seed, progress=progress
    )


def train_fashion(seed: int = 0, *, progress: bool = False) -> Subject:
    """Train 784-500-1 to tell two groups of clothes apart on 30 of the embedded Fashion-MNIST images."""
    groups = ((0, 2, 4, 6, 8), (1, 3, 5, 7, 9))
    names = ("a top or a bag", "trousers, a dress or a shoe")
    return _train_binary(
        load("fashion"), groups, names, width=500, decay=2e-3, n_iter=12000, seed=seed, progress=progress
    )


TRAINERS: dict[str, Callable[..., Subject]] = {"digits": train_digits, "fashion": train_fashion}


def _train_binary(
    dataset: Dataset,
    groups: Sequence[tuple[int, ...]],
    names: tuple[str, str],
    *,
    width: int,
    decay: float,
    n_iter: int,
    seed: int,
    progress: bool,
    n_per_group: int = 15,
) -> Subject:
    """Train one hidden layer on a few images of two groups of classes, to convergence and with weight decay.

    Weight decay makes the training samples easier to recover (Buzaglo et al., 2023, abstract).
    """
    random = seeded(seed)
    test = _two_groups(dataset.x_test, dataset.y_test, groups)
    train = balanced_subset(
        *_two_groups(dataset.x_train, dataset.y_train, groups), n_per_class=n_per_group, generator=random
    )
    mean = train[0].mean(0)  # the network sees images less their mean
    inputs = train[0] - mean
    dense = mlp((mean.numel(), width, 1), bias="first", generator=random)
    model = nn.Sequential(nn.Flatten(), *dense)
    initial_state = copy.deepcopy(model.state_dict())
    train_in_span(
        dense.double(),
        inputs.flatten(1).double(),
        train[1],
        loss=binary_cross_entropy,
        weight_decay=decay,
        n_iter=n_iter,
        progress=progress,
    )
    return Subject(
        model=model.to(inputs.dtype).eval(),
        loss=binary_cross_entropy,
        train=(inputs, train[1]),
        test=(test[0] - mean, test[1]),
        mean=mean,
        class_names=names,
        initial_state=initial_state,
        name=dataset.name,
    )


def _two_groups(
    x: Float[Tensor, "n ..."], y: Int[Tensor, " n"], groups: Sequence[tuple[int, ...]]
) -> tuple[Float[Tensor, "m ..."], Int[Tensor, " m"]]:
    """Keep the samples of the classes in the two groups, labelled 0 and 1 by group."""
    kept = torch.isin(y, torch.tensor([label for group in groups for label in group]))
    return x[kept], torch.isin(y[kept], torch.tensor(groups[1])).long()
