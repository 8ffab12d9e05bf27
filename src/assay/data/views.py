"""Subsets and binary versions of a data set."""

from dataclasses import replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from assay.core import InvalidInputError, check_count, check_pairs
from assay.data.dataset import Dataset


def odd_even(dataset: Dataset) -> Dataset:
    """Make a binary problem: 1 for classes with an odd index, 0 for the others.

    Source: Haim, Vardi, Yehudai, Shamir and Irani, "Reconstructing Training Data from Trained Neural Networks"
    (2022), main text: odd against even digits of MNIST.

    >>> from assay.data import load
    >>> odd_even(load("digits")).class_names
    ('even', 'odd')
    """
    return replace(
        dataset,
        name=f"{dataset.name} (odd or even)",
        y_train=dataset.y_train % 2,
        y_test=dataset.y_test % 2,
        class_names=("even", "odd"),
    )


def balanced_subset(
    x: Float[Tensor, "n ..."],
    y: Int[Tensor, " n"],
    n_per_class: int,
    *,
    generator: torch.Generator | None = None,
) -> tuple[Float[Tensor, "m ..."], Int[Tensor, " m"]]:
    """Draw the same number of samples from every class, in random order.

    Args:
        x: Samples.
        y: Their classes.
        n_per_class: Samples of each class.
        generator: Source of the draw; None takes the first samples of each class, in the given order.

    Returns:
        The chosen samples and their classes.

    Raises:
        InvalidInputError: `n_per_class` is below one, or a class has fewer samples.

    >>> balanced_subset(torch.rand(4, 2), torch.tensor([1, 0, 1, 0]), 1)[1]
    tensor([1, 0])
    """
    check_pairs(x, y)
    check_count(n_per_class, "n_per_class")
    order = torch.arange(len(y)) if generator is None else torch.randperm(len(y), generator=generator)
    order = order.to(y.device)
    chosen = torch.zeros(len(y), dtype=torch.bool, device=y.device)
    for label in y.unique():
        members = order[y[order] == label][:n_per_class]
        if len(members) < n_per_class:
            raise InvalidInputError(
                f"class {int(label)} has {len(members)} samples, {n_per_class} were asked for; ask for fewer"
            )
        chosen[members] = True
    kept = order[chosen[order]]
    return x[kept], y[kept]
