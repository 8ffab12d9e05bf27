import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score, roc_curve

from assay.core import InvalidInputError
from assay.reconstruction import reconstruction_roc


def samples(n, seed, shape=(12,)):
    return torch.randn(n, *shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def best_correlation(x, pool, either_sign):
    values = np.array([[np.corrcoef(a, b)[0, 1] for b in pool.numpy()] for a in x.numpy()])
    return (np.abs(values) if either_sign else values).max(1)


@pytest.mark.parametrize("either_sign", [False, True])
def test_it_is_the_roc_of_the_best_correlation(either_sign):
    members, others, noise = samples(7, 0), samples(20, 1), samples(7, 2)
    pool, mean = -(members - members.mean(0)) + 1.5 * noise, members.mean(0)
    result = reconstruction_roc(pool, members, others, mean=mean, either_sign=either_sign)
    inside, outside = (best_correlation(x - mean, pool, either_sign) for x in (members, others))
    np.testing.assert_allclose(result.members.numpy(), inside, atol=1e-12)
    np.testing.assert_allclose(result.nonmembers.numpy(), outside, atol=1e-12)
    truth, scores = np.repeat([1, 0], [7, 20]), np.concatenate([inside, outside])
    assert result.curve.auc == pytest.approx(roc_auc_score(truth, scores))
    fpr, tpr, _ = roc_curve(truth, scores, drop_intermediate=False)
    for level in (0.01, 0.1, 0.5):
        assert result.tpr_at(level) == pytest.approx(tpr[fpr <= level].max())
        # Brute force: the lowest threshold that few enough non-members pass.
        allowed = [t for t in scores if (outside >= t).mean() <= level]
        assert result.tpr_at(level) == pytest.approx(max([(inside >= t).mean() for t in allowed], default=0))
    assert "7 members" in str(result)


def test_either_sign_finds_what_came_out_negative():
    members, others = samples(5, 0), samples(50, 1)
    assert reconstruction_roc(-3 * members, members, others, either_sign=True).tpr_at(0.01) == 1
    assert reconstruction_roc(-3 * members, members, others).tpr_at(0.01) < 0.5


def test_images_and_flat_candidates_agree():
    members, others = samples(4, 0, (1, 5, 5)), samples(6, 1, (1, 5, 5))
    pool = members + samples(4, 2, (1, 5, 5))
    one, two = (reconstruction_roc(x, members, others) for x in (pool, pool.flatten(1)))
    assert one.curve.auc == two.curve.auc


def test_plot_draws_the_curve():
    ax = reconstruction_roc(samples(4, 0), samples(4, 0), samples(4, 1)).plot()
    assert ax.lines[0].get_ydata().max() == 1
    plt.close("all")


def test_nonmembers_that_are_members_are_named():
    members, others = samples(5, 0), samples(5, 1)
    assert reconstruction_roc(members, members, others).n_shared == 0
    found = reconstruction_roc(members, members, torch.cat([others, members[:3]]))
    assert found.n_shared == 3
    assert "3 non-members are members too" in str(found)


@pytest.mark.usefixtures("as_users_run_it")
def test_a_mean_of_another_shape_is_refused():
    with pytest.raises(InvalidInputError, match="mean of one sample"):
        reconstruction_roc(samples(3, 0), samples(3, 0), samples(3, 1), mean=torch.zeros(2).double())


def test_bad_input():
    with pytest.raises(InvalidInputError, match="reshape one"):
        reconstruction_roc(samples(3, 0, (5,)), samples(3, 0), samples(3, 0))
    with pytest.raises(InvalidInputError, match="nonmembers"):
        reconstruction_roc(samples(3, 0), samples(3, 0), samples(0, 0))
