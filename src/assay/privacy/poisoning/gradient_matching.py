"""Poisons whose training gradient points where the attacker wants the weights to go (Geiping et al., 2021)."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.func import grad, vmap

from assay.core import (
    InvalidInputError,
    check_labels,
    check_logits,
    check_pairs,
    cross_entropy,
    flatten,
    functional,
    named_parameters,
    preserved,
)
from assay.privacy.poisoning.base import PoisonAttack, PoisonGoal

FLOOR = 1e-10
"""Added to a squared norm: a certain network has no gradient, and the square root of zero none either."""


def poison_gradients(
    model: nn.Module, x: Float[Tensor, "n *d"], y: Int[Tensor, " n"], *, per_sample: bool = True
) -> Float[Tensor, "*n p"]:
    r"""Compute $\nabla_\theta\,\mathrm{CE}(f(x_i), y_i)$, or its mean over the samples, differentiably in x.

    `assay.core.per_sample_gradients` is for fixed inputs; here the poisons themselves are optimised through it.

    Args:
        model: Classifier; it is run in evaluation mode and comes back as it was.
        x: Inputs.
        y: Classes.
        per_sample: A row for each sample, at a memory of O(n p); else one vector.

    >>> poison_gradients(nn.Linear(2, 3), torch.ones(4, 2), torch.zeros(4).long(), per_sample=False).shape
    torch.Size([9])
    """
    with preserved(model):
        call, params = functional(model), named_parameters(model)
        if not per_sample:
            return flatten(grad(lambda values: cross_entropy(call(values, x), y))(params))
        one = grad(lambda values, image, label: cross_entropy(call(values, image[None]), label[None]))
        return torch.cat([value.flatten(1) for value in vmap(one, (None, 0, 0))(params, x, y).values()], 1)


def poison_target_gradient(model: nn.Module, goal: PoisonGoal) -> Float[Tensor, " p"]:
    r"""Return where training should push, $g_t = \nabla_\theta\,\mathrm{CE}(f(x_t), y_{adv})$, the mean over the goal.

    For a backdoor the goal's images carry the trigger, which makes it the gradient of Sleeper Agent.

    Raises:
        InvalidInputError: The goal does not fit the model.

    >>> poison_target_gradient(nn.Linear(2, 3), PoisonGoal(torch.ones(1, 2), 0)).shape
    torch.Size([9])
    """
    goal.check(model)
    return poison_gradients(model, goal.x, goal.labels(len(goal.x)), per_sample=False).detach()


def gradient_matching_loss(
    model: nn.Module,
    x: Float[Tensor, "n *d"],
    y: Int[Tensor, " n"],
    target_gradient: Float[Tensor, " p"],
    *,
    per_sample: bool = False,
) -> Float[Tensor, "*n"]:
    r"""Compute how far the poisons' gradient is from the target's direction, differentiably in x.

    $$L = 1 - \frac{\langle g_p, g_t\rangle}{\lVert g_p\rVert\,\lVert g_t\rVert},\qquad
    g_p = \nabla_\theta\,\mathrm{CE}(f(x), y),$$

    one cosine over all parameters, in [0, 2].

    Args:
        model: Classifier; it is run in evaluation mode and comes back as it was.
        x: Poisons, or images that may become some.
        y: Their labels.
        target_gradient: $g_t$, of `poison_target_gradient`.
        per_sample: One loss for each sample; else one for the mean of their gradients.

    Raises:
        InvalidInputError: The samples or the gradient do not fit the model.

    Source: Geiping, Fowl, Huang, Czaja, Taylor, Moeller, Goldstein, "Witches' Brew: Industrial Scale Data Poisoning via
    Gradient Matching" (2021), arXiv 2009.02276. The squared norms get 1e-10 added, so that a network that is certain of
    x gives a loss of one and not NaN.

    >>> layer, x, y = nn.Linear(2, 3), torch.ones(4, 2), torch.zeros(4).long()
    >>> target = poison_target_gradient(layer, PoisonGoal(x[:1], 0))
    >>> gradient_matching_loss(layer, x, y, target, per_sample=True).abs().max() < 1e-5
    tensor(True)
    """
    check_pairs(x, y)
    check_labels(y, check_logits(model, x.detach()).shape[1])
    size = sum(parameter.numel() for parameter in model.parameters())
    if len(target_gradient) != size:
        raise InvalidInputError(
            f"target_gradient has {len(target_gradient)} entries for {size} parameters; "
            "compute it by poison_target_gradient on the same model"
        )
    return gradient_mismatch(poison_gradients(model, x, y, per_sample=per_sample), target_gradient)


def gradient_mismatch(gradients: Float[Tensor, "*n p"], target: Float[Tensor, " p"]) -> Float[Tensor, "*n"]:
    """Return one less the cosine of each gradient with the target's."""
    norms = (gradients.square().sum(-1) + FLOOR).sqrt() * (target.square().sum() + FLOOR).sqrt()
    return 1 - gradients @ target / norms


@dataclass(frozen=True)
class GradientMatchingAttack(PoisonAttack):
    """Poison so that a training step on the poisons goes where a step towards the goal would: Witches' Brew.

    With a goal whose images carry a trigger it is the crafting step of Sleeper Agent, a backdoor. Arguments are those
    of every `PoisonAttack`; a step costs a second-order pass over all poisons.

    Deviations from the released code: deltas start at zero, once; the surrogate is not trained anew in between.

    Source: Geiping et al., "Witches' Brew" (2021), arXiv 2009.02276; Souri et al., "Sleeper Agent: Scalable Hidden
    Trigger Backdoors for Neural Networks Trained from Scratch" (2022), arXiv 2106.08970.

    >>> goal = PoisonGoal(torch.zeros(1, 2), 0)
    >>> GradientMatchingAttack(eps=0.1, steps=2)(nn.Linear(2, 3), torch.eye(2), goal).shape
    torch.Size([2, 2])
    """

    def objective(self, model: nn.Module, goal: PoisonGoal) -> Callable[[Tensor], Tensor]:
        """Return the mismatch of the mean gradient of all poisons."""
        target = poison_target_gradient(model, goal)
        return lambda poisons: gradient_mismatch(
            poison_gradients(model, poisons, goal.labels(len(poisons)), per_sample=False), target
        )
