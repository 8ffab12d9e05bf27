import pytest
import torch

from assay.core import InvalidInputError, seeded
from assay.privacy.condensation import SiameseAugmentation

ALL = SiameseAugmentation().changes


def pictures(n=3, channels=3, side=16):
    return torch.rand(n, channels, side, side, generator=seeded(0), dtype=torch.float64)


@pytest.mark.parametrize("change", ALL)
def test_all_images_are_changed_alike_and_differentiably(change):
    augment, x = SiameseAugmentation((change,)), pictures()
    for seed in range(4):
        whole = augment(x, seeded(seed))
        assert whole.shape == x.shape
        for k in range(3):
            torch.testing.assert_close(augment(x[k : k + 1], seeded(seed)), whole[k : k + 1])
    small = pictures(2, 1, 8).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: augment(x, seeded(1)), small)


@pytest.mark.parametrize("change", ALL)
def test_apart_each_image_has_a_strength_of_its_own(change):
    augment, one = SiameseAugmentation((change,)), pictures(1)
    copies = one.expand(12, 3, 16, 16)
    changed = augment.apart(copies, seeded(0))
    fewest = {"flip": 2, "crop": 8, "cutout": 8}.get(change, 12)  # of 2, 25 and 81 that there are
    assert len(changed.flatten(1).unique(dim=0)) >= fewest
    alike = torch.cat([augment(one, seeded(seed)) for seed in range(400)]).flatten(1)
    if change in ("crop", "cutout", "flip"):  # whose strengths are few
        assert all((alike == each).all(1).any() for each in changed.flatten(1))
    small = pictures(3, 1, 8).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: augment.apart(x, seeded(1)), small)


def test_apart_all_images_get_one_of_the_changes():
    flipped_or_cut = SiameseAugmentation(("flip", "cutout"))
    x = pictures(1).expand(8, 3, 16, 16) + 0.1
    for seed in range(20):
        cut = (flipped_or_cut.apart(x, seeded(seed)) == 0).flatten(1).any(1)
        assert cut.all() | (~cut).all()


@pytest.mark.parametrize("change", ALL)
def test_the_generator_moves_on_alike_whatever_is_drawn(change):
    one, other = seeded(3), seeded(3)
    SiameseAugmentation((change,))(pictures(), one)
    torch.rand(4, generator=other, dtype=torch.float64)
    assert torch.equal(one.get_state(), other.get_state())


def test_every_change_is_drawn():
    x, source = pictures(1), seeded(0)
    apart = [SiameseAugmentation()(x, source) for _ in range(60)]
    assert len({tuple(image.flatten().tolist()) for image in apart}) > 30


def test_flip_mirrors_half_of_the_time():
    x = pictures()
    flipped = [SiameseAugmentation(("flip",))(x, seeded(seed)) for seed in range(100)]
    mirrored = sum(torch.equal(each, x.flip(-1)) for each in flipped)
    assert mirrored + sum(torch.equal(each, x) for each in flipped) == 100
    assert 30 <= mirrored <= 70  # five standard deviations of a fair coin: 25 to 75


def test_crop_shifts_by_at_most_an_eighth_and_fills_with_zeros():
    x, shifts = pictures(1), set()
    padded = torch.nn.functional.pad(x, (2, 2, 2, 2))
    for seed in range(100):
        got = SiameseAugmentation(("crop",))(x, seeded(seed))
        found = [(i, j) for i in range(5) for j in range(5) if torch.equal(got, padded[..., i : i + 16, j : j + 16])]
        assert len(found) == 1
        shifts.update(found)
    assert {i for i, _ in shifts} == {j for _, j in shifts} == set(range(5))


@pytest.mark.parametrize(("side", "most"), [(14, 2), (28, 4), (32, 4)])
def test_the_reach_of_a_crop_is_rounded_as_in_the_released_code(side, most):
    x = (torch.arange(side, dtype=torch.float64) + 1).expand(1, 1, side, side)
    middle = [SiameseAugmentation(("crop",))(x, seeded(seed))[0, 0, side // 2, side // 2] for seed in range(150)]
    assert {int(value) - (side // 2 + 1) for value in middle} == set(range(-most, most + 1))


def test_cutout_takes_away_a_square_of_half_the_side():
    x = pictures() + 0.1
    for seed in range(20):
        gone = (SiameseAugmentation(("cutout",))(x, seeded(seed)) == 0).all(1).all(0)
        down, right = gone.nonzero().unbind(1)
        assert len(down) == 64
        assert (down.max() - down.min(), right.max() - right.min()) == (7, 7)
        assert torch.equal(SiameseAugmentation(("cutout",))(x, seeded(seed))[..., ~gone], x[..., ~gone])


def test_color_is_affine_and_bounded():
    x = pictures()
    for seed in range(20):
        got = SiameseAugmentation(("color",))(x, seeded(seed))
        assert (got.mean((1, 2, 3)) - x.mean((1, 2, 3))).abs().max() <= 0.5
        grey = x.mean(1, keepdim=True).expand_as(x)
        turned = SiameseAugmentation(("color",))(grey, seeded(seed))
        torch.testing.assert_close(turned, got.mean(1, keepdim=True).expand_as(x))  # saturation keeps the grey part
        factor = (turned - turned.mean((1, 2, 3), keepdim=True)) / (grey - grey.mean((1, 2, 3), keepdim=True))
        assert factor.min() >= 0.5
        assert factor.max() <= 1.5
        torch.testing.assert_close(factor.min(), factor.max())


def test_scaling_and_turning_keep_the_centre_and_move_by_the_stated_amounts():
    # An image that is its own coordinate: what is read tells where it was read.
    places = (torch.arange(32, dtype=torch.float64) + 0.5) / 16 - 1
    x = torch.stack([places[None, :].expand(32, 32), places[:, None].expand(32, 32)])[None]
    inner = (slice(None), slice(None), slice(8, 24), slice(8, 24))
    basis = x[inner].flatten(2)[0].T
    for seed in range(10):
        for change in ("scale", "rotate"):
            read = SiameseAugmentation((change,))(x, seeded(seed))[inner].flatten(2)[0].T
            matrix = torch.linalg.lstsq(basis, read).solution
            torch.testing.assert_close(basis @ matrix, read, rtol=0, atol=1e-9)
            if change == "scale":
                assert matrix[0, 1].abs() < 1e-9
                assert matrix.diagonal().min() >= 1 / 1.2 - 1e-9
                assert matrix.diagonal().max() <= 1.2 + 1e-9
            else:
                torch.testing.assert_close(matrix @ matrix.T, torch.eye(2, dtype=torch.float64))
                assert matrix[0, 1].abs() <= torch.tensor(15.0).deg2rad().sin()


def test_bad_input():
    with pytest.raises(InvalidInputError, match="changes"):
        SiameseAugmentation(())
    with pytest.raises(InvalidInputError, match="shape"):
        SiameseAugmentation()(torch.rand(3, 4, generator=seeded(0)), seeded(0))
