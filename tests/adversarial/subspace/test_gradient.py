from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chi2, kstest

from assay.adversarial import (
    SubspaceBasis,
    off_subspace_gradient,
)
from assay.adversarial.subspace import (
    expected_off_gradient,
    orthogonal_complement,
)
from assay.core import InvalidInputError, NumericalError, binary_cross_entropy, fit, seeded
from assay.nets import TwoLayerReLU
from helpers.adversarial_networks import linear, points, random_mlp

D, CODIM, WIDTH, N = 60, 40, 400, 20


def on_axes(dim, codim):
    return SubspaceBasis(torch.eye(dim, dim - codim, dtype=torch.float64))


def rotation(dim, seed):
    return torch.linalg.qr(points(dim, dim, seeded(seed))).Q


def train(seed, *, steps, rotate=None, lr=0.5, weight_decay=0.0):
    """Train the network of the theorem on random points of a subspace; return it, its first weight and the points."""
    source = seeded(seed)
    x = torch.zeros(N, D, dtype=torch.float64)
    x[:, : D - CODIM] = points(N, D - CODIM, source)
    if rotate is not None:
        x = x @ rotate.T
    model = TwoLayerReLU(D, WIDTH, generator=source).double()
    first = model.weight.detach().clone()
    sgd = partial(torch.optim.SGD, lr=lr, weight_decay=weight_decay)
    fit(model, x, torch.arange(N) % 2, loss=binary_cross_entropy, optimizer=sgd, n_iter=steps)
    assert (model.weight - first).norm() > 0.1, "training must move the weights"
    return model, first, x


@settings(max_examples=15)
@given(st.integers(1, 6), st.integers(2, 7), st.integers(0, 10**6))
def test_the_two_bases_share_the_space_out(n, d, seed):
    x = points(n, d, seeded(seed))
    rank = min(n, d - 1)
    basis = orthogonal_complement(x, rank=rank)
    whole = torch.cat([basis.on, basis.off], 1)
    torch.testing.assert_close(whole @ whole.T, torch.eye(d, dtype=torch.float64))
    torch.testing.assert_close(basis.project_off(x), x @ basis.off @ basis.off.T)
    torch.testing.assert_close(basis.project_off(x) + basis.complement.project_off(x), x)
    if n < d:
        torch.testing.assert_close(basis.project_off(x), torch.zeros_like(x))


def test_the_rank_is_the_datas_own():
    x = points(30, 4, seeded(0)) @ points(4, 12, seeded(1))
    assert orthogonal_complement(x).on.shape == (12, 4)
    assert orthogonal_complement(x.float()).on.shape == (12, 4)
    assert orthogonal_complement(x.view(30, 3, 2, 2)).on.shape == (12, 4)
    strongest = orthogonal_complement(x, rank=1).on[:, 0]
    eigenvector = torch.linalg.eigh(x.T @ x).eigenvectors[:, -1]
    assert abs(float(strongest @ eigenvector)) == pytest.approx(1.0)


@pytest.mark.parametrize("rank", [None, 0, 5])
def test_a_subspace_must_leave_something_outside(rank):
    with pytest.raises(InvalidInputError, match="leave one outside"):
        orthogonal_complement(points(9, 5, seeded(0)), rank=rank)


def test_a_basis_is_orthonormal_and_fits_its_inputs():
    with pytest.raises(InvalidInputError, match="not orthonormal"):
        SubspaceBasis(torch.ones(3, 2))
    with pytest.raises(InvalidInputError, match="1 to 2 axes, got 3"):
        SubspaceBasis(torch.eye(3))
    with pytest.raises(InvalidInputError, match="the inputs have 4 of"):
        off_subspace_gradient(linear(torch.ones(2, 4)), torch.zeros(1, 4), basis=SubspaceBasis(torch.eye(3, 2)))


@pytest.mark.parametrize("outputs", [1, 4])
def test_the_gradient_is_split_as_by_hand(outputs):
    source = seeded(4)
    model, x = random_mlp([6, 16, outputs], source), points(5, 6, source)
    basis = orthogonal_complement(points(2, 6, source))
    parts = off_subspace_gradient(model, x, basis=basis)
    for sample, on, off in zip(x, parts.on_norm, parts.off_norm, strict=True):
        jacobian, scores = torch.func.jacrev(model)(sample), model(sample)
        order = scores.argsort(descending=True)
        gradient = jacobian[0] if outputs == 1 else jacobian[order[0]] - jacobian[order[1]]
        torch.testing.assert_close(on, (gradient @ basis.on).norm().detach())
        torch.testing.assert_close(off, (gradient @ basis.off).norm().detach())
    torch.testing.assert_close(parts.ratio, parts.off_norm / parts.on_norm)
    assert f"{parts.off_norm.median():.3g} long off" in str(parts)


def test_a_gradient_without_a_part_on_the_subspace_has_no_ratio():
    parts = off_subspace_gradient(
        linear(torch.tensor([[0.0, 1.0]])), torch.zeros(3, 2), basis=SubspaceBasis(torch.eye(2, 1))
    )
    with pytest.raises(NumericalError, match="vanishes at 3 samples"):
        _ = parts.ratio


def test_training_does_not_touch_weights_off_the_subspace():
    model, first, _ = train(0, steps=100)
    assert torch.equal(model.weight[:, D - CODIM :], first[:, D - CODIM :])
    turn = rotation(D, 1)
    model, first, x = train(0, steps=100, rotate=turn)
    drift = orthogonal_complement(x).project_off((model.weight - first).detach())
    assert drift.abs().max() < 1e-12


def test_weight_decay_shrinks_them_by_the_stated_factor():
    steps, lr, decay = 400, 0.2, 1e-2
    model, first, _ = train(1, steps=steps, lr=lr, weight_decay=decay)
    torch.testing.assert_close(
        model.weight[:, D - CODIM :].detach(), (1 - lr * decay) ** steps * first[:, D - CODIM :], rtol=1e-6, atol=0
    )


def test_the_gradient_off_the_subspace_follows_its_law():
    basis, statistics, above = on_axes(D, CODIM), [], []
    for seed in range(60):
        model, _, x = train(seed, steps=20)
        active = int(model.active_units(x[:1]).sum())
        law = expected_off_gradient(width=WIDTH, active=active, dim=D, codim=CODIM)
        off = off_subspace_gradient(model, x[:1], basis=basis).off_norm.item()
        statistics.append(CODIM * off**2 / law.mean_square)
        above.append(law.lower <= off <= law.upper)
    # A fixed draw that must not look unlikely; the last line shows that the test would notice a wrong scale.
    assert kstest(statistics, chi2(CODIM).cdf).pvalue > 0.01
    assert sum(above) >= 57  # 0.5% lie outside each bound
    assert kstest([1.3 * value for value in statistics], chi2(CODIM).cdf).pvalue < 1e-6


def test_the_bounds_hold_as_often_as_they_say():
    law = expected_off_gradient(width=10, active=10, dim=8, codim=6, init_scale=2.0)
    assert law.mean_square == pytest.approx(24)
    assert chi2(6).sf(6 * law.lower**2 / law.mean_square) >= law.confidence
    assert chi2(6).cdf(6 * law.upper**2 / law.mean_square) >= law.confidence
    with pytest.raises(InvalidInputError, match="active <= width"):
        expected_off_gradient(width=10, active=11, dim=8, codim=6)
