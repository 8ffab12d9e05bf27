"""Gaps of surrogates of networks and linear models on simulated data, and on two embedded data sets."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from sklearn.datasets import load_breast_cancer, load_diabetes
from torch import Tensor, nn

from assay.attribution import LocalSurrogate, bootstrap_gap, explanation_disparity
from assay.attribution.disparities import (
    SimulatedData,
    simulate_concept_shift,
    simulate_covariate_shift,
    simulate_omitted_variable,
    simulate_sample_size,
    top_k_agreement,
)
from assay.core import StackedTrainer, binary_cross_entropy, seeded, spawn_seeds
from assay.nets import mlp
from assay.studies.attribution.explanation_disparities.settings import Settings

PERMUTATIONS = 200
RATES = {"network": 1e-3, "linear": 1e-2}
"""Learning rates of Adam: the paper's, and a larger one of linear models, which leaves them short of their optimum."""

Draw = Callable[..., SimulatedData]


@dataclass(frozen=True)
class Setting:
    """An experiment on simulated data.

    Attributes:
        draw: Draws training samples at a level.
        levels: The setting that holds its levels.
        test: The level of the test samples; None for that of the training samples, "none" for data without shift.
        n_explained: The setting that holds how many samples are explained.
    """

    draw: Draw
    levels: str
    test: Any = None
    n_explained: str = "n_explained"


SETTINGS = {
    "sample size": Setting(simulate_sample_size, "ratios", 0.5),
    "covariate shift": Setting(simulate_covariate_shift, "thresholds", "none"),
    "concept shift": Setting(simulate_concept_shift, "betas"),
    "concept shift, group left out": Setting(
        partial(simulate_concept_shift, include_group=False), "betas_without_group"
    ),
    "variable omitted": Setting(simulate_omitted_variable, "alphas", n_explained="n_omitted"),
    "variable included": Setting(partial(simulate_omitted_variable, omit=False), "alphas", n_explained="n_omitted"),
}


def simulated_gaps(settings: Settings, experiment: str, seed: int) -> dict[str, Any]:
    """Train a network and a linear model at each level of an experiment, and measure the gaps of their surrogates.

    All levels have the same seeds, so that they differ in the level and not in the draws.
    """
    setting = SETTINGS[experiment]
    data_seed, test_seed, *model_seeds = spawn_seeds(seed, 5)
    n = getattr(settings, setting.n_explained)
    levels = getattr(settings, setting.levels)
    train = [setting.draw(settings.n_train, level, generator=seeded(data_seed)) for level in levels]
    at = {None: levels, "none": (None,) * len(levels)}.get(setting.test, (setting.test,) * len(levels))
    tests = [setting.draw(n, level, generator=seeded(test_seed)) for level in at]
    found: dict[str, Any] = {}
    for kind in ("network", "linear"):
        models = train_stacked(settings, kind, train, model_seeds[0])
        gaps = [
            explained_gaps(model, own, test, settings.neighbours, model_seeds[1] % 2**31)
            for model, own, test in zip(models, train, tests, strict=True)
        ]
        found |= {f"{kind} {name}": torch.tensor([each[name] for each in gaps]) for name in gaps[0]}
    return found


def build(settings: Settings, kind: str, width: int, seed: int) -> nn.Module:
    """Build a network, or a linear model, of one logit."""
    hidden = settings.widths if kind == "network" else ()
    return mlp((width, *hidden, 1), generator=seeded(seed))


def train_stacked(settings: Settings, kind: str, data: Sequence[SimulatedData], seed: int) -> list[nn.Module]:
    """Train one model on each of several data sets, all at once."""
    models = [build(settings, kind, data[0].x.shape[1], seed) for _ in data]
    adam = partial(torch.optim.Adam, lr=RATES[kind], weight_decay=1e-4)
    trainer = StackedTrainer(binary_cross_entropy, adam, epochs=settings.epochs, batch_size=settings.batch_size)
    owner = torch.cat([torch.full((len(part),), place) for place, part in enumerate(data)])
    membership = owner == torch.arange(len(data))[:, None]
    x, y = torch.cat([part.x for part in data]), torch.cat([part.y for part in data])
    trainer(models, x, y, membership, generator=seeded(seed))
    return models


