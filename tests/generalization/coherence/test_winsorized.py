"""Winsorized steps beside SciPy's winsorized arrays, SGD and the median."""

import pytest
import torch
from scipy.stats.mstats import winsorize
from torch import nn

from assay.core import InvalidInputError, cross_entropy, isolated_rng, per_sample_gradients, seeded
from assay.generalization import WinsorizedSGD
from assay.generalization.coherence.winsorized import winsorized_mean


@pytest.mark.parametrize(
    ("n", "percentile", "clipped"), [(50, 4, 2), (50, 2, 1), (50, 10, 5), (50, 30, 15), (9, 50, 4), (1, 30, 0)]
)
def test_the_mean_is_that_of_scipy(n: int, percentile: float, clipped: int) -> None:
    values = torch.randn(n, 6, generator=seeded(n)).double()
    expected = [float(winsorize(column.numpy(), limits=(clipped / n, clipped / n)).mean()) for column in values.T]
    torch.testing.assert_close(winsorized_mean(values, percentile), torch.tensor(expected).double())


def test_steps_of_a_network_at_both_ends() -> None:
    with isolated_rng(0):
        model = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3)).double()
    x, y = torch.randn(7, 4, generator=seeded(1)).double(), torch.arange(7) % 3
    rows = per_sample_gradients(model, x, y, cross_entropy)
    for percentile, direction in ((0.0, rows.mean(0)), (50.0, rows.median(0).values)):
        before = nn.utils.parameters_to_vector(model.parameters()).detach()
        WinsorizedSGD(model.parameters(), lr=0.2, percentile=percentile, weight_decay=0.5).step(rows)
        after = nn.utils.parameters_to_vector(model.parameters()).detach()
        torch.testing.assert_close(after, before - 0.2 * (direction + 0.5 * before))
        nn.utils.vector_to_parameters(before, model.parameters())


def test_groups_have_their_own_options() -> None:
    weights = [nn.Parameter(torch.zeros(2)), nn.Parameter(torch.zeros(()))]
    groups = [{"params": [weights[0]], "lr": 1.0, "percentile": 25.0}, {"params": [weights[1]]}]
    optimizer = WinsorizedSGD(groups, lr=0.5, percentile=0.0)
    optimizer.step(torch.tensor([[0.0, 1.0, 2.0], [4.0, 1.0, 2.0], [5.0, 1.0, 2.0], [6.0, 1.0, 2.0], [99.0, 1.0, 2.0]]))
    assert weights[0].tolist() == [-5.0, -1.0]
    assert weights[1].item() == -1.0


def test_bad_input_is_named() -> None:
    weight = nn.Parameter(torch.zeros(2))
    with pytest.raises(InvalidInputError, match="percentile must lie"):
        WinsorizedSGD([weight], lr=0.1, percentile=60)
    with pytest.raises(InvalidInputError, match="a column for each of 2 parameters"):
        WinsorizedSGD([weight], lr=0.1).step(torch.ones(3, 4))
    with pytest.raises(InvalidInputError, match="NaN or infinite"):
        WinsorizedSGD([weight], lr=0.1).step(torch.full((3, 2), torch.nan))
