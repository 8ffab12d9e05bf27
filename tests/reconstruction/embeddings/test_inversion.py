import pytest
import torch
from torch import nn

from assay.core import InvalidInputError, NumericalError, seeded
from assay.data import load
from assay.nets import small_conv
from assay.reconstruction import invert_embedding, normalized_correlation
from assay.reconstruction.embeddings import total_variation
from assay.reconstruction.embeddings.image_prior import DeepImagePrior

METHODS = ("pixels", "deep_image_prior")


@pytest.fixture(scope="module")
def digits():
    return load("digits").x_test[:50]


@pytest.fixture(scope="module")
def encoder():
    return small_conv((1, 8, 8), 64, channels=(16,), hidden=128, generator=seeded(1)).eval()


@pytest.mark.parametrize("method", METHODS)
def test_the_image_of_a_true_embedding_is_its_source(method, encoder, digits):
    for index in (0, 7):
        target = encoder(digits)[index].detach()
        found = invert_embedding(encoder, target, image_shape=(1, 8, 8), method=method, n_iter=80)
        assert found.cosine > 0.95
        assert int(normalized_correlation(found.image[None], digits).argmax()) == index


def test_through_a_rotation_the_image_has_the_direction_of_its_source():
    rotation = torch.linalg.qr(torch.randn(9, 9, generator=seeded(0), dtype=torch.float64))[0]
    encoder = nn.Sequential(nn.Flatten(), nn.Linear(9, 9, bias=False)).double().requires_grad_(False)
    encoder[1].weight[:] = rotation
    image = torch.rand(1, 3, 3, generator=seeded(1), dtype=torch.float64)
    options = {"image_shape": (1, 3, 3), "total_variation": 0.0, "n_iter": 500, "lr": 0.2}
    found = invert_embedding(encoder, encoder(image[None])[0], **options)
    assert found.cosine > 1 - 1e-5
    # Rotations keep cosines: what the search reports is the cosine of the images themselves.
    assert float(torch.cosine_similarity(found.image.flatten(), image.flatten(), dim=0)) == pytest.approx(found.cosine)


def test_total_variation_flattens_the_image(encoder, digits):
    target = encoder(digits)[0].detach()
    options = {"image_shape": (1, 8, 8), "n_iter": 50}
    rough = invert_embedding(encoder, target, total_variation=0.0, **options).image
    flat = invert_embedding(encoder, target, total_variation=10.0, **options).image
    assert flat.diff(dim=-1).abs().mean() < 0.2 * rough.diff(dim=-1).abs().mean()


def test_the_total_variation_of_a_line_is_that_along_it():
    line = torch.rand(2, 1, 1, 9, generator=seeded(0), requires_grad=True)
    assert total_variation(line).item() == pytest.approx(line.diff().abs().mean().item())
    assert total_variation(line.mT).item() == pytest.approx(line.diff().abs().mean().item())
    assert total_variation(line[..., :1]).item() == 0


def test_jitter_leaves_little_of_what_a_shift_destroys():
    # The first feature sees a chessboard, which a shift by one pixel turns around; the second a slope, which stays.
    rows, columns = torch.meshgrid(torch.arange(8.0), torch.arange(8.0), indexing="ij")
    patterns = torch.stack([(-1) ** (rows + columns), (columns - 3.5) / 3.5]).flatten(1)

    class Encoder(nn.Linear):
        def forward(self, x):
            return super().forward(x.flatten(1) - 0.5)

    encoder = Encoder(64, 2, bias=False).requires_grad_(False)
    encoder.weight[:] = patterns

    def found(jitter):
        options = {"image_shape": (1, 8, 8), "total_variation": 0.0, "jitter": jitter, "n_iter": 200}
        return (patterns @ (invert_embedding(encoder, torch.ones(2), **options).image.flatten() - 0.5)).tolist()

    (board, slope), (shifted_board, shifted_slope) = found(0), found(1)
    assert board == pytest.approx(slope, rel=0.05)
    assert abs(shifted_board) < 0.5 * shifted_slope


@pytest.mark.parametrize("method", METHODS)
def test_the_same_generator_gives_the_same_image(method, encoder):
    def find(seed):
        options = {"image_shape": (1, 8, 8), "n_iter": 5, "method": method, "jitter": 1, "generator": seeded(seed)}
        return invert_embedding(encoder, torch.ones(64), **options)

    assert torch.equal(find(1).image, find(1).image)
    assert not torch.equal(find(1).image, find(2).image)
    assert len(find(1).history) == 6


@pytest.mark.parametrize("shape", [(1, 3, 3), (3, 8, 8), (3, 17, 22), (1, 32, 32)])
def test_the_prior_draws_images_of_any_size_in_range(shape):
    image = DeepImagePrior(shape, generator=seeded(0))()
    assert image.shape == (1, *shape)
    assert image.min() > 0
    assert image.max() < 1
    assert image.std() > 0.01


def test_bad_input(encoder):
    target = torch.ones(64)
    with pytest.raises(InvalidInputError, match="64 features"):
        invert_embedding(encoder, torch.ones(3), image_shape=(1, 8, 8))
    with pytest.raises(InvalidInputError, match="deep_image_prior"):
        invert_embedding(encoder, target, image_shape=(1, 8, 8), method="unclip")
    with pytest.raises(InvalidInputError, match="n_iter"):
        invert_embedding(encoder, target, image_shape=(1, 8, 8), n_iter=0)
    with pytest.raises(InvalidInputError, match="total_variation"):
        invert_embedding(encoder, target, image_shape=(1, 8, 8), total_variation=-1.0)
    with pytest.raises(InvalidInputError, match="jitter"):
        invert_embedding(encoder, target, image_shape=(1, 8, 8), jitter=-1)
    with pytest.raises(InvalidInputError, match="NaN"):
        invert_embedding(encoder, target * torch.nan, image_shape=(1, 8, 8))


def test_a_search_that_diverges_is_an_error():
    class Fragile(nn.Linear):
        def forward(self, x):
            bright = x.amax((1, 2, 3)) > 0.7  # as the search makes one pixel
            return super().forward(x.flatten(1)).masked_fill(bright[:, None], torch.nan)

    encoder = Fragile(4, 4, bias=False)
    nn.init.eye_(encoder.weight)
    with pytest.raises(NumericalError, match="diverged"):
        invert_embedding(encoder, torch.eye(4)[0], image_shape=(1, 2, 2), n_iter=50)
