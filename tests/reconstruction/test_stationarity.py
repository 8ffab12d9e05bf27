from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import nnls
from torch import nn

from assay.core import InvalidInputError, binary_cross_entropy, cross_entropy, fit, flatten, margins, named_parameters
from assay.nets import mlp
from assay.reconstruction import oracle_multipliers, stationarity, stationarity_residual
from assay.reconstruction.kkt import with_surrogate_relu
from assay.reconstruction.kkt.multipliers import MarginMultipliers
from assay.reconstruction.kkt.search import StationarityGap


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def network(widths, *, bias="first", seed=0):
    return mlp(widths, bias=bias, generator=generator(seed)).double()


def samples(n, d, seed=0):
    return torch.randn(n, d, generator=generator(seed), dtype=torch.float64)


def gradient_sum(model, x, multipliers, y):
    """The definition, one sample after the other."""
    total = torch.zeros(sum(value.numel() for value in model.parameters()), dtype=torch.float64)
    for sample, weight, label in zip(x, multipliers, y, strict=True):
        scores = model(sample[None])[0]
        if len(scores) == 1:
            margin = (2 * label - 1) * scores[0]
        else:
            margin = scores[label] - torch.cat([scores[:label], scores[label + 1 :]]).max()
        parts = torch.autograd.grad(margin, list(model.parameters()))
        total += weight * torch.cat([part.flatten() for part in parts])
    return total


def margins_with(multipliers, y):
    """Put given multipliers into the form that the gap takes."""
    return [MarginMultipliers((multipliers.expm1().log(),), 1.0, y)]


def set_parameters(model, vector):
    with torch.no_grad():
        nn.utils.vector_to_parameters(vector, model.parameters())


@settings(max_examples=15)
@given(st.lists(st.integers(2, 6), min_size=1, max_size=3), st.integers(0, 100))
def test_euler_identity(hidden, seed):
    # <theta, grad f> = L f for a network that is homogeneous of degree L in its parameters.
    model = network((4, *hidden, 1), seed=seed)
    if len(hidden) > 1:
        model = network((4, *hidden, 1), bias="none", seed=seed)
    theta = flatten(named_parameters(model))
    for sample in samples(5, 4, seed):
        value = model(sample[None])
        gradient = torch.cat([part.flatten() for part in torch.autograd.grad(value.sum(), list(model.parameters()))])
        degree = len(hidden) + 1
        assert abs(theta @ gradient - degree * value.item()) <= 1e-10 * theta.norm() * gradient.norm()


def test_gram_form_equals_the_direct_form():
    model = network((5, 7, 1))
    x, y = samples(6, 5), torch.tensor([0, 1] * 3)
    multipliers = torch.rand(6, generator=generator(), dtype=torch.float64)
    theta = flatten(named_parameters(model))
    one = torch.eye(6, dtype=torch.float64)
    gradients = torch.stack([gradient_sum(model, x, row, y) for row in one])
    gram = (
        theta @ theta - 2 * 2 * multipliers @ margins(model(x), y) + multipliers @ gradients @ gradients.T @ multipliers
    )
    direct = stationarity_residual(model, x, multipliers, y).total ** 2
    assert direct == pytest.approx(gram.item(), rel=1e-10)


@pytest.mark.parametrize(("outputs", "objective"), [(1, "binary"), (3, "multiclass")])
def test_residual_is_the_loop_over_samples(outputs, objective):
    model = network((5, 8, 6, outputs), bias="all")
    x, y = samples(7, 5), torch.arange(7) % max(outputs, 2)
    multipliers = torch.rand(7, generator=generator(), dtype=torch.float64)
    theta = flatten(named_parameters(model))
    rest = theta - gradient_sum(model, x, multipliers, y)
    result = stationarity_residual(model, x, multipliers, y, objective=objective)
    assert result.total == pytest.approx(rest.norm().item(), rel=1e-12)
    assert result.total_relative == pytest.approx((rest.norm() / theta.norm()).item(), rel=1e-12)
    assert sum(value**2 for value in result.absolute.values()) == pytest.approx(result.total**2, rel=1e-12)
    gap = StationarityGap(with_surrogate_relu(model, 1e9))
    assert gap(x[None], margins_with(multipliers[None], y)).item() == pytest.approx(result.total_relative**2, rel=1e-9)


