import itertools

import pytest
import torch

from assay.core import InvalidInputError, seeded
from assay.representation.cca import EckartYoungLoss, cca_gep, closed_form_cca, eckart_young_loss, gep_subspace
from assay.representation.cca.directions import descent_direction

SIZES = (5, 4, 3)


def views(n=40, sizes=SIZES, seed=0):
    source = seeded(seed)
    shared = torch.randn(n, 3, generator=source, dtype=torch.float64)
    maps = [torch.randn(3, d, generator=source, dtype=torch.float64) for d in sizes]
    return [shared @ one + torch.randn(n, one.shape[1], generator=source, dtype=torch.float64) for one in maps]


def maps(sizes=SIZES, k=2, seed=1):
    source = seeded(seed)
    return [torch.randn(d, k, generator=source, dtype=torch.float64, requires_grad=True) for d in sizes]


@pytest.mark.parametrize("ridge", [0.0, 1.0, (0.0, 0.3, 1.0)])
def test_the_loss_of_linear_maps_is_that_of_the_eigenproblem(ridge):
    data, weights = views(), maps()
    a, b = cca_gep(data, ridge=ridge)
    u = torch.cat(weights)
    wanted = -2 * (u.mT @ a @ u).trace() + (u.mT @ b @ u @ u.mT @ b @ u).trace()
    codes = [view @ weight for view, weight in zip(data, weights, strict=True)]
    torch.testing.assert_close(EckartYoungLoss(ridge)(*codes, weights=weights), wanted)
    slopes = torch.cat(torch.autograd.grad(wanted, weights))
    torch.testing.assert_close(slopes, -4 * a @ u + 4 * b @ u @ (u.mT @ b @ u))


def test_the_moments_are_sums_over_pairs_of_views_without_a_view_and_itself():
    codes = [view[:, :3] for view in views()]
    covariance = [[torch.cov(torch.cat([x, y], 1).mT)[:3, 3:] for y in codes] for x in codes]
    between = sum(covariance[i][j] for i, j in itertools.permutations(range(3), 2))
    within = sum(covariance[i][i] for i in range(3))
    wanted = -2 * between.trace() + (within @ within).trace()
    torch.testing.assert_close(eckart_young_loss(codes), wanted)


def test_the_published_loss_of_ssl_is_the_case_of_two_views():
    z1, z2 = (view[:, :3] for view in views()[:2])
    a, b = z1 - z1.mean(0), z2 - z2.mean(0)
    c = (a.mT @ b + b.mT @ a) / (len(a) - 1)
    v = (a.mT @ a + b.mT @ b) / (len(a) - 1)
    torch.testing.assert_close(EckartYoungLoss()(z1, z2), -2 * c.trace() + (v @ v).trace())


@pytest.mark.parametrize("ridge", [0.0, 0.2, 1.0])
def test_the_minimum_is_minus_the_sum_of_squared_eigenvalues_at_the_scaled_eigenvectors(ridge):
    data = views()
    solved = gep_subspace(*cca_gep(data, ridge=ridge), 2)
    rotation = torch.linalg.qr(torch.randn(2, 2, generator=seeded(3), dtype=torch.float64))[0]
    best = (solved.vectors * solved.eigenvalues.sqrt() @ rotation).split(SIZES)
    at_best = eckart_young_loss([x @ w for x, w in zip(data, best, strict=True)], ridge=ridge, weights=best)
    torch.testing.assert_close(at_best, -solved.eigenvalues.square().sum())
    for seed in range(20):
        other = [w + 0.1 * step.detach() for w, step in zip(best, maps(seed=seed), strict=True)]
        assert (
            eckart_young_loss([x @ w for x, w in zip(data, other, strict=True)], ridge=ridge, weights=other) > at_best
        )


