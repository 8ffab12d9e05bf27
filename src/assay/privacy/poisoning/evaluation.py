"""What poisons do to networks that are trained on them."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from assay.core import InvalidInputError, accuracy, check_pairs, predict, seeded, spawn_seeds
from assay.core.trainers import Trainer
from assay.privacy.poisoning.base import PoisonGoal
from assay.privacy.poisoning.guided_diffusion import PoisonSet


@dataclass(frozen=True, eq=False)
class PoisonReport:
    """Hold how far victims serve the attacker's goal, one figure for each victim.

    Attributes:
        success: Share of the goal's images that the victim calls by the goal's label.
        target_probability: Mean probability that it gives that label on them; success alone is noisy.
        clean_accuracy: Accuracy on clean test data, where a clean-label attack wants no loss.
    """

    success: Float[Tensor, " v"]
    target_probability: Float[Tensor, " v"]
    clean_accuracy: Float[Tensor, " v"]

    def __str__(self) -> str:
        return (
            f"The goal is reached in {float(self.success.mean()):.1%} of cases over {len(self.success)} victims, its "
            f"label has a probability of {float(self.target_probability.mean()):.1%}; clean accuracy is "
            f"{float(self.clean_accuracy.mean()):.1%}."
        )


def evaluate_poison(
    goal: PoisonGoal,
    poisons: PoisonSet | None,
    x: Float[Tensor, "n *d"],
    y: Int[Tensor, " n"],
    *,
    test: tuple[Float[Tensor, "_ *d"], Int[Tensor, " _"]],
    model_fn: Callable[[torch.Generator], nn.Module],
    trainer: Trainer,
    n_victims: int = 3,
    seed: int = 0,
    progress: bool = False,
) -> PoisonReport:
    """Train fresh victims on clean data with the poisons among it, and measure what the attacker gained.

    Args:
        goal: What the poisons are for.
        poisons: What the attacker slips in; None for victims of clean data, to compare with.
        x: Clean training inputs.
        y: Their classes.
        test: Clean test inputs and their classes.
        model_fn: Builds one untrained network from a generator.
        trainer: `StackedTrainer`, or `one_by_one` of a function of one's own, as for shadow models. A defence is
            evaluated by putting it here.
        n_victims: How many; victims differ more than attacks do, so take several.
        seed: Seed of initial weights and training; the same for poisons that are compared.
        progress: Draw a bar on standard error.

    Raises:
        InvalidInputError: The data do not fit each other, or there is no victim.

    >>> from functools import partial
    >>> from assay.core import cross_entropy
    >>> from assay.nets import mlp
    >>> from assay.core import StackedTrainer
    >>> trainer = StackedTrainer(cross_entropy, partial(torch.optim.SGD, lr=0.5), epochs=30, batch_size=3)
    >>> x, y, goal = torch.eye(3), torch.arange(3), PoisonGoal(torch.ones(1, 3), label=2)
    >>> build = lambda source: mlp((3, 3), generator=source)
    >>> poisons = PoisonSet(torch.ones(3, 3), torch.full((3,), 2), torch.zeros(3))
    >>> print(evaluate_poison(goal, poisons, x, y, test=(x, y), model_fn=build, trainer=trainer).success)
    tensor([1., 1., 1.])
    """
    check_pairs(x, y)
    check_pairs(*test)
    if n_victims < 1:
        raise InvalidInputError(f"train at least one victim, got n_victims={n_victims}")
    if poisons is not None:
        if poisons.x.shape[1:] != x.shape[1:]:
            raise InvalidInputError(
                f"poisons have shape {tuple(poisons.x.shape[1:])}, clean samples {tuple(x.shape[1:])}; make both one"
            )
        x, y = torch.cat([x, poisons.x]), torch.cat([y, poisons.y])
    train_seed, *model_seeds = spawn_seeds(seed, n_victims + 1)
    victims = [model_fn(seeded(own_seed)) for own_seed in model_seeds]
    goal.check(victims[0])
    everything = torch.ones(n_victims, len(x), dtype=torch.bool, device=x.device)
    trainer(victims, x, y, everything, generator=seeded(train_seed), progress=progress)
    probabilities = torch.stack([predict(victim, goal.x).softmax(1) for victim in victims])
    clean = [accuracy(predict(victim, test[0]), test[1]) for victim in victims]
    return PoisonReport(
        success=(probabilities.argmax(2) == goal.label).to(probabilities).mean(1),
        target_probability=probabilities[:, :, goal.label].mean(1),
        clean_accuracy=probabilities.new_tensor(clean),
    )