def explained_gaps(
    model: nn.Module, train: SimulatedData, test: SimulatedData, neighbours: int, seed: int
) -> dict[str, float]:
    """Explain test samples, and measure fidelity, its gaps and the gap of shuffled groups."""
    categorical = [place for place, name in enumerate(train.columns) if name == "M"]
    surrogate = LocalSurrogate(neighbours, categorical=categorical, random_state=seed, batch_size=16_384)
    surrogate.fit(train.x.numpy())
    found = surrogate.explain(model, test.x.numpy())
    report = explanation_disparity(found.model_prediction, found.local_prediction, test.group)
    null = {"n_bootstrap": 2, "n_permutations": PERMUTATIONS, "generator": seeded(seed)}
    tested = bootstrap_gap(found.model_prediction, found.local_prediction, test.group, **null)
    right = (found.model_prediction >= 0.5) == test.y.numpy()
    return {
        "residual gap": report.mean_gap["residual"],
        "shuffled residual gap": tested.null_mean,
        "p": tested.p_value,
        "accuracy gap": report.mean_gap["accuracy"],
        # -1 where a group has one predicted class, and no AUROC.
        "AUROC gap": -1.0 if report.n_undefined else report.mean_gap["auroc"],
        "residual": report.overall["residual"],
        "test accuracy": float(right.mean()),
        "agreement gap": agreement_gap(model, surrogate, found.coef, test.group.numpy()),
    }


def agreement_gap(model: nn.Module, surrogate: LocalSurrogate, coef: np.ndarray, group: np.ndarray) -> float:
    """Return the gap in ground-truth fidelity of a linear model's explanations; -1 for a network, which has none."""
    layer, *others = model.children()
    if others or not isinstance(layer, nn.Linear):
        return -1.0
    slopes = layer.weight.detach().double().numpy()[0] * surrogate.columns_.scale
    agreement = top_k_agreement(slopes, coef, min(2, len(slopes) - 1))
    return abs(float(agreement[group == 0].mean() - agreement[group == 1].mean()))


def real_data(name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return standardised columns, labels and groups: above or below the median age, or mean radius."""
    if name == "breast cancer":
        found: Any = load_breast_cancer()  # the first column is the mean radius
        labels = found.target
    else:
        found = load_diabetes()  # the first column is the age
        labels = found.target > np.median(found.target)
    x = found.data
    group = x[:, 0] > np.median(x[:, 0])
    return (x - x.mean(0)) / x.std(0), labels.astype(np.int64), group.astype(np.int64)


def real_gaps(settings: Settings, name: str, seed: int) -> dict[str, float]:
    """Measure the gaps of a network on all columns, and without the three that go with the label most."""
    x, y, group = real_data(name)
    split_seed, model_seed, noise_seed = spawn_seeds(seed, 3)
    order = torch.randperm(len(x), generator=seeded(split_seed)).numpy()
    test, train = order[: len(x) // 3], order[len(x) // 3 :]
    related = np.argsort(-np.abs(np.corrcoef(x[train].T, y[train])[-1, :-1]))
    found: dict[str, float] = {}
    own = Settings(epochs=settings.real_epochs, batch_size=32, widths=settings.widths)
    for which, columns in (("all columns", np.arange(x.shape[1])), ("columns omitted", np.sort(related[3:]))):
        known, unseen = (_as_data(x[rows][:, columns], y[rows], group[rows]) for rows in (train, test))
        (model,) = train_stacked(own, "network", [known], model_seed)
        gaps = explained_gaps(model, known, unseen, settings.neighbours, noise_seed % 2**31)
        chosen = ("residual gap", "shuffled residual gap", "accuracy gap", "test accuracy")
        found |= {f"{which}: {name}": gaps[name] for name in chosen}
    return found


def _as_data(x: np.ndarray, y: np.ndarray, group: np.ndarray) -> SimulatedData:
    columns = tuple(map(str, range(x.shape[1])))
    labels: Tensor = torch.tensor(y)
    return SimulatedData(
        torch.tensor(x, dtype=torch.float32), labels, torch.tensor(group), torch.zeros(len(x)), columns
    )
