import pytest
import torch
from torch import nn

from assay.core import InvalidInputError, flatten, named_parameters, output_jacobian, squared_error
from assay.reconstruction import predicted_multipliers, train_to_stationarity


def problem(dtype=torch.float64):
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(9, 5, generator=draw, dtype=torch.float64)
    return x.to(dtype), torch.randn(9, generator=draw, dtype=torch.float64).to(dtype)


def network(dtype=torch.float64):
    model = nn.Sequential(nn.Linear(5, 6), nn.Softplus(), nn.Linear(6, 1)).to(dtype)
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.3, generator=torch.Generator().manual_seed(1))
    return model


def test_ridge_regression_has_a_closed_form():
    x, y = problem()
    model = nn.Linear(5, 1, bias=False).double()
    report = train_to_stationarity(model, x, y, loss=squared_error, weight_decay=0.1)
    expected = torch.linalg.solve(2 / 9 * x.T @ x + 0.1 * torch.eye(5, dtype=torch.float64), 2 / 9 * x.T @ y)
    torch.testing.assert_close(model.weight.detach()[0], expected, rtol=1e-7, atol=0)
    assert report.loss == pytest.approx(float((x @ expected - y).square().mean()))
    assert report.converged
    assert "not stationary" not in str(report)


def test_the_report_says_what_is_measured_on_the_network_it_leaves():
    x, y = problem()
    model = network()
    report = train_to_stationarity(model, x, y, loss=squared_error, weight_decay=0.1, n_iter=4)
    assert report.n_iter == 4
    assert report.loss == pytest.approx(squared_error(model(x), y).item())
    decayed = squared_error(model(x), y) + 0.05 * sum(value.square().sum() for value in model.parameters())
    slope = torch.cat([part.flatten() for part in torch.autograd.grad(decayed, list(model.parameters()))]).norm()
    assert report.gradient_norm == pytest.approx(float(slope))
    multipliers = predicted_multipliers(model, x, y, loss=squared_error, weight_decay=0.1)
    weights = flatten(named_parameters(model))
    rest = weights - multipliers @ output_jacobian(model, x).squeeze(1)
    assert report.residual == pytest.approx(float(rest.norm() / weights.norm()))
    assert report.residual > 0.01  # not at the end, or the line above says nothing
    assert not report.converged
    assert "not stationary: the tolerance of 1e-08" in str(report)


def test_the_same_call_gives_the_same_weights():
    x, y = problem()
    one, two = network(), network()
    for model in (one, two):
        train_to_stationarity(model, x, y, loss=squared_error, weight_decay=0.1)
    assert torch.equal(flatten(named_parameters(one)), flatten(named_parameters(two)))
    assert not one.training


def test_frozen_layers_stay_and_single_precision_comes_as_near_as_it_can():
    x, y = problem(torch.float32)
    model = network(torch.float32)
    model[0].requires_grad_(False)
    before = model[0].weight.clone()
    report = train_to_stationarity(model, x, y, loss=squared_error, weight_decay=0.1)
    assert torch.equal(model[0].weight, before)
    assert model[2].weight.dtype == torch.float32
    assert report.residual < 1e-3
    assert model[2].weight.requires_grad
    assert not model[0].weight.requires_grad


def test_bad_input_leaves_the_network_as_it_was():
    x, y = problem()
    model = network().train()
    with pytest.raises(InvalidInputError, match="weight_decay"):
        train_to_stationarity(model, x, y, loss=squared_error, weight_decay=0.0)
    with pytest.raises(InvalidInputError, match="is nan"):
        train_to_stationarity(model, x, y, loss=lambda o, t: squared_error(o, t) * torch.nan, weight_decay=0.1)
    assert torch.equal(flatten(named_parameters(model)), flatten(named_parameters(network())))
    assert model.training
    with pytest.raises(InvalidInputError, match="frozen"):
        train_to_stationarity(model.requires_grad_(False), x, y, loss=squared_error, weight_decay=0.1)
