import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from assay.core import InvalidInputError, seeded
from assay.representation.similarity import linear_cka, rbf_cka
from assay.representation.similarity.kernels import centred_kernel


def pair(n=12, d=3, e=5, seed=0):
    generator = seeded(seed)
    a = torch.randn(n, d, generator=generator, dtype=torch.float64)
    noise = torch.randn(n, e, generator=generator, dtype=torch.float64)
    return a, a @ torch.randn(d, e, generator=generator, dtype=torch.float64) + noise


def hsic_1(k, m):
    """Compute HSIC_1 as Song et al. write it."""
    n = len(k)
    k, m = (kernel.clone().fill_diagonal_(0.0) for kernel in (k, m))
    one = torch.ones(n, dtype=torch.float64)
    terms = (
        torch.trace(k @ m) + (one @ k @ one) * (one @ m @ one) / ((n - 1) * (n - 2)) - 2 / (n - 2) * (one @ k @ m @ one)
    )
    return terms / (n * (n - 3))


def test_the_biased_estimate_is_the_one_in_feature_space():
    a, b = pair()
    ac, bc = a - a.mean(0), b - b.mean(0)
    expected = (ac.T @ bc).norm() ** 2 / ((ac.T @ ac).norm() * (bc.T @ bc).norm())
    assert linear_cka(a, b) == pytest.approx(float(expected))


def test_the_unbiased_estimate_is_song_and_others():
    a, b = pair()
    k, m = a @ a.T, b @ b.T
    expected = hsic_1(k, m) / (hsic_1(k, k) * hsic_1(m, m)).sqrt()
    assert linear_cka(a, b, unbiased=True) == pytest.approx(float(expected))
    product = (centred_kernel(a, unbiased=True) * centred_kernel(b, unbiased=True)).sum() / (12 * 9)
    assert float(product) == pytest.approx(float(hsic_1(k, m)))


def test_the_gaussian_kernel_is_the_definition():
    a, b = pair()
    kernels = []
    for x in (a, b):
        distances = torch.cdist(x, x)
        sigma = 0.4 * torch.pdist(x).sort().values[(66 - 1) // 2]
        kernels.append(torch.exp(-distances.square() / (2 * sigma**2)))
    centring = torch.eye(12, dtype=torch.float64) - 1 / 12
    k, m = (centring @ kernel @ centring for kernel in kernels)
    expected = (k * m).sum() / (k.norm() * m.norm())
    assert rbf_cka(a, b, bandwidth=0.4) == pytest.approx(float(expected))


@given(st.integers(0, 10**6), st.booleans())
def test_rotation_scale_and_shift_change_nothing(seed, unbiased):
    a, b = pair(seed=seed)
    rotation = torch.linalg.qr(torch.randn(5, 5, generator=seeded(seed), dtype=torch.float64))[0]
    moved = 3 * b @ rotation + 7
    assert linear_cka(a, moved, unbiased=unbiased) == pytest.approx(linear_cka(a, b, unbiased=unbiased))
    assert rbf_cka(a, moved, unbiased=unbiased) == pytest.approx(rbf_cka(a, b, unbiased=unbiased))
    assert linear_cka(a, a, unbiased=unbiased) == pytest.approx(1)


def test_only_the_unbiased_estimate_is_near_zero_for_many_independent_features():
    generator = seeded(0)
    values = {True: [], False: []}
    for _ in range(40):
        a, b = (torch.randn(20, 500, generator=generator, dtype=torch.float64) for _ in range(2))
        for unbiased, found in values.items():
            found.append(linear_cka(a, b, unbiased=unbiased))
    unbiased = torch.tensor(values[True])
    assert abs(unbiased.mean()) < 3 * unbiased.std() / 40**0.5
    assert min(values[False]) > 0.9


def test_what_has_no_similarity_is_refused():
    a, b = pair()
    with pytest.raises(InvalidInputError, match="same for all samples"):
        linear_cka(torch.ones(12, 2), b)
    with pytest.raises(InvalidInputError, match="same samples"):
        linear_cka(a, b[:5])
    with pytest.raises(InvalidInputError, match="4 samples"):
        linear_cka(a[:3], b[:3], unbiased=True)
    with pytest.raises(InvalidInputError, match="bandwidth"):
        rbf_cka(a, b, bandwidth=0.0)
