"""Training as condensed sets are judged: the velocity of the tangent kernel, and tasks learned with a memory."""

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from assay.core import Step, accuracy, cross_entropy, fit, predict
from assay.privacy import CondensedReplay
from assay.privacy.condensation import kernel_velocity
from assay.studies.privacy.dataset_condensation_contrastive.problems import Problem

SGD = partial(torch.optim.SGD, lr=0.01, momentum=0.9, weight_decay=5e-4)


def velocities(
    model: nn.Module, x: Tensor, y: Tensor, probe: Tensor, *, steps: int, points: int, source: torch.Generator
) -> Tensor:
    """Train a model in place, and return the kernel's velocity between evenly spaced states."""
    states = [{name: value.clone() for name, value in model.state_dict().items()}]
    every = steps // points

    def keep(step: Step) -> None:
        if step.number % every == 0:
            states.append({name: value.clone() for name, value in step.model.state_dict().items()})

    options: dict[str, Any] = {"n_iter": every * points, "batch_size": 256, "callbacks": [keep], "generator": source}
    fit(model, x, y, loss=cross_entropy, optimizer=SGD, **options)
    return kernel_velocity(model, probe, states, dt=float(every))


def learn_in_tasks(
    model: nn.Module, problem: Problem, replay: CondensedReplay, *, n_tasks: int, steps: int, source: torch.Generator
) -> float:
    """Learn a few classes after the other with a memory, and return the accuracy on all of them at the end.

    Batches are drawn from the task's samples and the memory, repeated so that all classes seen have equally many.
    """
    x, y, x_test, y_test = problem
    seen_x, seen_y = x[:0], y[:0]
    for task in torch.arange(int(y.max()) + 1).chunk(n_tasks):
        new = torch.isin(y, task)
        repeats = max(1, int((y == task[0]).sum()) // replay.condenser.n_per_class)
        batch_x = torch.cat([x[new], seen_x.repeat(repeats, 1, 1, 1)])
        batch_y = torch.cat([y[new], seen_y.repeat(repeats)])
        fit(model, batch_x, batch_y, loss=cross_entropy, optimizer=SGD, n_iter=steps, batch_size=64, generator=source)
        seen_x, seen_y = replay.observe(x[new], y[new]).memory
    return accuracy(predict(model, x_test), y_test)
