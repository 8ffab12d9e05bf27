from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from assay.core import InvalidInputError, kernel_distance, seeded
from assay.nets import mlp
from assay.privacy.condensation import kernel_velocity


def network(seed=0):
    return mlp((4, 5, 3), generator=seeded(seed)).double()


def kernel(model, x):
    """The tangent kernel, one output and one backward pass at a time."""
    rows = []
    for sample in x:
        for output in model(sample[None])[0]:
            pieces = torch.autograd.grad(output, list(model.parameters()), retain_graph=True)
            rows.append(torch.cat([piece.flatten() for piece in pieces]))
    jacobian = torch.stack(rows)
    return jacobian @ jacobian.T


def test_velocity_is_the_kernels_turn_by_brute_force():
    x = torch.randn(6, 4, generator=seeded(1), dtype=torch.float64)
    models = [network(seed) for seed in (0, 1, 2)]
    kernels = [kernel(model, x) for model in models]
    cosines = [torch.nn.functional.cosine_similarity(a.flatten(), b.flatten(), dim=0) for a, b in pairwise(kernels)]
    got = kernel_velocity(network(7), x, [model.state_dict() for model in models], dt=2.0, batch_size=4)
    torch.testing.assert_close(got, (1 - torch.stack(cosines)) / 2)


@given(st.integers(1, 6), st.integers(0, 500))
def test_distance_is_within_0_and_1_and_knows_no_scale(n, seed):
    a, b = (torch.randn(n, 3, generator=seeded(s), dtype=torch.float64) for s in (seed, seed + 1000))
    one, other = a @ a.T, b @ b.T
    assert 0 <= kernel_distance(one, other) <= 1 + 1e-12
    assert kernel_distance(one, one) < 1e-12
    torch.testing.assert_close(kernel_distance(5 * one, other), kernel_distance(other, one))


def test_a_linear_networks_kernel_stands_still():
    states = [nn.Linear(4, 3).double().state_dict() for _ in range(3)]
    x = torch.randn(5, 4, generator=seeded(1), dtype=torch.float64)
    assert kernel_velocity(nn.Linear(4, 3).double(), x, states).max() < 1e-12


def test_bad_input():
    x, state = torch.ones(2, 4, dtype=torch.float64), network().state_dict()
    with pytest.raises(InvalidInputError, match="at least two states"):
        kernel_velocity(network(), x, [state])
    with pytest.raises(InvalidInputError, match="does not fit"):
        kernel_velocity(network(), x, [state, {"0.weight": x}])
    with pytest.raises(InvalidInputError, match="dt"):
        kernel_velocity(network(), x, [state, state], dt=0.0)
    with pytest.raises(InvalidInputError, match="no direction"):
        kernel_distance(torch.zeros(2, 2), torch.eye(2))


@pytest.mark.usefixtures("as_users_run_it")
def test_kernels_of_other_shapes_cannot_be_compared():
    with pytest.raises(InvalidInputError, match=r"shapes \(3, 3\) and \(2, 2\)"):
        kernel_distance(torch.eye(3), torch.eye(2))
