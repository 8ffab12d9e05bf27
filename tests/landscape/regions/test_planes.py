"""Planes against their definition."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from assay.core import InvalidInputError, seeded
from assay.landscape.regions import Plane, sample_planes


def triplet(seed, shape=(3, 4)):
    return torch.randn(3, *shape, generator=seeded(seed), dtype=torch.float64)


@given(st.integers(0, 1000), st.integers(2, 30))
@settings(max_examples=25, deadline=None)
def test_the_three_samples_are_at_their_coordinates(seed, size):
    samples = triplet(seed, (size,))
    plane = Plane(*samples)
    torch.testing.assert_close(plane.x1 + plane.coords @ plane.basis, samples, atol=1e-10, rtol=0)
    torch.testing.assert_close(plane.basis @ plane.basis.T, torch.eye(2, dtype=torch.float64), atol=1e-10, rtol=0)
    side, offset = samples[1] - samples[0], samples[2] - samples[0]
    along = side @ offset / side.norm()
    expected = torch.tensor([[0, 0], [side.norm(), 0], [along, (offset @ offset - along**2).sqrt()]])
    torch.testing.assert_close(plane.coords, expected.double(), atol=1e-6, rtol=0)


def test_the_grid_runs_from_corner_to_corner_with_its_margin():
    plane = Plane(*triplet(0))
    points, u, v = plane.grid(7, margin=0.5)
    low, high = plane.coords.amin(0), plane.coords.amax(0)
    assert points.shape == (49, 3, 4)
    torch.testing.assert_close(torch.stack([u[0], v[0]]), 1.5 * low - 0.5 * high)
    torch.testing.assert_close(torch.stack([u[-1], v[-1]]), 1.5 * high - 0.5 * low)
    for i, j in ((0, 6), (3, 2)):
        by_hand = plane.x1.flatten() + u[i] * plane.basis[0] + v[j] * plane.basis[1]
        torch.testing.assert_close(points[7 * i + j].flatten(), by_hand)


def test_a_rotation_of_the_samples_rotates_the_grid():
    samples = triplet(1, (6,))
    rotation = torch.linalg.qr(torch.randn(6, 6, generator=seeded(2), dtype=torch.float64)).Q
    turned = Plane(*(samples @ rotation.T)).grid(5)[0]
    torch.testing.assert_close(turned, Plane(*samples).grid(5)[0] @ rotation.T, atol=1e-10, rtol=0)


def test_samples_in_float32_are_reproduced_to_its_precision():
    samples = triplet(3).float()
    plane = Plane(*samples)
    rebuilt = (plane.x1.double().flatten() + plane.coords @ plane.basis).reshape(samples.shape)
    assert (rebuilt - samples).abs().max() < 1e-5
    assert plane.grid(4)[0].dtype == torch.float32


@pytest.mark.parametrize("third", [2.0, 0.0, 1.0])
def test_samples_on_a_line_are_refused(third):
    with pytest.raises(InvalidInputError, match="one line"):
        Plane(torch.zeros(3), torch.ones(3), torch.full((3,), third))


def test_wrong_planes_are_refused():
    with pytest.raises(InvalidInputError, match="one shape"):
        Plane(torch.zeros(3), torch.ones(3).double(), torch.ones(3))
    with pytest.raises(InvalidInputError, match="margin"):
        Plane(*triplet(0)).grid(3, -1.0)
    with pytest.raises(InvalidInputError, match="resolution"):
        Plane(*triplet(0)).grid(1)


def test_triplets_have_distinct_labels_and_depend_on_the_generator_only():
    x, y = torch.randn(40, 5, generator=seeded(0)), torch.arange(40) % 4
    label_of = {tuple(row.tolist()): int(label) for row, label in zip(x, y, strict=True)}
    planes = sample_planes(x, y, n=30, generator=seeded(1))
    for plane in planes:
        assert len({label_of[tuple(sample.tolist())] for sample in (plane.x1, plane.x2, plane.x3)}) == 3
    again = sample_planes(x, y, n=30, generator=seeded(1))
    assert all(torch.equal(a.x3, b.x3) for a, b in zip(planes, again, strict=True))
    free = sample_planes(x, y, n=30, distinct_labels=False, generator=seeded(1))
    seen = [{label_of[tuple(sample.tolist())] for sample in (plane.x1, plane.x2, plane.x3)} for plane in free]
    assert min(map(len, seen)) < 3


def test_copies_among_the_samples_are_drawn_again():
    x = torch.cat([torch.zeros(20, 2), torch.eye(2)])
    assert len(sample_planes(x, n=3, generator=seeded(0))) == 3
    with pytest.raises(InvalidInputError, match="spans a plane"):
        sample_planes(torch.zeros(9, 2), n=1)


def test_too_few_samples_or_labels_are_refused():
    with pytest.raises(InvalidInputError, match="three labels"):
        sample_planes(torch.eye(4), torch.tensor([0, 1, 0, 1]), n=1)
    with pytest.raises(InvalidInputError, match="three indices"):
        sample_planes(torch.eye(2), n=1)
