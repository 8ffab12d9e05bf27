import math

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from assay.attribution import LocalSurrogate, explanation_disparity
from assay.attribution.disparities import SweepResult, disparity_sweep, simulate_concept_shift
from assay.core import InvalidInputError, seeded, spawn_seeds


def draw(beta, source):
    return tuple(simulate_concept_shift(300, beta, generator=source) for _ in range(2))


def train(data, source):
    return LogisticRegression().fit(data.x, data.y)


def test_a_trial_is_what_its_parts_give():
    found = disparity_sweep(draw, [1.5, -0.7], train, LocalSurrogate(40), n_trials=2, n_explained=30)
    trial = spawn_seeds(int(torch.randint(2**31, (1,), generator=seeded(0))), 2)[1]
    data_seed, _, noise_seed = spawn_seeds(trial, 3)
    training, test = draw(-0.7, seeded(data_seed))
    surrogate = LocalSurrogate(40, random_state=noise_seed % 2**31).fit(training.x.numpy())
    explained = surrogate.explain(train(training, None), test.x[:30].numpy())
    report = explanation_disparity(explained.model_prediction, explained.local_prediction, test.group[:30])
    assert found.mean_gap["residual"][1, 1] == report.mean_gap["residual"]
    assert found.max_gap["accuracy"][1, 1] == report.max_gap["accuracy"]
    assert [row["value"] for row in found.rows()] == [1.5, 1.5, -0.7, -0.7]
    assert "1.5: " in str(found)


def test_intervals_leave_out_what_is_not_defined():
    gaps = {name: np.array([[1.0, 2.0, 3.0]]) for name in ("accuracy", "residual")} | {
        "auroc": np.array([[1.0, 3.0, math.nan]])
    }
    found = SweepResult((0.5,), gaps, gaps, np.ones((1, 3)))
    assert found.interval(0.5).mean == found.interval(0.5, metric="auroc", gap="max").mean == 2
    assert found.plot().get_ylabel() == "mean gap of the residual"
    with pytest.raises(InvalidInputError, match="value must be one of"):
        found.interval(0.4)


def test_no_value_is_refused():
    with pytest.raises(InvalidInputError, match="one or more numbers"):
        disparity_sweep(draw, [], train, LocalSurrogate())
