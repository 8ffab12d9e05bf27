import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.cluster import AgglomerativeClustering

from assay.core import InvalidInputError
from assay.nets import mlp
from assay.reconstruction import ConsensusSelector, KKTReconstructor, normalized_correlation
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


def planted_runs(runs, truths, noise, seed, dimension=40):
    """Truth k is found by `runs - k` runs, each time with noise; the rest of every run is scatter."""
    draw = torch.Generator().manual_seed(seed)
    truth = torch.randn(truths, dimension, generator=draw, dtype=torch.float64)
    found = torch.arange(runs)[:, None] < runs - torch.arange(truths)
    noisy = truth + noise * torch.randn(runs, truths, dimension, generator=draw, dtype=torch.float64)
    scatter = torch.randn(runs, truths, dimension, generator=draw, dtype=torch.float64)
    pool = torch.where(found[..., None], noisy, scatter) * (0.5 + torch.rand(runs, truths, 1, generator=draw))
    return truth, pool.flatten(0, 1), torch.arange(runs).repeat_interleave(truths), found.flatten()


@settings(max_examples=20)
@given(st.integers(0, 1000), st.sampled_from([0.1, 0.15, 0.3]))
def test_clusters_are_those_of_scikit_learn(seed, threshold):
    _, pool, runs, _ = planted_runs(runs=6, truths=4, noise=0.35, seed=seed)
    selector = ConsensusSelector(threshold, min_runs=1).fit(pool, runs)
    oracle = AgglomerativeClustering(n_clusters=None, metric="cosine", linkage="average", distance_threshold=threshold)
    expected = torch.as_tensor(oracle.fit_predict(pool.numpy()))
    inside = selector.labels_ >= 0  # the rest is in clusters whose centre is near a better one's
    same = selector.labels_[inside, None] == selector.labels_[inside]
    assert torch.equal(same, expected[inside, None] == expected[inside])
    assert not torch.isin(expected[inside], expected[~inside]).any()
    for label, size, n_runs in zip(range(99), selector.sizes_.tolist(), selector.n_runs_.tolist(), strict=False):
        members = selector.labels_ == label
        assert size == int(members.sum())
        assert n_runs == len(runs[members].unique())


@settings(max_examples=20)
@given(st.integers(0, 1000))
def test_planted_directions_come_back_and_scatter_does_not(seed):
    truth, pool, runs, found = planted_runs(runs=8, truths=5, noise=0.2, seed=seed)
    selector = ConsensusSelector().fit(pool, runs)
    assert selector.n_runs_.tolist() == selector.sizes_.tolist() == [8, 7, 6, 5, 4]
    assert torch.equal(selector.labels_ >= 0, found)
    cosine = torch.nn.functional.cosine_similarity(selector.representatives_, truth)
    members = torch.nn.functional.cosine_similarity(pool, truth.repeat(8, 1))[found]
    assert cosine.min() > members.median()  # averaging denoises
    for label in range(5):
        directions = torch.nn.functional.normalize(pool[selector.labels_ == label])
        assert float(selector.tightness_[label]) == pytest.approx(float(directions.mean(0).norm()))


def test_duplicates_of_one_run_are_no_agreement():
    pool = torch.eye(3)[[0, 0, 0, 0, 1, 1]]
    selector = ConsensusSelector().fit(pool, torch.tensor([0, 0, 0, 0, 0, 1]))
    assert selector.labels_.tolist() == [-1, -1, -1, -1, 0, 0]
    assert torch.equal(selector.representatives_, torch.eye(3)[1:2])


def test_a_candidate_without_weight_moves_nothing():
    pool = torch.tensor([[1.0, 0.0], [1.0, 0.3], [1.0, 0.0]])
    selector = ConsensusSelector().fit(pool, torch.tensor([0, 1, 2]), multipliers=torch.tensor([1.0, 0.0, 1.0]))
    assert torch.equal(selector.representatives_, pool[:1])
    assert selector.sizes_.tolist() == [3]


@pytest.mark.parametrize("objective", ["regression", "binary"])
def test_the_attack_selects_by_the_same_agreement(objective, all_is_found):
    network = mlp((6, 12, 1), bias="first", generator=torch.Generator().manual_seed(0))
    found = KKTReconstructor(objective, n_candidates=4, n_restarts=3, subspace=4, n_iter=30).fit(network)
    runs = torch.arange(3).repeat_interleave(4)
    weighted = {"multipliers": found.pool_multipliers_, "classes": found.pool_labels_}
    selector = ConsensusSelector().fit(found.pool_, runs, **weighted)
    assert len(selector.sizes_) > 0
    torch.testing.assert_close(selector.representatives_, found.reconstructions_)
    assert torch.equal(selector.n_runs_, found.support_)


def test_classes_stay_apart():
    pool, runs = torch.tensor([[1.0, 0.0]]).repeat(4, 1), torch.tensor([0, 1, 0, 1])
    assert ConsensusSelector().fit(pool, runs).sizes_.tolist() == [4]
    apart = ConsensusSelector().fit(pool, runs, classes=torch.tensor([0, 0, 1, 1]))
    assert apart.labels_.tolist() == [0, 0, -1, -1]  # the second is a copy of the first


def test_nothing_is_selected_where_nothing_agrees():
    selector = ConsensusSelector().fit(torch.eye(3), torch.tensor([0, 1, 2]))
    assert selector.representatives_.shape == (0, 3)
    assert selector.labels_.tolist() == [-1, -1, -1]


def test_selector_refuses_bad_input():
    with pytest.raises(InvalidInputError, match="one entry a candidate"):
        ConsensusSelector().fit(torch.eye(3), torch.tensor([0, 1]))
    with pytest.raises(InvalidInputError, match="distance"):
        ConsensusSelector(1.0).fit(torch.eye(3), torch.tensor([0, 1, 2]))
    with pytest.raises(InvalidInputError, match="min_runs"):
        ConsensusSelector(min_runs=0).fit(torch.eye(3), torch.tensor([0, 1, 2]))
    with pytest.raises(InvalidInputError, match="NaN"):
        ConsensusSelector().fit(torch.full((2, 2), torch.nan), torch.tensor([0, 1]))
