"""Training with the loss of every sample recorded at each step (Rosenfeld and Risteski, 2024, section 2)."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from jaxtyping import Int64, Shaped
from torch import Tensor, nn
from torch.optim import Optimizer

from assay.core import (
    InvalidInputError,
    LossFunction,
    MeanLoss,
    Step,
    as_generator,
    check_count,
    check_outputs,
    check_pairs,
    check_positive,
    copy_network,
    fit,
    isolated_rng,
    mean_over_samples,
)
from assay.landscape.opposing.changes import per_sample_losses
from assay.landscape.opposing.clusters import classes_of, embed, main_pair
from assay.landscape.opposing.contrast import contrasts, mean_gradient_of
from assay.landscape.opposing.features import last_layer_inputs
from assay.landscape.opposing.steps import largest_curvature
from assay.landscape.opposing.trace import OpposingTrace

Groups = tuple[Int64[Tensor, " a"], Int64[Tensor, " b"]]


@torch.inference_mode(False)
def track_opposing(
    model: nn.Module,
    x: Shaped[Tensor, "n *d"],
    y: Tensor,
    *,
    loss: LossFunction,
    optimizer: Callable[[Iterable[nn.Parameter]], Optimizer],
    n_iter: int,
    groups: Groups | None = None,
    k: int = 20,
    distance: float = 2**0.5,
    measure_every: int | None = None,
    batch_size: int | None = None,
    generator: torch.Generator | None = None,
    progress: bool = False,
) -> OpposingTrace:
    r"""Train a copy of a network and record $\ell_i(w_t)$ of every sample at every step.

    Losses are those of evaluation mode, on the whole set, also where training takes mini-batches. Without groups, the
    pair is taken from the step with the largest rise of the mean loss: the main clusters, by class and penultimate
    feature of the trained network, of the k samples that rise most and of the k that fall most there.

    Args:
        model: Network at the start of training; it comes back as it was.
        x: Training inputs; integers for a network that reads tokens.
        y: Targets.
        loss: Mean loss over samples; class weights and ignored labels are folded into one mean over all of them.
        optimizer: Called with the trainable parameters, for example `partial(torch.optim.SGD, lr=0.1)`.
        n_iter: Steps.
        groups: Indices of the samples of group A and group B.
        k: Most samples of a group that is found; at most a quarter of all samples.
        distance: Clusters are merged up to this mean distance, in units of the samples' root mean square distance
            from their mean; two random samples are 1.4 apart. Two classes never share a cluster.
        measure_every: Steps between two measurements of the sharpness and of the groups' gradients; none by default,
            which leaves these empty. It needs `groups`.
        batch_size: Samples a step of training; the whole set by default.
        generator: Source of the shuffling, of dropout and of the starting vector of the sharpness; one seeded with 0 by
            default.
        progress: Draw a bar on standard error.

    Returns:
        The losses, and the groups.

    Raises:
        InvalidInputError: The model, the data or an option is unusable; `measure_every` without `groups`.
        NumericalError: The loss of a training batch is NaN or infinite at the first step.

    Cost: training, and a pass over the data a step; memory O(n `n_iter`).

    Source: Rosenfeld and Risteski, "Outliers with Opposing Signals Have an Outsized Effect on Neural Network
    Optimization" (2024), arXiv 2311.04163, section 2, the figures of group losses over training. Deviation: clusters
    replace the authors' eye.

    >>> from functools import partial
    >>> from assay.core import squared_error
    >>> x, sgd = torch.tensor([[1.0], [2.0], [-1.0]]), partial(torch.optim.SGD, lr=0.1)
    >>> track_opposing(nn.Linear(1, 1), x, x, loss=squared_error, optimizer=sgd, n_iter=4).losses.shape
    torch.Size([5, 3])
    """
    x, y = check_pairs(x, y, tokens=True)
    check_count(k, "k")
    check_positive(distance, "distance")
    check_outputs(model, x)
    groups = _checked(groups, len(x), measure_every)
    source, network = as_generator(generator), copy_network(model)
    record = _Recorder(network, x, y, mean_over_samples(loss, model, x, y), groups, measure_every, source)
    draw = int(torch.randint(2**31, (1,), generator=source, device=source.device))
    options: dict[str, Any] = {"n_iter": n_iter, "batch_size": batch_size, "generator": source, "progress": progress}
    with isolated_rng(draw):  # dropout draws from the global state
        fit(
            network,
            x,
            y,
            loss=loss,
            optimizer=optimizer,
            callbacks=(record,),
            stop=lambda _: record.diverged,
            **options,
        )
    losses = torch.stack(record.losses)
    if groups is None:
        groups = _found(network, x, y, losses, k, distance)
    steps, sharpness, cosine = zip(*record.measured, strict=True) if record.measured else ((), (), ())
    return OpposingTrace(
        losses=losses,
        rising=groups[0],
        falling=groups[1],
        measured_at=torch.tensor(steps, dtype=torch.int64, device=losses.device),
        sharpness=losses.new_tensor(sharpness),
        gradient_cosine=losses.new_tensor(cosine),
        diverged=record.diverged,
        model=network,
    )


class _Recorder:
    """Records each sample's loss after a step, and every so often the sharpness and the groups' gradients."""

    def __init__(
        self,
        network: nn.Module,
        x: Tensor,
        y: Tensor,
        loss: MeanLoss,
        groups: Groups | None,
        every: int | None,
        source: torch.Generator,
    ) -> None:
        self._given = network, x, y, loss
        self._groups, self._every, self._source = groups, every, source
        self.losses = [per_sample_losses(*self._given)]
        self.measured: list[tuple[int, float, float]] = []
        self.diverged = False

    def __call__(self, step: Step) -> None:
        found = per_sample_losses(*self._given, look=False)
        self.diverged = not bool(torch.isfinite(found).all())
        if self.diverged:
            return
        self.losses.append(found)
        if self._groups is not None and self._every is not None and step.number % self._every == 0:
            self.measured.append((step.number, *_measure(*self._given, self._groups, self._source)))


def _checked(groups: Groups | None, n: int, measure_every: int | None) -> Groups | None:
    if measure_every is not None:
        check_count(measure_every, "measure_every")
        if groups is None:
            raise InvalidInputError("measure_every follows the gradients of given groups; pass groups=(a, b) as well")
    for group in groups or ():
        if group.dtype != torch.int64 or group.ndim != 1 or not len(group) or not 0 <= group.min() <= group.max() < n:
            raise InvalidInputError(
                f"each of groups must hold places of samples between 0 and {n - 1}, got {group.dtype} of shape "
                f"{tuple(group.shape)}; pass a non-empty int64 vector"
            )
    return groups


def _measure(
    network: nn.Module, x: Tensor, y: Tensor, loss: MeanLoss, groups: Groups, source: torch.Generator
) -> tuple[float, float]:
    curve = largest_curvature(network, x, y, loss, params="trainable", batch_size=None, generator=source)
    mean_gradient = mean_gradient_of(network, x, y, loss, params="trainable", batch_size=256)
    compare = contrasts(torch.ones(len(x), device=x.device), mean_gradient, curve.eigenvector)
    return curve.sharpness, compare(*groups).gradient_cosine


def _found(network: nn.Module, x: Tensor, y: Tensor, losses: Tensor, k: int, distance: float) -> Groups:
    everything = torch.arange(len(x), device=x.device)
    if len(losses) < 2:
        return everything[:0], everything[:0]
    change = losses.diff(dim=0)
    worst = change.mean(1).argmax()
    points = embed(last_layer_inputs(network, x), classes_of(y))
    return main_pair(everything, change[worst], points, min(k, max(1, len(x) // 4)), distance)
