import pytest
import torch

from assay.reconstruction.copies import merge_copies


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_copies_of_a_sample_become_their_weighted_mean():
    # Samples along the axes, each in three copies displaced within its own plane: all others are orthogonal.
    samples, offsets = torch.eye(6, dtype=torch.float64)[::2], torch.tensor([0.0, 0.1, -0.2], dtype=torch.float64)
    aside = torch.eye(6, dtype=torch.float64)[1::2]
    x = (samples[:, None] + offsets[:, None] * aside[:, None]).reshape(1, 9, 6)
    weights = torch.rand(1, 9, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    merged = merge_copies(x, weights)[0].reshape(3, 3, 6)
    cosines = torch.nn.functional.cosine_similarity(x.reshape(3, 3, 1, 6), x.reshape(3, 1, 3, 6), dim=-1)
    share = weights.reshape(3, 1, 3) * cosines**3
    torch.testing.assert_close(merged, (share / share.sum(-1, keepdim=True)) @ x.reshape(3, 3, 6))


def test_the_formula_one_candidate_after_the_other():
    x, pulls, labels = normal(2, 5, 2, 3), normal(2, 5, 4, seed=1), torch.tensor([0, 1, 0, 1, 0])
    merged = merge_copies(x, pulls, labels=labels)
    for r in range(2):
        for k in range(5):
            total, weights = torch.zeros(2, 3, dtype=torch.float64), 0.0
            for j in range(5):
                cosine = (x[r, k] * x[r, j]).sum() / x[r, k].norm() / x[r, j].norm()
                pull = pulls[r, k] @ pulls[r, j] / pulls[r, k].norm()
                if labels[k] == labels[j] and cosine > 0 and pull > 0:
                    total, weights = total + pull * cosine**3 * x[r, j], weights + pull * cosine**3
            torch.testing.assert_close(merged[r, k], total / weights)


def test_opposite_multipliers_and_other_classes_have_no_part():
    x = normal(1, 1, 4).expand(1, 3, 4) + 0.1 * normal(1, 3, 4, seed=1)
    torch.testing.assert_close(merge_copies(x, torch.tensor([[1.0, -2.0, -0.0]], dtype=torch.float64)), x)
    torch.testing.assert_close(merge_copies(x, torch.ones(1, 3).double(), labels=torch.arange(3)), x)


@pytest.mark.parametrize("scale", [1e-6, 1e6])
def test_the_unit_of_multipliers_and_samples_does_not_matter(scale):
    x, pulls = normal(2, 6, 3), normal(2, 6, seed=1)
    merged = merge_copies(x, pulls)
    torch.testing.assert_close(merge_copies(scale * x, pulls), scale * merged)
    torch.testing.assert_close(merge_copies(x, scale * pulls), merged)


def test_restarts_do_not_mix():
    x, pulls = normal(3, 6, 4), normal(3, 6, seed=1)
    torch.testing.assert_close(merge_copies(x, pulls)[1:2], merge_copies(x[1:2], pulls[1:2]))
