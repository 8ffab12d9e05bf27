import pytest
import torch

from assay.core import InvalidInputError, seeded
from assay.landscape.opposing import OpposingLinearModel, SplitSGD, make_opposing_outliers


@pytest.fixture
def model():
    return OpposingLinearModel(torch.tensor([2.0, -1.0, 0.5], dtype=torch.float64), alpha=6.0, d2=4)


@pytest.fixture
def theta(model):
    return torch.randn(8, generator=seeded(3), dtype=torch.float64)


def test_the_loss_is_that_of_the_population(model, theta):
    # Inputs of unit covariance and outliers of both signs, weighed exactly: p alpha / (p d2) each.
    c, b, b_o = theta[0], theta[1:4], theta[4:]
    p, size = 0.01, (6.0 / (0.01 * 4)) ** 0.5
    outliers = torch.stack([size * torch.ones(4), -size * torch.ones(4), torch.zeros(4)]).double()
    weights = torch.tensor([p / 2, p / 2, 1 - p], dtype=torch.float64)
    expected = (c * b - model.beta).square().sum() + (weights * (c * outliers @ b_o).square()).sum()
    torch.testing.assert_close(model.loss(theta), expected / 2)


def test_gradient_and_hessian_are_the_derivatives_of_the_loss(model, theta):
    torch.testing.assert_close(model.gradient(theta), torch.autograd.functional.jacobian(model.loss, theta))
    hessian = torch.autograd.functional.hessian(model.loss, theta)
    torch.testing.assert_close(model.hessian(theta), hessian)
    torch.testing.assert_close(model.sharpness(theta), torch.linalg.eigvalsh(hessian)[-1])


def test_flow_conserves_its_quantity_and_ends_at_the_formula(model):
    theta = model.balanced_start(generator=seeded(0))
    assert model.conserved(theta).item() == pytest.approx(0.0, abs=1e-12)
    path = model.gradient_flow(theta, time=40.0, n_points=5)
    for state in path.theta:
        assert model.conserved(state).item() == pytest.approx(0.0, abs=1e-7)
    assert path.loss[-1] < 1e-10
    assert path.sharpness[-1].item() == pytest.approx(model.final_sharpness(theta), rel=1e-5)


def test_the_final_sharpness_holds_from_an_unbalanced_start_too(model):
    theta = model.balanced_start(generator=seeded(1))
    theta[0] *= 2
    path = model.gradient_flow(theta, time=40.0, n_points=2)
    assert path.sharpness[-1].item() == pytest.approx(model.final_sharpness(theta), rel=1e-5)


def test_descent_beyond_the_edge_flips_signs_and_ends_below_it():
    model = OpposingLinearModel(torch.tensor([4.0], dtype=torch.float64), alpha=10.0, d2=60)
    theta = model.balanced_start(generator=seeded(0))
    path = model.gradient_descent(theta, lr=1.5 * 2 / 40, n_iter=200)
    first = theta - 0.075 * model.gradient(theta)
    torch.testing.assert_close(path.theta[1], first)
    peak = int((path.loss / path.loss.cummin(0).values).argmax())
    valley = int(path.loss[:peak].argmin())
    assert (path.opposing[valley:peak] * path.opposing[valley + 1 : peak + 1] < 0).all()
    assert path.sharpness[-1] < 2 / 0.075
    assert "highest" in str(path)
    path.plot()


def test_a_diverging_path_ends_early(model, theta):
    path = model.gradient_descent(theta, lr=100.0, n_iter=500)
    assert len(path.loss) < 500
    assert torch.isfinite(path.loss).all()


def test_unusable_states_and_sizes_are_refused(model, theta):
    with pytest.raises(InvalidInputError, match="8 entries"):
        model.loss(theta[:5])
    with pytest.raises(InvalidInputError, match="beta"):
        OpposingLinearModel(torch.tensor([1.0, torch.inf]))
    with pytest.raises(InvalidInputError, match="alpha"):
        OpposingLinearModel(torch.ones(2), alpha=0.0)


def test_outliers_differ_from_the_same_samples_by_the_feature_alone():
    with_feature = make_opposing_outliers(50, d=6, n_outliers=4, scale=7.0, generator=seeded(0))
    without = make_opposing_outliers(50, d=6, n_outliers=0, generator=seeded(0))
    difference = with_feature.x - without.x
    expected = torch.zeros(50, 6, dtype=torch.float64)
    expected[with_feature.outliers] = 7.0 * with_feature.feature
    torch.testing.assert_close(difference, expected)
    assert with_feature.feature.norm().item() == pytest.approx(1.0)
    assert set(with_feature.y[with_feature.positive].tolist()) == {1.0}
    assert set(with_feature.y[with_feature.negative].tolist()) == {-1.0}
    with pytest.raises(InvalidInputError, match="raise n"):
        make_opposing_outliers(10, n_outliers=6)


def test_split_steps_follow_the_formula_over_time():
    gradients = torch.randn(4, 5, generator=seeded(0), dtype=torch.float64)
    weight = torch.nn.Parameter(torch.zeros(5, dtype=torch.float64))
    optimizer = SplitSGD([weight], lr=0.5, signed_lr=0.01, threshold=0.75, momentum=0.8, dampening=0.3)
    average, expected = torch.zeros(5, dtype=torch.float64), torch.zeros(5, dtype=torch.float64)
    for gradient in gradients:
        weight.grad = gradient.clone()
        optimizer.step()
        average = 0.8 * average + 0.7 * gradient
        large = gradient.abs() == gradient.abs().max()  # of five entries, one lies above the 0.75-quantile
        expected = expected - torch.where(large, 0.01 * average.sign(), 0.5 * average)
        torch.testing.assert_close(weight.detach(), expected)


def test_a_single_entry_takes_plain_steps():
    weight = torch.nn.Parameter(torch.tensor([1.0]))
    optimizer = SplitSGD([weight], lr=0.1, momentum=0.0, dampening=0.0)
    weight.grad = torch.tensor([1000.0])
    optimizer.step()
    assert weight.item() == pytest.approx(-99.0)
    with pytest.raises(InvalidInputError, match="threshold"):
        SplitSGD([weight], lr=0.1, threshold=1.0)
