"""Class maps, reproducibility and fragmentation against known classifiers and a flood fill."""

import math

import matplotlib as mpl
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from assay.core import InvalidInputError, NumericalError, seeded
from assay.landscape.regions import (
    Plane,
    fragmentation_score,
    plane_predictions,
    plot_decision_regions,
    reproducibility_matrix,
    reproducibility_score,
    width_study,
)

SQUARE = Plane(*torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]], dtype=torch.float64))


class Checkerboard(nn.Module):
    """Class 1 on the black squares of a board of s x s."""

    def __init__(self, side):
        super().__init__()
        self.side = nn.Parameter(torch.tensor(float(side), dtype=torch.float64))

    def forward(self, x):
        cell = (x * self.side).floor().clamp(torch.zeros(1), self.side - 1)
        return (cell.sum(1) % 2 * 2 - 1)[:, None]


def flood(regions):
    """Count pieces by filling them one by one, over the eight neighbours."""
    left = {(i, j): int(regions[i, j]) for i in range(len(regions)) for j in range(regions.shape[1])}
    pieces = 0
    while left:
        place, predicted = left.popitem()
        pieces += 1
        stack = [place]
        while stack:
            i, j = stack.pop()
            for near in [(i + a, j + b) for a in (-1, 0, 1) for b in (-1, 0, 1)]:
                if left.get(near) == predicted:
                    del left[near]
                    stack.append(near)
    return pieces


@given(st.integers(0, 10_000), st.integers(2, 9), st.integers(1, 5))
@settings(max_examples=40, deadline=None)
def test_pieces_agree_with_a_flood_fill(seed, size, classes):
    preds = torch.randint(classes, (3, size, size), generator=seeded(seed))
    found = fragmentation_score(preds)
    assert found.per_plane.tolist() == [flood(regions) for regions in preds]
    assert found.mean == pytest.approx(found.per_plane.double().mean().item())
    assert found.per_class.sum().item() == pytest.approx(found.mean)
    assert found.resolution == size


def test_a_checkerboard_has_two_pieces_over_eight_neighbours():
    preds = plane_predictions(Checkerboard(5), [SQUARE], resolution=40, margin=0.0)
    assert fragmentation_score(preds).mean == 2


def test_a_half_space_cuts_a_plane_in_two():
    model = nn.Linear(2, 1).double()
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[1.0, 0.0]]))
        model.bias.fill_(-0.5)
    preds = plane_predictions(model, [SQUARE], resolution=10, margin=0.0)
    assert fragmentation_score(preds).mean == 2
    assert preds[0, :5].sum() == 0  # the first axis of the map is the first direction
    assert preds[0, 5:].all()


def test_predictions_are_those_of_the_grid_and_do_not_depend_on_the_batch():
    model = nn.Linear(2, 4).double()
    points = SQUARE.grid(6, 0.2)[0]
    expected = model(points).argmax(1).reshape(1, 6, 6)
    for batch_size in (1, 7, 100):
        found = plane_predictions(model, [SQUARE], resolution=6, margin=0.2, batch_size=batch_size)
        assert torch.equal(found, expected)


def test_reproducibility_is_the_share_of_equal_points():
    a, b = torch.randint(4, (2, 5, 6, 6), generator=seeded(0))
    found = reproducibility_score(a, b)
    shares = [(x == y).float().mean().item() for x, y in zip(a, b, strict=True)]
    assert found.score == pytest.approx(sum(shares) / 5)
    assert found.standard_error == pytest.approx(torch.tensor(shares).std().item() / math.sqrt(5))
    frequencies = [[(m == c).float().mean().item() for c in range(4)] for m in (a, b)]
    assert found.chance == pytest.approx(sum(p * q for p, q in zip(*frequencies, strict=True)))
    assert reproducibility_score(b, a).score == found.score
    assert reproducibility_score(a, a).score == 1
    relabelled = torch.tensor([1, 0, 2, 3])[a]
    assert reproducibility_score(a, relabelled).score == pytest.approx((a >= 2).float().mean().item())


def test_the_matrix_is_the_mean_over_pairs():
    maps = torch.randint(3, (5, 4, 5, 5), generator=seeded(1))
    found = reproducibility_matrix({"a": list(maps[:2]), "b": list(maps[2:])})
    score = lambda i, j: reproducibility_score(maps[i], maps[j]).score  # noqa: E731
    assert found.scores[0, 0].item() == pytest.approx(score(0, 1))
    assert found.scores[1, 1].item() == pytest.approx((score(2, 3) + score(2, 4) + score(3, 4)) / 3)
    across = sum(score(i, j) for i in (0, 1) for j in (2, 3, 4)) / 6
    assert found.scores[0, 1].item() == found.scores[1, 0].item()
    assert found.scores[0, 1].item() == pytest.approx(across)
    assert "a and b" in str(found)


def test_wrong_maps_are_refused():
    maps = torch.zeros(1, 3, 3).long()
    with pytest.raises(InvalidInputError, match="negative"):
        fragmentation_score(maps - 1)
    with pytest.raises(InvalidInputError, match="two or more"):
        reproducibility_matrix({"a": [maps]})
    with pytest.raises(InvalidInputError, match="no plane"):
        plane_predictions(nn.Linear(2, 2), [])
    with pytest.raises(InvalidInputError, match="row of class scores"):
        plane_predictions(nn.Sequential(nn.Linear(2, 4), nn.Unflatten(1, (2, 2))).double(), [SQUARE])


def test_scores_that_are_not_finite_are_an_error():
    class Broken(nn.Linear):
        def forward(self, x):
            return super().forward(x).where(x[:, :1] < 0.9, torch.inf)

    with pytest.raises(NumericalError):
        plane_predictions(Broken(2, 2).double(), [SQUARE], resolution=5)


def test_a_width_study_compares_the_networks_that_it_is_given():
    given = []

    def train(width, source):
        given.append((width, int(torch.randint(1000, (1,), generator=source))))
        return Checkerboard(width).double()

    found = width_study(train, (1, 4), [SQUARE], n_models=2, resolution=20, margin=0.0, generator=seeded(0))
    assert [width for width, _ in given] == [1, 1, 4, 4]
    assert len({draw for _, draw in given}) == 4
    assert found.reproducibility.tolist() == [1, 1]
    assert found.fragmentation.tolist() == [1, 2]
    assert "widths 1 to 4" in str(found)
    with mpl.rc_context({"backend": "agg"}):
        assert found.plot().get_xlabel() == "width"
    with pytest.raises(InvalidInputError, match="increase"):
        width_study(train, (4, 1), [SQUARE])


def test_a_map_has_a_colour_and_a_legend_entry_for_each_class_on_it():
    model = nn.Linear(16, 12)
    flat = nn.Sequential(nn.Flatten(), model)
    plane = Plane(*torch.randn(3, 1, 4, 4, generator=seeded(0)))
    with mpl.rc_context({"backend": "agg"}):
        axes = plot_decision_regions(plane, flat, resolution=15, class_names=[f"kind {i}" for i in range(12)])
    shown = plane_predictions(flat, [plane], resolution=15).unique().tolist()
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert sorted(labels) == sorted(f"kind {label}" for label in shown)
    assert axes.get_images()[0].get_array().shape == (15, 15, 3)
    assert len(axes.artists) == 3  # an image at each corner
    with mpl.rc_context({"backend": "agg"}):
        axes = plot_decision_regions(plane, flat, resolution=15, palette=["red"])
    assert [text.get_text() for text in axes.get_legend().get_texts()][-1] == "others"
