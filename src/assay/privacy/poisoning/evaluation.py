"""Evaluation of poisons on victims trained from scratch: success, target probability, clean accuracy."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from assay.core import (
    InvalidInputError,
    Trainer,
    accuracy,
    as_generator,
    check_count,
    check_labels,
    check_pairs,
    check_scores,
    predict,
    seeded,
    spawn_seeds,
)
from assay.privacy.poisoning.base import PoisonGoal
from assay.privacy.poisoning.guided_diffusion import PoisonSet


@dataclass(frozen=True, eq=False)
class PoisonReport:
    """Hold the success of an attack and the clean accuracy, one figure for each victim.

    Attributes:
        success: Share of the goal's images that the victim classifies as the goal's label.
        target_probability: Mean probability of that label on them; success alone is noisy.
        clean_accuracy: Accuracy on clean test data; a clean-label attack tries to keep it.
        n_poisons: Poisons among the training data; 0 for the control, victims trained on clean data.
        majority: Share of the most frequent class in the clean test data: the accuracy without learning.
    """

    success: Float[Tensor, " v"]
    target_probability: Float[Tensor, " v"]
    clean_accuracy: Float[Tensor, " v"]
    n_poisons: int = 0
    majority: float = 0.0

    def __str__(self) -> str:
        text = (
            f"The goal is reached in {float(self.success.mean()):.1%} of cases over {len(self.success)} victims, its "
            f"label has a probability of {float(self.target_probability.mean()):.1%}; clean accuracy is "
            f"{float(self.clean_accuracy.mean()):.1%}."
        )
        if self.n_poisons:
            text += " Without poisons it may be reached as well: compare with the control, poisons=None."
        if self.clean_accuracy.mean() <= self.majority:
            text += (
                f" The victims are no better than the most frequent class, {self.majority:.1%}: they have not learnt, "
                "and say nothing about the attack."
            )
        return text


def evaluate_poison(
    goal: PoisonGoal,
    poisons: PoisonSet | None,
    x: Float[Tensor, "n *d"],
    y: Shaped[Tensor, "n *one"],
    *,
    test: tuple[Float[Tensor, "_ *d"], Shaped[Tensor, "_ *_"]],
    model_fn: Callable[[torch.Generator], nn.Module],
    trainer: Trainer,
    n_victims: int = 3,
    generator: torch.Generator | None = None,
    progress: bool = False,
) -> PoisonReport:
    """Train victims from scratch on clean data and poisons, and measure the success of the attack.

    Args:
        goal: Goal of the attack.
        poisons: Poisons among the training data; None for victims trained on clean data, the control.
        x: Clean training inputs.
        y: Their classes.
        test: Clean test inputs and their classes.
        model_fn: Builds one untrained network from a generator.
        trainer: `StackedTrainer`, or `SequentialTrainer` with your own training function, which may include a defence.
        n_victims: Number of victims; victims vary, so take several.
        generator: Source of initial weights and training; seed it alike for poisons that are compared. A fixed seed by
            default.
        progress: Draw a bar on standard error.

    Raises:
        InvalidInputError: The data do not fit each other or the victims, these return probabilities, or `n_victims` is
            below one.

    >>> from functools import partial
    >>> from assay.core import cross_entropy
    >>> from assay.nets import mlp
    >>> from assay.core import StackedTrainer
    >>> trainer = StackedTrainer(cross_entropy, partial(torch.optim.SGD, lr=0.5), epochs=30, batch_size=3)
    >>> x, y, goal = torch.eye(3), torch.arange(3), PoisonGoal(torch.ones(1, 3), label=2)
    >>> build = lambda source: mlp((3, 3), generator=source)
    >>> poisons = PoisonSet(torch.ones(3, 3), torch.full((3,), 2))
    >>> print(evaluate_poison(goal, poisons, x, y, test=(x, y), model_fn=build, trainer=trainer).success)
    tensor([1., 1., 1.])
    """
    x, y = check_pairs(x, y)
    test = check_pairs(*test)
    check_count(n_victims, "n_victims")
    if poisons is not None and poisons.x.shape[1:] != x.shape[1:]:
        raise InvalidInputError(
            f"poisons have shape {tuple(poisons.x.shape[1:])}, clean samples {tuple(x.shape[1:])}; make both one"
        )
    source = as_generator(generator)
    seed = int(torch.randint(2**31, (1,), generator=source, device=source.device))
    train_seed, *model_seeds = spawn_seeds(seed, n_victims + 1)
    with torch.inference_mode(False), torch.enable_grad():  # whatever the caller is in: victims are trained
        victims = [model_fn(seeded(own_seed)) for own_seed in model_seeds]
    goal.check(victims[0])
    n_classes = check_scores(victims[0], x).shape[1]
    y, test = check_labels(y, n_classes), (test[0], check_labels(test[1], n_classes, "the test labels"))
    if poisons is not None:
        x, y = torch.cat([x, poisons.x.detach().to(x)]), torch.cat([y, check_labels(poisons.y, n_classes)])
    everything = torch.ones(n_victims, len(x), dtype=torch.bool, device=x.device)
    trainer(victims, x, y, everything, generator=seeded(train_seed), progress=progress)
    probabilities = torch.stack([predict(victim, goal.x).softmax(1) for victim in victims])
    clean = [accuracy(predict(victim, test[0]), test[1]) for victim in victims]
    return PoisonReport(
        success=(probabilities.argmax(2) == goal.label).to(probabilities).mean(1),
        target_probability=probabilities[:, :, goal.label].mean(1),
        clean_accuracy=probabilities.new_tensor(clean),
        n_poisons=0 if poisons is None else len(poisons.x),
        majority=float(test[1].unique(return_counts=True)[1].max() / len(test[1])),
    )
