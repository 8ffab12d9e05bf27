"""Pixels of picture files, grey or RGB, in `[0, 1]` by the depth that each file states."""

import re
import warnings
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float
from PIL import Image

from assay.core import InvalidInputError
from assay.data.limits import check_size

SUFFIXES = {
    *(".bmp", ".gif", ".jfif", ".jpe", ".jpeg", ".jpg", ".pgm", ".png"),
    *(".pnm", ".ppm", ".tif", ".tiff", ".webp"),
}

MOST_PIXELS = 2**26
"""Pixels that one picture may have: 8192 x 8192."""

# A file's content tells its format, not its name: Pillow would hand PostScript to an interpreter.
_FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
_SIXTEEN_BITS = ("I;16", "I;16B", "I;16L", "I;16N")
_GREY, _COLOUR, _ALPHA = ("1", "L"), ("P", "RGB", "CMYK", "YCbCr"), ("LA", "PA", "RGBA")
_ORIENTATION, _BITS_PER_SAMPLE, _PHOTOMETRIC = 0x0112, 258, 262  # tags of EXIF and TIFF
_WHITE_IS_ZERO = 0

_OPAQUE = "have an alpha channel, opaque everywhere, which is left out"
_CMYK = "are CMYK, converted to RGB without a colour profile"
_SHALLOW = "are 16-bit colour, of which the upper 8 bits are read"
_DEEP = "are 16-bit grey, divided by 65535"
_DIM = 1 / 16  # of the range: what 12 bits reach in 16
_AS_STORED = "carry an EXIF orientation, which is not applied: pixels are read as they are stored"
_TURNED = "are TIFF with an orientation, and turned by it"
_RESIZED = (
    "are resized to {height} x {width} (height x width) by bilinear interpolation with antialiasing; both are scaled "
    "by themselves, so that the aspect ratio is not kept"
)
_FIRST = "are multi-picture JPEG, of which the first picture is read"


def read_pictures(
    files: Sequence[Path], *, resize: tuple[int, int] | None = None
) -> tuple[Float[np.ndarray, "n ch h w"], list[str]]:
    """Read pictures of one size; they are grey if all are grey, else RGB, where a grey one has three equal channels.

    Args:
        files: The pictures.
        resize: Height and width that pictures of another size are brought to.

    Returns:
        The pixels in float32, and a sentence for each thing that a reader could do in another way.

    Raises:
        InvalidInputError: A file is damaged, holds several pictures, or its values have no certain meaning as grey or
            RGB in `[0, 1]`: transparent pixels, 32-bit integers, floating-point numbers. Or sizes differ, one has more
            than `MOST_PIXELS`, or all together take more memory than is read.
    """
    pictures: list[np.ndarray] = []
    remarks: Counter[str] = Counter()
    brightest = 0.0  # of the 16-bit images
    for file in files:
        pixels, found = _read(file)
        pixels, found = _resized(pixels, resize, found)
        if not pictures:
            check_size(len(files) * pixels.nbytes, file.parent.parent, "give a part of the images, or smaller ones")
        if pictures and pixels.shape[1:] != pictures[0].shape[1:]:
            raise InvalidInputError(
                f"{file} is {_size(pixels)} pixels, {files[0]} is {_size(pictures[0])}; bring all images to one size, "
                "or have them resized with --resize HEIGHT WIDTH"
            )
        pictures.append(pixels)
        remarks.update(found)
        brightest = max(brightest, float(pixels.max()) if _DEEP in found else 0)
    n_channels = max(len(pixels) for pixels in pictures)
    n_grey = sum(len(pixels) < n_channels for pixels in pictures)
    if n_grey:
        remarks["are grey beside colour ones, and given three equal channels"] = n_grey
    shape = (n_channels, *pictures[0].shape[1:])
    notes = [f"{count} of {len(files)} images {remark}" for remark, count in remarks.items()]
    if remarks[_DEEP] and brightest <= _DIM:
        notes.append(f"16-bit images reach {brightest:.2%} of white; if they hold fewer bits, save them at full scale")
    return np.stack([np.broadcast_to(pixels, shape) for pixels in pictures]), notes


def _size(pixels: np.ndarray) -> str:
    return f"{pixels.shape[2]} x {pixels.shape[1]}"


def _resized(
    pixels: Float[np.ndarray, "ch h w"], size: tuple[int, int] | None, remarks: list[str]
) -> tuple[Float[np.ndarray, "ch _ _"], list[str]]:
    """Return one picture at a size, each channel resampled by the bilinear filter of Pillow."""
    if size is None or pixels.shape[1:] == tuple(size):
        return pixels, remarks
    height, width = size
    channels = [Image.fromarray(each).resize((width, height), Image.Resampling.BILINEAR) for each in pixels]
    filtered = np.stack([np.asarray(each) for each in channels]).clip(0, 1)  # sums of weights may exceed 1 by rounding
    return filtered, [*remarks, _RESIZED.format(height=height, width=width)]


