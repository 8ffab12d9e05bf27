"""Poisons in feature space: feature collision (Shafahi et al., 2018) and bullseye polytope (Aghakhani et al., 2021)."""

from collections.abc import Callable
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

from assay.core import InvalidInputError, unwrapped
from assay.privacy.poisoning.base import PoisonAttack, PoisonGoal


def penultimate_features(model: nn.Module, x: Float[Tensor, "n *d"]) -> Float[Tensor, "n h"]:
    """Return the inputs of the linear layer that the model calls last, differentiably in x.

    The model is called as it is: hold it in `preserved` where it must not change.

    Raises:
        InvalidInputError: The last layer that the model calls is not linear, or not called on one row for each sample.

    >>> import torch
    >>> penultimate_features(nn.Sequential(nn.ReLU(), nn.Linear(2, 3)), -torch.eye(2)).abs().sum().item()
    0.0
    """
    network = unwrapped(model)
    called: list[tuple[nn.Module, Tensor]] = []
    handles = [
        module.register_forward_pre_hook(lambda module, inputs: called.append((module, inputs[0])))
        for name, module in network.named_modules()
        if _has_weights(module) and "parametrizations" not in name.split(".")
    ]
    try:
        network(x)
    finally:
        for handle in handles:
            handle.remove()
    layer, features = called[-1] if called else (None, x)
    if not isinstance(layer, nn.Linear) or len(features) != len(x):
        raise InvalidInputError(
            f"features are the inputs of a last linear layer, one row for each sample, but the model ends in "
            f"{type(layer).__name__ if layer else 'no layer'}; pass a network that ends in nn.Linear"
        )
    return features.flatten(1)


def _has_weights(module: nn.Module) -> bool:
    return is_parametrized(module) or any(True for _ in module.parameters(recurse=False))


@dataclass(frozen=True)
class FeatureCollision(PoisonAttack):
    r"""Match each poison's features to the target's: minimise $\frac1n\sum_i \lVert\phi(x_i) - \phi(x_t)\rVert^2$.

    Features $\phi$ are the inputs of the last linear layer; those of the target are the mean over the goal's images.
    Arguments are those of `PoisonAttack`.

    Deviations: a budget in the infinity norm replaces the paper's penalty on the distance to the base.

    Source: Shafahi, Huang, Najibi, Suciu, Studer, Dumitras, Goldstein, "Poison Frogs! Targeted Clean-Label Poisoning
    Attacks on Neural Networks" (2018), arXiv 1804.00792, section 2.1, equation 1.

    >>> import torch
    >>> goal = PoisonGoal(torch.zeros(1, 2), 0)
    >>> FeatureCollision(eps=0.1, n_iter=2)(nn.Linear(2, 3), torch.eye(2), goal).shape
    torch.Size([2, 2])
    """

    def objective(self, model: nn.Module, goal: PoisonGoal) -> Callable[[Tensor], Tensor]:
        """Return the mean squared distance to the target's features."""
        target = penultimate_features(model, goal.x).detach().mean(0)
        return lambda poisons: (penultimate_features(model, poisons) - target).square().sum(1).mean()


@dataclass(frozen=True)
class BullseyePolytope(PoisonAttack):
    r"""Centre the poisons' features on the target's.

    $$\min\; \lVert\tfrac1n\sum_i\phi(x_i) - \phi(x_t)\rVert^2 / \lVert\phi(x_t)\rVert^2 .$$

    Features $\phi$ are the inputs of the last linear layer; those of the target are the mean over the goal's images.
    Arguments are those of `PoisonAttack`.

    Deviations: one surrogate; the paper averages over several.

    Source: Aghakhani, Meng, Wang, Kruegel, Vigna, "Bullseye Polytope: A Scalable Clean-Label Poisoning Attack with
    Improved Transferability" (2021), arXiv 2005.00191, main text, the equation above for one network.

    >>> import torch
    >>> goal = PoisonGoal(torch.zeros(1, 2), 0)
    >>> BullseyePolytope(eps=0.1, n_iter=2)(nn.Linear(2, 3), torch.eye(2), goal).shape
    torch.Size([2, 2])
    """

    def objective(self, model: nn.Module, goal: PoisonGoal) -> Callable[[Tensor], Tensor]:
        """Return the relative squared distance of the poisons' mean features to the target's."""
        target = penultimate_features(model, goal.x).detach().mean(0)
        size = target.square().sum().clamp(min=1e-12)
        return lambda poisons: (penultimate_features(model, poisons).mean(0) - target).square().sum() / size