def test_two_classes_with_opposite_scores_are_the_binary_case():
    binary = network((5, 8, 1), bias="first")
    double = network((5, 8, 2), bias="first")
    with torch.no_grad():
        double[0].weight.copy_(binary[0].weight)
        double[0].bias.copy_(binary[0].bias)
        double[2].weight.copy_(torch.cat([-binary[2].weight / 2, binary[2].weight / 2]))
    x, y = samples(6, 5), torch.tensor([0, 1] * 3)
    torch.testing.assert_close(margins(double(x), y), margins(binary(x), y))
    multipliers = torch.ones(6, dtype=torch.float64)
    one = gradient_sum(binary, x, multipliers, y)
    two = gradient_sum(double, x, multipliers, y)
    torch.testing.assert_close(one[:-8], two[:-16])
    torch.testing.assert_close(one[-8:], two[-8:])
    torch.testing.assert_close(one[-8:], -two[-16:-8])


def test_gradient_of_the_gap_is_that_of_central_differences():
    # Softplus is the smooth network whose derivative is the sigmoid gate: its loss can be differenced.
    smooth = nn.Sequential(nn.Linear(3, 5), nn.Softplus(4.0), nn.Linear(5, 4), nn.Softplus(4.0), nn.Linear(4, 1))
    set_parameters(smooth.double(), samples(1, 49)[0] / 2)
    gap, y = StationarityGap(smooth), torch.tensor([0, 1, 0])
    x = samples(2 * 3, 3).reshape(2, 3, 3).requires_grad_()
    raw = torch.randn(2, 3, generator=generator(), dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(lambda x, raw: gap(x, [MarginMultipliers((raw,), 1.0, y)]), (x, raw))


def test_gradient_through_surrogate_gates_is_the_formula():
    # One hidden layer: with s the gates and d = lambda y, the sums are W: sum d v s x, b: sum d v s, v: sum d relu(z).
    model = network((3, 6, 1))
    (w, b), v = (model[0].weight.detach(), model[0].bias.detach()), model[2].weight.detach()[0]
    x, y, alpha = samples(4, 3).requires_grad_(), torch.tensor([0, 1, 0, 1]), 4.0
    d = torch.rand(4, generator=generator(), dtype=torch.float64) * (2 * y - 1)
    gap = StationarityGap(with_surrogate_relu(model, alpha))
    (got,) = torch.autograd.grad(gap(x[None], margins_with(d.abs()[None], y)) * gap.energy, x)
    with torch.no_grad():
        z = x @ w.T + b
        gates = torch.sigmoid(alpha * z)
        signal = d[:, None] * v * gates
        rest_w, rest_b, rest_v = signal.T @ x - w, signal.sum(0) - b, d @ z.relu() - v
        through_gates = d[:, None] * v * alpha * gates * (1 - gates) * (x @ rest_w.T + rest_b)
        through_units = d[:, None] * gates * rest_v
        expected = 2 * (signal @ rest_w + (through_gates + through_units) @ w)
    torch.testing.assert_close(got, expected)


def test_the_chain_and_the_general_path_agree():
    chain = with_surrogate_relu(network((3, 5, 4, 3), bias="all"), 4.0)
    y = torch.tensor([0, 1, 2, 0])
    general = StationarityGap(nn.Sequential(nn.Flatten(), chain))
    fast = StationarityGap(chain)
    assert fast.is_chain
    assert not general.is_chain
    x = samples(2 * 4, 3).reshape(2, 4, 3).requires_grad_()
    raw = torch.rand(2, 4, generator=generator(), dtype=torch.float64).requires_grad_()
    multipliers = [MarginMultipliers((raw,), 1.0, y)]
    torch.testing.assert_close(fast.gradients(x, multipliers), general.gradients(x, multipliers))
    torch.testing.assert_close(fast.measure(x, multipliers), general.measure(x, multipliers))


@pytest.mark.parametrize("outputs", [1, 3])
def test_oracle_multipliers_explain_a_trained_network(outputs):
    x, y = samples(9, 6), torch.arange(9) % max(outputs, 2)
    model = network((6, 40, outputs))
    decayed = partial(torch.optim.SGD, lr=0.1, momentum=0.9, weight_decay=1e-2)
    loss = binary_cross_entropy if outputs == 1 else cross_entropy
    objective = "binary" if outputs == 1 else "multiclass"
    before = oracle_multipliers(model, x, y, objective=objective)[1]
    fit(model, x, y, loss=loss, optimizer=decayed, schedule="cosine", n_iter=1500)
    multipliers, relative = oracle_multipliers(model, x, y, objective=objective)
    assert (multipliers >= 0).all()
    assert relative == pytest.approx(
        stationarity_residual(model, x, multipliers, y, objective=objective).total_relative, rel=1e-6
    )
    assert relative < 0.5 < 0.9 < before  # not 0: gradient descent chatters on the kinks
    if outputs == 1:  # lambda_i = sigmoid(-margin) / (n w) at a stationary point of the decayed logistic loss
        predicted = torch.sigmoid(-margins(model(x), y)).detach() / (9 * 1e-2)
        assert torch.corrcoef(torch.stack([predicted, multipliers]))[0, 1] > 0.9


@pytest.mark.parametrize(
    ("objective", "outputs"), [("binary", 1), ("multiclass", 3), ("vector", 3), ("regression", 3), ("regression", 1)]
)
@pytest.mark.parametrize("entries", [1, 7, 10**6])
def test_blocks_give_the_fit_to_all_gradients_at_once(monkeypatch, objective, outputs, entries):
    monkeypatch.setattr(stationarity, "ENTRIES_AT_ONCE", entries)
    model, x, y = network((5, 8, 6, outputs), bias="all"), samples(7, 5), torch.arange(7) % max(outputs, 2)
    unit = torch.eye(outputs, dtype=torch.float64)
    rows = []  # one for each multiplier
    for sample, label in zip(x, y, strict=True):
        if objective in ("binary", "multiclass"):
            rows.append(gradient_sum(model, sample[None], torch.ones(1), label[None]))
            continue
        others = [k for k in range(outputs) if k != label]
        for direction in unit if objective == "regression" else [unit[label] - unit[k] for k in others]:
            parts = torch.autograd.grad(model(sample[None])[0] @ direction, list(model.parameters()))
            rows.append(torch.cat([part.flatten() for part in parts]))
    matrix, theta = torch.stack(rows).T.numpy(), flatten(named_parameters(model)).numpy()
    fitted = np.linalg.lstsq(matrix, theta)[0] if objective == "regression" else nnls(matrix, theta)[0]
    found, rest = oracle_multipliers(model, x, y, objective=objective)
    assert rest == pytest.approx(np.linalg.norm(matrix @ fitted - theta) / np.linalg.norm(theta), rel=1e-10)
    if objective != "vector":
        torch.testing.assert_close(found.flatten(), torch.as_tensor(fitted), rtol=1e-8, atol=1e-10)


def test_bad_input():
    model = network((4, 5, 1))
    x, y = samples(4, 4), torch.tensor([0, 1, 0, 1])
    with pytest.raises(InvalidInputError, match="multipliers"):
        stationarity_residual(model, x, torch.ones(3, dtype=torch.float64), y)
    with pytest.raises(InvalidInputError, match="use 'binary'"):
        stationarity_residual(model, x, torch.ones(4, dtype=torch.float64), y, objective="multiclass")
    with pytest.raises(InvalidInputError, match="pass y"):
        oracle_multipliers(model, x)
    with pytest.raises(InvalidInputError, match="init_state"):
        oracle_multipliers(model, x, objective="displacement")
    with pytest.raises(InvalidInputError, match="0 and 1"):
        oracle_multipliers(model, x, torch.tensor([0, 1, 2, 1]))
