"""The landscape of networks as users have them: frozen, tied, half and mixed precision, normed weights, tokens."""

import copy
import warnings

import pytest
import torch
from torch import nn

from assay.core import DenseOperator, InvalidInputError, cross_entropy, isolated_rng, seeded
from assay.landscape import (
    factor_eigenvalues,
    gauss_newton_decomposition,
    gauss_newton_factor,
    gradient_covariance_alignment,
    hessian_spectrum,
    lanczos,
    linear_path,
    spectral_density,
)
from helpers.user_modules import Adapted, Decoder


@pytest.fixture
def frozen(net):
    """The network with its first layer frozen."""
    net[0].requires_grad_(False)
    return net


def test_frozen_parameters_are_left_out_unless_asked_for(frozen, data):
    whole = copy.deepcopy(frozen).requires_grad_(True)
    expected = gauss_newton_decomposition(whole, *data, loss=cross_entropy)
    part = gauss_newton_decomposition(frozen, *data, loss=cross_entropy)
    size = 2 * 10 + 2
    for name in ("hessian", "gauss_newton", "residual"):
        torch.testing.assert_close(getattr(part, name), getattr(expected, name)[-size:, -size:])
    everything = gauss_newton_decomposition(frozen, *data, loss=cross_entropy, params="all")
    torch.testing.assert_close(everything.hessian, expected.hessian)
    # The last layer alone is linear in its parameters: the Hessian is the Gauss-Newton matrix.
    assert part.residual.abs().max() < 1e-12
    report = hessian_spectrum(frozen, *data, loss=cross_entropy)
    torch.testing.assert_close(report.eigenvalues, torch.linalg.eigvalsh(part.hessian).flip(0))
    assert hessian_spectrum(frozen, *data, loss=cross_entropy, params="all").n_parameters == 132
    angles = gradient_covariance_alignment(frozen, *data, loss=cross_entropy, k=1)
    assert angles.gauss_newton_eigenvalues[0] == pytest.approx(report.lambda_max)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_solved_in_float32(net, data, dtype):
    x, y = data
    expected = hessian_spectrum(net, x, y, loss=cross_entropy).lambda_max
    half = net.to(dtype)
    for method, n_iter in (("dense", 1), ("lanczos", 60)):
        report = hessian_spectrum(half, x.to(dtype), y, loss=cross_entropy, method=method, n_iter=n_iter)
        assert report.eigenvalues.dtype == torch.float32
        assert report.lambda_max == pytest.approx(expected, rel=0.1)
    factor = gauss_newton_factor(half, x.to(dtype), y, loss=cross_entropy)
    assert factor_eigenvalues(factor)[0] == pytest.approx(expected, rel=0.1)
    gradient_covariance_alignment(half, x.to(dtype), y, loss=cross_entropy, k=1)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_lanczos_takes_a_half_precision_matrix(dtype):
    operator = DenseOperator(torch.diag(torch.tensor([1.0, 2.0, 4.0])).to(dtype))
    values = lanczos(operator, torch.ones(3, 1, dtype=dtype), n_iter=3).ritz()[0]
    torch.testing.assert_close(values, torch.tensor([[1.0, 2.0, 4.0]]), rtol=1e-2, atol=0)
    assert spectral_density(operator).moment(1) == pytest.approx(7 / 3, rel=1e-2)


def test_scores_at_each_position_have_curvature():
    with isolated_rng(0):
        model = Decoder().double()
    tokens = torch.randint(5, (3, 4), generator=seeded(0))

    def loss(outputs, y):
        return cross_entropy(outputs.flatten(0, 1), y.flatten())

    parts = gauss_newton_decomposition(model, tokens, tokens.roll(-1, 1), loss=loss)
    assert torch.linalg.eigvalsh(parts.gauss_newton).min() > -1e-12
    report = hessian_spectrum(model, tokens, tokens.roll(-1, 1), loss=loss)
    torch.testing.assert_close(report.eigenvalues, torch.linalg.eigvalsh(parts.hessian).flip(0))


def test_each_parameter_keeps_its_type_on_the_line():
    with isolated_rng(0):
        ends = [Adapted(), Adapted()]
    for model in ends:
        model.base.to(torch.bfloat16).requires_grad_(False)
    x = torch.randn(8, 4, generator=seeded(1))
    report = linear_path(*ends, x, torch.arange(8) % 3, loss=cross_entropy, n=3)
    for place, model in ((0, ends[0]), (2, ends[1])):
        assert report.losses[place] == pytest.approx(cross_entropy(model(x), torch.arange(8) % 3).item(), rel=1e-6)


def weight_normed(seed):
    with isolated_rng(seed), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecated, and in many checkpoints
        return nn.Sequential(nn.utils.weight_norm(nn.Linear(3, 4)), nn.Tanh(), nn.Linear(4, 2))


def test_the_line_between_weight_normed_networks_moves_length_and_direction():
    ends = [weight_normed(seed) for seed in (0, 1)]
    x, y = torch.randn(5, 3, generator=seeded(2)), torch.arange(5) % 2
    report = linear_path(*ends, x, y, loss=cross_entropy, n=3)
    middle = weight_normed(2)
    with torch.no_grad():
        for value, first, last in zip(middle.parameters(), *(end.parameters() for end in ends), strict=True):
            value.copy_((first + last) / 2)
    assert report.losses[1] == pytest.approx(cross_entropy(middle(x), y).item(), rel=1e-5)


def test_the_line_sees_integer_parameters_and_types(net, data):
    other = copy.deepcopy(net)
    other.register_parameter("steps", nn.Parameter(torch.tensor([40]), requires_grad=False))
    with pytest.raises(InvalidInputError, match=r"integer parameters differ \(steps\)"):
        linear_path(net, other, *data, loss=cross_entropy)
    with pytest.raises(InvalidInputError, match=r"shape or type of 0.bias"):
        linear_path(net, copy.deepcopy(net).float(), *data, loss=cross_entropy)


def test_no_answer_is_an_inference_tensor(net, data):
    with torch.inference_mode():
        found = [
            hessian_spectrum(net, *data, loss=cross_entropy).eigenvalues,
            hessian_spectrum(net, *data, loss=cross_entropy, method="lanczos", n_iter=60).density.nodes,
            gauss_newton_decomposition(net, *data, loss=cross_entropy).residual,
            gradient_covariance_alignment(net, *data, loss=cross_entropy).angles,
            linear_path(net, net, *data, loss=cross_entropy).losses,
        ]
    assert not any(value.is_inference() or value.requires_grad for value in found)
