import math
from functools import partial

import pytest
import torch
from sklearn.linear_model import LogisticRegression, Ridge, RidgeClassifier
from torch import nn

from assay.core import InvalidInputError, NumericalError, cross_entropy, seeded
from assay.generalization.double_descent import (
    GradientDescent,
    LeastSquares,
    RandomFeatureModel,
    TwoLayerModel,
    double_descent_curve,
    find_peak,
)
from assay.generalization.double_descent.widths import _Cell, _name


def regression(n=20, d=5, seed=0):
    source = seeded(seed)
    draw = lambda *shape: torch.randn(*shape, generator=source, dtype=torch.float64)  # noqa: E731
    return draw(n, d), draw(n), draw(50, d), draw(50)


def labelled():
    x, y, x_test, y_test = regression()
    return x, (y > 0).long(), x_test, (y_test > 0).long()


def first_columns(width, x, y, generator):
    """Return the function of least norm that fits the first columns."""
    weights = torch.linalg.pinv(x[:, :width]) @ y
    return lambda inputs: inputs[:, :width] @ weights


def test_gaussian_features_have_the_risk_of_theory():
    """Of least squares on pure noise the excess risk is N/(n - N - 1) below n and n/(N - n - 1) above."""
    n, widths, found = 12, (4, 6, 12, 30, 60), []
    for seed in range(100):
        source = seeded(seed)
        x, y = (torch.randn(n, size, generator=source, dtype=torch.float64) for size in (60, 1))
        test = torch.eye(60, dtype=torch.float64), torch.zeros(60, 1, dtype=torch.float64)
        found.append(double_descent_curve(x, y, *test, train=first_columns, widths=widths, n_seeds=1))
    # On the unit vectors, with targets of zero, the squared error is |w|^2 / 60; the excess risk is |w|^2.
    risks = 60 * torch.cat([each.test_loss for each in found])
    assert {each.threshold for each in found} == {12.0}
    for width, risk in zip(widths, risks.T, strict=True):
        if width != n:
            exact = width / (n - width - 1) if width < n else n / (width - n - 1)
            assert abs(risk.mean() - exact) <= 4 * risk.std() / math.sqrt(len(risk))
    assert find_peak(widths, risks.median(0).values, 12).present


def test_the_built_in_models_give_the_curve_of_their_formula():
    data = regression()
    model = RandomFeatureModel(LeastSquares(), normalization="center")
    found = double_descent_curve(*data, train=model, widths=(5, 20, 60), n_seeds=2)
    assert found.threshold == 19
    assert found.train_loss.shape == (2, 3)
    assert found.train_loss[:, 2].max() < 1e-15
    torch.testing.assert_close(found.zero_loss, data[1].square().mean().expand(2, 3))
    assert found.effective_modes is not None
    assert found.effective_modes[:, 0].tolist() == [5, 5]
    assert found.at("effective_condition_number") == 1
    assert "condition number" in str(found)


def test_initial_weights_outside_the_span_of_the_data_stay():
    x, y, *_ = regression()
    model = RandomFeatureModel(GradientDescent(math.inf), init_scale=3.0)
    far, near = (
        RandomFeatureModel(model.procedure, init_scale=scale)(60, x, y, seeded(1)).weights for scale in (3.0, 0.0)
    )
    phi = torch.from_numpy(model(60, x, y, seeded(1)).features.transform(x.numpy()))
    torch.testing.assert_close(phi @ far, phi @ near, rtol=0, atol=1e-8)
    assert (far - near).norm() > 10


def test_two_layers_train_to_interpolation_and_find_their_threshold():
    data = labelled()
    found = double_descent_curve(
        *data,
        train=TwoLayerModel(n_iter=250, optimizer=partial(torch.optim.Adam, lr=0.05)),
        widths=(1, 3, 30),
        n_seeds=1,
    )
    assert found.train_loss[0, 2] < 1e-3
    assert found.threshold == 30
    assert found.error_peak is not None
    assert found.condition_number is None


def test_a_users_function_may_return_a_network_an_estimator_or_a_function():
    data = labelled()

    def network(width, x, y, generator):
        return nn.Sequential(nn.Linear(5, width), nn.ReLU(), nn.Linear(width, 2)).double()

    def ridge(width, x, y, generator):
        return Ridge().fit(x.numpy(), torch.nn.functional.one_hot(y).numpy())

    def logistic(width, x, y, generator):
        return LogisticRegression(C=width).fit(x.numpy(), y.numpy())

    for train in (network, ridge, logistic, lambda width, x, y, generator: lambda inputs: inputs[:, :2]):
        found = double_descent_curve(*data, train=train, widths=(1, 2, 3), n_seeds=2)
        assert found.test_error is not None
        assert found.test_error.shape == (2, 3)
        again = double_descent_curve(*data, train=train, widths=(1, 2, 3), n_seeds=2)
        assert torch.equal(found.test_loss, again.test_loss)


