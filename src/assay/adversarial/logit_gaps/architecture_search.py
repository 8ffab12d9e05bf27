"""A small search over architectures with robustness as the reward (Cubuk et al., 2017)."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor, nn

from assay.adversarial.attacks import (
    check_count,
)
from assay.core import InvalidInputError, NumericalError, as_generator, check_positive, track

Architecture: TypeAlias = dict[str, Any]
"""One choice for each name of the space."""


@dataclass(frozen=True, eq=False)
class Child:
    """One architecture that was drawn and trained.

    Attributes:
        architecture: Its choices.
        model: The trained network.
        reward: What the reward function gave it.
    """

    architecture: Architecture
    model: nn.Module
    reward: float


@dataclass(frozen=True, eq=False)
class SearchResult:
    """All children of a search, in the order drawn, and what the controller learned.

    Attributes:
        children: Architectures with their networks and rewards.
        probabilities: For each name of the space, the controller's probability of each option at the end.
    """

    children: tuple[Child, ...]
    probabilities: dict[str, Float[Tensor, " _"]]

    @property
    def best(self) -> Child:
        """The child with the highest reward; the first of them on a tie."""
        return max(self.children, key=lambda child: child.reward)

    def __str__(self) -> str:
        return f"Best of {len(self.children)}: {self.best.architecture}, reward {self.best.reward:.4g}."


def search_architectures(
    space: Mapping[str, Sequence[Any]],
    train: Callable[[Architecture], nn.Module],
    reward: Callable[[nn.Module], float],
    *,
    n_children: int,
    strategy: Literal["random", "reinforce"] = "random",
    learning_rate: float = 0.5,
    generator: torch.Generator | None = None,
    progress: bool = False,
) -> SearchResult:
    r"""Draw architectures, train each and reward it, uniformly or by a controller that learns from the rewards.

    "reinforce" holds one vector of logits $\theta$ for each choice, independent of the others, and after each child
    adds $\eta\,(R - b)\,\nabla_\theta\log\pi_\theta(\text{choice})$, where $b$ is the mean reward of the children
    before it; the first child teaches nothing.

    Args:
        space: Options by name of the choice, such as `{"width": (64, 128), "depth": (1, 2)}`.
        train: Builds and trains the network of an architecture.
        reward: Figure to maximise, such as accuracy under attack on validation samples.
        n_children: Architectures drawn; the same one may be drawn again.
        strategy: "random" or "reinforce".
        learning_rate: $\eta$ of the controller; ours, for rewards between 0 and 1.
        generator: Source of the draws; None stands for a generator seeded with 0.
        progress: Draw a bar on standard error.

    Raises:
        InvalidInputError: The space is empty or has a choice without options, or a number is out of range.
        NumericalError: A reward is not finite.

    Cost: `n_children` runs of `train` and `reward`.

    Source: Cubuk, Zoph, Schoenholz, Le (2017), the idea of adversarial accuracy as the reward. Deviations: independent
    choices in the place of a recurrent controller, and plain REINFORCE; for a search of any size take Optuna.

    >>> space = {"width": (2, 8)}
    >>> search = search_architectures(space, lambda a: nn.Linear(1, a["width"]), lambda m: m.out_features, n_children=9)
    >>> search.best.architecture
    {'width': 8}
    """
    check_count(n_children, "n_children")
    check_positive(learning_rate, "learning_rate")
    if not space or not all(len(options) for options in space.values()):
        raise InvalidInputError(f"space must map each choice to at least one option, got {dict(space)}")
    if strategy not in ("random", "reinforce"):
        raise InvalidInputError(f"strategy must be 'random' or 'reinforce', got {strategy!r}")
    generator = as_generator(generator)
    logits = {name: torch.zeros(len(options), dtype=torch.float64) for name, options in space.items()}
    children: list[Child] = []
    for _ in track(range(n_children), "searching", enabled=progress):
        chosen = {name: int(value.softmax(0).multinomial(1, generator=generator)) for name, value in logits.items()}
        architecture = {name: space[name][index] for name, index in chosen.items()}
        model = train(architecture)
        earned = float(reward(model))
        if not torch.isfinite(torch.tensor(earned)):
            raise NumericalError(f"the reward of {architecture} is {earned}; check its training")
        if strategy == "reinforce" and children:
            baseline = sum(child.reward for child in children) / len(children)
            for name, index in chosen.items():
                score = -logits[name].softmax(0)
                score[index] += 1
                logits[name] += learning_rate * (earned - baseline) * score
        children.append(Child(architecture, model, earned))
    return SearchResult(tuple(children), {name: value.softmax(0) for name, value in logits.items()})
