import pytest
import torch
from torch import nn
from torch.func import functional_call, hessian

from assay.core import (
    HessianOperator,
    InvalidInputError,
    binary_cross_entropy,
    cross_entropy,
    flatten,
    isolated_rng,
    named_parameters,
    output_jacobian,
    per_sample_gradients,
    predict,
    seeded,
    squared_error,
    unflatten,
)
from assay.landscape import (
    factor_eigenvalues,
    gauss_newton_decomposition,
    gauss_newton_factor,
    gradient_covariance_alignment,
)


def brute_residual(model, x, y, loss):
    """R from its formula, one sample and one output at a time."""
    params = named_parameters(model)
    total = torch.zeros(132, 132, dtype=torch.float64)
    for sample, target in zip(x, y, strict=True):

        def outputs(v, sample=sample):
            return functional_call(model, unflatten(v, params), (sample[None],))[0]

        logits = outputs(flatten(params)).detach().requires_grad_()
        (slopes,) = torch.autograd.grad(loss(logits[None], target[None]), logits)
        curvatures = hessian(outputs)(flatten(params))
        total += torch.einsum("c,cpq->pq", slopes, curvatures)
    return total / len(x)


def smooth_net():
    with isolated_rng(3):
        return nn.Sequential(nn.Linear(10, 10), nn.Tanh(), nn.Linear(10, 2)).double()


@pytest.mark.parametrize("loss", [cross_entropy, squared_error])
def test_hessian_is_gauss_newton_plus_residual(data, loss):
    model, x, y = smooth_net(), data[0][:9], data[1][:9]
    if loss is squared_error:
        y = torch.nn.functional.one_hot(y, 2).double()
    parts = gauss_newton_decomposition(model, x, y, loss=loss, batch_size=4)
    params = named_parameters(model)
    expected = hessian(lambda v: loss(functional_call(model, unflatten(v, params), (x,)), y))(flatten(params))
    torch.testing.assert_close(parts.hessian, expected, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(parts.residual, brute_residual(model, x, y, loss), rtol=1e-10, atol=1e-10)
    assert parts.residual.norm() > 1e-3 * parts.hessian.norm()


def test_float32_hessian_agrees_with_functional_hessian(net, data):
    model, x, y = net.float(), data[0][:50].float(), data[1][:50]
    params = named_parameters(model)
    expected = hessian(lambda v: cross_entropy(functional_call(model, unflatten(v, params), (x,)), y))(flatten(params))
    torch.testing.assert_close(HessianOperator(model, x, y, cross_entropy).to_dense(), expected, rtol=1e-5, atol=1e-5)


def test_gram_factor_of_cross_entropy_is_the_papers(net, data):
    # A_i = diag(sqrt p)(I - 1 p^T) J_i, stacked; eig(A A^T / n) are the non-zero eigenvalues of G.
    x, y = data[0][:20], data[1][:20]
    jacobian, p = output_jacobian(net, x), predict(net, x).softmax(1)
    centred = jacobian - (p[:, :, None] * jacobian).sum(1, keepdim=True)
    stacked = (p.sqrt()[:, :, None] * centred).flatten(0, 1)
    from_formula = torch.linalg.eigvalsh(stacked @ stacked.T / 20).flip(0)

    factor = gauss_newton_factor(net, x, y, loss=cross_entropy)
    torch.testing.assert_close(factor_eigenvalues(factor), from_formula, rtol=1e-9, atol=1e-12)
    parts = gauss_newton_decomposition(net, x, y, loss=cross_entropy)
    dense = torch.linalg.eigvalsh(parts.gauss_newton).flip(0)
    torch.testing.assert_close(dense[:20], from_formula[:20], rtol=1e-9, atol=1e-12)
    # Rank at most n (c - 1) = 20 of 132: the rest is the singular bulk.
    assert dense[20:].abs().max() < 1e-12


def test_either_side_of_the_factor_gives_the_same_eigenvalues():
    factor = torch.randn(7, 4, generator=seeded(0), dtype=torch.float64)
    expected = torch.linalg.svdvals(factor).square()
    torch.testing.assert_close(factor_eigenvalues(factor), expected)
    torch.testing.assert_close(factor_eigenvalues(factor.T.contiguous()), expected)


def test_linear_least_squares_has_no_residual():
    x = torch.randn(5, 8, generator=seeded(0), dtype=torch.float64)
    y = torch.randn(5, generator=seeded(1), dtype=torch.float64)
    parts = gauss_newton_decomposition(nn.Linear(8, 1, bias=False).double(), x, y, loss=squared_error)
    torch.testing.assert_close(parts.gauss_newton, 2 * x.T @ x / 5)
    assert parts.residual.abs().max() < 1e-12
    assert torch.linalg.matrix_rank(parts.hessian) == torch.linalg.matrix_rank(x) == 5


def test_one_logit_with_binary_loss(data):
    # l'' = s(1 - s): G = X^T diag(s (1 - s)) X / n for a linear score.
    x, y = data
    model = nn.Linear(10, 1, bias=False).double()
    s = predict(model, x).sigmoid()
    parts = gauss_newton_decomposition(model, x, y, loss=binary_cross_entropy)
    torch.testing.assert_close(parts.gauss_newton, x.T @ (s * (1 - s) * x) / 200)


def test_alignment_from_dense_eigenvectors(net, data):
    report = gradient_covariance_alignment(net, *data, loss=cross_entropy, k=3)
    gradients = per_sample_gradients(net, *data, cross_entropy)
    parts = gauss_newton_decomposition(net, *data, loss=cross_entropy)
    values, left = torch.linalg.eigh(gradients.T @ gradients / 200)
    right = torch.linalg.eigh(parts.gauss_newton)[1]
    cosines = torch.linalg.svdvals(left[:, -3:].T @ right[:, -3:])
    torch.testing.assert_close(report.angles, cosines.acos().rad2deg())
    torch.testing.assert_close(report.covariance_eigenvalues, values[-3:].flip(0))
    torch.testing.assert_close(report.gauss_newton_eigenvalues, torch.linalg.eigvalsh(parts.gauss_newton)[-3:].flip(0))
    assert report.overlap == pytest.approx(cosines.square().mean().item())
    assert "overlap" in str(report)


def test_spaces_coincide_where_they_must():
    # One residual size for all: the covariance is a multiple of G for a linear model with targets f(x) +- 1.
    x = torch.randn(6, 4, generator=seeded(0), dtype=torch.float64)
    model = nn.Linear(4, 1, bias=False).double()
    y = predict(model, x)[:, 0] + torch.tensor([1.0, -1, 1, -1, 1, -1], dtype=torch.float64)
    report = gradient_covariance_alignment(model, x, y, loss=squared_error, k=2)
    assert report.angles.max() < 1e-4
    assert report.overlap == pytest.approx(1.0)


def test_bad_input(net, data):
    x, y = data

    def concave(logits, targets):
        return -logits.square().mean()

    with pytest.raises(InvalidInputError, match="not convex"):
        gauss_newton_decomposition(net, x, y, loss=concave)
    with pytest.raises(InvalidInputError, match="non-empty"):
        gauss_newton_decomposition(net, x[:0], y[:0], loss=cross_entropy)
    with pytest.raises(InvalidInputError, match="rank"):
        gradient_covariance_alignment(net, x[:2], y[:2], loss=cross_entropy, k=5)


def test_str_names_the_shares(net, data):
    assert "Gauss-Newton part" in str(gauss_newton_decomposition(net, *data, loss=cross_entropy))
