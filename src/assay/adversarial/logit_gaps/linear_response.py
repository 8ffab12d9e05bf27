"""Linear-response prediction of adversarial error (Cubuk et al., 2017)."""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from assay.adversarial.attacks import attackable, check_norm, malt_scores
from assay.core import InvalidInputError, check_count, check_finite, check_samples
from assay.core.derivatives import forward_product


def linear_response_radius(
    model: nn.Module,
    x: Float[Tensor, "n *d"],
    *,
    norm: float = math.inf,
    direction: Float[Tensor, "n *d"] | None = None,
    candidates: int = 100,
    batch_size: int = 64,
) -> Float[Tensor, " n"]:
    r"""Compute the first-order distance of each sample to a change of its decision.

    With $h_1$ the highest score: $\min_j \Delta_{1j}(x) / \lVert\nabla(h_j - h_1)(x)\rVert_q$ for the best
    perturbation of each class, $\tfrac1p + \tfrac1q = 1$; for a given direction $s$ the smallest positive
    $\Delta_{1j}(x) / \langle s, \nabla(h_j - h_1)(x)\rangle$. Exact for an affine network.

    Args:
        model: Classifier with outputs `(n, c)`; it comes back as it was.
        x: Inputs.
        norm: The perturbation's $p$: 1, 2 or `math.inf`.
        direction: Direction for each sample instead of the best perturbation; `norm` is then not used.
        candidates: Classes considered for the best perturbation, those with the highest scores.
        batch_size: Samples differentiated at once.

    Returns:
        Radius in units of the input, or multiple of the direction; infinite where no class reaches the highest score.

    Raises:
        InvalidInputError: The arguments do not fit each other.
        NumericalError: A gradient is not finite.

    Cost: time `candidates` vector-Jacobian products a sample, or one Jacobian-vector product with a direction; memory
    that of `malt_scores`.

    Source: Cubuk, Zoph, Schoenholz, Le, "Intriguing Properties of Adversarial Examples" (2017), main text: linear
    response. The radius is the smallest of `malt_scores`.

    >>> layer = nn.Linear(2, 2, bias=False)
    >>> _ = layer.weight.data.copy_(torch.tensor([[1.0, 0.0], [-1.0, 0.0]]))
    >>> linear_response_radius(layer, torch.tensor([[3.0, 0.0]])).item()
    3.0
    """
    check_norm(norm)
    check_count(batch_size, "batch_size")
    with attackable(model, x) as given:
        if direction is None:
            scores = malt_scores(model, x, given.y, norm=norm, candidates=candidates, batch_size=batch_size)
            return scores.amin(1)
        direction = check_samples(direction, "direction")
        if direction.shape != given.x.shape:
            raise InvalidInputError(
                f"direction must have the shape of x, {tuple(given.x.shape)}, got {tuple(direction.shape)}; pass one "
                "for each sample"
            )
        batches = zip(given.x.split(batch_size), direction.to(given.x).split(batch_size), strict=True)
        return torch.cat([_radius_along(given.model, *batch) for batch in batches])


def linear_response_error(
    model: nn.Module,
    x: Float[Tensor, "n *d"],
    *,
    eps: Float[Tensor, " e"],
    norm: float = math.inf,
    direction: Float[Tensor, "n *d"] | None = None,
    candidates: int = 100,
    batch_size: int = 64,
) -> Float[Tensor, " e"]:
    r"""Predict the adversarial error at each perturbation size, $A(\varepsilon) = \Pr_x[r(x) < \varepsilon]$.

    For small $\varepsilon$, $A(\varepsilon)\approx P(\Delta_{12}\to0)\,\mathbb E\lVert\nabla(h_1-h_2)\rVert_q\,
    \varepsilon$: a power law of exponent one.

    Args:
        model: As for `linear_response_radius`, which computes $r(x)$.
        x: As for `linear_response_radius`.
        eps: Sizes of the perturbation.
        norm: As for `linear_response_radius`.
        direction: As for `linear_response_radius`.
        candidates: As for `linear_response_radius`.
        batch_size: As for `linear_response_radius`.

    Returns:
        Share of samples whose decision changes, for each size; a sample whose gradients vanish counts as unchanged.

    Raises:
        InvalidInputError: The arguments do not fit each other, or all gradients vanish, so that there is nothing to
            predict from.
        NumericalError: A gradient is not finite.

    Cost: that of `linear_response_radius`.

    Source: Cubuk, Zoph, Schoenholz, Le, "Intriguing Properties of Adversarial Examples" (2017), main text: linear
    response.

    >>> layer = nn.Linear(2, 2, bias=False)
    >>> _ = layer.weight.data.copy_(torch.tensor([[1.0, 0.0], [-1.0, 0.0]]))
    >>> x = torch.tensor([[3.0, 0.0], [0.5, 0.0]])
    >>> linear_response_error(layer, x, eps=torch.tensor([0.1, 1.0, 4.0])).tolist()
    [0.0, 0.5, 1.0]
    """
    if not isinstance(eps, Tensor) or eps.ndim != 1 or not len(eps) or not (eps > 0).all():
        raise InvalidInputError(f"eps must be a vector of positive sizes, got {eps!r}; e.g. torch.logspace(-3, -1, 9)")
    radius = linear_response_radius(
        model, x, norm=norm, direction=direction, candidates=candidates, batch_size=batch_size
    )
    if direction is None and radius.isinf().all():
        raise InvalidInputError(
            f"the gradient of every score gap vanishes at all {len(radius)} samples, so that linear response predicts "
            "nothing: the network is saturated, quantised or constant there; measure with adversarial_error_curve"
        )
    with torch.inference_mode(False):
        return (radius[:, None] < eps.to(radius.device)).to(radius.dtype).mean(0)


def _radius_along(model: nn.Module, x: Tensor, direction: Tensor) -> Tensor:
    logits, slope = forward_product(model, (x,), (direction,))
    check_finite(slope, "the derivative of the scores along the direction")
    first = logits.argmax(1, keepdim=True)
    gap, closing = logits.gather(1, first) - logits, slope - slope.gather(1, first)
    return torch.where(closing > 0, gap / closing, math.inf).amin(1)