def _read(file: Path) -> tuple[Float[np.ndarray, "ch h w"], list[str]]:
    """Return one picture's pixels, and remarks on how they were read."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(file, formats=_FORMATS) as image:
                if image.width * image.height > MOST_PIXELS:
                    raise _too_large(file, f"{image.width} x {image.height}")
                return _pixels(image, file)
    except InvalidInputError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        count = re.search(r"\d+", str(error))
        raise _too_large(file, count[0] if count else "too many") from error
    except Exception as error:  # a damaged file raises errors of many kinds
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise InvalidInputError(f"{file} is no readable image ({reason}); replace or remove it") from error


def _too_large(file: Path, size: str) -> InvalidInputError:
    return InvalidInputError(
        f"{file} has {size} pixels, and at most {MOST_PIXELS:,} are read of an image; make it smaller"
    )


def _pixels(image: Image.Image, file: Path) -> tuple[Float[np.ndarray, "ch h w"], list[str]]:
    remarks = _frames(image, file)
    stored = " ".join(
        str(tile.args) for tile in getattr(image, "tile", [])
    )  # the layout in the file, gone once the image is loaded
    orientation = image.getexif().get(_ORIENTATION, 1)
    image.load()
    if orientation != 1:
        remarks.append(_AS_STORED if image.getexif().get(_ORIENTATION, 1) == orientation else _TURNED)
    if image.mode in _SIXTEEN_BITS or (image.mode == "I" and image.format in ("PNG", "PPM")):
        return _deep_grey(image, remarks)
    if ";16" in stored and image.mode in ("RGB", "RGBA"):
        if not stored.lstrip("('").startswith("RGB"):
            raise InvalidInputError(f"{file} is 16-bit grey with an alpha channel; save it as grey without one")
        remarks.append(_SHALLOW)
    if image.mode in _ALPHA or "transparency" in image.info:
        image = _opaque(image, file)
        remarks.append(_OPAQUE)
    if image.mode == "CMYK":
        remarks.append(_CMYK)
    if image.mode not in _GREY + _COLOUR:
        raise InvalidInputError(
            f"{file} has pixels of mode {image.mode!r}, which state no range from black to white; save it as 8-bit or "
            "16-bit grey, or as RGB, or all images as one float array with numpy.savez and its input_range"
        )
    grey = image.mode in _GREY or (image.mode == "P" and _grey_palette(image))
    pixels = np.asarray(image.convert("L" if grey else "RGB"), np.float32) / np.float32(255)
    return np.atleast_3d(pixels).transpose(2, 0, 1), remarks


def _frames(image: Image.Image, file: Path) -> list[str]:
    """Refuse animations and pages, of which no one is the picture; a phone's JPEG may hold a preview beside it."""
    count = getattr(image, "n_frames", 1)
    if count > 1 and image.format != "MPO":
        raise InvalidInputError(f"{file} holds {count} pictures (frames or pages); save the one to read by itself")
    return [_FIRST] if count > 1 else []


def _deep_grey(image: Image.Image, remarks: list[str]) -> tuple[Float[np.ndarray, "1 h w"], list[str]]:
    """Divide grey values by the largest that the file's depth allows, 16 bits unless a TIFF states fewer."""
    tags = getattr(image, "tag_v2", {})
    (bits,) = tags.get(_BITS_PER_SAMPLE, (16,))
    pixels = np.asarray(image).astype(np.float32) / np.float32(2**bits - 1)
    if tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO:
        pixels = 1 - pixels
    return pixels[None], [*remarks, _DEEP if bits == 16 else f"are {bits}-bit grey, divided by {2**bits - 1}"]


def _opaque(image: Image.Image, file: Path) -> Image.Image:
    """Return the image without its alpha channel, which must be opaque."""
    grey = image.mode in ("1", "L", "LA") or (image.mode in ("P", "PA") and _grey_palette(image))
    full = image.convert("RGBA")
    if np.asarray(full.getchannel("A")).min() < 255:
        raise InvalidInputError(
            f"{file} has transparent pixels, whose colour depends on what lies behind; paste it onto the background "
            "that the network was trained with, and save it as RGB or grey"
        )
    return full.convert("RGB").convert("L") if grey else full.convert("RGB")


def _grey_palette(image: Image.Image) -> bool:
    colours = np.array(image.getpalette("RGB") or [], np.int64).reshape(-1, 3)
    return bool((colours == colours[:, :1]).all())
