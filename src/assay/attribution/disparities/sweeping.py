"""Sweep of a property of the data against the explanation gap (Mhasawade et al., 2024)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float
from matplotlib.axes import Axes
from sklearn.base import clone

from assay.attribution.disparities.fidelity import METRICS, explanation_disparity
from assay.attribution.disparities.simulation import SimulatedData
from assay.attribution.disparities.surrogate import LocalSurrogate
from assay.core import (
    Interval,
    InvalidInputError,
    as_generator,
    check_choice,
    check_count,
    mean_interval,
    seeded,
    spawn_seeds,
    track,
)

Simulate = Callable[[float, torch.Generator], tuple[SimulatedData, SimulatedData]]
"""Draw training and test data at a value of the swept property."""

Train = Callable[[SimulatedData, torch.Generator], Any]
"""Train a model: a network, a classifier, or a function that returns probabilities."""


@dataclass(frozen=True)
class SweepResult:
    """Gaps of each trial at each value of a property of the data.

    Attributes:
        values: The values.
        mean_gap: By metric, the mean gap of each value and trial; NaN where an AUROC is not defined.
        max_gap: By metric, the maximum gap.
        model_accuracy: The model's accuracy on test labels.
    """

    values: tuple[float, ...]
    mean_gap: dict[str, Float[np.ndarray, "v t"]]
    max_gap: dict[str, Float[np.ndarray, "v t"]]
    model_accuracy: Float[np.ndarray, "v t"]

    def interval(self, value: float, *, metric: str = "residual", gap: Literal["mean", "max"] = "mean") -> Interval:
        """Return the mean of a gap over trials with Student's 95% interval.

        Args:
            value: One of the values.
            metric: "accuracy", "auroc" or "residual".
            gap: The mean or the maximum gap.

        Raises:
            InvalidInputError: There is no such value, metric or gap, or fewer than two trials have it.
        """
        check_choice(value, self.values, "value")
        check_choice(metric, METRICS, "metric")
        check_choice(gap, ("mean", "max"), "gap")
        found = (self.mean_gap if gap == "mean" else self.max_gap)[metric][self.values.index(value)]
        return mean_interval(found[np.isfinite(found)].tolist())

    def rows(self) -> list[dict[str, Any]]:
        """Return one dict a value and trial, as of a tidy table."""
        rows = []
        for place, value in enumerate(self.values):
            for trial in range(self.model_accuracy.shape[1]):
                row = {"value": value, "trial": trial, "model accuracy": float(self.model_accuracy[place, trial])}
                row |= {f"mean gap of {name}": float(found[place, trial]) for name, found in self.mean_gap.items()}
                row |= {f"max gap of {name}": float(found[place, trial]) for name, found in self.max_gap.items()}
                rows.append(row)
        return rows

    def plot(self, ax: Axes | None = None, *, metric: str = "residual") -> Axes:
        """Draw the mean gap against the property, with intervals over trials."""
        if ax is None:
            import matplotlib.pyplot as plt

            ax = plt.subplots()[1]
        found = [self.interval(value, metric=metric) for value in self.values]
        means = [each.mean for each in found]
        bars = [[each.mean - each.low for each in found], [each.high - each.mean for each in found]]
        ax.errorbar(self.values, means, yerr=bars, fmt="o-", capsize=3)
        ax.set(xlabel="swept property", ylabel=f"mean gap of the {metric}")
        return ax

    def __str__(self) -> str:
        found = [f"{value:g}: {self.mean_gap['residual'][place].mean():.3g}" for place, value in enumerate(self.values)]
        n = self.model_accuracy.shape[1]
        return f"Mean residual gap over {n} trials, by value of the property: {', '.join(found)}."


def disparity_sweep(
    simulate: Simulate,
    values: Sequence[float],
    train: Train,
    explainer: LocalSurrogate,
    *,
    n_trials: int = 5,
    n_explained: int | None = 400,
    generator: torch.Generator | None = None,
    progress: bool = False,
) -> SweepResult:
    """Measure the explanation gap at each value of a property of the data.

    Each trial draws data, initial weights and neighbours from seeds of its own; a trial has the same seeds at all
    values, so that values are compared on paired draws.

    Cost: time of len(values) n_trials trainings and n_explained n_samples evaluations of each model.

    Args:
        simulate: `simulate(value, generator)` returns training and test data.
        values: Values of the property.
        train: `train(data, generator)` returns a model that `LocalSurrogate.explain` takes.
        explainer: A surrogate; a copy is fitted to each training set.
        n_trials: Trials a value.
        n_explained: Test samples that are explained, the first ones; None for all.
        generator: Source of the trials' seeds; a fixed seed by default.
        progress: Show a progress bar.

    Raises:
        InvalidInputError: No value or one twice, a count below 1, or what the functions return cannot be used.

    Source: Mhasawade et al., Understanding Disparities in Post Hoc Machine Learning Explanation (2024), abstract and
    the released script, objectives 1 to 4; five trials there differ in the surrogate's noise alone.

    >>> from sklearn.linear_model import LogisticRegression
    >>> from assay.attribution.disparities import simulate_concept_shift
    >>> draw = lambda beta, source: tuple(simulate_concept_shift(200, beta, generator=source) for _ in range(2))
    >>> train = lambda data, source: LogisticRegression().fit(data.x, data.y)
    >>> options = {"n_trials": 2, "n_explained": 20}
    >>> disparity_sweep(draw, [1.5, -0.7], train, LocalSurrogate(50), **options).mean_gap["residual"].shape
    (2, 2)
    """
    values = tuple(values)
    if not values or len(set(values)) < len(values):
        raise InvalidInputError(f"values must hold one or more numbers, each once, got {list(values)}")
    check_count(n_trials, "n_trials")
    if n_explained is not None:
        check_count(n_explained, "n_explained")
    source = as_generator(generator)
    seeds = spawn_seeds(int(torch.randint(2**31, (1,), generator=source, device=source.device)), n_trials)
    cells = [(value, seed) for value in values for seed in seeds]
    found = [
        _trial(simulate, value, train, explainer, seed, n_explained)
        for value, seed in track(cells, "explaining models", enabled=progress)
    ]
    shape = (len(values), n_trials)
    return SweepResult(
        values=values,
        mean_gap={name: np.reshape([cell[0].mean_gap[name] for cell in found], shape) for name in METRICS},
        max_gap={name: np.reshape([cell[0].max_gap[name] for cell in found], shape) for name in METRICS},
        model_accuracy=np.reshape([cell[1] for cell in found], shape),
    )


def _trial(
    simulate: Simulate, value: float, train: Train, explainer: LocalSurrogate, seed: int, n_explained: int | None
) -> tuple[Any, float]:
    data_seed, train_seed, noise_seed = spawn_seeds(seed, 3)
    training, test = simulate(value, seeded(data_seed))
    if n_explained is not None:
        test = test.keep(torch.arange(min(n_explained, len(test))))
    model = train(training, seeded(train_seed))
    own: Any = clone(explainer)
    own.set_params(random_state=noise_seed % 2**31)
    found = own.fit(training.x.numpy()).explain(model, test.x.numpy())
    report = explanation_disparity(found.model_prediction, found.local_prediction, test.group)
    right = (found.model_prediction >= 0.5) == test.y.numpy()
    return report, float(right.mean())
