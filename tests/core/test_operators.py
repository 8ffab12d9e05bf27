import numpy as np
import pytest
import torch
from scipy.sparse.linalg import eigsh
from torch import Tensor, nn
from torch.func import functional_call, hessian

from assay.core import (
    DenseOperator,
    GaussNewtonOperator,
    HessianOperator,
    InvalidInputError,
    cross_entropy,
    flatten,
    hessian_vector_product,
    jacobian_vector_product,
    named_parameters,
    output_jacobian,
    per_sample_gradient_norms,
    seeded,
    squared_error,
    unflatten,
    vector_jacobian_product,
)


def dense_hessian(model: nn.Module, x: Tensor, y: Tensor, loss: object) -> Tensor:
    params = named_parameters(model)

    def value(theta: Tensor) -> Tensor:
        return loss(functional_call(model, unflatten(theta, params), (x,)), y)

    return hessian(value)(flatten(params))


@pytest.mark.parametrize("loss", [cross_entropy, squared_error])
@pytest.mark.parametrize("batch_size", [None, 1, 3])
def test_hessian_equals_dense_autodiff_on_unequal_batches(network, batch, loss, batch_size) -> None:
    x, y = batch
    y = y if loss is cross_entropy else torch.nn.functional.one_hot(y, 3).double()
    expected = dense_hessian(network, x, y, loss)
    operator = HessianOperator(network, x, y, loss, batch_size=batch_size)
    torch.testing.assert_close(operator.to_dense(), expected, rtol=1e-10, atol=1e-12)
    vector = torch.randn(len(expected), dtype=torch.float64, generator=seeded(2))
    product = hessian_vector_product(network, x, y, loss, vector, batch_size=batch_size)
    torch.testing.assert_close(product, expected @ vector, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("batch_size", [None, 2])
def test_gauss_newton_equals_jacobians_around_the_softmax_curvature(network, batch, batch_size) -> None:
    x, y = batch
    jacobian = output_jacobian(network, x)
    p = torch.softmax(network(x).detach(), 1)
    curvature = torch.diag_embed(p) - p[:, :, None] * p[:, None, :]
    expected = torch.einsum("ncp,ncd,ndq->pq", jacobian, curvature, jacobian) / len(x)
    operator = GaussNewtonOperator(network, x, y, cross_entropy, batch_size=batch_size)
    torch.testing.assert_close(operator.to_dense(), expected, rtol=1e-10, atol=1e-12)


def test_gauss_newton_is_the_hessian_of_a_linear_least_squares_model(batch) -> None:
    x, _ = batch
    y = x.sum(1)
    layer = nn.Linear(4, 1).double()
    full = HessianOperator(layer, x, y, squared_error)
    gauss = GaussNewtonOperator(layer, x, y, squared_error)
    augmented = torch.cat([x, torch.ones(len(x), 1, dtype=x.dtype)], 1)
    torch.testing.assert_close(full.to_dense(), 2 * augmented.T @ augmented / len(x))
    torch.testing.assert_close((full - gauss).to_dense(), torch.zeros(5, 5, dtype=x.dtype), atol=1e-12, rtol=0)


def test_algebra_and_scipy_form() -> None:
    source = torch.randn(6, 6, dtype=torch.float64, generator=seeded(4))
    matrix = source + source.T
    operator = DenseOperator(matrix)
    columns = torch.randn(6, 2, dtype=torch.float64, generator=seeded(5))
    torch.testing.assert_close((3.0 * operator + operator) @ columns, 4 * matrix @ columns)
    expected = np.linalg.eigvalsh(matrix.numpy())
    scipy_form = operator.to_scipy()
    np.testing.assert_allclose(eigsh(scipy_form, 1, which="LA", return_eigenvectors=False), expected[-1:])
    np.testing.assert_allclose(eigsh(scipy_form, 1, which="SA", return_eigenvectors=False), expected[:1])
    np.testing.assert_allclose(scipy_form.H @ columns.numpy(), matrix.numpy() @ columns.numpy())


def test_products_are_adjoint_and_equal_the_jacobian(network, batch) -> None:
    x, _ = batch
    jacobian = output_jacobian(network, x)
    vector = torch.randn(jacobian.shape[2], dtype=torch.float64, generator=seeded(6))
    cotangent = torch.randn(len(x), 3, dtype=torch.float64, generator=seeded(7))
    forward = jacobian_vector_product(network, x, vector)
    backward = vector_jacobian_product(network, x, cotangent)
    torch.testing.assert_close(forward, torch.einsum("ncp,p->nc", jacobian, vector))
    torch.testing.assert_close((forward * cotangent).sum(), backward @ vector)


def test_bad_vectors_are_named(network, batch) -> None:
    operator = HessianOperator(network, *batch, cross_entropy)
    with pytest.raises(InvalidInputError, match="cannot multiply"):
        operator @ torch.ones(operator.shape[0])
    with pytest.raises(InvalidInputError, match="entries"):
        hessian_vector_product(network, *batch, cross_entropy, torch.ones(3, dtype=torch.float64))
    with pytest.raises(InvalidInputError, match="symmetric"):
        DenseOperator(torch.tensor([[0.0, 1.0], [0.0, 0.0]]))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_networks_have_curvature_in_float32(network, batch, dtype) -> None:
    x, y = batch
    expected = HessianOperator(network, x, y, cross_entropy).to_dense().float()
    half = HessianOperator(network.to(dtype), x.to(dtype), y, cross_entropy)
    assert half.dtype == torch.float32
    scale = expected.abs().max()
    assert (half.to_dense() - expected).abs().max() < 8 * torch.finfo(dtype).eps * scale
    assert per_sample_gradient_norms(network, x.to(dtype), y, cross_entropy).dtype == torch.float32
