import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from assay.core import InvalidInputError
from assay.reconstruction import normalized_correlation
from assay.reconstruction.kkt.consensus import consensus


def planted(runs, truths, noise, seed, dimension=40):
    """Truth k is found by `runs - k` restarts, each time with noise; the rest of every restart is scatter."""
    draw = torch.Generator().manual_seed(seed)
    truth = torch.randn(truths, dimension, generator=draw)
    pool, restart = [], []
    for run in range(runs):
        for k in range(truths):
            found = run < runs - k
            direction = truth[k] + noise * torch.randn(dimension, generator=draw)
            scatter = torch.randn(dimension, generator=draw)
            pool.append((direction if found else scatter) * (0.5 + torch.rand((), generator=draw)))
            restart.append(run)
    return truth, torch.stack(pool), torch.tensor(restart)


@settings(max_examples=20)
@given(st.integers(0, 1000))
def test_planted_clusters_come_back_in_order_of_agreement(seed):
    truth, pool, restarts = planted(runs=8, truths=5, noise=0.2, seed=seed)
    found = consensus(pool, restarts, multipliers=1 / pool.norm(dim=1))
    assert found.support[:5].tolist() == [8, 7, 6, 5, 4]
    cosine = torch.nn.functional.cosine_similarity(found.centres[:5], truth)
    assert (cosine > 0.95).all()
    # Averaging denoises: the centre of the most agreed is nearer to the truth than its members are.
    members = torch.nn.functional.cosine_similarity(pool[restarts.unique() * 5], truth[:1])
    assert cosine[0] > members.mean()


def test_duplicates_of_one_restart_are_no_agreement():
    pool = torch.eye(3)[[0, 0, 0, 0, 1, 1]]
    found = consensus(pool, torch.tensor([0, 0, 0, 0, 0, 1]))
    assert found.support.tolist() == [2, 1]
    assert found.centres[0].tolist() == [0, 1, 0]


def test_of_two_clusters_with_equal_support_the_heavier_comes_first():
    pool = torch.eye(3)[[0, 1, 0, 1]]
    found = consensus(pool, torch.tensor([0, 0, 1, 1]), multipliers=torch.tensor([1.0, 2.0, 1.0, 0.5]))
    assert found.centres.argmax(1).tolist() == [1, 0]
    assert found.multipliers.tolist() == [1.25, 1.0]


def test_labels_keep_clusters_apart_until_the_weaker_is_dropped():
    pool = torch.eye(3)[[0, 0, 0, 1]]
    found = consensus(pool, torch.tensor([0, 1, 0, 0]), labels=torch.tensor([1, 1, 0, 0]))
    assert found.labels.tolist() == [1, 0]
    assert found.support.tolist() == [2, 1]


def test_scaling_the_pool_scales_the_centres_only():
    _, pool, restarts = planted(runs=5, truths=3, noise=0.2, seed=0)
    one, two = consensus(pool, restarts), consensus(3 * pool, restarts)
    torch.testing.assert_close(two.centres, 3 * one.centres)
    assert torch.equal(one.support, two.support)


def test_bad_input():
    with pytest.raises(InvalidInputError, match="one entry a candidate"):
        consensus(torch.eye(3), torch.tensor([0, 1]))
    with pytest.raises(InvalidInputError, match="distance"):
        consensus(torch.eye(3), torch.tensor([0, 1, 2]), distance=0.0)
    assert normalized_correlation(torch.eye(3), torch.eye(3)).diagonal().min() > 0.999
