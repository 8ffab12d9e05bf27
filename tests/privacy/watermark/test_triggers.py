import pytest
import torch

from assay.core import InvalidInputError, seeded
from assay.nets import mlp
from assay.privacy import TriggerSet


def pictures(n=3, channels=1, size=28):
    return torch.rand(n, channels, size, size, generator=seeded(0), dtype=torch.float64)


def test_overlay_writes_one_text_at_the_top_left_and_nothing_else():
    x = pictures(channels=3)
    triggers = TriggerSet.from_overlay(x, text="HI", grey=0.6, label=2)
    changed = triggers.x != x
    assert torch.equal(changed, changed[:1, :1].expand_as(changed))
    assert (triggers.x[changed] == 0.6).all()
    rows, columns = changed[0, 0].any(1).nonzero(), changed[0, 0].any(0).nonzero()
    assert rows.max() < 14
    assert columns.min() < 3
    assert 8 <= changed[0, 0].sum() <= 80
    assert triggers.y.tolist() == [2, 2, 2]
    wider = TriggerSet.from_overlay(x, text="HIHI", grey=0.6).x != x
    assert wider[0, 0].sum() > changed[0, 0].sum()


def test_noise_is_one_image_added_to_all_and_clipped():
    x = 0.4 + 0.2 * pictures(n=4)
    triggers = TriggerSet.from_noise(x, input_range=(-9.0, 9.0), generator=seeded(3))
    added = triggers.x - x
    torch.testing.assert_close(added, added[:1].expand_as(added), rtol=0, atol=1e-14)
    # Mean and deviation of 784 draws, within five standard errors.
    assert abs(added[0].mean()) < 5 / 28
    assert abs(added[0].std() - 1) < 5 / (28 * 2**0.5)
    clipped = TriggerSet.from_noise(x, generator=seeded(3))
    assert torch.equal(clipped.x, triggers.x.clamp(0, 1))
    assert not torch.equal(clipped.x, TriggerSet.from_noise(x, generator=seeded(4)).x)


def test_unrelated_images_are_greyed_and_resized():
    x = pictures(channels=3, size=32)
    same = TriggerSet.from_unrelated(x, shape=(3, 32, 32))
    torch.testing.assert_close(same.x, x)
    halved = TriggerSet.from_unrelated(pictures(channels=1, size=8).round(), shape=(3, 4, 4))
    assert torch.equal(halved.x[:, 0], halved.x[:, 2])
    flat = TriggerSet.from_unrelated(torch.full((2, 3, 32, 32), 0.25), shape=(1, 28, 28))
    torch.testing.assert_close(flat.x, torch.full((2, 1, 28, 28), 0.25))
    grey = TriggerSet.from_unrelated(x, shape=(1, 32, 32))
    torch.testing.assert_close(grey.x, x.mean(1, keepdim=True))


def test_bad_input():
    with pytest.raises(InvalidInputError, match="non-empty"):
        TriggerSet(torch.zeros(0, 4))
    with pytest.raises(InvalidInputError, match="label must be a whole number of at least 0"):
        TriggerSet(torch.zeros(1, 4), label=-1)
    with pytest.raises(InvalidInputError, match="no pixel"):
        TriggerSet.from_overlay(pictures(), text=" ")
    with pytest.raises(InvalidInputError, match="NaN"):
        TriggerSet.from_noise(torch.full((1, 4), float("nan")))
    with pytest.raises(InvalidInputError, match="3 outputs"):
        TriggerSet(torch.zeros(1, 4), label=3).check_fits(mlp((4, 3)))
    with pytest.raises(InvalidInputError, match="1 output; wrap it"):
        TriggerSet(torch.zeros(1, 4), label=0).check_fits(mlp((4, 1)))
    with pytest.raises(InvalidInputError, match="does not accept"):
        TriggerSet(torch.zeros(1, 5), label=0).check_fits(mlp((4, 3)))


@pytest.mark.usefixtures("as_users_run_it")
def test_triggers_are_made_of_images():
    flat = torch.rand(3, 4, generator=seeded(0))
    for make in (TriggerSet.from_overlay, lambda x: TriggerSet.from_unrelated(x, shape=(1, 2, 2))):
        with pytest.raises(InvalidInputError, match=r"images of shape \(n, channels, h, w\), got \(3, 4\)"):
            make(flat)
    with pytest.raises(InvalidInputError, match="shape must be channels, height and width"):
        TriggerSet.from_unrelated(pictures(), shape=(8, 8))
    with pytest.raises(InvalidInputError, match="height must be a whole number"):
        TriggerSet.from_unrelated(pictures(), shape=(1, 0, 8))
