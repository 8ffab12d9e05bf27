from functools import partial

import numpy as np
import pytest
import torch
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.neural_network import MLPClassifier
from torch import nn

from assay.core import InvalidInputError, StackedTrainer, cross_entropy, flatten, named_parameters, seeded
from assay.generalization.capacity import EstimatorProcedure, StackedProcedure, TrainingProcedure
from assay.nets import mlp

ADAM = partial(torch.optim.Adam, lr=0.02)


def easy():
    x = torch.randn(40, 3, generator=seeded(0))
    return x, (x[:, 0] > 0).long()


def test_training_ends_when_all_samples_are_fitted():
    x, y = easy()
    model = mlp((3, 16, 2), generator=seeded(0))
    report = TrainingProcedure(cross_entropy, ADAM, n_iter=5000)(model, x, y, seeded(0))
    assert report.n_iter < 5000
    assert report.n_iter % 25 == 0
    assert (model(x).argmax(1) == y).all()


def test_a_budget_is_spent_where_they_are_not():
    x = torch.ones(6, 3)
    y = torch.arange(6) % 2  # one input with two labels
    model = mlp((3, 4, 2), generator=seeded(0))
    assert TrainingProcedure(cross_entropy, ADAM, n_iter=60, batch_size=None)(model, x, y, seeded(0)).n_iter == 60
    assert TrainingProcedure(cross_entropy, ADAM, epochs=10, batch_size=2)(model, x, y, seeded(0)).n_iter == 30


def test_one_sample_is_enough_for_batch_norm():
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
    report = TrainingProcedure(cross_entropy, ADAM, n_iter=100)(model, torch.ones(1, 3), torch.tensor([1]), seeded(0))
    assert report.n_iter == 25
    assert model(torch.ones(1, 3)).argmax() == 1


def test_a_stack_takes_the_steps_of_core():
    x, y = easy()
    membership = torch.zeros(2, 40, dtype=torch.bool)
    membership[0, :20], membership[1, 10:] = True, True
    weights = []
    for train in (
        StackedProcedure(cross_entropy, ADAM, n_iter=7, batch_size=8),
        lambda models, *data: StackedTrainer(cross_entropy, ADAM, 4, 8)(models, *data[:-1], generator=data[-1]),
    ):
        models = [mlp((3, 4, 2), generator=seeded(place)) for place in range(2)]
        train(models, x, y, membership, seeded(5))
        weights.append(torch.stack([flatten(named_parameters(model)) for model in models]))
    assert torch.equal(*weights)  # 20 samples are 2 batches an epoch: 4 epochs are the first with 7 steps


def test_an_estimator_that_does_not_converge_gets_twice_the_iterations():
    x, y = easy()
    wide = EstimatorProcedure()(LogisticRegression(max_iter=500), x, y, seeded(0))
    assert wide.converged
    short = LogisticRegression(max_iter=1, C=1e9)
    assert not EstimatorProcedure()(short, x, y, seeded(0)).converged
    assert short.max_iter == 2


def test_one_class_is_fitted_without_training():
    x, y = easy()
    model = LogisticRegression()
    assert EstimatorProcedure()(model, x, torch.ones_like(y), seeded(0)).converged
    assert not hasattr(model, "coef_")
    assert EstimatorProcedure().share_fitted(model, x, torch.ones_like(y)) == 1


def test_an_estimator_draws_from_the_generator():
    x, y = easy()
    fitted = [MLPClassifier((4,), max_iter=3) for _ in range(3)]
    for estimator, seed in zip(fitted, (0, 0, 1), strict=True):
        EstimatorProcedure()(estimator, x, y, seeded(seed))
    one, same, other = (estimator.coefs_[0] for estimator in fitted)
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)


def test_a_regressor_fits_within_the_tolerance():
    x = torch.tensor([[0.0], [1.0], [2.0]], dtype=torch.float64)
    y = torch.tensor([0.0, 1.0, 2.3], dtype=torch.float64)
    model = LinearRegression()
    EstimatorProcedure()(model, x, y, seeded(0))
    # The residuals of the least-squares line are 0.05, -0.1 and 0.05.
    assert EstimatorProcedure(tolerance=0.06).share_fitted(model, x, y) == pytest.approx(2 / 3)
    assert EstimatorProcedure(tolerance=0.11).share_fitted(model, x, y) == 1


@pytest.mark.parametrize("options", [{}, {"n_iter": 3, "epochs": 3}, {"n_iter": 0}])
def test_a_budget_must_be_one_number(options):
    with pytest.raises(InvalidInputError, match="n_iter"):
        TrainingProcedure(cross_entropy, ADAM, **options)


def test_networks_that_cannot_be_stacked_are_refused():
    x, y = easy()
    models = [nn.Sequential(nn.Linear(3, 2), nn.Dropout()) for _ in range(2)]
    with pytest.raises(InvalidInputError, match="dropout"):
        StackedProcedure(cross_entropy, ADAM)(models, x, y, torch.ones(2, 40) > 0, seeded(0))
