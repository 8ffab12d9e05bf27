"""Training by gradient descent on the full batch or on mini-batches."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import torch
from jaxtyping import Shaped
from torch import Tensor, nn
from torch.optim import LBFGS, Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, LRScheduler

from assay.core.batches import batch_sizes, shuffled_batches
from assay.core.checks import check_count, check_pairs
from assay.core.errors import AssayError, InvalidInputError, NumericalError, require_extra
from assay.core.look import check_model
from assay.core.losses import LossFunction
from assay.core.objective import training_loss
from assay.core.problems import not_accepted
from assay.core.progress import track


@dataclass(frozen=True)
class Step:
    """The state after one step of training, as stop rules and callbacks receive it."""

    number: int
    loss: float
    model: nn.Module


@dataclass(frozen=True)
class FitResult:
    """The number of steps, the loss of the last batch, and the loss at every step."""

    n_iter: int
    loss: float
    history: tuple[float, ...]


OptimizerFactory: TypeAlias = Callable[[Iterable[nn.Parameter]], Optimizer]
ScheduleFactory: TypeAlias = Callable[[Optimizer], LRScheduler]


def fit(
    model: nn.Module,
    x: Shaped[Tensor, "n *d"],
    y: Tensor,
    *,
    loss: LossFunction,
    optimizer: OptimizerFactory,
    schedule: ScheduleFactory | Literal["cosine"] | None = None,
    epochs: int | None = None,
    n_iter: int | None = None,
    batch_size: int | None = None,
    stop: Callable[[Step], bool] | None = None,
    callbacks: Sequence[Callable[[Step], None]] = (),
    devices: int = 1,
    generator: torch.Generator | None = None,
    progress: bool = False,
) -> FitResult:
    """Train `model` in place and leave it in evaluation mode.

    Where `batch_size` leaves a rest of one sample at the end of an epoch, it joins the batch before it: one sample has
    no batch statistics. Any other rest is a smaller batch.

    Args:
        model: Network to train; it and the data stay on the device where they are.
        x: Inputs; integers for a network that reads tokens.
        y: Targets. For the losses that `loss_kind` knows, labels of any integer type and of shape `(n,)` or `(n, 1)`.
        loss: Mean loss over a batch.
        optimizer: Called with the trainable parameters, for example `partial(torch.optim.SGD, lr=0.1)`.
        schedule: Learning-rate schedule, stepped once a step; "cosine" falls to zero at the last step.
        epochs: Passes over the data; give either this or `n_iter`.
        n_iter: Optimiser steps.
        batch_size: Samples a step, reshuffled every epoch; the whole set by default.
        stop: Ends training early when it returns true.
        callbacks: Called after every step.
        devices: With more than one, lightning-fabric (extra `devices`) starts a process for each and every batch is
            divided evenly among them, so the result is that of one device.
        generator: Source of the shuffling; required for mini-batches.
        progress: Draw a bar on standard error.

    Returns:
        Steps taken, last loss and the history of losses.

    Raises:
        InvalidInputError: The arguments do not fit each other, or the model or the loss does not take the data.
        NumericalError: The loss became NaN or infinite.

    >>> from functools import partial
    >>> from assay.core.losses import squared_error
    >>> x = torch.randn(8, 2, generator=torch.Generator().manual_seed(0))
    >>> layer = nn.Linear(2, 1)
    >>> sgd = partial(torch.optim.SGD, lr=0.1)
    >>> fit(layer, x, x.sum(1), loss=squared_error, optimizer=sgd, n_iter=300).loss < 1e-6
    True
    """
    check_model(model)
    x, y = check_pairs(x, y, tokens=True)
    size = len(x) if batch_size is None else batch_size
    total = _total_steps(len(x), size, epochs, n_iter)
    if size < len(x) and generator is None:
        raise InvalidInputError("mini-batches are shuffled: pass generator=assay.core.seeded(seed)")
    run = _optimizer(model, optimizer)
    scheduler = CosineAnnealingLR(run, total) if schedule == "cosine" else schedule(run) if schedule else None
    launched = _launch(model, run, x, size, devices)
    batches = track(shuffled_batches(x, y, size, total, generator), "training", total=total, enabled=progress)
    objective = training_loss(loss, y)

    history: list[float] = []
    model.train()
    try:
        with torch.inference_mode(False), torch.enable_grad():
            for number, (batch_x, batch_y) in enumerate(batches, 1):
                value = launched.step(objective, batch_x, batch_y)
                if scheduler is not None:
                    scheduler.step()
                history.append(value.item())
                if not torch.isfinite(value):
                    raise NumericalError(
                        f"the training loss became {value.item()} at step {number}; lower the learning rate"
                    )
                step = Step(number, history[-1], model)
                for callback in callbacks:
                    callback(step)
                if stop is not None and stop(step):
                    break
    finally:
        model.eval()
    return FitResult(len(history), history[-1], tuple(history))


def _optimizer(model: nn.Module, build: OptimizerFactory) -> Optimizer:
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if not trainable:
        raise InvalidInputError("every parameter of the model is frozen; set requires_grad on those to be trained")
    if not callable(build) or isinstance(build, Optimizer):
        raise InvalidInputError(
            f"optimizer must be a function of parameters, got {type(build).__name__}; "
            "pass one such as partial(torch.optim.SGD, lr=0.1)"
        )
    run = build(trainable)
    if isinstance(run, LBFGS):
        raise InvalidInputError("LBFGS evaluates the loss several times a step, which fit does not; use another one")
    return run


def _outputs(network: nn.Module, batch: Tensor) -> Any:
    try:
        return network(batch)
    except torch.OutOfMemoryError:
        raise
    except (RuntimeError, ValueError, TypeError, IndexError) as error:
        if isinstance(error, AssayError):
            raise
        problem = not_accepted(network, batch[0], error)
        mend = "give at least two samples a batch, which batch-norm needs" if len(batch) == 1 else problem.mend
        raise InvalidInputError(f"the model {problem.what}; {mend}") from error


def _total_steps(n: int, batch_size: int, epochs: int | None, n_iter: int | None) -> int:
    check_count(batch_size, "batch_size")
    if epochs is not None and n_iter is None:
        check_count(epochs, "epochs")
        return epochs * len(batch_sizes(n, batch_size))
    if n_iter is not None and epochs is None:
        check_count(n_iter, "n_iter")
        return n_iter
    raise InvalidInputError(f"give either epochs or n_iter, got epochs={epochs} and n_iter={n_iter}")


@dataclass(frozen=True)
class _Launched:
    """A model and its optimiser in one of `count` processes, and that process's share of every batch."""

    network: nn.Module
    optimizer: Optimizer
    backward: Callable[[Tensor], None]
    rank: int = 0
    count: int = 1

    def step(self, loss: LossFunction, x: Tensor, y: Tensor) -> Tensor:
        """Take one step of the optimiser, and return the loss before it."""
        x, y = (batch[self.rank :: self.count] for batch in (x, y))
        self.optimizer.zero_grad()
        value = loss(_outputs(self.network, x), y)
        if not value.requires_grad:
            raise InvalidInputError("the loss has no gradient; compute it from the outputs, without detach or argmax")
        self.backward(value)
        self.optimizer.step()
        return value


def _launch(model: nn.Module, optimizer: Optimizer, x: Tensor, batch_size: int, devices: int) -> _Launched:
    if devices == 1:
        return _Launched(model, optimizer, Tensor.backward)
    if len(x) % devices or batch_size % devices or len(x) % batch_size:
        raise InvalidInputError(
            f"{len(x)} samples in batches of {batch_size} cannot be shared out evenly over {devices} devices; "
            "choose sizes that divide"
        )
    fabric = require_extra("lightning_fabric", "devices").Fabric(accelerator=x.device.type, devices=devices)
    fabric.launch()
    network, wrapped = fabric.setup(model, optimizer)
    return _Launched(network, wrapped, fabric.backward, fabric.global_rank, fabric.world_size)
