"""Sizes of pictures: resized to one, and bounded."""

import zlib

import numpy as np
import pytest
from PIL import Image

from assay.core import InvalidInputError
from assay.data.pictures import read_pictures


def test_pictures_of_differing_sizes_are_resized_and_that_is_said(tmp_path):
    ramp = np.linspace(0, 255, 64 * 32).astype(np.uint8).reshape(32, 64)
    Image.fromarray(ramp).save(tmp_path / "0.png")
    Image.fromarray(ramp[:16, :8]).save(tmp_path / "1.png")
    files = [tmp_path / "0.png", tmp_path / "1.png"]
    with pytest.raises(
        InvalidInputError, match=r"1\.png is 8 x 16 pixels, .* or have them resized with --resize HEIGHT"
    ):
        read_pictures(files)
    pixels, notes = read_pictures(files, resize=(16, 8))
    assert pixels.shape == (2, 1, 16, 8)
    assert np.array_equal(pixels[1, 0], ramp[:16, :8].astype(np.float32) / np.float32(255))
    assert notes == [
        "1 of 2 images are resized to 16 x 8 (height x width) by bilinear interpolation with antialiasing; both are "
        "scaled by themselves, so that the aspect ratio is not kept"
    ]


def test_resizing_is_the_bilinear_filter_over_the_pixels_that_one_covers(tmp_path):
    """Halving a side weighs four pixels by a triangle of half-width two, normalised at the border."""
    row = np.array([0, 100, 20, 200, 40, 250, 10, 90], np.uint8)
    Image.fromarray(np.repeat(row[None], 2, 0)).save(tmp_path / "0.png")
    pixels, _ = read_pictures([tmp_path / "0.png"], resize=(1, 4))
    expected = []
    for place in range(4):
        weights = np.maximum(0, 1 - np.abs(np.arange(8) + 0.5 - 2 * (place + 0.5)) / 2)
        expected.append(weights @ (row / 255) / weights.sum())
    np.testing.assert_allclose(pixels[0, 0, 0], expected, atol=1e-6)


def png_of(width, height):
    """Return a PNG that states a size and holds a single row."""

    def chunk(kind, data):
        return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")

    size = width.to_bytes(4, "big") + height.to_bytes(4, "big")
    rows = zlib.compress(bytes(1 + width))
    head = chunk(b"IHDR", size + bytes([8, 0, 0, 0, 0]))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("size", "said"), [((8200, 8200), "8200 x 8200"), ((10_000, 9_000), "90000000"), ((20_000, 20_000), "400000000")]
)
def test_huge_pictures_are_refused_by_the_size_that_they_state(tmp_path, size, said):
    (tmp_path / "0.png").write_bytes(png_of(*size))
    with pytest.raises(
        InvalidInputError, match=f"0.png has {said} pixels, and at most 67,108,864 are read of an image"
    ):
        read_pictures([tmp_path / "0.png"])


def test_more_pictures_than_fit_are_refused_after_the_first(tmp_path, monkeypatch):
    Image.new("L", (10, 10)).save(tmp_path / "0.png")
    monkeypatch.setattr("assay.data.limits.LARGEST", 3 * 400 - 1)
    files = [tmp_path / "0.png", tmp_path / "absent.png", tmp_path / "absent too.png"]
    with pytest.raises(InvalidInputError, match=r"more than the .* that are read here.*; give a part of the images"):
        read_pictures(files)


def test_a_program_is_no_picture_whatever_its_name(tmp_path):
    (tmp_path / "0.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 4 4\nshowpage\n%%EOF\n")
    with pytest.raises(InvalidInputError, match=r"0\.png is no readable image"):
        read_pictures([tmp_path / "0.png"])
