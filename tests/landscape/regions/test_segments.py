"""Margins and class changes of classifiers whose boundaries are known."""

import pytest
import torch
from torch import nn

from assay.core import InvalidInputError, seeded
from assay.landscape.regions import directional_margin, path_class_changes
from assay.landscape.regions.segments import _paper_deltas


def affine():
    return nn.Linear(3, 1).double()


def test_the_margin_of_a_linear_classifier_is_its_distance_along_the_direction():
    model, draw = affine(), seeded(0)
    x = torch.randn(20, 3, generator=draw, dtype=torch.float64)
    target = torch.randn(1, 3, generator=draw, dtype=torch.float64)
    deltas = torch.arange(1, 2001, dtype=torch.float64) / 100
    found = directional_margin(model, x, target, n_directions=1, deltas=deltas, batch_size=3000)
    direction = (target - x) / (target - x).norm(dim=1, keepdim=True)
    exact = -model(x).flatten() / (direction @ model.weight.flatten())
    reached = (exact > 0) & (exact <= 20)
    assert torch.equal(found.kept, reached)
    late = found.margins - exact[reached]
    assert ((late >= 0) & (late <= 0.01 + 1e-9)).all()
    assert "distance" in str(found)


def test_the_mean_is_over_the_directions_that_hit():
    step = nn.Linear(1, 1).double()
    with torch.no_grad():
        step.weight.fill_(1.0)
        step.bias.fill_(0.0)
    x = torch.tensor([[-1.0]], dtype=torch.float64)
    targets = torch.tensor([[-2.0], [1.0]], dtype=torch.float64)  # away from the boundary, and across it
    found = directional_margin(
        step, x, targets, n_directions=40, deltas=torch.linspace(0.05, 3, 60), generator=seeded(1)
    )
    hits = int(found.hits)
    assert 0 < hits < 40
    if 2 * hits >= 40:
        assert found.margins.item() == pytest.approx(1.05, abs=0.051)
    assert bool(found.kept) == (2 * hits >= 40)


def test_batches_do_not_change_the_margin():
    model = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 3)).double()
    x = torch.randn(6, 3, generator=seeded(2), dtype=torch.float64)
    options = {"deltas": torch.linspace(0.1, 5, 20), "n_directions": 3}
    a, b = (directional_margin(model, x, x, batch_size=size, generator=seeded(3), **options) for size in (7, 10_000))
    assert torch.equal(a.hits, b.hits)
    torch.testing.assert_close(a.margins, b.margins)


def test_the_paper_distances():
    deltas = _paper_deltas()
    assert len(deltas) == 200
    assert deltas[10].item() == pytest.approx(0.11)
    assert deltas[19].item() == pytest.approx(0.11 + 9 * 0.1)
    assert deltas[-1].item() == pytest.approx(0.11 + 0.9 + 31 * 0.5 + 25 + 250 + 99 * 20)


def test_class_changes_are_counted_along_the_segment():
    class Stripes(nn.Linear):
        def forward(self, x):
            return super().forward(x).cos()

    stripes = Stripes(1, 1, bias=False)
    nn.init.constant_(stripes.weight, torch.pi)

    a, b = torch.tensor([[0.0], [0.0], [1.0]]), torch.tensor([[3.2], [0.4], [2.2]])
    assert path_class_changes(stripes, a, b, n=200).tolist() == [3, 0, 1]
    assert path_class_changes(stripes, a, b, n=200, batch_size=1).tolist() == [3, 0, 1]


def test_bad_input_is_refused():
    x = torch.zeros(2, 3, dtype=torch.float64)
    with pytest.raises(InvalidInputError, match="increasing"):
        directional_margin(affine(), x, x, deltas=torch.tensor([1.0, 0.5]))
    with pytest.raises(InvalidInputError, match="at least 2"):
        path_class_changes(affine(), x, x, n=1)
