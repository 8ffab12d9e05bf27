"""Base class of watermark removal attacks: a changed copy, projected into the budget and measured at each stage."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor, nn

from assay.core import (
    accuracy,
    as_generator,
    check_labels,
    check_pairs,
    check_positive,
    copy_network,
    flatten,
    isolated_rng,
    named_parameters,
    parameter_distance,
    predict,
    project_parameters,
    seeded,
    track,
)
from assay.privacy.watermark.smoothing import smoothed_trigger_accuracy
from assay.privacy.watermark.triggers import TriggerSet


@dataclass(frozen=True)
class RemovalStage:
    """Hold the accuracies of the attacked network at one stage of an attack.

    Attributes:
        distance: Euclidean distance of all parameters from the watermarked network's.
        test_accuracy: Accuracy on clean test samples.
        trigger_accuracy: Trigger accuracy without noise, the black-box verification.
        smoothed_mean: Mean trigger accuracy under parameter noise.
        smoothed_median: Median trigger accuracy under parameter noise, the upper of two candidates: the white-box
            verification.
    """

    distance: float
    test_accuracy: float
    trigger_accuracy: float
    smoothed_mean: float
    smoothed_median: float


@dataclass(frozen=True, eq=False)
class RemovalReport:
    """Hold an attacked network and its accuracies before, during and after the attack.

    Attributes:
        model: The attacked copy, in evaluation mode and without wrappers such as `nn.DataParallel`; all of its
            parameters are trainable.
        norm: Euclidean norm of the parameters before the attack.
        history: Accuracies before the attack, and after each of its stages.
    """

    model: nn.Module
    norm: float
    history: tuple[RemovalStage, ...]

    @property
    def start(self) -> RemovalStage:
        """The network before the attack."""
        return self.history[0]

    @property
    def end(self) -> RemovalStage:
        """The network after the attack."""
        return self.history[-1]

    @property
    def had_watermark(self) -> bool:
        """Whether the network gave the triggers' class to at least half of them before the attack."""
        return self.start.trigger_accuracy >= 0.5

    def __str__(self) -> str:
        text = (
            f"The parameters moved by {self.end.distance:.3g} ({self.end.distance / self.norm:.1%} of their norm): "
            f"trigger accuracy {self.start.trigger_accuracy:.1%} -> {self.end.trigger_accuracy:.1%}, its median under "
            f"noise {self.start.smoothed_median:.1%} -> {self.end.smoothed_median:.1%}, "
            f"test accuracy {self.start.test_accuracy:.1%} -> {self.end.test_accuracy:.1%}."
        )
        return text if self.had_watermark else f"{text} There was no watermark to remove before the attack."


@dataclass(frozen=True, eq=False)
class RemovalTask:
    """Hold the data of an attacker, the triggers, and the source of randomness.

    Attributes:
        x: The attacker's samples.
        y: Their classes.
        triggers: The watermark's samples; only an attacker who knows them may use them.
        generator: Source of randomness.
    """

    x: Shaped[Tensor, "n *d"]
    y: Int[Tensor, " n"]
    triggers: TriggerSet
    generator: torch.Generator


@dataclass(frozen=True)
class RemovalAttack(ABC):
    """Change the parameters of a watermarked network to remove the watermark.

    Args:
        budget: Largest Euclidean distance of all parameters together; None for no limit.

    Raises:
        InvalidInputError: The budget is not positive.
    """

    budget: float | None = None

    def __post_init__(self) -> None:
        if self.budget is not None:
            check_positive(self.budget, "budget")

    @abstractmethod
    def stages(self, model: nn.Module, task: RemovalTask) -> Iterator[None]:
        """Change a copy of the network in place, and yield at the end of each stage; `run` is the public call."""

    @final
    def run(
        self,
        model: nn.Module,
        x: Shaped[Tensor, "n *d"],
        y: Shaped[Tensor, "n *one"],
        *,
        triggers: TriggerSet,
        test: tuple[Shaped[Tensor, "t *d"], Shaped[Tensor, "t *_"]],
        sigma: float,
        n_draws: int = 100,
        batch_size: int = 100,
        generator: torch.Generator | None = None,
        progress: bool = False,
    ) -> RemovalReport:
        """Attack a copy of a network, and measure distance, accuracy and watermark after every stage.

        Distances are over all floating-point parameters; frozen ones are attacked too. At its end each stage is
        projected into the budget and measured, always under the same noise.

        Args:
            model: The watermarked classifier; it comes back as it was.
            x: The attacker's samples.
            y: Their classes.
            triggers: The watermark's samples.
            test: Clean test samples and their classes.
            sigma: Standard deviation of the parameter noise of the white-box verification.
            n_draws: Draws of that noise at each stage. Paper's code: 100 to monitor.
            batch_size: Draws evaluated at once.
            generator: Source of randomness; a fixed seed by default.
            progress: Draw a bar on standard error.

        Raises:
            InvalidInputError: The model, its data and the triggers do not fit each other.
            NumericalError: The attack made some parameter NaN or infinite.
        """
        triggers.check_fits(model)
        n_classes = predict(model, triggers.x[:1]).shape[1]
        x, y = check_pairs(x, y, tokens=True)
        y, test = check_labels(y, n_classes), check_pairs(*test, tokens=True)
        test = test[0], check_labels(test[1], n_classes, "the test labels")
        source = as_generator(generator)
        noise_seed, global_seed = torch.randint(2**31, (2,), generator=source, device=source.device).tolist()

        def noisy(network: nn.Module) -> Float[Tensor, " m"]:
            own = seeded(noise_seed)
            return smoothed_trigger_accuracy(
                network, triggers, sigma=sigma, n=n_draws, batch_size=batch_size, generator=own
            )

        attacked = copy_network(model)
        for parameter in moved_parameters(attacked):
            parameter.requires_grad_(True)
        history = [_measure(attacked, model, triggers, test, noisy(attacked))]
        # Dropout draws from the global generators; networks are trained whatever the caller is in.
        with isolated_rng(global_seed), torch.inference_mode(False), torch.enable_grad():
            stages = self.stages(attacked, RemovalTask(x, y, triggers, source))
            for _ in track(stages, "attacking the watermark", enabled=progress):
                project_parameters(attacked, model, self.budget)
                history.append(_measure(attacked, model, triggers, test, noisy(attacked)))
        return RemovalReport(attacked.eval(), flatten(named_parameters(model)).norm().item(), tuple(history))


def moved_parameters(model: nn.Module) -> list[nn.Parameter]:
    """Return the parameters that an attack moves: those in floating point."""
    return [parameter for parameter in model.parameters() if parameter.is_floating_point()]


def _measure(
    network: nn.Module, before: nn.Module, triggers: TriggerSet, test: tuple[Tensor, Tensor], noisy: Tensor
) -> RemovalStage:
    return RemovalStage(
        distance=parameter_distance(network, before),
        test_accuracy=accuracy(predict(network, test[0]), test[1]),
        trigger_accuracy=accuracy(predict(network, triggers.x), triggers.y),
        smoothed_mean=noisy.mean().item(),
        smoothed_median=noisy.sort().values[len(noisy) // 2].item(),
    )
