"""Training of the built-in subjects."""

import copy
from collections.abc import Callable, Sequence
from functools import partial

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from assay.audit.subject import Subject
from assay.core import binary_cross_entropy, fit, isolated_rng, seeded
from assay.data import Dataset, balanced_subset, load
from assay.nets import mlp
from assay.reconstruction import train_in_span

_FIRST_SEED = 42  # of training, where the audit's seed is 0


def train_digits(seed: int = 0, *, progress: bool = False) -> Subject:
    """Train 64-200-1 to tell odd from even on 30 of scikit-learn's digits, to convergence and with weight decay.

    Inputs are centred. Weight decay makes the training samples easier to recover from the trained weights alone
    (Buzaglo et al., 2023, abstract).
    """
    dataset, groups = load("digits"), ((0, 2, 4, 6, 8), (1, 3, 5, 7, 9))
    random = seeded(seed)
    test = _two_groups(dataset.x_test, dataset.y_test, groups)
    train = _balanced(dataset, groups, random)
    mean = train[0].mean(0)  # the network sees images less their mean
    inputs = train[0] - mean
    dense = mlp((mean.numel(), 200, 1), bias="first", generator=random)
    model = nn.Sequential(nn.Flatten(), *dense)
    initial_state = copy.deepcopy(model.state_dict())
    train_in_span(
        dense.double(),
        inputs.flatten(1).double(),
        train[1],
        loss=binary_cross_entropy,
        weight_decay=3e-3,
        n_iter=2000,
        progress=progress,
    )
    return Subject(
        model=model.to(inputs.dtype).eval(),
        loss=binary_cross_entropy,
        train=(inputs, train[1]),
        test=(test[0] - mean, test[1]),
        mean=mean,
        class_names=("even", "odd"),
        initial_state=initial_state,
        name=dataset.name,
    )


def train_fashion(seed: int = 0, *, progress: bool = False) -> Subject:
    """Train 784-500-1 as a tutorial would to tell two groups of clothes apart on 30 embedded Fashion-MNIST images.

    Inputs lie in [0, 1]; PyTorch's own initialisation follows `torch.manual_seed(42 + seed)`; 100 epochs of SGD with
    momentum 0.9, a learning rate of 0.01 and minibatches of 10.
    """
    dataset, groups = load("fashion"), ((0, 2, 4, 6, 8), (1, 3, 5, 7, 9))
    test = _two_groups(dataset.x_test, dataset.y_test, groups)
    x, y = _balanced(dataset, groups, seeded(seed))
    with isolated_rng(_FIRST_SEED + seed):
        model = nn.Sequential(nn.Flatten(), nn.Linear(x[0].numel(), 500), nn.ReLU(), nn.Linear(500, 1))
    fit(
        model,
        x,
        y,
        loss=binary_cross_entropy,
        optimizer=partial(torch.optim.SGD, lr=0.01, momentum=0.9),
        epochs=100,
        batch_size=10,
        generator=seeded(seed),
        progress=progress,
    )
    names = ("a top or a bag", "trousers, a dress or a shoe")
    return Subject(model, binary_cross_entropy, train=(x, y), test=test, class_names=names, name=dataset.name)


TRAINERS: dict[str, Callable[..., Subject]] = {"digits": train_digits, "fashion": train_fashion}


def _balanced(dataset: Dataset, groups: Sequence[tuple[int, ...]], generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Draw 15 training images of each of two groups of classes."""
    pairs = _two_groups(dataset.x_train, dataset.y_train, groups)
    return balanced_subset(*pairs, n_per_class=15, generator=generator)


def _two_groups(
    x: Float[Tensor, "n ..."], y: Int[Tensor, " n"], groups: Sequence[tuple[int, ...]]
) -> tuple[Float[Tensor, "m ..."], Int[Tensor, " m"]]:
    """Keep the samples of the classes in the two groups, labelled 0 and 1 by group."""
    kept = torch.isin(y, torch.tensor([label for group in groups for label in group]))
    return x[kept], torch.isin(y[kept], torch.tensor(groups[1])).long()
