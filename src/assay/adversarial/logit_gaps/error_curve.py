"""Adversarial error as a power law of the perturbation size (Cubuk et al., 2017)."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from assay.adversarial.attacks import (
    Attack,
    GradientMasking,
    Lp,
    attack_batches,
    check_attack,
    check_attackable,
    find_masking,
)
from assay.core import (
    InvalidInputError,
    check_count,
    check_labels,
    check_pairs,
    check_samples,
    preserved,
    seeded,
    track,
)
from assay.core.power_law import PowerLawFit, fit_power_law

if TYPE_CHECKING:
    from matplotlib.axes import Axes

UNBOUNDED = (-math.inf, math.inf)
RESAMPLES = 200


@dataclass(frozen=True, eq=False)
class ErrorCurve:
    """Share of decisions that an attack changes, by the size of the perturbation.

    Attributes:
        eps: Sizes of the perturbation, ascending.
        error: Share of samples whose predicted class changed.
        n: Samples attacked.
        fit: Power law over the window of sizes; None if the window holds fewer than three.
        excess: Misclassification rate at each size minus the rate at zero; None without labels.
        masking: Samples whose decision stays at the largest size and where the gradient gives the attack no direction.
    """

    eps: Float[Tensor, " e"]
    error: Float[Tensor, " e"]
    n: int
    fit: PowerLawFit | None
    excess: Float[Tensor, " e"] | None
    masking: GradientMasking

    def __str__(self) -> str:
        law = f"The error grows as {self.fit}." if self.fit else "There are too few changes for a power law."
        said = f"{self.error[-1]:.1%} of {self.n} decisions change at size {self.eps[-1]:.3g}. {law}"
        return f"{said} {self.masking}" if self.masking.masked.any() else said

    def plot(self, ax: "Axes | None" = None) -> "Axes":
        """Draw the curve and its power law on logarithmic axes, without sizes of zero error."""
        from matplotlib import pyplot as plt

        ax = ax or plt.subplots()[1]
        seen = self.error > 0
        eps, error = self.eps[seen].cpu(), self.error[seen].cpu()
        ax.loglog(eps, error, "o", label="changed decisions")
        if self.fit is not None:
            ax.loglog(eps, self.fit.prefactor * eps**self.fit.exponent, label=f"exponent {self.fit.exponent:.2f}")
        ax.set(xlabel="size of the perturbation", ylabel="share of decisions changed")
        ax.legend()
        return ax


def adversarial_error_curve(
    model: nn.Module,
    x: Float[Tensor, "n *d"],
    y: Shaped[Tensor, "n *one"] | None = None,
    *,
    eps: Float[Tensor, " e"],
    attack: Callable[[Lp], Attack],
    norm: float = math.inf,
    input_range: tuple[float, float] = UNBOUNDED,
    batch_size: int = 256,
    progress: bool = False,
) -> ErrorCurve:
    r"""Measure the adversarial error at each perturbation size, and fit $A(\varepsilon) = a\,\varepsilon^b$.

    The adversarial error is the share of changes of the *predicted* class: unlike the misclassification rate, it
    vanishes with the size. The window of the fit holds the sizes with at least ten changes and at most 30% of samples.

    With true labels the result also has the excess error $E(\varepsilon) - E(0)$, for the misclassification rate $E$:
    the share of samples that were classified correctly and changed.

    Args:
        model: Classifier with outputs `(n, c)`; it comes back as it was. Use float64 for sizes below 1e-4.
        x: Inputs.
        y: True labels, for the excess error only.
        eps: Sizes, ascending.
        attack: Builds the attack for a threat model: a class such as `FGSM`, or `lambda threat: PGD(threat, n_iter=9)`.
        norm: Norm of the perturbation: 1, 2 or `math.inf`.
        input_range: Range of the inputs. Unbounded by default: clipping removes directions and changes the power law.
        batch_size: Samples attacked at once.
        progress: Draw a bar on standard error.

    Returns:
        The curve, and where gradients are masked; the interval of the fit is from a bootstrap over samples with a fixed
        seed.

    Raises:
        InvalidInputError: The arguments do not fit each other, or the sizes do not ascend.

    Cost: time one run of the attack for each size, memory that of one batch and O(n e).

    Source: Cubuk, Zoph, Schoenholz, Le, "Intriguing Properties of Adversarial Examples" (2017), main text: adversarial
    error as a power law. The window is ours.

    >>> from assay.adversarial import FGSM
    >>> layer = nn.Linear(1, 2, bias=False).double()
    >>> _ = layer.weight.data.copy_(torch.tensor([[1.0], [-1.0]]))
    >>> x = torch.linspace(0.001, 1, 1000, dtype=torch.float64)[:, None]
    >>> curve = adversarial_error_curve(layer, x, eps=torch.tensor([0.0205, 0.0405, 0.0805]), attack=FGSM)
    >>> curve.error.tolist(), round(curve.fit.exponent, 1)
    ([0.02, 0.04, 0.08], 1.0)
    >>> y = (torch.arange(1000) < 500).long()  # the layer misclassifies the first half
    >>> adversarial_error_curve(layer, x, y, eps=torch.tensor([0.1, 0.6]), attack=FGSM).excess.tolist()
    [0.0, 0.1]
    """
    eps = _check_sizes(eps)
    check_count(batch_size, "batch_size")
    attacks = [attack(Lp(norm=norm, eps=size, input_range=input_range)) for size in eps.tolist()]
    check_attack(attacks[0], targeted=False)
    x, predicted, n_classes = check_attackable(model, x, threat=attacks[0].threat)
    labels = None if y is None else check_labels(check_pairs(x, y)[1], n_classes)
    with preserved(model):
        steps = track(attacks, "attacking", enabled=progress)
        changed = [attack_batches(model, x, predicted, one, batch_size).success for one in steps]
        options = {"threat": attacks[-1].threat, "attacks": attacks, "batch_size": batch_size}
        masking = find_masking(model, x, predicted, ~changed[-1], **options)
        flips, dtype = torch.stack(changed, 1).double(), torch.promote_types(x.dtype, torch.float32)
        excess = None if labels is None else flips.mul((predicted == labels)[:, None]).mean(0).to(dtype)
        return ErrorCurve(eps, flips.mean(0).to(dtype), len(x), _fit(eps.double(), flips), excess, masking)


def _check_sizes(eps: Tensor) -> Tensor:
    if not isinstance(eps, Tensor) or eps.ndim != 1:
        given = tuple(eps.shape) if isinstance(eps, Tensor) else type(eps).__name__
        raise InvalidInputError(f"eps must be a vector of sizes, got {given}; e.g. torch.logspace(-3, -1, 9)")
    if not len(eps) or not (eps[:1] > 0).all() or not (eps.diff() > 0).all():
        raise InvalidInputError(
            f"eps must be positive and ascending, got {eps.tolist()}; sort the sizes and drop zeros"
        )
    return check_samples(eps[:, None], "eps").flatten()


def _fit(eps: Tensor, flips: Float[Tensor, "n e"]) -> PowerLawFit | None:
    error = flips.mean(0)
    window = (flips.sum(0) >= 10) & (error <= 0.3)
    if window.sum() < 3:
        return None
    eps, flips = eps[window], flips[:, window]
    source = seeded(0)
    resampled = torch.stack([_resampled_share(flips, source) for _ in range(RESAMPLES)])
    resampled = resampled[(resampled > 0).all(1)]  # A resample without any of ten changes has probability 1/20,000.
    return fit_power_law(eps, error[window], eps.expand_as(resampled), resampled)


def _resampled_share(flips: Tensor, source: torch.Generator) -> Tensor:
    return flips[torch.randint(len(flips), (len(flips),), generator=source).to(flips.device)].mean(0)
