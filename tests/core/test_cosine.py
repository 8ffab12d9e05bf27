import numpy as np
import pytest
import torch
from scipy.spatial.distance import cosine

from assay.core import cosine_distance, seeded


def vectors(n, seed):
    return torch.randn(n, 7, generator=seeded(seed), dtype=torch.float64)


def test_it_is_the_distance_of_scipy_along_the_last_axis():
    a, b = vectors(5, 0), vectors(5, 1)
    expected = [cosine(one, other) for one, other in zip(a.numpy(), b.numpy(), strict=True)]
    np.testing.assert_allclose(cosine_distance(a, b, floor=1e-12), expected, rtol=1e-10)
    expected = [cosine(one, b[0].numpy()) for one in a.numpy()]
    np.testing.assert_allclose(cosine_distance(a, b[0], floor=1e-12), expected, rtol=1e-10)


@pytest.mark.parametrize("floor", [1e-6, 1e-12])
def test_a_vector_of_zeros_is_orthogonal_to_all_and_has_a_finite_slope(floor):
    nothing = torch.zeros(3, 7, dtype=torch.float64, requires_grad=True)
    distance = cosine_distance(nothing, vectors(3, 0), floor=floor)
    assert torch.equal(distance, torch.ones(3, dtype=torch.float64))
    torch.testing.assert_close(torch.autograd.grad(distance.sum(), nothing)[0], -vectors(3, 0) / floor)


def test_its_slope_is_that_of_finite_differences():
    a, b = vectors(2, 0).requires_grad_(), vectors(2, 1).requires_grad_()
    assert torch.autograd.gradcheck(lambda one, other: cosine_distance(one, other, floor=1e-3), (a, b))
