import pytest
import torch

from assay.attribution.faithfulness import block_images, null_pattern, simplified_blocks
from assay.core import InvalidInputError, seeded

IMAGES = torch.rand(400, 1, 6, 5, generator=seeded(0)) + 2  # above any null block
LABELS = torch.arange(400) % 4


def test_each_image_is_stacked_with_the_null_block_at_a_random_place():
    data = block_images(IMAGES, LABELS, generator=seeded(1))
    assert data.x.shape == (400, 1, 12, 5)
    assert torch.equal(data.x[data.signal_mask].reshape(IMAGES.shape), IMAGES)
    assert torch.equal(data.x[~data.signal_mask].reshape(IMAGES.shape), null_pattern(6, 5).expand_as(IMAGES))
    assert torch.equal(data.signal_mask[:, 0, 0, 0], data.signal_block == 0)
    # 400 fair draws: four standard errors of 10, and as many within a class.
    assert abs(int(data.signal_block.sum()) - 200) < 40
    assert abs(int(data.signal_block[LABELS == 1].sum()) - 50) < 20


def test_controls_have_one_placement_and_classes_are_relabelled_in_their_order():
    top = block_images(IMAGES, LABELS, placement="top", classes=(3, 1))
    assert len(top) == 200
    assert torch.equal(top.x[:, :, :6], IMAGES[LABELS % 2 == 1])
    assert torch.equal(top.y, (LABELS[LABELS % 2 == 1] == 1).long())
    bottom = block_images(IMAGES, LABELS, placement="bottom", null=torch.zeros(1, 6, 5))
    assert torch.equal(bottom.x[:, :, 6:], IMAGES)
    assert bottom.x[:, :, :6].abs().max() == 0


def test_vectors_are_the_signal_in_one_relevant_block_plus_noise_in_the_unit_ball():
    signal = torch.tensor([0.6, 0.8], dtype=torch.float64)
    options = {"block_size": 2, "signal": signal, "dtype": torch.float64}
    clean = simplified_blocks(2000, 6, generator=seeded(2), **options)
    expected = (2 * clean.y - 1)[:, None] * signal
    assert torch.equal(clean.x[clean.signal_mask].reshape(-1, 2), expected)
    assert clean.x[~clean.signal_mask].abs().max() == 0
    assert clean.signal_block.unique().tolist() == [0, 1, 2]
    noisy = simplified_blocks(2000, 6, noise=0.3, generator=seeded(2), **options)
    radii = (noisy.x - clean.x).unflatten(1, (6, 2)).norm(dim=2).flatten() / 0.3
    assert radii.max() <= 1
    # Uniform in a disk: the squared radius is uniform; four standard errors of its mean.
    assert abs(float((radii**2).mean()) - 0.5) < 4 * (1 / 12 / len(radii)) ** 0.5


def test_bad_input_is_refused():
    with pytest.raises(InvalidInputError, match="even"):
        simplified_blocks(5, 3)
    with pytest.raises(InvalidInputError, match="unit vector"):
        simplified_blocks(5, 4, block_size=2, signal=torch.ones(2))
    with pytest.raises(InvalidInputError, match="no image is of the classes"):
        block_images(IMAGES, LABELS, classes=(7,))
    with pytest.raises(InvalidInputError, match="channels, height"):
        block_images(IMAGES[:, 0], LABELS)
    with pytest.raises(InvalidInputError, match="null"):
        block_images(IMAGES, LABELS, null=torch.zeros(1, 5, 5))
