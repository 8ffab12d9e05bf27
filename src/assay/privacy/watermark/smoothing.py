"""Trigger accuracy and gradient under Gaussian parameter noise (Bansal et al., 2022, algorithms 1 and 2)."""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from assay.core import (
    Parameters,
    as_generator,
    batched,
    check_count,
    check_finite,
    check_follows_parameters,
    check_positive,
    check_scores,
    flatten,
    functional,
    margins,
    named_parameters,
    plain_attention,
    preserved,
    seeded,
    unflatten,
)
from assay.privacy.watermark.triggers import TriggerSet

VERIFICATION_SEED = 7_361_052_811
"""Seed of the default draws of `smoothed_trigger_accuracy`: no other default, and unlikely to be a user's choice."""


def smoothed_trigger_accuracy(
    model: nn.Module,
    triggers: TriggerSet,
    *,
    sigma: float,
    n: int = 1000,
    batch_size: int = 100,
    generator: torch.Generator | None = None,
) -> Float[Tensor, " m"]:
    r"""Draw a network's trigger accuracy under parameter noise: $f(\theta + G)$ with $G \sim N(0, \sigma^2 I)$.

    Every floating-point parameter receives noise, frozen ones too, as the network holds it: of a weight with
    `weight_norm` its length and direction. Buffers do not. Sums are rounded to each parameter's own type. The model
    runs in evaluation mode. White-box verification of a watermark takes the median of these draws, which
    `certify_watermark` bounds.

    Cost: time O(n) forward passes over the triggers, memory O(batch_size (p + activations)). Networks that torch cannot
    batch over parameters, such as LSTMs, run one draw after the other.

    Args:
        model: Classifier with outputs `(n, c)`, `c >= 2`; it comes back as it was.
        triggers: The watermark's samples.
        sigma: Standard deviation of the noise, in the units of the parameters. The same ReLU function with larger
            weights is perturbed less: compare sigma with the norm of the parameters.
        n: Draws. Paper's code: 100 to monitor, 1000 to certify.
        batch_size: Draws evaluated at once.
        generator: Source of the noise; by default one of a fixed seed that nothing else here starts from, since a
            network that was trained under some draws looks better under the same ones. Give none that training used.

    Returns:
        One accuracy for each draw, in the type of the triggers, or float32 where that is no wider.

    Raises:
        InvalidInputError: The model does not fit the triggers or keeps weights from before, or `sigma` or a count is
            not positive.

    Source: Bansal et al., "Certified Neural Network Watermarks with Randomized Smoothing" (2022), arXiv 2207.07972,
    algorithm 2.

    >>> smoothed_trigger_accuracy(nn.Linear(2, 3), TriggerSet(torch.eye(2), label=1), sigma=1.0, n=5).shape
    torch.Size([5])
    """
    triggers.check_fits(model)
    check_follows_parameters(model, triggers.x)
    check_positive(sigma, "sigma")
    check_count(n, "n")
    check_count(batch_size, "batch_size")
    source = seeded(VERIFICATION_SEED) if generator is None else generator
    exact = torch.promote_types(triggers.x.dtype, torch.float32)  # half precision rounds 299 of 300 to 1
    accuracies = []
    with preserved(model), torch.no_grad(), plain_attention():
        params = named_parameters(model)
        for noise in _noise(flatten(params), n, batch_size, source):
            logits = _perturbed_logits(model, params, sigma * noise, triggers.x)
            right = margins(logits.flatten(0, 1), triggers.y.repeat(len(noise))) > 0
            accuracies.append(right.view(len(noise), -1).to(exact).mean(1))
    return torch.cat(accuracies)


def smoothed_trigger_gradient(
    model: nn.Module,
    triggers: TriggerSet,
    *,
    sigma: float,
    n: int = 100,
    batch_size: int = 100,
    generator: torch.Generator | None = None,
) -> Float[Tensor, " p"]:
    r"""Return the gradient of the triggers' cross-entropy, averaged over parameter noise.

    $\frac1n \sum_{k=1}^n \nabla_\theta\, \ell(\theta + \sigma g_k)$ with $g_k \sim N(0, I)$.

    Args:
        model: Classifier; it comes back as it was.
        triggers: The watermark's samples.
        sigma: Standard deviation of the noise; at zero, all draws are the gradient itself.
        n: Draws.
        batch_size: Draws evaluated at once.
        generator: Source of the noise; a fixed seed by default.

    Returns:
        The gradient in all parameters, frozen ones too, in the order of `core.flatten`.

    Raises:
        InvalidInputError: The model does not fit the triggers, returns probabilities or keeps weights from before,
            `sigma` is negative, or a count is not positive.
        NumericalError: The gradient is not finite.

    Source: Bansal et al., "Certified Neural Network Watermarks with Randomized Smoothing" (2022), arXiv 2207.07972,
    algorithm 1.

    >>> smoothed_trigger_gradient(nn.Linear(2, 3), TriggerSet(torch.eye(2), label=1), sigma=1.0, n=5).shape
    torch.Size([9])
    """
    triggers.check_fits(model)
    check_scores(model, triggers.x)
    check_follows_parameters(model, triggers.x)
    if sigma != 0:
        check_positive(sigma, "sigma")
    check_count(n, "n")
    check_count(batch_size, "batch_size")
    return noisy_gradient(model, triggers, sigma=sigma, n=n, batch_size=batch_size, source=as_generator(generator))


def noisy_gradient(
    model: nn.Module, triggers: TriggerSet, *, sigma: float, n: int, batch_size: int, source: torch.Generator
) -> Float[Tensor, " p"]:
    """Return `smoothed_trigger_gradient` of a model that was looked at before, for loops."""
    with preserved(model), plain_attention():
        params = {name: value.clone().requires_grad_() for name, value in named_parameters(model).items()}
        total = torch.zeros_like(flatten(params).detach())
        for noise in _noise(total, n, batch_size, source):
            logits = _perturbed_logits(model, params, sigma * noise, triggers.x).flatten(0, 1)
            loss = F.cross_entropy(logits, triggers.y.repeat(len(noise))) * (len(noise) / n)
            slopes = torch.autograd.grad(loss, list(params.values()), materialize_grads=True)
            total += flatten(dict(zip(params, slopes, strict=True)))
    check_finite(total, "the triggers' gradient")
    return total


def _noise(
    like: Float[Tensor, " p"], n: int, batch_size: int, source: torch.Generator
) -> Iterator[Float[Tensor, "m p"]]:
    """Yield n standard normal vectors, `batch_size` at a time; drawn one by one, so that the size changes nothing."""
    for start in range(0, n, batch_size):
        drawn = range(start, min(start + batch_size, n))
        yield torch.stack([torch.randn(like.shape, generator=source, device=source.device) for _ in drawn]).to(like)


def _perturbed_logits(
    model: nn.Module, params: Parameters, changes: Float[Tensor, "m p"], x: Shaped[Tensor, "n *d"]
) -> Float[Tensor, "m n c"]:
    """Return the logits of m copies of the network, each with its own change of the parameters."""
    call = functional(model)
    wide = {name: value.to(changes.dtype) for name, value in params.items()}

    def logits(change: Tensor) -> Tensor:
        moved = unflatten(change, wide)
        return call({name: (value + moved[name]).to(params[name].dtype) for name, value in wide.items()}, x)

    with preserved(model):  # what this pass keeps in attributes is not for the next
        return batched(logits, 0)(changes)