def test_two_batches_are_unbiased_over_all_pairs_of_draws():
    """Average over every pair of samples with replacement: the covariance of a draw is then that of the population."""
    codes = [view[:4, :2] for view in views()[:2]]
    draws = list(itertools.product(range(4), repeat=2))
    batches = [[z[list(index)] for z in codes] for index in draws]
    mean = sum(eckart_young_loss(x, independent=y) for x in batches for y in batches) / len(batches) ** 2
    shrunk = 3 / 4  # the population's covariance divides by n
    trace = sum(float((z - z.mean(0)).square().sum()) for z in codes)
    total = codes[0] + codes[1]
    between = shrunk * (float((total - total.mean(0)).square().sum()) - trace) / 3
    within = shrunk * sum(torch.cov(z.mT) for z in codes)
    torch.testing.assert_close(float(mean), -2 * between + float((within @ within).trace()))
    one = sum(eckart_young_loss(x) for x in batches) / len(batches)
    assert float(one) > float(mean) + 0.1


@pytest.mark.parametrize("ridge", [0.0, 0.3])
@pytest.mark.parametrize("scale", [1.0, 2.5])
def test_the_direction_of_a_step_is_a_quarter_of_the_gradient(ridge, scale):
    data, weights = views(), maps()
    a, b = cca_gep(data, ridge=ridge)
    u = torch.cat(weights).detach()
    held = [one.detach() for one in weights]
    found = torch.cat(descent_direction(data, held, 3 * [ridge], between_scale=scale))
    torch.testing.assert_close(found, -a @ u / scale + b @ u @ (u.mT @ b @ u))
    found = torch.cat(descent_direction(data, held, 3 * [ridge], rule="hebbian", between_scale=scale))
    torch.testing.assert_close(found, -a @ u / scale + b @ u @ (u.mT @ a @ u) / scale)


def test_halves_of_a_batch_give_the_gradient_of_the_loss_of_two_batches():
    data, weights = views(), maps()
    codes = [x @ w for x, w in zip(data, weights, strict=True)]
    half = len(data[0]) // 2
    loss = eckart_young_loss([z[:half] for z in codes], independent=[z[half:] for z in codes])
    wanted = torch.cat(torch.autograd.grad(loss, weights)) / 4
    found = descent_direction(data, [one.detach() for one in weights], (0.0, 0.0, 0.0), unbiased=True)
    torch.testing.assert_close(torch.cat(found), wanted)


@pytest.mark.usefixtures("as_users_run_it")
@pytest.mark.parametrize(
    ("given", "options", "message"),
    [
        ([torch.ones(3, 2)], {}, "two or more"),
        ([torch.ones(1, 2)] * 2, {}, "2 samples or more"),
        ([torch.ones(3, 2), torch.ones(3, 1)], {}, "as many columns"),
        ([torch.ones(3, 2), torch.ones(4, 2)], {}, "one row"),
        ([torch.ones(3, 2)] * 2, {"ridge": 1.5}, "ridge"),
        ([torch.ones(3, 2)] * 2, {"ridge": 0.5}, "weights"),
        ([torch.ones(3, 2)] * 2, {"ridge": (0.5,)}, "ridge"),
        ([torch.ones(3, 2)] * 2, {"independent": [torch.ones(3, 2)]}, "as many"),
        ([torch.ones(3, 2, dtype=torch.long)] * 2, {}, "floating point"),
    ],
)
def test_wrong_arguments_are_refused(given, options, message):
    with pytest.raises(InvalidInputError, match=message):
        eckart_young_loss(given, **options)


def test_three_views_in_closed_form_are_the_eigenproblem():
    data = views()
    a, b = cca_gep(data, ridge=0.1)
    solved, found = gep_subspace(a, b, 2), closed_form_cca(data, 2, ridge=0.1)
    torch.testing.assert_close(found.eigenvalues, solved.eigenvalues)
    u = torch.cat(found.weights)
    torch.testing.assert_close(u.mT @ b @ u, 3 * torch.eye(2, dtype=torch.float64))
    torch.testing.assert_close(u.mT @ a @ u, 3 * torch.diag(solved.eigenvalues), atol=1e-10, rtol=0)
