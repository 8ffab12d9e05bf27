"""Pools of models of varying quality, evaluated in each cell of label and attribute (Liang, Mao et al., 2023)."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Bool, Float64, Int, Int64, Shaped
from torch import Tensor, nn

from assay.core import InvalidInputError, Trainer, as_generator, check_pairs, seeded, spawn_seeds, sweep
from assay.generalization.subpopulations.accuracies import balanced_accuracy, subgroup_accuracy
from assay.generalization.subpopulations.counts import check_cells

Configuration = Mapping[str, Any]
Factory = Callable[[Configuration, torch.Generator], nn.Module]
Samples = tuple[Tensor, Tensor, Tensor]


@dataclass(frozen=True, eq=False)
class ModelPool:
    """Correct answers of many models in each cell of label and attribute.

    Attributes:
        configurations: One a row of models.
        right: Correct answers: by configuration, training set, label, attribute.
        count: Test samples of each cell.
        labels: The label of each row of cells.
        attributes: The attribute of each column.
    """

    configurations: tuple[Configuration, ...]
    right: Int64[Tensor, "g m c k"]
    count: Int64[Tensor, "c k"]
    labels: tuple[int, ...]
    attributes: tuple[int, ...]

    def accuracy(self, cells: Bool[Tensor, "c k"]) -> Float64[Tensor, "g m"]:
        """Return the accuracy of each model on some cells at equal shares of the labels.

        Every split of the test set into majority and minority can be taken from the same pool.

        Args:
            cells: Which cells count, such as the diagonal, where attribute and label agree.

        Raises:
            InvalidInputError: A label has no sample in these cells.
        """
        return balanced_accuracy(self.right, self.count, cells)


def train_model_pool(
    factory: Factory,
    trainer: Callable[[Configuration], Trainer],
    configurations: Sequence[Configuration],
    x: Shaped[Tensor, "n *d"],
    y: Tensor,
    membership: Bool[Tensor, "..."],
    *,
    test: Samples,
    folder: str | Path | None = None,
    n_jobs: int = 1,
    generator: torch.Generator | None = None,
    progress: bool = False,
) -> ModelPool:
    """Train a model of each configuration on each training set, and count its correct answers in each cell.

    The models of one configuration are handed to its trainer together: `core.StackedTrainer` trains them in one batched
    computation, `core.SequentialTrainer` takes any function of one model. Configurations go through `core.sweep`.
    Results under `folder` are found again by configuration, seed and data, not by the code of `factory` and `trainer`:
    take another folder where these change.

    Cost: time that of training g m models and of evaluating them, memory that of m models.

    Args:
        factory: Builds a model: `factory(configuration, generator)`.
        trainer: Returns the trainer of a configuration, called with the m models, x, y and the membership.
        configurations: Hyperparameters of each model, as JSON values; include short training and small learning rates.
        x: Training samples.
        y: Their labels.
        membership: Which samples belong to each of m training sets, such as draws of several tables of counts.
        test: Inputs, labels and attributes of test samples; every cell that will be asked for must have some.
        folder: Where finished configurations are kept, so that an interrupted run goes on.
        n_jobs: Configurations that are trained at once, in processes of their own.
        generator: Source of the initial weights and of the training's randomness; a fixed seed by default.
        progress: Draw a bar on standard error.

    Returns:
        The counts of all models.

    Raises:
        InvalidInputError: There is no configuration, or the data do not fit each other or the models.

    Source: Liang, Mao et al., Accuracy on the Curve (2023), main text, the grid of 500 models of each data set.

    >>> from assay.core import StackedTrainer, cross_entropy
    >>> from assay.nets import mlp
    >>> x, y = torch.eye(2).repeat(4, 1), torch.tensor([0, 1]).repeat(4)
    >>> def trainer(options):
    ...     return StackedTrainer(cross_entropy, partial(torch.optim.SGD, lr=options["lr"]), epochs=1)
    >>> test = (x, y, torch.tensor([0, 0, 1, 1]).repeat(2))
    >>> build = lambda options, source: mlp((2, 2), generator=source)
    >>> everything = torch.ones(1, 8, dtype=torch.bool)
    >>> pool = train_model_pool(build, trainer, [{"lr": 9.0}], x, y, everything, test=test)
    >>> pool.accuracy(torch.eye(2).bool()).tolist()
    [[1.0]]
    """
    x, y = check_pairs(x, y, tokens=True)
    x_test, y_test = check_pairs(*test[:2], tokens=True)
    y_test, z_test = check_cells(y_test, test[2])
    if not configurations:
        raise InvalidInputError("a pool needs configurations; give a list of dicts of hyperparameters")
    if membership.ndim != 2 or membership.shape[1] != len(x):
        raise InvalidInputError(
            f"membership must say of each of {len(x)} samples which training sets it belongs to, got shape "
            f"{tuple(membership.shape)}; pass a tensor of shape (m, n)"
        )
    source = as_generator(generator)
    seed = int(torch.randint(2**31, (1,), generator=source, device=source.device))
    data = _digest(x, y, membership, x_test, y_test, z_test) if folder is not None else ""
    items = [
        {"configuration": dict(each), "seed": own, "data": data}
        for each, own in zip(configurations, spawn_seeds(seed, len(configurations)), strict=True)
    ]
    run = partial(
        _train_configuration,
        factory=factory,
        trainer=trainer,
        train=(x, y, membership),
        test=(x_test, y_test, z_test),
    )
    found = sweep(run, items, folder=folder, n_jobs=n_jobs, progress=progress)
    return ModelPool(
        configurations=tuple(dict(each) for each in configurations),
        right=torch.stack([torch.tensor(result["right"]) for result in found]),
        count=torch.tensor(found[0]["count"]),
        labels=tuple(y_test.unique().tolist()),
        attributes=tuple(z_test.unique().tolist()),
    )


def _train_configuration(
    item: Mapping[str, Any],
    *,
    factory: Factory,
    trainer: Callable[[Configuration], Trainer],
    train: Samples,
    test: Samples,
) -> dict[str, Any]:
    """Train and evaluate the models of one configuration."""
    x, y, membership = train
    configuration: Configuration = item["configuration"]
    for_weights, for_training = (seeded(child) for child in spawn_seeds(item["seed"], 2))
    models = [factory(configuration, for_weights) for _ in range(len(membership))]
    trainer(configuration)(models, x, y, membership, generator=for_training)
    found = [subgroup_accuracy(model, *test[:2], groups=test[2]) for model in models]
    return {"right": [each.right.tolist() for each in found], "count": found[0].count.tolist()}


def _digest(*tensors: Int[Tensor, "..."] | Tensor) -> str:
    """Return a digest of the values of tensors, as the identity of a data set."""
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(f"{tensor.dtype}{tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
