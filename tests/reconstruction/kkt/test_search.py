"""Tests for the settings of the search that depend on the network."""

import pytest
import torch
from torch import nn

from assay.core import seeded
from assay.nets import mlp, small_conv
from assay.reconstruction import KKTReconstructor
from assay.reconstruction.kkt import StationarityGap, minimize_gap, start_multipliers, with_surrogate_relu
from assay.reconstruction.kkt.search import search_scale
from assay.reconstruction.kkt.target import build_target

STILL = {"lr_x": 1e-9, "n_iter": 1, "n_candidates": 8, "n_restarts": 1}


@pytest.mark.parametrize(("subspace", "factor"), [(8, 1.0), (32, 1.0), (64, 0.5)])
def test_large_spans_start_smaller_and_softer(subspace, factor):
    suited = search_scale(build_target(mlp((100, 80, 1)).requires_grad_(False), subspace=subspace, input_shape=None))
    assert (suited.length, suited.sharpness, suited.beta2) == (factor, factor, 0.95)


class Projection(nn.Module):
    """A hidden layer whose weights are in no dense layer: nothing tells how many samples there are."""

    def __init__(self):
        super().__init__()
        self.weight, self.relu = nn.Parameter(torch.ones(4, 12)), nn.ReLU()

    def forward(self, x):
        return self.relu(x @ self.weight.T).sum(1, keepdim=True)


def test_a_network_without_a_span_is_taken_for_a_small_one():
    target = build_target(Projection().requires_grad_(False), subspace=None, input_shape=(12,))
    assert (target.rank, search_scale(target).length) == (0, 1.0)


def test_the_search_starts_at_the_scale_of_the_network():
    small, large = (KKTReconstructor(subspace=rank, **STILL).fit(mlp((100, 80, 1))) for rank in (32, 64))
    assert small.pool_.flatten(1).norm(dim=1).mean().item() == pytest.approx(0.5 * 32**0.5, rel=0.1)
    assert large.pool_.flatten(1).norm(dim=1).mean().item() == pytest.approx(0.25 * 64**0.5, rel=0.1)


def test_a_convolution_is_searched_at_a_tenth_of_the_scale():
    dense = KKTReconstructor(subspace=None, **STILL).fit(mlp((64, 8, 1))).pool_
    convolved = KKTReconstructor(subspace=None, input_shape=(1, 8, 8), **STILL).fit(small_conv((1, 8, 8), 1)).pool_
    torch.testing.assert_close(convolved.flatten(1), dense / 10)


def test_gates_begin_softer_and_end_as_sharp(monkeypatch):
    seen = []
    monkeypatch.setattr("assay.reconstruction.kkt.search.set_sharpness", lambda _, alpha: seen.append(alpha))
    KKTReconstructor(subspace=64, n_candidates=4, n_restarts=1, n_iter=3).fit(mlp((100, 80, 1)))
    assert seen[0] == pytest.approx(50)
    assert seen[-1] == 1000


def test_the_search_takes_the_same_steps_whatever_computes_its_gradients():
    # Gradients of a chain in closed form and those by vmap differ in rounding, and in how they lie in memory.
    start = mlp((6, 9, 1), generator=seeded(0)).double()
    x, ends = torch.randn(2, 8, 6, generator=seeded(1), dtype=torch.float64), []
    for is_chain in (True, False):
        gap = StationarityGap(with_surrogate_relu(start))
        assert gap.is_chain
        gap.is_chain = is_chain
        multipliers = [start_multipliers("binary", x, 1, 0.1, [])]
        steps = {"lr_x": 0.1, "lr_multipliers": 0.1, "n_iter": 10, "relu_alpha": (10.0, 20.0), "beta2": 0.95}
        ends.append(minimize_gap(gap, x, multipliers, **steps))
    torch.testing.assert_close(ends[0][0], ends[1][0])
    torch.testing.assert_close(ends[0][2], ends[1][2])
