"""Guided DDIM sampling with self-recurrence (Souri et al., 2024; Bansal et al., 2023, section 3)."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor

from assay.core import InvalidInputError, as_generator, check_count, check_finite, track
from assay.nets.diffusion.denoisers import Denoiser, common_schedule


@dataclass(frozen=True, eq=False)
class GuidedDDIMSampler:
    r"""Sample images from a diffusion model, pulled towards a low value of a guidance loss.

    From noise $x_T$ down, with $\hat x_0(e) = (x_t - \sqrt{1-\bar\alpha_t}\,e) / \sqrt{\bar\alpha_t}$,

    $$e = \epsilon(x_t, t),\quad
    e' = e + s\sqrt{1-\bar\alpha_t}\;\nabla_{x_t} L(\hat x_0(e)),\quad
    x_{t-1} = \sqrt{\bar\alpha_{t-1}}\,\hat x_0(e') + \sqrt{1-\bar\alpha_{t-1}}\,e .$$

    Each step is repeated, with noise added back up to time t in between, so that the image can follow the guidance and
    stay likely (self-recurrence). The last term takes the unguided e, as in the released code.

    Cost: time O(T r) passes of the denoiser for each image, T visited times and r repeats, backward too with
    guidance; memory O(`batch_size`) passes.

    Args:
        denoiser: Predicts the noise in images of range [-1, 1]: any function `(x, t)`, a `GaussianMixtureDenoiser`
            or a `UNetDenoiser`.
        alphas_cumprod: $\bar\alpha_t$ for each time that the denoiser counts; images take its dtype and device. None
            takes the denoiser's own.
        strength: Guidance strength s. Paper's code: 5.
        recurrence: Repeats r of each step. Paper's code: 5.
        stride: Distance between visited times. Paper's code: 1.
        clip: Clamp $\hat x_0$ to [-1, 1]. Guidance has no gradient at clamped pixels, as in the paper's code.

    Raises:
        InvalidInputError: `alphas_cumprod` is no noise schedule, missing or another than the denoiser's own, `strength`
            is negative, or a count is below one.

    Source: Bansal et al., "Universal Guidance for Diffusion Models" (2023), section 3.1 (forward guidance) and section
    3.3 (self-recurrence); Song, Meng and Ermon, "Denoising Diffusion Implicit Models" (2021), equation 12, for the step
    to $x_{t-1}$; Souri et al., "Generating Potent Poisons and Backdoors from Scratch with Guided Diffusion" (2024),
    main text and released code, for their use together.

    >>> from assay.nets.diffusion import linear_noise_schedule
    >>> sampler = GuidedDDIMSampler(lambda x, t: x, linear_noise_schedule(10, 0.01, 0.5), recurrence=2)
    >>> dark = lambda images: images.sum((1, 2, 3))
    >>> sampler.sample((4, 1, 2, 2), guidance=dark).shape
    torch.Size([4, 1, 2, 2])
    """

    denoiser: Denoiser
    alphas_cumprod: Float[Tensor, " t"] | None = None
    strength: float = 5.0
    recurrence: int = 5
    stride: int = 1
    clip: bool = True

    def __post_init__(self) -> None:
        schedule = self.schedule
        is_falling = (
            len(schedule) > 0 and schedule.max() < 1 and schedule.min() > 0 and bool((schedule.diff() < 0).all())
        )
        if not is_falling:
            raise InvalidInputError("alphas_cumprod must fall from below 1 and stay above 0; see linear_noise_schedule")
        if not (math.isfinite(self.strength) and self.strength >= 0):
            raise InvalidInputError(
                f"strength must be zero or a positive number, got {self.strength!r}; negate the guidance to move away"
            )
        check_count(self.recurrence, "recurrence")
        check_count(self.stride, "stride")

    @cached_property
    def schedule(self) -> Float[Tensor, " t"]:
        r"""The noise schedule: the given $\bar\alpha_t$, or the denoiser's own."""
        schedule = common_schedule(self.denoiser, self.alphas_cumprod)
        if not schedule.is_inference():
            return schedule
        with torch.inference_mode(False):  # autograd refuses tensors of inference mode
            return schedule.clone()

    def sample(
        self,
        shape: tuple[int, ...],
        *,
        guidance: Callable[[Tensor], Tensor] | None = None,
        generator: torch.Generator | None = None,
        batch_size: int = 64,
        progress: bool = False,
    ) -> Float[Tensor, "n *d"]:
        """Return new images in [0, 1]; without `clip` they may leave the range.

        Args:
            shape: Shape of the result: n images and the shape of one.
            guidance: Differentiable function of images in [0, 1] that returns one loss for each; None samples without
                guidance.
            generator: Source of the noise; a fixed seed by default.
            batch_size: Images denoised at once.
            progress: Draw a bar on standard error.

        Raises:
            InvalidInputError: `shape` holds no image, or the denoiser or the guidance gives something else than asked
                for.
            NumericalError: An image came out NaN or infinite.
        """
        if len(shape) < 2 or min(shape) < 1:
            raise InvalidInputError(f"shape must be (n, ...) with at least one image, got {shape}")
        check_count(batch_size, "batch_size")
        with torch.inference_mode(False), torch.no_grad():  # whatever the caller is in: guidance is differentiated
            x = self._sampled(shape, guidance, as_generator(generator), batch_size, progress)
        check_finite(x, "a sampled image")
        return (x + 1) / 2

    def _sampled(
        self,
        shape: tuple[int, ...],
        guidance: Callable[[Tensor], Tensor] | None,
        source: torch.Generator,
        batch_size: int,
        progress: bool,
    ) -> Float[Tensor, "n *d"]:
        """Return images in [-1, 1]."""
        times = list(range(len(self.schedule) - 1, -1, -self.stride))
        clean = self.schedule.new_ones(())
        ahead_of = [*(self.schedule[t] for t in times[1:]), clean]
        x = self._noise(shape, source)
        pairs = zip(times, ahead_of, strict=True)
        for t, abar_ahead in track(pairs, "sampling", total=len(times), enabled=progress):
            alpha = self.schedule[t] / abar_ahead
            for repeat in range(self.recurrence):
                if repeat:
                    x = alpha.sqrt() * x + (1 - alpha).sqrt() * self._noise(shape, source)
                x = torch.cat([self._step(part, t, abar_ahead, guidance) for part in x.split(batch_size)])
        return x

    def _noise(self, shape: tuple[int, ...], source: torch.Generator) -> Tensor:
        return torch.randn(shape, generator=source, device=source.device).to(self.schedule)

    def _noise_in(self, x: Tensor, t: int) -> Tensor:
        try:
            return self.denoiser(x, t)
        except torch.OutOfMemoryError:
            raise
        except (RuntimeError, IndexError, TypeError) as error:
            raise InvalidInputError(
                f"the denoiser does not take images of shape {tuple(x.shape)} in {x.dtype} at time {t} ({error}); "
                "sample in the shape it was trained on, with alphas_cumprod in its type and of its times"
            ) from error

    def _clean(self, x: Tensor, noise: Tensor, abar: Tensor) -> Tensor:
        image = (x - (1 - abar).sqrt() * noise) / abar.sqrt()
        return image.clamp(-1, 1) if self.clip else image

    def _step(
        self, x: Tensor, t: int, abar_ahead: Tensor, guidance: Callable[[Tensor], Tensor] | None
    ) -> Float[Tensor, "n *d"]:
        abar = self.schedule[t]
        pull = torch.zeros_like(x)
        with torch.set_grad_enabled(guidance is not None):
            x = x.detach().requires_grad_(guidance is not None)
            noise = self._noise_in(x, t)
            if noise.shape != x.shape:
                raise InvalidInputError(
                    f"the denoiser gives {tuple(noise.shape)} for images of shape {tuple(x.shape)}; it must predict "
                    "the noise of each entry"
                )
            if guidance is not None:
                losses = guidance((self._clean(x, noise, abar) + 1) / 2)
                if losses.shape != x.shape[:1] or not losses.requires_grad:
                    raise InvalidInputError(
                        f"the guidance gives {tuple(losses.shape)} for {len(x)} images, "
                        f"{'with' if losses.requires_grad else 'without'} a gradient; return one loss for each, "
                        "differentiable in the images"
                    )
                (pull,) = torch.autograd.grad(losses.sum(), x)
        x, noise = x.detach(), noise.detach()
        guided = noise + (1 - abar).sqrt() * self.strength * pull
        return abar_ahead.sqrt() * self._clean(x, guided, abar) + (1 - abar_ahead).sqrt() * noise