def test_probabilities_stand_in_the_columns_of_their_classes():
    x, y, x_test, y_test = labelled()
    classify = lambda width, x, y, generator: LogisticRegression().fit(x.numpy(), y.numpy())  # noqa: E731
    found = double_descent_curve(x, 2 * y, x_test, 2 * y_test, train=classify, widths=(1, 2, 3), n_seeds=1)
    model = classify(1, x, y, None)
    right = torch.from_numpy(model.predict_proba(x_test.numpy())).gather(1, y_test[:, None])
    assert found.test_loss[0, 0].item() == pytest.approx(2 * (1 - right).square().mean().item())
    assert found.test_error is not None
    assert found.test_error[0, 0].item() == pytest.approx(1 - model.score(x_test.numpy(), y_test.numpy()))


def test_another_loss_is_measured():
    data = labelled()
    zero = lambda width, x, y, generator: lambda inputs: torch.zeros(len(inputs), 2)  # noqa: E731
    found = double_descent_curve(*data, train=zero, widths=(1, 2, 3), n_seeds=1, loss=cross_entropy)
    assert found.test_loss.flatten().tolist() == pytest.approx(3 * [math.log(2)])
    assert found.threshold is None


def counted(calls, width, x, y, generator):
    calls.append(width)
    return lambda inputs: torch.rand(1, generator=generator).double() * inputs[:, 0]


def test_a_sweep_resumes_for_the_same_data_and_function_only(tmp_path):
    calls = []
    train = lambda width, x, y, generator: counted(calls, width, x, y, generator)  # noqa: E731
    options = {"train": train, "widths": (1, 2, 3), "n_seeds": 2, "folder": tmp_path}
    first = double_descent_curve(*regression(), **options)
    assert torch.equal(first.test_loss, double_descent_curve(*regression(), **options).test_loss)
    assert calls == [1, 2, 3, 1, 2, 3]
    double_descent_curve(*regression(seed=1), **options)
    assert len(calls) == 12
    double_descent_curve(*regression(), **options | {"train": RandomFeatureModel(GradientDescent(5))})
    double_descent_curve(*regression(), **options | {"train": RandomFeatureModel(GradientDescent(6))})
    assert len(list(tmp_path.iterdir())) == 24


def test_a_training_can_be_sent_to_another_process():
    cloudpickle = pytest.importorskip("cloudpickle")  # what joblib sends functions by
    cell, item = _Cell(RandomFeatureModel(GradientDescent(5)), None, regression()), {"width": 3, "seed": 1}
    assert cloudpickle.loads(cloudpickle.dumps(cell))(item) == cell(item)


@pytest.mark.parametrize(
    ("train", "error", "message"),
    [
        (lambda *given: 3, InvalidInputError, "returned a int"),
        (lambda *given: lambda inputs: inputs[:3], InvalidInputError, "by a row"),
        (lambda *given: lambda inputs: inputs / 0, NumericalError, "outputs are NaN"),
        (lambda *given: lambda inputs: inputs[:, 0], InvalidInputError, "an output for each class"),
        (lambda w, x, y, g: RidgeClassifier().fit(x.numpy(), y.numpy()), InvalidInputError, "no probabilities"),
        (lambda *given: {}["the user's own"], KeyError, "own"),
    ],
)
def test_what_a_training_function_returns_is_looked_at(train, error, message):
    with pytest.raises(error, match=message):
        double_descent_curve(*labelled(), train=train, widths=(1, 2, 3), n_seeds=1)


def test_targets_of_two_kinds_and_unseen_classes_are_refused():
    x, y, x_test, y_test = labelled()
    options = {"train": RandomFeatureModel(), "widths": (1, 2, 3)}
    with pytest.raises(InvalidInputError, match="labels in both"):
        double_descent_curve(x, y, x_test, y_test.double(), **options)
    with pytest.raises(InvalidInputError, match="class 4"):
        double_descent_curve(x, y, x_test, 4 * y_test, **options)
    with pytest.raises(InvalidInputError, match="from 0 on"):
        double_descent_curve(x, -y, x_test, y_test, **options)


def test_names_of_partial_functions_hold_their_options():
    assert _name(partial(counted, [], lr=0.1)).endswith("counted([],){'lr': 0.1}")
