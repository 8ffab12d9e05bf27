"""Poisons by gradient matching: Witches' Brew (Geiping et al., 2021) and the backdoor Sleeper Agent."""

from collections.abc import Callable
from dataclasses import dataclass

from jaxtyping import Float, Shaped
from torch import Tensor, nn

from assay.core import (
    InvalidInputError,
    check_labels,
    check_pairs,
    check_scores,
    cosine_distance,
    cross_entropy,
    flatten,
    named_parameters,
    parameter_gradients,
)
from assay.privacy.poisoning.base import PoisonAttack, PoisonGoal

_FLOOR = 1e-10
"""Beside the product of the norms: where the loss is zero so is its gradient."""


def poison_target_gradient(model: nn.Module, goal: PoisonGoal) -> Float[Tensor, " p"]:
    r"""Return the adversarial gradient $g_t = \nabla_\theta\,\mathrm{CE}(f(x_t), y_{adv})$, the mean over the goal.

    For a backdoor the goal's images carry the trigger: the target gradient of Sleeper Agent. It is over the trainable
    parameters, which victims move, or over all where all are frozen.

    Raises:
        InvalidInputError: The goal does not fit the model, or the model is so sure of the label that nothing is left of
            the gradient.

    Source: Geiping et al., "Witches' Brew" (2021), arXiv 2009.02276, main text, the target's term in the equation of
    `gradient_alignment_loss`.

    >>> import torch
    >>> poison_target_gradient(nn.Linear(2, 3), PoisonGoal(torch.ones(1, 2), 0)).shape
    torch.Size([9])
    """
    goal.check(model)
    labels = goal.labels(len(goal.x))
    gradient = parameter_gradients(model, goal.x, labels, cross_entropy, per_sample=False).detach()
    if not gradient.any():
        raise InvalidInputError(
            f"the gradient of the goal is zero: the model gives its images the class {goal.label} already, without "
            "loss; choose images of another class"
        )
    return gradient


def gradient_alignment_loss(
    model: nn.Module,
    x: Float[Tensor, "n *d"],
    y: Shaped[Tensor, "n *one"],
    target_gradient: Float[Tensor, " p"],
    *,
    per_sample: bool = False,
) -> Float[Tensor, "*n"]:
    r"""Compute one minus the cosine of the poisons' gradient and the target's, differentiably in x.

    $$L = 1 - \frac{\langle g_p, g_t\rangle}{\lVert g_p\rVert\,\lVert g_t\rVert},\qquad
    g_p = \nabla_\theta\,\mathrm{CE}(f(x), y),$$

    one cosine over all trainable parameters, in [0, 2].

    Args:
        model: Classifier; it runs in evaluation mode and comes back as it was.
        x: Poisons or base images.
        y: Their labels.
        target_gradient: $g_t$, from `poison_target_gradient`.
        per_sample: Return one loss for each sample; else one for the mean of their gradients.

    Raises:
        InvalidInputError: The samples or the gradient do not fit the model.

    Source: Geiping, Fowl, Huang, Czaja, Taylor, Moeller, Goldstein, "Witches' Brew: Industrial Scale Data Poisoning via
    Gradient Matching" (2021), arXiv 2009.02276, main text, the equation above. 1e-10 is added to the product of the
    norms, so that a gradient of zero gives a loss of one and not NaN.

    >>> import torch
    >>> layer, x, y = nn.Linear(2, 3), torch.ones(4, 2), torch.zeros(4).long()
    >>> target = poison_target_gradient(layer, PoisonGoal(x[:1], 0))
    >>> gradient_alignment_loss(layer, x, y, target, per_sample=True).abs().max() < 1e-5
    tensor(True)
    """
    without_graph, y = check_pairs(x, y)
    y = check_labels(y, check_scores(model, without_graph).shape[1])
    size = len(flatten(named_parameters(model, params="trainable")))
    if len(target_gradient) != size:
        raise InvalidInputError(
            f"target_gradient has {len(target_gradient)} entries for {size} trainable parameters; "
            "compute it by poison_target_gradient on the same model"
        )
    gradients = parameter_gradients(
        model, x if x.requires_grad else without_graph, y, cross_entropy, per_sample=per_sample
    )
    return gradient_mismatch(gradients, target_gradient)


def gradient_mismatch(gradients: Float[Tensor, "*n p"], target: Float[Tensor, " p"]) -> Float[Tensor, "*n"]:
    """Return one minus the cosine of each gradient with the target's."""
    return cosine_distance(gradients, target, floor=_FLOOR)


@dataclass(frozen=True)
class WitchesBrew(PoisonAttack):
    """Poison by gradient matching: align the training gradient of the poisons with the adversarial gradient.

    Minimises `gradient_alignment_loss` of the mean gradient of all poisons. With a goal whose images carry a trigger it
    is the crafting step of Sleeper Agent, a backdoor. Arguments are those of `PoisonAttack`.

    Deviations from the released code: perturbations start at zero, once; the surrogate is not retrained in between.

    Source: Geiping et al., "Witches' Brew" (2021), arXiv 2009.02276, main text, the equation of
    `gradient_alignment_loss`; Souri et al., "Sleeper Agent: Scalable Hidden Trigger Backdoors for Neural Networks
    Trained from Scratch" (2022), arXiv 2106.08970, main text.

    >>> import torch
    >>> goal = PoisonGoal(torch.zeros(1, 2), 0)
    >>> WitchesBrew(eps=0.1, n_iter=2)(nn.Linear(2, 3), torch.eye(2), goal).shape
    torch.Size([2, 2])
    """

    def objective(self, model: nn.Module, goal: PoisonGoal) -> Callable[[Tensor], Tensor]:
        """Return the mismatch of the mean gradient of all poisons."""
        target = poison_target_gradient(model, goal)

        def mismatch(poisons: Tensor) -> Tensor:
            labels = goal.labels(len(poisons))
            return gradient_mismatch(
                parameter_gradients(model, poisons, labels, cross_entropy, per_sample=False), target
            )

        return mismatch
