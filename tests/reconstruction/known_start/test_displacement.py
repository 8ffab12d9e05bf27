import pytest
import torch
from torch import nn

from assay.core import InvalidInputError
from assay.reconstruction.known_start import measure_displacement
from assay.reconstruction.known_start.displacement import rounding_floor

H, D = 80, 120


def weights(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def trained(share, rank, dtype=torch.float32):
    """Return a layer's start and end: a share of the start and a sum of outer products of falling size."""
    start = weights(H, D).div(D**0.5).to(dtype)
    scale = torch.logspace(0, -2, rank, dtype=torch.float64)
    added = weights(H, rank, seed=1) * scale / H**0.5 @ weights(rank, D, seed=2) / D**0.5
    return start, (share * start.double() + added).to(dtype), added


@pytest.mark.parametrize("rank", [1, 8, 30])
@pytest.mark.parametrize("share", [1.0, 0.95, 0.3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_share_of_the_start_and_the_rank_of_the_rest_are_found(share, rank, dtype):
    start, end, added = trained(share, rank, dtype)
    found = measure_displacement(start, end)
    assert found.rank == rank
    assert found.share == pytest.approx(share, abs=1e-6)
    assert found.correlation == pytest.approx(float(nn.functional.cosine_similarity(start.flatten(), end.flatten(), 0)))
    assert found.from_start
    outside = added - added @ found.basis.T @ found.basis
    assert float(outside.norm() / added.norm()) < 1e-4


def test_a_share_within_a_ten_thousandth_of_one_is_one():
    start, end, _ = trained(1 - 5e-5, 8)
    assert measure_displacement(start, end).share == 1.0
    assert measure_displacement(start, end, share=0.5).share == 0.5


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_the_rank_is_read_above_the_rounding_of_half_precision(kind):
    start, end, added = trained(1.0, 8)
    stored = end.to(kind).float()
    rounding = torch.linalg.svdvals(stored.double() - end.double())[0]
    assert rounding_floor(stored) == pytest.approx(float(rounding), rel=0.15)
    above = int((torch.linalg.svdvals(added) > 2 * rounding).sum())
    assert above <= measure_displacement(start, stored).rank <= 8


def test_unrelated_weights_are_no_start():
    end = trained(1.0, 8)[1]
    z_scores = torch.tensor(
        [measure_displacement(weights(H, D, seed=seed).float(), end).z_score for seed in range(3, 43)]
    )
    assert float(z_scores.abs().max()) < 4
    assert 0.75 < float(z_scores.std()) < 1.3  # a standard normal variable, so that the false-alarm rate is known


def test_steps_that_scale_each_weight_by_itself_leave_no_rank():
    start, _, added = trained(1.0, 8)
    found = measure_displacement(start, start + 0.05 * added.sign().float() * weights(H, D, seed=5).abs().float())
    assert found.rank == 0
    assert found.from_start


def test_as_many_samples_as_inputs_leave_no_rank():
    start = weights(40, 6)
    found = measure_displacement(start, start + weights(40, 6, seed=1))
    assert found.rank == 0


def test_weights_of_two_layers_are_refused(as_users_run_it):
    with pytest.raises(InvalidInputError, match="same dense layer"):
        measure_displacement(torch.ones(2, 3), torch.ones(3, 2))
    with pytest.raises(InvalidInputError, match="same dense layer"):
        measure_displacement(torch.ones(3), torch.ones(3))


def test_steps_of_one_size_on_the_inputs_that_vary_have_no_count():
    """Adam moves every weight of an input that varies by itself; those of inputs that are always zero stay."""
    source = torch.Generator().manual_seed(8)
    start = torch.randn(100, 64, generator=source)
    step = 0.1 * torch.randn(100, 47, generator=source).sign()
    end = start + torch.cat([step, torch.zeros(100, 17)], 1)
    assert measure_displacement(start, end).rank == 0
