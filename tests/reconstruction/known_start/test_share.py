"""The share of the start against a displacement that is built with a known one."""

import pytest
import torch

from assay.core import InvalidInputError, seeded
from assay.reconstruction.known_start import start_share


def normal(*shape, source):
    return torch.randn(shape, generator=source, dtype=torch.float64)


def moved(start, share, rank, source):
    """Return a share of a matrix plus a displacement of a given rank, as large as the matrix."""
    h, d = start.flatten(1).shape
    step = normal(h, rank, source=source) @ normal(rank, d, source=source) / rank**0.5
    return share * start + step.reshape(start.shape)


@pytest.mark.parametrize("shape", [(60, 90), (90, 60), (700, 40), (40, 2, 3, 5)])
@pytest.mark.parametrize("share", [0.03, 0.5, 0.97, 1.3])
def test_a_known_share_beside_a_displacement_of_low_rank_is_exact(shape, share):
    source = seeded(0)
    start = normal(*shape, source=source)
    whole, shares = start_share({"w": start}, {"w": moved(start, share, 8, source)})
    assert whole == pytest.approx(share, abs=1e-8)
    assert shares == pytest.approx({"w": whole}, rel=1e-12)


def test_the_projected_regression_is_where_the_iteration_ends():
    source = seeded(1)
    start, end = normal(20, 30, source=source), normal(20, 30, source=source)
    end = end + 0.8 * start  # no low rank: the iteration takes long
    share = float((start * end).sum() / (start * start).sum())
    for _ in range(1000):
        v = torch.linalg.svd(end - share * start, full_matrices=False)[2][:10]
        a, b = start - start @ v.T @ v, end - end @ v.T @ v
        share = float((a * b).sum() / (a * a).sum())
    assert start_share({"w": start}, {"w": end})[0] == pytest.approx(share, abs=1e-8)


def test_no_decay_is_one_and_a_bias_takes_the_share_of_all():
    source = seeded(2)
    start = {"w": normal(30, 40, source=source), "b": normal(30, source=source)}
    end = {"w": moved(start["w"], 1 + 3e-5, 4, source), "b": start["b"] + 1}
    assert start_share(start, end) == (1.0, {"w": 1.0, "b": 1.0})
    end["w"] = moved(start["w"], 0.9, 4, source)
    whole, shares = start_share(start, end)
    assert shares["b"] == whole == pytest.approx(0.9, abs=1e-8)


def test_layers_have_shares_of_their_own_and_frozen_ones_keep_all():
    source = seeded(3)
    start = {name: normal(30, 40, source=source) for name in ("first", "second", "frozen")}
    end = {name: moved(start[name], share, 4, source) for name, share in (("first", 0.9), ("second", 0.7))}
    _, shares = start_share(start, end | {"frozen": start["frozen"]})
    assert shares["frozen"] == 1.0
    assert [shares["first"], shares["second"]] == pytest.approx([0.9, 0.7], abs=1e-8)


def test_an_output_layer_that_training_rewrote_takes_the_share_of_the_others():
    source = seeded(4)
    start = {"w": normal(60, 90, source=source), "v": normal(4, 60, source=source)}
    end = {"w": moved(start["w"], 0.9, 6, source), "v": 0.9 * start["v"] + 3 * normal(4, 60, source=source)}
    whole, shares = start_share(start, end)
    assert shares["v"] == whole == pytest.approx(0.9, abs=1e-6)


def test_rows_alone_are_regressed():
    source = seeded(5)
    start = {"w": normal(1, 50, source=source)}
    assert start_share(start, {"w": 0.8 * start["w"]})[0] == pytest.approx(0.8, abs=1e-12)


def test_weights_of_two_networks_are_refused():
    with pytest.raises(InvalidInputError, match="same names and shapes"):
        start_share({"w": torch.ones(2, 2)}, {"v": torch.ones(2, 2)})
    with pytest.raises(InvalidInputError, match="same names and shapes"):
        start_share({"w": torch.ones(2, 2)}, {"w": torch.ones(2, 3)})
