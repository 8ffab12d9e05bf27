"""Results of a search for effective model complexity: probes, brackets, efficiency, label gap."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from assay.core import Interval, NumericalError, mean_interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True)
class CapacityProbe:
    """One training run: a fresh network, trained on the first n samples of one order.

    Attributes:
        repeat: Which order of samples, labels and weights, from 0.
        n: Training samples.
        restart: Which initial weights, from 0.
        accuracy: Share of the samples that are fitted.
        decided: For a failure, whether the checks say that training had ended; None where there were no checks.
        loss: Mean training loss of a failure, else None.
        gradient_norm: Norm of its gradient over all n samples.
        loss_slope: Relative decrease of the loss at the end.
        smallest_eigenvalue: Of the Hessian.
        largest_eigenvalue: Of the Hessian.
    """

    repeat: int
    n: int
    restart: int
    accuracy: float
    decided: bool | None = None
    loss: float | None = None
    gradient_norm: float | None = None
    loss_slope: float | None = None
    smallest_eigenvalue: float | None = None
    largest_eigenvalue: float | None = None

    @property
    def fitted(self) -> bool:
        """Whether all samples were fitted."""
        return self.accuracy == 1


@dataclass(frozen=True)
class EffectiveModelComplexity:
    """The largest training sets that a network and a training procedure fit, one for each repeat.

    Attributes:
        labels: Which labels were fitted.
        n_fitted: The largest number of samples that was fitted, by repeat.
        n_failed: The smallest number above it that was not; None where all samples were fitted.
        n_samples: Distinct samples that there were: the cap.
        n_parameters: Trainable parameters of a network; None where they are not known.
        probes: All training runs.
    """

    labels: str
    n_fitted: tuple[int, ...]
    n_failed: tuple[int | None, ...]
    n_samples: int
    n_parameters: int | None
    probes: tuple[CapacityProbe, ...]

    @property
    def censored(self) -> tuple[bool, ...]:
        """For each repeat, whether all samples were fitted: the complexity is at least that."""
        return tuple(n is None for n in self.n_failed)

    @property
    def decided(self) -> tuple[bool | None, ...]:
        """For each repeat, whether training had ended in every run of the failure that bounds the complexity.

        False means that more training might have fitted more; None that nothing failed or was checked.
        """
        return tuple(self._decided(repeat, n) for repeat, n in enumerate(self.n_failed))

    def _decided(self, repeat: int, n: int | None) -> bool | None:
        runs = [probe.decided for probe in self.probes if (probe.repeat, probe.n) == (repeat, n)]
        known = [decided for decided in runs if decided is not None]
        return all(known) if known else None

    @property
    def n_fitted_at_first(self) -> tuple[int, ...]:
        """The paper's protocol, from the same runs: the largest n below the smallest at which the first start failed.

        Growth goes on where a restart fits, so that this is as coarse as the grid of numbers that was tried.
        """
        return tuple(self._at_first(repeat) for repeat in range(len(self.n_fitted)))

    def _at_first(self, repeat: int) -> int:
        first = {probe.n: probe.fitted for probe in self.probes if (probe.repeat, probe.restart) == (repeat, 0)}
        end = min((n for n, fitted in first.items() if not fitted), default=math.inf)
        return max((n for n, fitted in first.items() if fitted and n < end), default=0)

    @property
    def mean(self) -> float:
        """The geometric mean over repeats.

        Raises:
            NumericalError: Some repeat did not fit a single sample.
        """
        return math.exp(float(np.mean(self.log())))

    @property
    def interval(self) -> Interval | None:
        """A 95% interval of the geometric mean; None for one repeat."""
        if len(self.n_fitted) < 2:
            return None
        found = mean_interval(self.log())
        return Interval(*(math.exp(value) for value in (found.mean, found.low, found.high)))

    @property
    def efficiency(self) -> float | None:
        """The geometric mean over the number of parameters; None where that is not known."""
        return None if self.n_parameters is None else self.mean / self.n_parameters

    def log(self) -> list[float]:
        """Return the logarithm of each repeat's complexity.

        Raises:
            NumericalError: Some repeat did not fit a single sample.
        """
        if min(self.n_fitted) == 0:
            raise NumericalError(
                "the procedure did not fit a single sample, so that the complexity has no logarithm; "
                "check the loss, the learning rate and the number of steps"
            )
        return [math.log(n) for n in self.n_fitted]

    def __str__(self) -> str:
        n = len(self.n_fitted)
        bracket = zip(self.n_fitted, self.censored, strict=True)
        found = ", ".join(f"{'≥ ' if capped else ''}{value}" for value, capped in bracket)
        size = "" if self.n_parameters is None else f" of a model with {self.n_parameters} parameters"
        text = f"Effective model complexity{size} on {self.labels} labels, {n} repeat{'s' * (n > 1)}: {found} samples."
        if any(self.censored):
            text += f" {sum(self.censored)} fitted all {self.n_samples} samples there are."
        unsure = sum(decided is False for decided in self.decided)
        if unsure:
            text += f" In {unsure}, the failure is undecided: training had not ended, and more of it might fit more."
        return text

    def plot(self, ax: "Axes | None" = None) -> "Axes":
        """Draw the training accuracy of every run against the number of samples, and return the axes."""
        import matplotlib.pyplot as plt

        axes = plt.subplots()[1] if ax is None else ax
        for repeat, n in enumerate(self.n_fitted):
            runs = sorted((probe.n, probe.accuracy) for probe in self.probes if probe.repeat == repeat)
            axes.plot(*zip(*runs, strict=True), "o", color=f"C{repeat}", markersize=3)
            axes.axvline(n, color=f"C{repeat}", linewidth=0.8)
        axes.set(xscale="log", xlabel="training samples", ylabel="training accuracy")
        return axes


@dataclass(frozen=True)
class LabelGap:
    r"""How much more of the true labels a network fits than of random ones: $\log n_{true} - \log n_{random}$.

    Attributes:
        original: Complexity on the original labels.
        random: Complexity on random labels, for the same orders of samples and initial weights.
    """

    original: EffectiveModelComplexity
    random: EffectiveModelComplexity

    @property
    def values(self) -> tuple[float, ...]:
        """The gap of each repeat; of a censored one a bound, see `censored`."""
        return tuple(true - drawn for true, drawn in zip(self.original.log(), self.random.log(), strict=True))

    @property
    def censored(self) -> tuple[bool, ...]:
        """For each repeat, whether all samples were fitted with either kind of labels."""
        return tuple(any(pair) for pair in zip(self.original.censored, self.random.censored, strict=True))

    @property
    def percent(self) -> float:
        """The increase from random to original labels in percent, from the mean gap."""
        return 100 * (math.exp(float(np.mean(self.values))) - 1)

    def __str__(self) -> str:
        bound = "at least " if any(self.original.censored) else ""
        return (
            f"Fitted with the original labels are {self.original.mean:.0f} samples, with random ones "
            f"{self.random.mean:.0f}: {bound}{self.percent:.0f} % more."
        )
