"""Linear models at their optimum, as the baseline of the networks."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from torch import nn

from assay.attribution.disparities import SimulatedData
from assay.core import seeded, spawn_seeds
from assay.studies.attribution.explanation_disparities.cells import SETTINGS, explained_gaps
from assay.studies.attribution.explanation_disparities.settings import Settings


def optimal_linear_gaps(settings: Settings, experiment: str, seed: int) -> dict[str, Any]:
    """Fit a logistic regression by a solver at each level of an experiment, on the draws of `simulated_gaps`."""
    setting = SETTINGS[experiment]
    data_seed, test_seed, _, noise_seed, _ = spawn_seeds(seed, 5)
    n = getattr(settings, setting.n_explained)
    levels = getattr(settings, setting.levels)
    fixed: Mapping[Any, Any] = {None: levels, "none": (None,) * len(levels)}
    at = fixed.get(setting.test, (setting.test,) * len(levels))
    gaps = []
    for level, test_level in zip(levels, at, strict=True):
        train = setting.draw(settings.n_train, level, generator=seeded(data_seed))
        test = setting.draw(n, test_level, generator=seeded(test_seed))
        gaps.append(explained_gaps(optimal_linear(train), train, test, settings.neighbours, noise_seed % 2**31))
    return {f"linear {name}": torch.tensor([each[name] for each in gaps]) for name in gaps[0]}


def optimal_linear(data: SimulatedData) -> nn.Module:
    """Return the logistic regression without penalty, as a network of one layer."""
    solved = LogisticRegression(C=np.inf, max_iter=1000, tol=1e-8).fit(data.x.double().numpy(), data.y.numpy())
    layer = nn.Linear(data.x.shape[1], 1, dtype=torch.float64)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor(solved.coef_))
        layer.bias.copy_(torch.tensor(solved.intercept_))
    return nn.Sequential(layer)
