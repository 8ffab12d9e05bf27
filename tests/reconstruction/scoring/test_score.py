import numpy as np
import pytest
import torch
from skimage.metrics import structural_similarity as reference_ssim

from assay.core import InvalidInputError
from assay.reconstruction import normalized_correlation, score_reconstructions, structural_similarity


def images(n, seed=0, shape=(1, 8, 8)):
    return torch.rand(n, *shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("shape", [(1, 14, 12), (3, 13, 15)])
def test_ssim_is_that_of_scikit_image(shape):
    # scikit-image's Gaussian window is always cut at 3.5 sigma: 11 pixels here.
    a, b = images(4, 0, shape), images(4, 1, shape)
    ours = structural_similarity(a, b, window=11, sigma=1.5)
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 1.0}
    for one, two, value in zip(a.numpy(), b.numpy(), ours, strict=True):
        theirs = reference_ssim(one, two, channel_axis=0, **options)
        assert value.item() == pytest.approx(theirs, rel=1e-9)


def test_ssim_with_the_small_window_is_the_formula():
    a, b = images(1, 0, (1, 5, 6)), images(1, 1, (1, 5, 6))
    line = np.exp(-np.array([1, 0, 1]) / (2 * 1.5**2))
    kernel = np.outer(line, line) / line.sum() ** 2
    values = []
    for i in range(3):
        for j in range(4):
            p, q = a[0, 0, i : i + 3, j : j + 3].numpy(), b[0, 0, i : i + 3, j : j + 3].numpy()
            mean_p, mean_q = (kernel * p).sum(), (kernel * q).sum()
            spread_p, spread_q = (kernel * (p - mean_p) ** 2).sum(), (kernel * (q - mean_q) ** 2).sum()
            both = (kernel * (p - mean_p) * (q - mean_q)).sum()
            top = (2 * mean_p * mean_q + 1e-4) * (2 * both + 9e-4)
            values.append(top / ((mean_p**2 + mean_q**2 + 1e-4) * (spread_p + spread_q + 9e-4)))
    assert structural_similarity(a, b).item() == pytest.approx(np.mean(values), rel=1e-9)


@pytest.mark.parametrize("shape", [(5,), (1, 4, 4), (3, 4, 4)])
def test_ncc_is_the_correlation_of_numpy(shape):
    a, b = images(3, 0, shape), images(4, 1, shape)
    got = normalized_correlation(a, b)
    for i in range(3):
        for j in range(4):
            n_channels = shape[0] if len(shape) > 1 else 1
            channels = zip(a[i].reshape(n_channels, -1), b[j].reshape(n_channels, -1), strict=True)
            expected = np.mean([np.corrcoef(p.numpy(), q.numpy())[0, 1] for p, q in channels])
            assert got[i, j].item() == pytest.approx(expected, abs=1e-12)


def test_a_constant_sample_correlates_with_nothing():
    assert normalized_correlation(torch.full((1, 9), 0.3), torch.rand(2, 9)).abs().max() == 0


def test_counts_indices_and_nulls():
    train, other = images(6), images(6, seed=1)
    mean = train.mean(0)
    noise = images(20, seed=2) - 0.5
    pool = torch.cat([noise, 7 * (train[[2, 0]] - mean)])
    score = score_reconstructions(
        pool, train, mean=mean, first_layer=-(train[4] - mean).reshape(1, -1), held_out_x=other
    )
    assert score.n90 == 2
    assert score.index[[2, 0]].tolist() == [20, 21]
    assert score.nulls() == {"random": 0, "rows": 1, "held out": 0}
    assert "Of 6 training samples, 2 are recovered" in str(score)
    best = normalized_correlation(train - mean, pool).max(1).values
    torch.testing.assert_close(score.ncc, best)
    flat = score_reconstructions(pool.flatten(1), train.flatten(1), mean=mean.flatten())
    assert flat.ssim is None
    torch.testing.assert_close(flat.ncc, score.ncc)


def test_exact_reconstructions_of_full_range_have_ssim_one():
    train = images(3)
    train[:, 0, 0, 0], train[:, 0, 0, 1] = 0, 1
    assert score_reconstructions(train, train).ssim.min() == pytest.approx(1)


def test_random_candidates_stay_in_the_subspace():
    train = torch.eye(8, dtype=torch.float64)[:4] + 0.1 * images(4, shape=(8,))
    one = torch.linalg.qr(images(1, shape=(8, 2))[0])[0].T
    narrow = score_reconstructions(images(50, shape=(8,)), train, basis=one)
    wide = score_reconstructions(images(50, shape=(8,)), train)
    limit = normalized_correlation(train, (train @ one.T) @ one)
    assert narrow.random_ncc.shape == wide.random_ncc.shape
    assert limit.shape == (4, 4)
    assert (
        score_reconstructions(images(50, shape=(8,)), train, generator=torch.Generator().manual_seed(1))
        .random_ncc.ne(wide.random_ncc)
        .any()
    )


