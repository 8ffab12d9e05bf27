"""Conversion of arrays to images and labels."""

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor


def images(pixels: np.ndarray) -> Float[Tensor, "n ch h w"]:
    """Turn bytes of shape `(n, h, w)` or `(n, h, w, channels)` into float32 images in `[0, 1]`."""
    if pixels.ndim == 3:
        pixels = pixels[..., None]
    return torch.from_numpy(pixels.transpose(0, 3, 1, 2).astype(np.float32, order="C")).div_(255)


def labels(classes: np.ndarray) -> Int[Tensor, " n"]:
    """Turn a vector of integers into int64 labels."""
    return torch.from_numpy(classes.astype(np.int64))
