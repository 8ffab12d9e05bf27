import pytest
import torch

from assay.attribution.faithfulness import rank_coordinates, unmask
from assay.core import InvalidInputError, seeded

SCORES = torch.randn(7, 12, generator=seeded(0), dtype=torch.float64)


def test_ranks_are_those_of_a_sort_by_hand():
    ranks = rank_coordinates(SCORES)
    for scores, own in zip(SCORES.tolist(), ranks.tolist(), strict=True):
        assert own == [sum(other > score for other in scores) for score in scores]


def test_top_k_and_bottom_d_minus_k_are_complementary():
    x = torch.rand(7, 12, generator=seeded(1), dtype=torch.float64) + 1
    ranks = rank_coordinates(SCORES)
    for k in range(1, 12):
        top, bottom = unmask(x, ranks, k / 12), unmask(x, ranks, (12 - k) / 12, keep="bottom")
        assert torch.equal(top + bottom, x)
        assert ((top != 0).sum(1) == k).all()
        assert (
            SCORES.masked_fill(top == 0, torch.inf).amin(1) > SCORES.masked_fill(top != 0, -torch.inf).amax(1)
        ).all()
    assert torch.equal(unmask(x, ranks, 1.0), x)


def test_equal_scores_are_ranked_at_random_and_by_the_generator():
    ranks = rank_coordinates(torch.zeros(4000, 5), generator=seeded(2))
    # Uniform over 5 ranks: mean 2, standard error sqrt(2 / 4000); five of them.
    assert (ranks.double().mean(0) - 2).abs().max() < 5 * (2 / 4000) ** 0.5
    assert torch.equal(ranks.sort(1).values, torch.arange(5).expand(4000, 5))
    assert torch.equal(ranks, rank_coordinates(torch.zeros(4000, 5), generator=seeded(2)))
    half = torch.tensor([[1.0, 0.0, 1.0, 0.0]])
    assert sorted(rank_coordinates(half)[0, [0, 2]].tolist()) == [0, 1]


def test_pixels_are_ranked_by_their_largest_channel_and_unmasked_in_all():
    scores = torch.rand(3, 2, 2, 2, generator=seeded(3))
    ranks = rank_coordinates(scores, channels="max")
    assert torch.equal(ranks, rank_coordinates(scores.amax(1, keepdim=True)))
    kept = unmask(torch.ones(3, 2, 2, 2), ranks, 0.25)
    assert torch.equal(kept[:, 0], kept[:, 1])
    assert (kept.sum((1, 2, 3)) == 2).all()


def test_coordinates_left_out_are_filled_by_a_number_or_by_a_mean():
    x, ranks = torch.ones(2, 3), torch.tensor([[0, 1, 2], [2, 1, 0]])
    assert unmask(x, ranks, 1 / 3, fill=9.0).tolist() == [[1, 9, 9], [9, 9, 1]]
    assert unmask(x, ranks, 2 / 3, keep="bottom", fill=torch.tensor([4.0, 5, 6])).tolist() == [[4, 1, 1], [1, 1, 6]]


def test_bad_input_is_refused():
    x, ranks = torch.ones(2, 3), torch.tensor([[0, 1, 2], [2, 1, 0]])
    for fraction in (0.0, 0.1, 1.2, float("nan")):
        with pytest.raises(InvalidInputError, match="fraction"):
            unmask(x, ranks, fraction)
    with pytest.raises(InvalidInputError, match="ranking"):
        unmask(x, ranks[:, :2], 0.5)
    with pytest.raises(InvalidInputError, match="begin with 0"):
        unmask(x, ranks + 1, 0.5)
    with pytest.raises(InvalidInputError, match="broadcast"):
        unmask(x, ranks, 0.5, fill=torch.ones(2))
    with pytest.raises(InvalidInputError, match="channels"):
        rank_coordinates(x, channels="max")
