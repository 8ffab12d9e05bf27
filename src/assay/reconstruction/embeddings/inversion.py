"""Images from embeddings, for any differentiable encoder."""

from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from assay.core import (
    InvalidInputError,
    NumericalError,
    as_generator,
    check_model,
    check_positive,
    check_samples,
    preserved,
    track,
)
from assay.reconstruction.embeddings.image_prior import DeepImagePrior
from assay.reconstruction.embeddings.image_prior import total_variation as smoothness


@dataclass(frozen=True, eq=False)
class InversionResult:
    """Hold an image whose embedding points where it was asked to.

    Attributes:
        image: The image, in [0, 1].
        cosine: Between its embedding and the target.
        history: The cosine at 101 moments of the search or fewer.
    """

    image: Float[Tensor, "ch h w"]
    cosine: float
    history: list[float] = field(repr=False)

    def __str__(self) -> str:
        size = "x".join(map(str, self.image.shape))
        return f"An image of {size} whose embedding has cosine {self.cosine:.3f} with the target."


def invert_embedding(
    encoder: nn.Module,
    target: Float[Tensor, " d"],
    *,
    image_shape: tuple[int, int, int],
    method: str = "pixels",
    total_variation: float = 0.1,
    jitter: int = 0,
    steps: int = 300,
    learning_rate: float = 0.05,
    generator: torch.Generator | None = None,
    progress: bool = False,
) -> InversionResult:
    r"""Search for an image whose embedding has the direction of a target.

    $$\min_s 1 - \cos(F(s), t) + \tau \, \mathrm{mean}\, \lvert\nabla s\rvert,$$

    by Adam, over pixels ("pixels") or over the weights of an untrained network that draws the image, without the last
    term ("deep_image_prior"). The cosine, since the scale of a reconstructed embedding is unknown. Where the target
    was centred, so must be the encoder's output. Each step costs a forward and a backward pass of the encoder.

    Args:
        encoder: Takes images of shape (1, ch, h, w) in [0, 1]; it comes back as it was.
        target: The embedding.
        image_shape: Channels, height and width of the image; it may be smaller than what the encoder was trained on
            where the encoder resizes its inputs.
        method: "pixels" or "deep_image_prior".
        total_variation: The factor $\tau$ of the mean absolute difference of neighbouring pixels.
        jitter: Most pixels that the image is shifted by before each step, up or down and left or right, by chance. A
            deep encoder is satisfied by patterns that nobody else sees; few of them survive a shift.
        steps: Steps of Adam.
        learning_rate: Where a cosine to zero starts: in logits of the pixels, or in weights.
        generator: Source of the start; None stands for a generator seeded with 0.
        progress: Draw a bar on standard error.

    Raises:
        InvalidInputError: The encoder's output does not fit the target, or an option is out of range.
        NumericalError: The search diverged.

    Source: Oz et al., Reconstructing Training Data From Real World Models Trained with Transfer Learning (2024), who
    fit a deep image prior to each embedding. The jitter is from Mordvintsev et al., Inceptionism (2015).

    >>> encoder = nn.Sequential(nn.Flatten(), nn.Linear(4, 4, bias=False))
    >>> _ = nn.init.eye_(encoder[1].weight)
    >>> target = torch.eye(4)[0]
    >>> invert_embedding(encoder, target, image_shape=(1, 2, 2), total_variation=0.0, steps=100).cosine > 0.9
    True
    """
    _check(encoder, target, method, steps, learning_rate, total_variation, jitter)
    generator = as_generator(generator)
    if method == "pixels":
        source, weight = _Pixels(image_shape, generator), total_variation
    else:
        source, weight = DeepImagePrior(image_shape, generator=generator), 0.0
    source = source.to(target)
    optimizer = torch.optim.Adam(source.parameters(), lr=learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    history = []
    with preserved(encoder):
        for step in track(range(steps), "inverting", enabled=progress):
            image = source()
            cosine = _cosine(encoder, _shifted(image, jitter, generator), target)
            optimizer.zero_grad()
            (weight * smoothness(image) - cosine).backward()
            optimizer.step()
            schedule.step()
            if step % max(1, steps // 100) == 0:
                history.append(cosine.item())
        with torch.no_grad():
            image = source()
            final = _cosine(encoder, image, target)
    if not torch.isfinite(final):
        raise NumericalError("the inversion diverged: its cosine is NaN or infinite; lower learning_rate")
    return InversionResult(image[0], final.item(), [*history, final.item()])


class _Pixels(nn.Module):
    """An image with a logit for each pixel."""

    def __init__(self, shape: tuple[int, int, int], generator: torch.Generator) -> None:
        super().__init__()
        self.logits = nn.Parameter(0.1 * torch.randn(1, *shape, generator=generator))

    def forward(self) -> Tensor:
        return self.logits.sigmoid()


def _cosine(encoder: nn.Module, image: Tensor, target: Tensor) -> Tensor:
    embedding = encoder(image).flatten()
    if embedding.shape != target.shape:
        raise InvalidInputError(
            f"the encoder gives {len(embedding)} features for one image of shape {tuple(image.shape[1:])}, the target "
            f"has {len(target)}; they must be as many"
        )
    return F.cosine_similarity(embedding, target, dim=0)


def _shifted(image: Tensor, jitter: int, generator: torch.Generator) -> Tensor:
    """Shift an image by chance; its edges are repeated where it leaves a gap."""
    if not jitter:
        return image
    high, wide = image.shape[-2:]
    top, left = torch.randint(0, 2 * jitter + 1, (2,), generator=generator).tolist()
    return F.pad(image, (jitter,) * 4, mode="replicate")[..., top : top + high, left : left + wide]


def _check(
    encoder: nn.Module, target: Tensor, method: str, steps: int, rate: float, variation: float, jitter: int
) -> None:
    check_model(encoder)
    check_samples(target[None], "target")
    if method not in ("pixels", "deep_image_prior"):
        raise InvalidInputError(f"method must be 'pixels' or 'deep_image_prior', got {method!r}")
    check_positive(steps, "steps")
    check_positive(rate, "learning_rate")
    if not variation >= 0:
        raise InvalidInputError(f"total_variation must not be negative, got {variation!r}")
    if not jitter >= 0:
        raise InvalidInputError(f"jitter must not be negative, got {jitter!r}")
