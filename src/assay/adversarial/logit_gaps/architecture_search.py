"""Architecture search with robustness as the reward (Cubuk et al., 2017)."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor, nn

from assay.core import (
    InvalidInputError,
    NumericalError,
    as_generator,
    check_choice,
    check_count,
    check_positive,
    track,
)

Architecture: TypeAlias = dict[str, Any]
"""One option for each choice of the space, by the choice's name."""


@dataclass(frozen=True, eq=False)
class ArchitectureTrial:
    """One trial of an architecture search.

    Attributes:
        architecture: The options drawn.
        model: The trained network.
        reward: Value of the reward function.
    """

    architecture: Architecture
    model: nn.Module
    reward: float


@dataclass(frozen=True, eq=False)
class ArchitectureSearch:
    """Result of an architecture search.

    Attributes:
        trials: Architectures with their networks and rewards, in the order drawn.
        probabilities: For each choice of the space, the controller's probability of each option at the end.
    """

    trials: tuple[ArchitectureTrial, ...]
    probabilities: dict[str, Float[Tensor, " _"]]

    @property
    def best(self) -> ArchitectureTrial:
        """The trial with the highest reward; on a tie the first of them."""
        return max(self.trials, key=lambda trial: trial.reward)

    def __str__(self) -> str:
        return f"Best of {len(self.trials)}: {self.best.architecture}, reward {self.best.reward:.4g}."


def search_architectures(
    space: Mapping[str, Sequence[Any]],
    train: Callable[[Architecture], nn.Module],
    reward: Callable[[nn.Module], float],
    *,
    n_trials: int,
    strategy: Literal["random", "reinforce"] = "random",
    lr: float = 0.5,
    generator: torch.Generator | None = None,
    progress: bool = False,
) -> ArchitectureSearch:
    r"""Search for the architecture with the highest reward, at random or by REINFORCE.

    "random" draws uniformly. "reinforce" has an independent vector of logits $\theta$ for each choice, and after each
    trial adds $\eta\,(R - b)\,\nabla_\theta\log\pi_\theta(\text{option})$, where $b$ is the mean reward of earlier
    trials; the first trial changes nothing.

    Args:
        space: Options by name of the choice, such as `{"width": (64, 128), "depth": (1, 2)}`.
        train: Builds and trains the network of an architecture.
        reward: Value to maximise, such as accuracy under attack on validation samples.
        n_trials: Architectures drawn, with replacement.
        strategy: "random" or "reinforce".
        lr: Learning rate $\eta$ of the controller; ours, for rewards between 0 and 1.
        generator: Source of the draws; one seeded with 0 by default.
        progress: Draw a bar on standard error.

    Returns:
        All trials, and the controller's final probabilities.

    Raises:
        InvalidInputError: The space is empty or has a choice without options, or a number is out of range.
        NumericalError: A reward is not finite.

    Cost: time `n_trials` runs of `train` and `reward`, memory all networks.

    Source: Cubuk, Zoph, Schoenholz, Le, "Intriguing Properties of Adversarial Examples" (2017), main text: architecture
    search with adversarial accuracy as the reward. Deviations: independent choices instead of a recurrent controller,
    and plain REINFORCE. For large spaces use Optuna.

    >>> space = {"width": (2, 8)}
    >>> search = search_architectures(space, lambda a: nn.Linear(1, a["width"]), lambda m: m.out_features, n_trials=9)
    >>> search.best.architecture
    {'width': 8}
    """
    check_count(n_trials, "n_trials")
    check_positive(lr, "lr")
    if not space or not all(len(options) for options in space.values()):
        raise InvalidInputError(f"space must map each choice to at least one option, got {dict(space)}")
    check_choice(strategy, ("random", "reinforce"), "strategy")
    generator = as_generator(generator)
    logits = {name: torch.zeros(len(options), dtype=torch.float64) for name, options in space.items()}
    trials: list[ArchitectureTrial] = []
    for _ in track(range(n_trials), "searching", enabled=progress):
        chosen = {name: int(value.softmax(0).multinomial(1, generator=generator)) for name, value in logits.items()}
        architecture = {name: space[name][index] for name, index in chosen.items()}
        model = train(architecture)
        earned = float(reward(model))
        if not torch.isfinite(torch.tensor(earned)):
            raise NumericalError(
                f"the reward of {architecture} is {earned}, not finite; check the training and the reward"
            )
        if strategy == "reinforce" and trials:
            baseline = sum(trial.reward for trial in trials) / len(trials)
            for name, index in chosen.items():
                score = -logits[name].softmax(0)
                score[index] += 1
                logits[name] += lr * (earned - baseline) * score
        trials.append(ArchitectureTrial(architecture, model, earned))
    return ArchitectureSearch(tuple(trials), {name: value.softmax(0) for name, value in logits.items()})
