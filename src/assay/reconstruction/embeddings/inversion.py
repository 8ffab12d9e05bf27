"""Inversion of embeddings to images, for any differentiable encoder (Oz et al., 2024, section 3.2)."""

from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from assay.core import (
    InvalidInputError,
    NumericalError,
    as_generator,
    check_choice,
    check_count,
    check_model,
    check_outputs,
    check_positive,
    check_samples,
    preserved,
    track,
)
from assay.reconstruction.embeddings.image_prior import DeepImagePrior
from assay.reconstruction.embeddings.image_prior import total_variation as smoothness


@dataclass(frozen=True, eq=False)
class InversionResult:
    """Hold an image with the embedding that was asked for.

    Attributes:
        image: The image, in [0, 1].
        cosine: Cosine between its embedding and the target.
        history: The cosine at up to 101 steps of the search.
    """

    image: Float[Tensor, "ch h w"]
    cosine: float
    history: list[float] = field(repr=False)

    def __str__(self) -> str:
        size = "x".join(map(str, self.image.shape))
        return (
            f"An image of {size} whose embedding has cosine {self.cosine:.3f} with the target; the noise where the "
            f"search starts has {self.history[0]:.3f}."
        )


def invert_embedding(
    encoder: nn.Module,
    target: Float[Tensor, " d"],
    *,
    image_shape: tuple[int, int, int],
    method: str = "pixels",
    total_variation: float = 0.1,
    jitter: int = 0,
    n_iter: int = 300,
    lr: float = 0.05,
    generator: torch.Generator | None = None,
    progress: bool = False,
) -> InversionResult:
    r"""Search for an image whose embedding has the direction of a target.

    $$\min_s 1 - \cos(F(s), t) + \tau \, \mathrm{mean}\, \lvert\nabla s\rvert,$$

    by Adam, over pixels ("pixels") or over the weights of a deep image prior, without the last term
    ("deep_image_prior"). The loss is the cosine because the scale of a reconstructed embedding is unknown. For a
    centred target the encoder's output must be centred as well.

    Cost: time O(n_iter) forward and backward passes of the encoder, memory of one pass.

    Args:
        encoder: Network on images of shape (1, ch, h, w) in [0, 1]; it comes back as it was.
        target: The embedding.
        image_shape: Channels, height and width of the image; smaller than the encoder's training images if the encoder
            resizes its inputs.
        method: "pixels" or "deep_image_prior".
        total_variation: Factor $\tau$ of the mean absolute difference of neighbouring pixels.
        jitter: Largest random shift of the image before each step, in pixels along each axis; it removes
            high-frequency patterns to which only the encoder responds.
        n_iter: Steps of Adam.
        lr: Initial learning rate, which falls to zero along a cosine: in logits of the pixels, or in weights.
        generator: Source of the start and of the shifts; seeded with 0 when None.
        progress: Draw a bar on standard error.

    Returns:
        The image and its cosine with the target.

    Raises:
        InvalidInputError: The encoder does not accept images of that shape or is no function of one image, its output
            does not fit the target, or an option is out of range.
        NumericalError: The search diverged.

    Source: Oz et al., Reconstructing Training Data From Real World Models Trained with Transfer Learning (2024),
    section 3.2, for the deep image prior; Mordvintsev et al., Inceptionism (2015), for the jitter. "pixels" is ours.

    >>> encoder = nn.Sequential(nn.Flatten(), nn.Linear(4, 4, bias=False))
    >>> _ = nn.init.eye_(encoder[1].weight)
    >>> target = torch.eye(4)[0]
    >>> invert_embedding(encoder, target, image_shape=(1, 2, 2), total_variation=0.0, n_iter=100).cosine > 0.9
    True
    """
    target = _checked(encoder, target, method, n_iter, lr, total_variation, jitter)
    generator = as_generator(generator)
    with preserved(encoder):
        if method == "pixels":
            source, weight = _Pixels(image_shape, generator), total_variation
        else:
            source, weight = DeepImagePrior(image_shape, generator=generator), 0.0
        source = source.to(target)
        with torch.no_grad():
            check_outputs(encoder, source())
        optimizer = torch.optim.Adam(source.parameters(), lr=lr)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, n_iter)
        history = []
        for step in track(range(n_iter), "inverting", enabled=progress):
            image = source()
            cosine = _cosine(encoder, _shifted(image, jitter, generator), target)
            optimizer.zero_grad()
            (weight * smoothness(image) - cosine).backward()
            optimizer.step()
            schedule.step()
            if step % max(1, n_iter // 100) == 0:
                history.append(cosine.item())
        with torch.no_grad():
            image = source()
            final = _cosine(encoder, image, target)
    if not torch.isfinite(final):
        raise NumericalError("the inversion diverged: its cosine is NaN or infinite; lower lr")
    return InversionResult(image[0], final.item(), [*history, final.item()])


class _Pixels(nn.Module):
    """An image with one logit per pixel."""

    def __init__(self, shape: tuple[int, int, int], generator: torch.Generator) -> None:
        super().__init__()
        self.logits = nn.Parameter(0.1 * torch.randn(1, *shape, generator=generator))

    def forward(self) -> Tensor:
        return self.logits.sigmoid()


def _cosine(encoder: nn.Module, image: Tensor, target: Tensor) -> Tensor:
    embedding = encoder(image).flatten().to(target)
    if embedding.shape != target.shape:
        raise InvalidInputError(
            f"the encoder gives {len(embedding)} features for one image of shape {tuple(image.shape[1:])}, the target "
            f"has {len(target)}; pass a target of the encoder's output size"
        )
    return F.cosine_similarity(embedding, target, dim=0)


def _shifted(image: Tensor, jitter: int, generator: torch.Generator) -> Tensor:
    """Shift an image at random and fill the gap with its edge pixels."""
    if not jitter:
        return image
    high, wide = image.shape[-2:]
    top, left = torch.randint(0, 2 * jitter + 1, (2,), generator=generator).tolist()
    return F.pad(image, (jitter,) * 4, mode="replicate")[..., top : top + high, left : left + wide]


def _checked(
    encoder: nn.Module, target: Tensor, method: str, n_iter: int, lr: float, variation: float, jitter: int
) -> Float[Tensor, " d"]:
    """Check the options, and return the target without a graph."""
    check_model(encoder)
    target = check_samples(target[None], "target")[0]
    check_choice(method, ("pixels", "deep_image_prior"), "method")
    check_count(n_iter, "n_iter")
    check_positive(lr, "lr")
    if not variation >= 0:
        raise InvalidInputError(f"total_variation must not be negative, got {variation!r}")
    check_count(jitter, "jitter", at_least=0)
    return target
