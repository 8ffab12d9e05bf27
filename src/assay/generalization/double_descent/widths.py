"""Double-descent curve of a training function over widths and seeds (Liu and Flanigan, 2023)."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, is_dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Shaped
from torch import Tensor

from assay.core import (
    InvalidInputError,
    LossFunction,
    as_generator,
    check_count,
    check_pairs,
    isolated_rng,
    seeded,
    spawn_seeds,
    sweep,
)
from assay.generalization.double_descent.curve import DoubleDescentCurve, median
from assay.generalization.double_descent.evaluation import TrainFunction, check_classes, loss_and_error, outputs_of
from assay.generalization.double_descent.peak import check_widths

INTERPOLATED = 1e-3
"""A width interpolates if its training loss falls below this fraction of that of zero outputs."""

REPORTED = ("condition_number", "effective_condition_number", "effective_modes")


def double_descent_curve(
    x: Shaped[Tensor, "n *d"],
    y: Tensor,
    x_test: Shaped[Tensor, "m *d"],
    y_test: Tensor,
    *,
    train: TrainFunction,
    widths: Sequence[int],
    n_seeds: int = 5,
    loss: LossFunction | None = None,
    threshold: float | None = None,
    generator: torch.Generator | None = None,
    folder: str | Path | None = None,
    n_jobs: int = 1,
    progress: bool = False,
) -> DoubleDescentCurve:
    """Train at each width from several seeds, and measure training loss, test loss and test error.

    `train` is `RandomFeatureModel(...)`, `TwoLayerModel(...)`, or your own function `train(width, x, y, generator)`
    that returns a network, a fitted scikit-learn estimator, or a function of inputs that gives their outputs. The
    generator is seeded alike at all widths of a seed, as are torch's global generators. Attributes of what is returned
    are read where there are any: `condition_number`, `effective_condition_number`, `effective_modes`.

    Cost: `len(widths) * n_seeds` trainings.

    Args:
        x: Training inputs.
        y: Class labels (integers from 0 on), or real targets.
        x_test: Test inputs.
        y_test: Their labels or targets.
        train: The training function.
        widths: Three or more widths, growing.
        n_seeds: Independent repetitions.
        loss: Mean loss over samples that is measured; by default the squared error, to one-hot rows of labels.
        threshold: Interpolation threshold. By default that which `train.threshold(n)` returns, else the smallest width
            whose median training loss is below a thousandth of that of zero outputs.
        generator: Source of the seeds; one seeded with 0 by default.
        folder: Where finished trainings are kept, so that the next call resumes. They are known by the data, the width,
            the seed and the settings or the name of `train` and `loss`: use another folder when the code of your
            function changes.
        n_jobs: Processes at once, as in joblib.
        progress: Draw a bar on standard error.

    Returns:
        The curve; it prints as a sentence and draws itself.

    Raises:
        InvalidInputError: The data or the widths are unusable, or the function returns something else.
        NumericalError: Some outputs are NaN or infinite.

    Source: Liu and Flanigan, Understanding the Role of Optimization in Double Descent (2023), abstract; the measures
    are chosen here.

    >>> from assay.generalization.double_descent import GradientDescent, RandomFeatureModel
    >>> source = torch.Generator().manual_seed(0)
    >>> x, y = torch.randn(60, 3, generator=source), torch.randn(60, generator=source)
    >>> model, data = RandomFeatureModel(GradientDescent(float("inf"))), (x[:20], y[:20], x[20:], y[20:])
    >>> double_descent_curve(*data, train=model, widths=(5, 20, 200)).peak.present
    True
    """
    (x, y), (x_test, y_test) = check_pairs(x, y, tokens=True), check_pairs(x_test, y_test, tokens=True)
    check_classes(y, y_test)
    places = check_widths(widths)
    check_count(n_seeds, "n_seeds")
    if not callable(train):
        raise InvalidInputError(f"train must be a function of (width, x, y, generator), got {type(train).__name__}")
    source = as_generator(generator)
    seeds = spawn_seeds(int(torch.randint(2**31 - 1, (1,), generator=source, device=source.device)), n_seeds)
    identity = {} if folder is None else _identity(train, loss, (x, y, x_test, y_test))
    items = [{"seed": seed, "width": width} | identity for seed in seeds for width in places]
    cell = _Cell(train, loss, (x, y, x_test, y_test))
    found = sweep(cell, items, folder=folder, n_jobs=n_jobs, progress=progress, description="training widths")
    figures = {name: _table([each[name] for each in found], len(places)) for name in found[0]}
    if threshold is None and hasattr(train, "threshold"):
        threshold = train.threshold(len(x))  # pyright: ignore[reportFunctionMemberAccess]
    elif threshold is None:
        threshold = first_interpolating(places, figures["train_loss"], figures["zero_loss"])  # pyright: ignore[reportArgumentType]
    return DoubleDescentCurve(widths=places, threshold=threshold, **figures)  # pyright: ignore[reportArgumentType]


def first_interpolating(widths: Sequence[int], train_loss: Tensor, zero_loss: Tensor) -> float | None:
    """Return the smallest width whose median training loss is below a thousandth of that of zero outputs, if any."""
    low = median(train_loss / zero_loss) < INTERPOLATED
    return float(widths[int(low.int().argmax())]) if low.any() else None


@dataclass(frozen=True, eq=False)
class _Cell:
    """One training: a function of a width and a seed."""

    train: TrainFunction
    loss: LossFunction | None
    data: tuple[Tensor, Tensor, Tensor, Tensor]

    def __call__(self, item: Mapping[str, Any]) -> dict[str, float | None]:
        """Train, and return all figures."""
        x, y, x_test, y_test = self.data
        with isolated_rng(item["seed"]):
            fitted = self.train(item["width"], x, y, seeded(item["seed"]))
            on_train, on_test = (outputs_of(fitted, inputs) for inputs in (x, x_test))
        train_loss, _ = loss_and_error(on_train, y, self.loss)
        test_loss, test_error = loss_and_error(on_test, y_test, self.loss)
        zero_loss, _ = loss_and_error(torch.zeros_like(on_train), y, self.loss)
        reported = {name: getattr(fitted, name, None) for name in REPORTED}
        losses = {"train_loss": train_loss, "test_loss": test_loss, "test_error": test_error, "zero_loss": zero_loss}
        return losses | {name: None if value is None else float(value) for name, value in reported.items()}


def _table(values: list[float | None], n_widths: int) -> Tensor | None:
    if any(value is None for value in values):
        return None
    return torch.tensor(values, dtype=torch.float64).reshape(-1, n_widths)


def _identity(train: Any, loss: Any, data: Sequence[Tensor]) -> dict[str, str]:
    digest = hashlib.sha256()
    for part in data:
        digest.update(f"{part.dtype}{tuple(part.shape)}".encode())
        digest.update(part.contiguous().cpu().reshape(-1).view(torch.uint8).numpy().tobytes())
    return {"train": _name(train), "loss": _name(loss), "data": digest.hexdigest()}


def _name(value: Any) -> str:
    if isinstance(value, partial):
        return f"{_name(value.func)}{value.args}{value.keywords}"
    if value is None or is_dataclass(value):
        return repr(value)
    kind = value if hasattr(value, "__qualname__") else type(value)
    return f"{kind.__module__}.{kind.__qualname__}"
