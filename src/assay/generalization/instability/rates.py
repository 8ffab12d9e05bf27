"""Learning-rate sensitivity: how much of the loss depends on the learning rate (Wortsman et al., 2023)."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from assay.core import (
    InvalidInputError,
    NumericalError,
    check_count,
    check_positive,
    isolated_rng,
    seeded,
    spawn_seeds,
    sweep,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LEARNING_RATES = (3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1)
"""The set H of the paper: three decades, two rates in each."""


def lr_sensitivity(losses: Float[Tensor, " r"] | Sequence[float], initial_loss: float) -> float:
    r"""Compute $S = \mathrm{mean}_{\eta \in H}\,[\min(\ell(\eta), \ell_0) - \ell^*]$, $\ell^* = \min_\eta \ell(\eta)$.

    Zero means that every learning rate reaches the same loss. It is also zero where every run stays at the initial
    loss, so look at the curve too. Where a change moves the best rate, move H with it; where it gives the learning rate
    another meaning, the numbers cannot be compared.

    Args:
        losses: Final loss of the run at each learning rate; NaN and infinity count as the initial loss.
        initial_loss: Loss $\ell_0$ of the untrained network, measured on the same data.

    Returns:
        S, in the units of the loss.

    Raises:
        InvalidInputError: There are no losses, or the initial loss is not finite.

    Source: Wortsman et al., "Small-scale proxies for large-scale Transformer training instabilities" (2023), main text,
    the definition of LR sensitivity. Deviation: $\ell^*$ too is taken of losses of at most $\ell_0$, so that S is never
    negative.

    >>> lr_sensitivity([2.5, 2.0, float("nan")], 4.0)
    0.8333333333333334
    """
    values = torch.as_tensor(losses, dtype=torch.float64)
    if values.ndim != 1 or len(values) == 0:
        raise InvalidInputError(f"losses must be a vector, one a learning rate, got shape {tuple(values.shape)}")
    if not torch.isfinite(torch.tensor(float(initial_loss))):
        raise InvalidInputError(f"initial_loss must be finite, got {initial_loss!r}; measure it before training")
    clipped = _clipped(values, torch.tensor(initial_loss, dtype=torch.float64))
    return float((clipped - clipped.min()).mean())


@dataclass(frozen=True)
class LRSweep:
    r"""Final losses over learning rates and seeds.

    Attributes:
        lrs: Learning rates, in ascending order.
        losses: Final loss of each run, NaN or infinite where it diverged.
        initial_losses: Loss of each seed's untrained network.
        figures: What the training function returned beside, by name; NaN where it returned nothing.
    """

    lrs: tuple[float, ...]
    losses: Float[Tensor, "s r"]
    initial_losses: Float[Tensor, " s"]
    figures: Mapping[str, Float[Tensor, "s r"]] = field(default_factory=dict)

    @property
    def clipped_losses(self) -> Float[Tensor, "s r"]:
        """Final losses of at most the initial loss."""
        return _clipped(self.losses, self.initial_losses[:, None])

    @property
    def diverged(self) -> Bool[Tensor, "s r"]:
        """Runs whose loss is not finite, or above the initial one."""
        return ~(self.losses <= self.initial_losses[:, None])

    @property
    def sensitivities(self) -> Float[Tensor, " s"]:
        """LR sensitivity of each seed."""
        pairs = zip(self.losses, self.initial_losses, strict=True)
        return torch.tensor([lr_sensitivity(row, float(start)) for row, start in pairs], dtype=torch.float64)

    @property
    def sensitivity(self) -> float:
        """LR sensitivity, the mean over seeds."""
        return float(self.sensitivities.mean())

    @property
    def best_lr(self) -> float:
        """Learning rate of the lowest mean loss."""
        return self.lrs[int(self.clipped_losses.mean(0).argmin())]

    def stable_range(self, tolerance: float = 0.1) -> tuple[float, float]:
        r"""Return the lowest and the highest rate around the best whose mean loss is within `tolerance` of the lowest.

        Raises:
            InvalidInputError: The tolerance is not positive.
        """
        check_positive(tolerance, "tolerance")
        mean = self.clipped_losses.mean(0)
        within, best = (mean <= mean.min() + tolerance).tolist(), int(mean.argmin())
        low = high = best
        while low > 0 and within[low - 1]:
            low -= 1
        while high < len(within) - 1 and within[high + 1]:
            high += 1
        return self.lrs[low], self.lrs[high]

    def __str__(self) -> str:
        low, high = self.stable_range()
        mean, n = float(self.clipped_losses.mean(0).min()), len(self.losses)
        return (
            f"LR sensitivity {self.sensitivity:.3g} over {len(self.lrs)} learning rates from {self.lrs[0]:g} to "
            f"{self.lrs[-1]:g}, {n} seed{'s' * (n > 1)}. The lowest mean loss is {mean:.4g}, at {self.best_lr:g}; "
            f"from {low:g} to {high:g} it is within 0.1 of that. {int(self.diverged.sum())} of "
            f"{self.losses.numel()} runs ended above the initial loss."
        )

    def plot(self, ax: "Axes | None" = None, *, label: str = "") -> "Axes":
        """Draw the loss against the learning rate, the range over seeds shaded, and return the axes."""
        import matplotlib.pyplot as plt

        axes = plt.subplots()[1] if ax is None else ax
        clipped, rates = self.clipped_losses, list(self.lrs)
        (line,) = axes.semilogx(rates, clipped.mean(0).tolist(), "o-", label=label or f"S = {self.sensitivity:.3g}")
        axes.fill_between(
            rates, clipped.amin(0).tolist(), clipped.amax(0).tolist(), color=line.get_color(), alpha=0.2, linewidth=0
        )
        axes.set(xlabel="learning rate", ylabel="final loss")
        return axes


def lr_sweep(
    build: Callable[[torch.Generator], nn.Module],
    train: Callable[[nn.Module, float, torch.Generator], Mapping[str, float] | None],
    evaluate: Callable[[nn.Module], float],
    *,
    lrs: Sequence[float] = LEARNING_RATES,
    n_seeds: int = 1,
    random_state: int = 0,
    folder: str | Path | None = None,
    n_jobs: int = 1,
    progress: bool = False,
) -> LRSweep:
    r"""Train a network at each of several learning rates by your own function, and gather the final losses.

    For every seed all learning rates begin from the same weights and see the same draws: `build` and `train` are given
    generators of the same seeds, and PyTorch's global generator is seeded too and comes back as it was.

    Args:
        build: `build(generator)` returns an untrained network.
        train: `train(model, lr, generator)` trains it in place. It may return numbers by name, such as the largest
            attention logit, which are kept beside the losses.
        evaluate: `evaluate(model)` returns the loss on validation data; called before and after training.
        lrs: Learning rates; the seven of the paper by default.
        n_seeds: Networks trained at each rate.
        random_state: Seed of the seeds.
        folder: Where the results of finished runs are kept as JSON, so that a sweep can be resumed. It is keyed by
            learning rate and seed alone: take a new one after a change to a function.
        n_jobs: Runs at once, in as many processes; the functions must then be importable or closures of plain values.
        progress: Draw a bar on standard error.

    Returns:
        The losses. A run that ends in a NumericalError, as `core.fit` raises at a loss of NaN, has a loss of NaN; all
        other errors pass through.

    Raises:
        InvalidInputError: A rate is not positive or occurs twice, there is no seed, or the initial loss is not finite.

    Cost: `len(lrs) * n_seeds` trainings.

    Source: Wortsman et al., "Small-scale proxies for large-scale Transformer training instabilities" (2023), main text,
    the section on LR sensitivity.

    >>> def train(model, lr, generator):
    ...     with torch.no_grad():
    ...         model.weight.sub_(lr * model.weight)
    >>> found = lr_sweep(lambda generator: nn.Linear(1, 1), train, lambda model: model.weight.square().item())
    >>> found.best_lr
    0.3
    """
    rates = sorted(float(lr) for lr in lrs)
    for lr in rates:
        check_positive(lr, "each learning rate")
    if not rates or len(set(rates)) < len(rates):
        raise InvalidInputError(f"lrs must hold learning rates, each once, got {list(lrs)}")
    check_count(n_seeds, "n_seeds")
    items = [{"seed": seed, "lr": lr} for seed in spawn_seeds(random_state, n_seeds) for lr in rates]
    run = partial(_run, build, train, evaluate)
    found = sweep(run, items, folder=folder, n_jobs=n_jobs, progress=progress, description="learning rates")
    names = sorted({name for result in found for name in result["figures"]})
    missing = float("nan")
    return LRSweep(
        lrs=tuple(rates),
        losses=_table([result["final"] for result in found], rates),
        initial_losses=_table([result["initial"] for result in found], rates)[:, 0],
        figures={name: _table([result["figures"].get(name, missing) for result in found], rates) for name in names},
    )


def _run(build: Callable, train: Callable, evaluate: Callable, item: Mapping[str, Any]) -> dict[str, Any]:
    weights, draws = spawn_seeds(item["seed"], 2)
    with isolated_rng(item["seed"]):
        model = build(seeded(weights))
        initial = float(evaluate(model))
        if not torch.isfinite(torch.tensor(initial)):
            raise InvalidInputError(f"the untrained network has the loss {initial}; check `build` and `evaluate`")
        try:
            figures = train(model, item["lr"], seeded(draws))
            final = float(evaluate(model))
        except NumericalError:
            figures, final = None, float("nan")
    return {
        "initial": initial,
        "final": final,
        "figures": {name: float(each) for name, each in (figures or {}).items()},
    }


def _clipped(losses: Tensor, initial: Tensor) -> Tensor:
    """Return losses of at most the initial one, which NaN counts as."""
    return torch.where(losses <= initial, losses, initial.expand_as(losses))


def _table(values: list[float], rates: list[float]) -> Float[Tensor, "s r"]:
    return torch.tensor(values, dtype=torch.float64).reshape(-1, len(rates))
