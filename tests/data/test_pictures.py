"""Modes, depths and bands of picture files, against the pixels that went in."""

import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from assay.core import InvalidInputError
from assay.data.pictures import read_pictures

GREY = np.linspace(0, 255, 16).astype(np.uint8).reshape(4, 4)
COLOUR = np.random.default_rng(0).integers(256, size=(4, 4, 3), dtype=np.uint8)
DEEP = np.linspace(0, 65535, 16).astype(np.uint16).reshape(4, 4)
CLOSE = {"rtol": 0, "atol": 1e-6}


def read(*files):
    pixels, notes = read_pictures(files)
    assert pixels.dtype == np.float32
    return pixels, notes


def saved(path, image, **options):
    image = image if isinstance(image, Image.Image) else Image.fromarray(image)
    image.save(path, **options)
    return path


def chunk(kind, content):
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(path, pixels, depth, kind):
    """Write a PNG of a depth and colour type that Pillow cannot write; ``pixels`` are its rows of bytes."""
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)
    header = struct.pack(">IIBBBBB", 4, len(pixels), depth, kind, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    )
    return path


def tiff(path, content, *, bits, photometric=1, sample_format=1):
    """Write a grey TIFF of 4 x 4 pixels from its bytes."""
    tags = [(256, 4), (257, 4), (258, bits), (259, 1), (262, photometric), (273, 8), (277, 1), (278, 4)]
    tags += [(279, len(content)), (339, sample_format)]
    entries = b"".join(struct.pack("<HHIHH", tag, 3, 1, value, 0) for tag, value in tags)
    path.write_bytes(
        b"II*\0" + struct.pack("<I", 8 + len(content)) + content + struct.pack("<H", len(tags)) + entries + bytes(4)
    )
    return path


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.bmp", "a.pgm", "a.GIF", "a.PNG"])
def test_grey_of_eight_bits(tmp_path, name):
    pixels, notes = read(saved(tmp_path / name, GREY))
    np.testing.assert_allclose(pixels, GREY[None, None] / 255, **CLOSE)
    assert notes == []


@pytest.mark.parametrize("name", ["a.png", "a.tiff", "a.bmp", "a.ppm"])
def test_colour_of_eight_bits(tmp_path, name):
    pixels, notes = read(saved(tmp_path / name, COLOUR))
    np.testing.assert_allclose(pixels, COLOUR.transpose(2, 0, 1)[None] / 255, **CLOSE)
    assert notes == []


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.pgm"])
def test_grey_of_sixteen_bits_is_divided_by_its_largest_value(tmp_path, name):
    pixels, notes = read(saved(tmp_path / name, DEEP))
    np.testing.assert_allclose(pixels, DEEP[None, None] / 65535, **CLOSE)
    assert notes == ["1 of 1 images are 16-bit grey, divided by 65535"]