def test_half_resolution_is_the_correlation_of_halved_images():
    train, pool = images(3, shape=(3, 8, 8)), images(5, 1, (3, 8, 8))
    score = score_reconstructions(pool, train, half_resolution=True)
    # Bicubic interpolation at factor 1/2 weighs the four pixels around each new centre, edges repeated.
    weights = np.array([-3, 19, 19, -3]) / 32

    def halved(image):
        for axis in (1, 2):
            wide = np.moveaxis(
                np.pad(image, [(0, 0), *((1, 1) if k == axis else (0, 0) for k in (1, 2))], "edge"), axis, -1
            )
            image = np.moveaxis(sum(w * wide[..., k : k + 7 : 2] for k, w in enumerate(weights)), -1, axis)
        return image

    for i in range(3):
        expected = [
            np.mean([np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in zip(halved(x), halved(z), strict=True)])
            for x, z in ((train[i].numpy(), candidate.numpy()) for candidate in pool)
        ]
        assert score.ncc[i].item() == pytest.approx(max(expected), abs=1e-12)
        assert score.index[i] == np.argmax(expected)


def test_vote_is_the_mean_of_the_near_candidates():
    train = images(2, shape=(6,)) - 0.5
    pool = torch.cat([train[:1] + 0.05 * (images(6, 1, (6,)) - 0.5), images(3, 2, (6,)) - 0.5])
    score = score_reconstructions(pool, train, vote=True)
    for i, x in enumerate(train.numpy()):
        distances = np.array([2 * (1 - np.corrcoef(x, z)[0, 1]) for z in pool.numpy()])
        mean = pool.numpy()[distances < 1.1 * distances.min()].mean(0)
        np.testing.assert_allclose(score.best[i].numpy(), mean, rtol=1e-12)
        assert score.ncc[i].item() == pytest.approx(np.corrcoef(x, mean)[0, 1], abs=1e-12)
        assert score.index[i] == distances.argmin()
    assert score_reconstructions(train, train, vote=True).ncc.min() == pytest.approx(1)


def test_every_null_has_its_ssim():
    train, other, pool = images(4), images(3, 1), images(6, 2) - 0.5
    mean, rows = train.mean(0), images(5, 3).flatten(1) - 0.5
    score = score_reconstructions(pool, train, mean=mean, first_layer=rows, held_out_x=other)

    def ssim_of_best(x, candidates):
        best = candidates[normalized_correlation(x - mean, candidates).argmax(1)] + mean
        low, high = (edge.view(-1, 1, 1, 1) for edge in (best.flatten(1).amin(1), best.flatten(1).amax(1)))
        return structural_similarity(x, (best - low) / (high - low))

    signed = torch.cat([rows, -rows]).reshape(-1, 1, 8, 8)
    torch.testing.assert_close(score.held_out_ssim, ssim_of_best(other, pool))
    torch.testing.assert_close(score.row_ssim, ssim_of_best(train, signed))
    # The candidates stand in for the random ones when they are drawn by the same seed.
    chance = torch.randn(6, 64, generator=torch.Generator().manual_seed(5)).to(train).reshape(-1, 1, 8, 8)
    same = score_reconstructions(chance, train, mean=mean, generator=torch.Generator().manual_seed(5))
    torch.testing.assert_close(same.random_ssim, same.ssim)
    counts = score.ssim_counts(0.1)
    assert list(counts) == ["recovered", "random", "rows", "held out"]
    assert counts["rows"] == int((score.row_ssim > 0.1).sum())
    assert "SSIM > 0.4: recovered" in str(score)
    assert "SSIM" not in str(score_reconstructions(train.flatten(1), train.flatten(1)))


def test_plot_draws_a_column_each():
    train = images(3)
    ax = score_reconstructions(train, train).plot(2)
    assert len(ax.get_xticks()) == 2
    import matplotlib.pyplot as plt

    plt.close("all")


def test_held_out_samples_that_are_training_samples_are_named():
    train, other = images(4), images(3, 1)
    assert score_reconstructions(train, train, held_out_x=other).n_shared == 0
    found = score_reconstructions(train, train, held_out_x=torch.cat([other, train[1:3]]))
    assert found.n_shared == 2
    assert "2 of the held-out samples are training samples too" in str(found)


def test_half_precision_is_scored_in_float32():
    train, pool = images(4).bfloat16(), images(6, 1).bfloat16()
    found, expected = score_reconstructions(pool, train), score_reconstructions(pool.float(), train.float())
    assert torch.equal(found.ncc, expected.ncc)
    assert torch.equal(found.ssim, expected.ssim)


@pytest.mark.usefixtures("as_users_run_it")
def test_what_does_not_fit_the_samples_is_named():
    x = images(3)
    for name in ("candidates", "held_out_x", "first_layer", "mean", "basis"):
        wrong = torch.zeros(2, 5).double()
        given = {"candidates": x, name: wrong[0] if name == "mean" else wrong}
        with pytest.raises(InvalidInputError, match=name):
            score_reconstructions(given.pop("candidates"), x, **given)


def test_bad_input():
    with pytest.raises(InvalidInputError, match="reshape one"):
        score_reconstructions(images(3), images(3, shape=(1, 4, 4)))
    with pytest.raises(InvalidInputError, match="half_resolution needs images"):
        score_reconstructions(images(3).flatten(1), images(3).flatten(1), half_resolution=True)
    with pytest.raises(InvalidInputError, match="at least 3 x 3"):
        structural_similarity(images(1, shape=(1, 2, 2)), images(1, shape=(1, 2, 2)))
    with pytest.raises(InvalidInputError, match="one shape"):
        normalized_correlation(images(1), images(1, shape=(1, 4, 4)))
