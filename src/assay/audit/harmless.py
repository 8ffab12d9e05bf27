"""Changes of inputs that no adversary chose: rounding, JPEG compression and random noise."""

import io
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from assay.audit.perturbations import Perturbed
from assay.core import predict

_NOISES = 4  # draws of noise
_QUALITIES = (95, 75)


def harmless_changes(
    at: Perturbed, x: Tensor, size: float, generator: torch.Generator
) -> Iterator[tuple[str, list[Tensor]]]:
    """Yield changed copies of samples by the name of the change; more than one copy where the change is random.

    Rounding to steps of twice the size moves an entry by at most the size; noise moves each entry up or down by it.

    Args:
        at: What the samples are.
        x: The samples, in its coordinates.
        size: In its units.
        generator: Source of the noise.
    """
    step = size * at.unit
    low = at.input_range[0] if at.image else 0.0
    rounded = low + ((x - low) / (2 * step)).round() * 2 * step
    yield f"rounding to steps of {at.name(2 * size)}", [rounded.clamp(*at.input_range)]
    signs = [torch.randint(2, x.shape, generator=generator).to(x) * 2 - 1 for _ in range(_NOISES)]
    yield f"random noise of {at.name(size)}", [(x + step * sign).clamp(*at.input_range) for sign in signs]
    if at.image:
        for quality in _QUALITIES:
            yield f"JPEG of quality {quality}", [compressed(x, quality, at.input_range)]


def share_changed(model: nn.Module, x: Tensor, copies: Sequence[Tensor]) -> float:
    """Return the share of answers that differ from those on the samples, over all copies."""
    answers = predict(model, x).argmax(1)
    return torch.stack([predict(model, copy).argmax(1) != answers for copy in copies]).double().mean().item()


def compressed(x: Tensor, quality: int, input_range: tuple[float, float]) -> Tensor:
    """Return images after JPEG compression at 8 bits.

    >>> grey = torch.full((1, 1, 8, 8), 0.5)
    >>> round(compressed(grey, 95, (0.0, 1.0)).mean().item(), 2)
    0.5
    """
    low, high = input_range
    levels = ((x.detach().cpu().double() - low) / (high - low) * 255).round().clamp(0, 255).to(torch.uint8)
    decoded = np.stack([_round_trip(image.permute(1, 2, 0).numpy(), quality) for image in levels])
    return (torch.from_numpy(decoded).permute(0, 3, 1, 2).double() / 255 * (high - low) + low).to(x)


def _round_trip(image: np.ndarray, quality: int) -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray(image.squeeze(2) if image.shape[2] == 1 else image).save(file, format="JPEG", quality=quality)
    with Image.open(file) as read:
        return np.asarray(read).reshape(image.shape)