def test_sixteen_bits_that_hold_few_levels_are_said(tmp_path):
    pixels, notes = read(saved(tmp_path / "a.png", DEEP // 16))
    np.testing.assert_allclose(pixels[0, 0], DEEP // 16 / 65535, **CLOSE)
    assert notes[1] == "16-bit images reach 6.25% of white; if they hold fewer bits, save them at full scale"


def test_a_tiff_states_its_depth_and_what_is_white(tmp_path):
    values = np.linspace(0, 4095, 16).astype(int)
    packed = b"".join(
        bytes([a >> 4, (a & 15) << 4 | b >> 8, b & 255]) for a, b in zip(values[::2], values[1::2], strict=True)
    )
    pixels, notes = read(tiff(tmp_path / "a.tif", packed, bits=12))
    np.testing.assert_allclose(pixels.ravel(), values / 4095, **CLOSE)
    assert notes == ["1 of 1 images are 12-bit grey, divided by 4095"]
    for bits, given in ((8, GREY), (16, DEEP.astype("<u2"))):
        pixels, _ = read(tiff(tmp_path / "b.tif", given.tobytes(), bits=bits, photometric=0))
        np.testing.assert_allclose(pixels[0, 0], 1 - given / (2**bits - 1), **CLOSE)


def test_grey_of_fewer_bits_is_divided_by_its_own_largest_value(tmp_path):
    pixels, _ = read(png(tmp_path / "a.png", np.full((4, 1), 0b00011011, np.uint8), 2, 0))
    np.testing.assert_allclose(pixels[0, 0, 0], [0, 1 / 3, 2 / 3, 1], **CLOSE)
    pixels, _ = read(saved(tmp_path / "b.png", GREY > 100))
    np.testing.assert_allclose(pixels[0, 0], GREY > 100, **CLOSE)


def test_colour_of_sixteen_bits_is_read_to_eight_and_that_is_said(tmp_path):
    deep = np.random.default_rng(0).integers(65536, size=(4, 4, 3)).astype(">u2")
    pixels, notes = read(png(tmp_path / "a.png", deep, 16, 2))
    np.testing.assert_allclose(pixels[0], deep.transpose(2, 0, 1) / 65535, rtol=0, atol=1 / 255)
    assert notes == ["1 of 1 images are 16-bit colour, of which the upper 8 bits are read"]
    with pytest.raises(InvalidInputError, match="16-bit grey with an alpha channel"):
        read(png(tmp_path / "b.png", deep[..., :2], 16, 4))


@pytest.mark.parametrize(
    ("values", "bits", "sample_format"), [("<i4", 32, 2), ("<u4", 32, 1), ("<f4", 32, 3), ("<i2", 16, 2)]
)
def test_values_without_a_stated_range_are_refused(tmp_path, values, bits, sample_format):
    content = np.arange(16).astype(values).tobytes()
    path = tiff(tmp_path / "a.tif", content, bits=bits, sample_format=sample_format)
    with pytest.raises(InvalidInputError, match=r"a\.tif has pixels of mode '[IF]', which state no range"):
        read(path)


def test_a_palette_gives_its_colours_and_is_grey_where_they_are(tmp_path):
    palette = Image.fromarray(COLOUR).quantize(16)
    pixels, notes = read(saved(tmp_path / "a.png", palette))
    np.testing.assert_allclose(pixels[0], np.asarray(palette.convert("RGB")).transpose(2, 0, 1) / 255, **CLOSE)
    assert notes == []
    pixels, _ = read(saved(tmp_path / "b.png", Image.fromarray(GREY).convert("P")))
    np.testing.assert_allclose(pixels, GREY[None, None] / 255, **CLOSE)


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_an_opaque_alpha_channel_is_left_out_and_another_is_refused(tmp_path, mode):
    source = GREY if mode == "LA" else COLOUR
    pixels, notes = read(saved(tmp_path / "a.png", Image.fromarray(source).convert(mode)))
    np.testing.assert_allclose(pixels[0], np.atleast_3d(source).transpose(2, 0, 1) / 255, **CLOSE)
    assert notes == ["1 of 1 images have an alpha channel, opaque everywhere, which is left out"]
    seen_through = Image.fromarray(source).convert(mode)
    seen_through.putpixel((0, 0), (*[0] * (len(mode) - 1), 254))
    with pytest.raises(InvalidInputError, match=r"transparent pixels.*background"):
        read(saved(tmp_path / "b.png", seen_through))


@pytest.mark.parametrize(("image", "key"), [(GREY, 0), (COLOUR, tuple(COLOUR[0, 0].tolist()))])
def test_a_transparent_colour_is_refused_where_a_pixel_has_it(tmp_path, image, key):
    with pytest.raises(InvalidInputError, match="transparent pixels"):
        read(saved(tmp_path / "a.png", image, transparency=key))
    pixels, _ = read(saved(tmp_path / "b.png", image, transparency=1 if image is GREY else (1, 2, 3)))
    np.testing.assert_allclose(pixels[0], np.atleast_3d(image).transpose(2, 0, 1) / 255, **CLOSE)


def test_a_palette_with_transparency_is_refused(tmp_path):
    palette = Image.fromarray(COLOUR).quantize(16)
    index = palette.getpixel((0, 0))
    with pytest.raises(InvalidInputError, match="transparent pixels"):
        read(saved(tmp_path / "a.png", palette, transparency=index))


def test_cmyk_is_converted_and_that_is_said(tmp_path):
    cmyk = Image.fromarray(COLOUR).convert("CMYK")
    pixels, notes = read(saved(tmp_path / "a.tif", cmyk))
    np.testing.assert_allclose(pixels[0], COLOUR.transpose(2, 0, 1) / 255, rtol=0, atol=2 / 255)
    assert notes == ["1 of 1 images are CMYK, converted to RGB without a colour profile"]


def test_another_mode_is_refused(tmp_path):
    with pytest.raises(InvalidInputError, match="mode 'LAB'"):
        read(saved(tmp_path / "a.tif", Image.new("LAB", (4, 4))))


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp"])
def test_an_orientation_is_not_applied_and_that_is_said(tmp_path, name):
    orientation = Image.Exif()
    orientation[0x0112] = 6
    wide = Image.new("RGB", (6, 4))
    pixels, notes = read(saved(tmp_path / name, wide, exif=orientation))
    assert pixels.shape == (1, 3, 4, 6)
    assert notes == [
        "1 of 1 images carry an EXIF orientation, which is not applied: pixels are read as they are stored"
    ]


def test_a_tiff_is_turned_by_its_orientation_and_that_is_said(tmp_path):
    pixels, notes = read(saved(tmp_path / "a.tif", Image.new("RGB", (6, 4)), tiffinfo={0x0112: 6}))
    assert pixels.shape == (1, 3, 6, 4)
    assert notes == ["1 of 1 images are TIFF with an orientation, and turned by it"]


@pytest.mark.parametrize("name", ["a.gif", "a.tif", "a.png", "a.webp"])
def test_animations_and_pages_are_refused(tmp_path, name):
    frames = [Image.new("L", (4, 4), value) for value in (0, 90, 180)]
    path = saved(tmp_path / name, frames[0], save_all=True, append_images=frames[1:])
    with pytest.raises(InvalidInputError, match=r"holds 3 pictures \(frames or pages\)"):
        read(path)


def test_a_photograph_with_a_preview_is_its_first_picture(tmp_path):
    first = Image.new("RGB", (8, 8), "white")
    path = saved(tmp_path / "a.jpg", first, format="MPO", save_all=True, append_images=[Image.new("RGB", (8, 8))])
    pixels, notes = read(path)
    np.testing.assert_allclose(pixels, 1, rtol=0, atol=0.02)
    assert notes == ["1 of 1 images are multi-picture JPEG, of which the first picture is read"]


def test_grey_beside_colour_gets_three_equal_channels(tmp_path):
    files = [saved(tmp_path / "a.png", GREY), saved(tmp_path / "b.png", COLOUR), saved(tmp_path / "c.png", DEEP)]
    pixels, notes = read(*files)
    np.testing.assert_allclose(pixels[0], np.stack([GREY] * 3) / 255, **CLOSE)
    np.testing.assert_allclose(pixels[2], np.stack([DEEP] * 3) / 65535, **CLOSE)
    assert notes == [
        "1 of 3 images are 16-bit grey, divided by 65535",
        "2 of 3 images are grey beside colour ones, and given three equal channels",
    ]


def test_damaged_and_huge_files_are_refused_in_a_sentence(tmp_path, monkeypatch):
    whole = saved(tmp_path / "a.png", COLOUR).read_bytes()
    for content in (b"", b"no picture", whole[: len(whole) // 2], whole[:30] + bytes(30)):
        (tmp_path / "b.png").write_bytes(content)
        with pytest.raises(InvalidInputError, match=r"b\.png is no readable image"):
            read(tmp_path / "b.png")
    for limit in (10, 5):  # Pillow warns above the limit, and raises above its double
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
        with pytest.raises(InvalidInputError, match=r"a\.png has 16 pixels, and at most"):
            read(tmp_path / "a.png")
