"""Effective model complexity: the largest training set that is fitted (Shwartz-Ziv et al., 2024)."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Shaped
from torch import Tensor, nn

from assay.core import (
    InvalidInputError,
    LossFunction,
    as_generator,
    check_choice,
    check_count,
    check_outputs,
    check_pairs,
    check_positive,
    cross_entropy,
    named_parameters,
    spawn_seeds,
    sweep,
)
from assay.generalization.capacity.bisection import growth_and_bisection
from assay.generalization.capacity.results import CapacityProbe, EffectiveModelComplexity, LabelGap
from assay.generalization.capacity.training import (
    EstimatorProcedure,
    StackedProcedure,
    share_classified,
)
from assay.generalization.capacity.trials import Checks, Labels, Trials, check_fresh, distinct

Train = Callable[[Any, Tensor, Tensor, torch.Generator], object]
"""Function `train(model, x, y, generator)` that trains a network in place. What it returns may have a `history`."""

Share = Callable[[Any, Tensor, Tensor], float]
"""Function `share(model, x, y)` that returns which share of the samples is fitted."""


@torch.inference_mode(False)
def effective_model_complexity(
    build: Callable[[torch.Generator], Any],
    train: Train | StackedProcedure | EstimatorProcedure,
    x: Shaped[Tensor, "n *d"],
    y: Tensor,
    *,
    labels: Labels = "original",
    start: int = 8,
    growth: float = 1.5,
    tolerance: float = 0.05,
    repeats: int = 1,
    restarts: int = 1,
    share_fitted: Share | None = None,
    loss: LossFunction | None = cross_entropy,
    gradient_tolerance: float = 0.05,
    slope_tolerance: float = 0.05,
    eigenvalues: bool = True,
    folder: str | Path | None = None,
    n_jobs: int = 1,
    generator: torch.Generator | None = None,
    progress: bool = False,
) -> EffectiveModelComplexity:
    r"""Find the largest n such that a fresh network, trained on n samples, fits all of them.

    $\mathrm{EMC} = \max\{n : \text{accuracy of } \mathrm{train}(\theta_0, S_n) \text{ on } S_n \text{ is } 1\}$ for
    nested sets $S_n$: each repeat has one order of the samples and one draw of random labels, and n grows by a factor
    until the first failure, between which and the last success it is bisected. Copies of samples are left out first.

    A failure counts as one when training had ended: (a) the norm of the gradient over all n samples is at most
    `gradient_tolerance`, and (b) the loss fell by no more than `slope_tolerance` over the last tenth of training,
    where `train` returns its history. Otherwise the network is trained once more from where it is, which doubles the
    budget. What fails (a) or (b) after that is a failure too, marked as undecided. (c) the ends of the Hessian's
    spectrum are reported. A learning rate that falls to zero flattens the end of any history: (a) then decides.

    Args:
        build: Called with a generator; returns a fresh network (or an estimator, see `EstimatorProcedure`). Its global
            random state is seeded as well.
        train: Function `train(model, x, y, generator)` that trains a network in place, such as `TrainingProcedure`, or
            a `StackedProcedure`, which trains all repeats and restarts together. A second call on the same network
            must go on from its weights.
        x: Samples; their number is the cap.
        y: Their targets.
        labels: "original"; "random", drawn uniformly from the values in `y`; or "random inputs", normally distributed
            with the mean and deviation of each entry, with the original labels.
        start: The first number of samples.
        growth: Factor until the first failure; the paper's protocol only says that n increases.
        tolerance: Relative width at which the bisection ends; 0 is exact.
        repeats: Orders of the samples, each with its own labels and weights.
        restarts: Initial weights that are tried at each n, of which one must fit; 1 is the paper's protocol.
        share_fitted: Function `(model, x, y)` that returns which share of samples is fitted; by default the accuracy in
            evaluation mode.
        loss: Training loss for the checks of failures; None leaves the checks out.
        gradient_tolerance: Largest norm of the gradient at the end of training.
        slope_tolerance: Largest relative decrease of the loss at the end of training.
        eigenvalues: Compute the ends of the Hessian's spectrum at failures.
        folder: Where finished runs are kept and read again; take one for each `build` and `train`.
        n_jobs: Processes among which repeats are shared out; a stack is one.
        generator: Source of orders, labels and weights; a fixed seed by default.
        progress: Show bars.

    Returns:
        The complexity of each repeat, censored where all samples were fitted, and all runs.

    Raises:
        InvalidInputError: The data or an option is unusable, two calls of `build` share weights, or networks cannot be
            trained as one stack.
        NumericalError: Training diverged.

    Cost: about log(EMC / start) / log(growth) + log((growth - 1) / tolerance) / log(2) trainings for each repeat and
    restart, those that fail up to twice as long and 60 Hessian products longer.

    Source: Shwartz-Ziv, Goldblum, Bansal, Bruss, LeCun and Wilson, "Just How Flexible are Neural Networks in Practice?"
    (2024), arXiv 2406.11463, main text: the iterative protocol and the checks of a minimum. Deviations: geometric
    growth with bisection, restarts, the doubling of the budget, and all thresholds, which the paper's main text does
    not state.

    >>> from sklearn.neighbors import KNeighborsClassifier
    >>> x, y = torch.randn(40, 3, generator=torch.Generator().manual_seed(0)), torch.arange(40) % 2
    >>> nearest = lambda generator: KNeighborsClassifier(1)
    >>> print(effective_model_complexity(nearest, EstimatorProcedure(), x, y, labels="random"))
    Effective model complexity on random labels, 1 repeat: ≥ 40 samples. 1 fitted all 40 samples there are.
    """
    options: dict[str, Any] = {
        "restarts": restarts,
        "share_fitted": share_fitted,
        "loss": loss,
        "eigenvalues": eigenvalues,
    }
    tolerances: dict[str, Any] = {"gradient_tolerance": gradient_tolerance, "slope_tolerance": slope_tolerance}
    trials, n_parameters = _prepare(build, train, x, y, labels=labels, **options, **tolerances)
    check_count(repeats, "repeats")
    seeds = _repeat_seeds(generator, repeats)
    (found,) = _search(
        trials,
        n_parameters,
        (labels,),
        seeds,
        search={"start": start, "growth": growth, "tolerance": tolerance},
        keeping={"folder": folder, "n_jobs": n_jobs, "progress": progress},
    )
    return found


@torch.inference_mode(False)
def label_gap(
    build: Callable[[torch.Generator], Any],
    train: Train | StackedProcedure | EstimatorProcedure,
    x: Shaped[Tensor, "n *d"],
    y: Tensor,
    *,
    start: int = 8,
    growth: float = 1.5,
    tolerance: float = 0.05,
    repeats: int = 1,
    restarts: int = 1,
    share_fitted: Share | None = None,
    loss: LossFunction | None = cross_entropy,
    gradient_tolerance: float = 0.05,
    slope_tolerance: float = 0.05,
    eigenvalues: bool = True,
    folder: str | Path | None = None,
    n_jobs: int = 1,
    generator: torch.Generator | None = None,
    progress: bool = False,
) -> LabelGap:
    r"""Compare the effective model complexity on the original labels with that on random ones.

    $\Delta = \log \mathrm{EMC}_{\text{original}} - \log \mathrm{EMC}_{\text{random}}$, with one order of the samples
    and the same initial weights for both. A stacked procedure trains both kinds together. Arguments, errors and cost
    are those of two calls of `effective_model_complexity`.

    Args:
        build: Builds a fresh network.
        train: Trains it.
        x: Samples.
        y: Their targets.
        start: The first number of samples.
        growth: Factor until the first failure.
        tolerance: Relative width at which the bisection ends.
        repeats: Orders of the samples.
        restarts: Initial weights that are tried at each n.
        share_fitted: Which share of samples is fitted.
        loss: Training loss for the checks of failures.
        gradient_tolerance: Largest norm of the gradient at the end of training.
        slope_tolerance: Largest relative decrease of the loss at the end of training.
        eigenvalues: Compute the ends of the Hessian's spectrum at failures.
        folder: Where finished runs are kept and read again.
        n_jobs: Processes among which repeats are shared out.
        generator: Source of orders, labels and weights.
        progress: Show bars.

    Returns:
        Both complexities and their gap.

    Raises:
        InvalidInputError: As `effective_model_complexity`.
        NumericalError: As `effective_model_complexity`.

    Cost: as two calls of `effective_model_complexity`.

    Source: Shwartz-Ziv et al., "Just How Flexible are Neural Networks in Practice?" (2024), main text, on
    generalisation and the difference between correct and incorrect labels. The paper gives a percentage, which is
    `percent` of the result.

    >>> from sklearn.svm import LinearSVC
    >>> x = torch.randn(99, 2, generator=torch.Generator().manual_seed(0))
    >>> gap = label_gap(lambda generator: LinearSVC(C=1e4), EstimatorProcedure(), x, (x[:, 0] > 0).long(), start=2)
    >>> gap.values[0] > 1
    True
    """
    options: dict[str, Any] = {
        "restarts": restarts,
        "share_fitted": share_fitted,
        "loss": loss,
        "eigenvalues": eigenvalues,
    }
    tolerances: dict[str, Any] = {"gradient_tolerance": gradient_tolerance, "slope_tolerance": slope_tolerance}
    trials, n_parameters = _prepare(build, train, x, y, labels="random", **options, **tolerances)
    check_count(repeats, "repeats")
    found = _search(
        trials,
        n_parameters,
        ("original", "random"),
        _repeat_seeds(generator, repeats),
        search={"start": start, "growth": growth, "tolerance": tolerance},
        keeping={"folder": folder, "n_jobs": n_jobs, "progress": progress},
    )
    return LabelGap(*found)


def _repeat_seeds(generator: torch.Generator | None, repeats: int) -> list[int]:
    source = as_generator(generator)
    return spawn_seeds(int(torch.randint(2**31, (1,), generator=source, device=source.device)), repeats)


def _prepare(
    build: Callable[[torch.Generator], Any],
    train: Any,
    x: Tensor,
    y: Tensor,
    *,
    labels: str,
    restarts: int,
    share_fitted: Share | None,
    loss: LossFunction | None,
    gradient_tolerance: float,
    slope_tolerance: float,
    eigenvalues: bool,
) -> tuple[Trials, int | None]:
    """Check what is given, and return what runs trials, and the number of trainable parameters."""
    x, y = check_pairs(x, y, tokens=True)
    check_choice(labels, ("original", "random", "random inputs"), "labels")
    if labels == "random inputs" and not x.is_floating_point():
        raise InvalidInputError("random inputs are normally distributed, and these are integers; take random labels")
    check_count(restarts, "restarts")
    check_positive(gradient_tolerance, "gradient_tolerance")
    check_positive(slope_tolerance, "slope_tolerance")
    model, estimator = check_fresh(build), isinstance(train, EstimatorProcedure)
    if isinstance(model, nn.Module):
        check_outputs(model, x)
    if estimator != hasattr(model, "fit"):
        raise InvalidInputError(
            f"build returned {type(model).__name__}; pass a scikit-learn estimator with EstimatorProcedure, and a "
            "torch.nn.Module with any other procedure"
        )
    if share_fitted is None:
        share_fitted = train.share_fitted if isinstance(train, EstimatorProcedure) else share_classified
    checks = Checks(loss, gradient_tolerance, slope_tolerance, eigenvalues)
    trials = Trials(build, train, *distinct(x, y), restarts, share_fitted, checks)
    n_parameters = None if estimator else sum(value.numel() for value in named_parameters(model).values())
    return trials, n_parameters


def _search(
    trials: Trials,
    n_parameters: int | None,
    kinds: Sequence[Labels],
    seeds: Sequence[int],
    *,
    search: dict[str, Any],
    keeping: dict[str, Any],
) -> list[EffectiveModelComplexity]:
    """Advance the searches of all kinds of labels and all repeats together, one number of samples each a round."""
    check_count(search["start"], "start")
    if not search["growth"] > 1:
        raise InvalidInputError(f"growth must be a factor above 1, got {search['growth']!r}; the default is 1.5")
    if not 0 <= search["tolerance"] < 1:
        raise InvalidInputError(f"tolerance must lie in [0, 1), got {search['tolerance']!r}; 0 is exact")
    most = len(trials.x)
    places: list[tuple[Labels, int]] = [(kind, repeat) for kind in kinds for repeat in range(len(seeds))]
    searches = {place: growth_and_bisection(**search, most=most) for place in places}
    wanted = {place: next(each) for place, each in searches.items()}
    brackets: dict[tuple[Labels, int], tuple[int, int | None]] = {}
    probes: dict[Labels, list[CapacityProbe]] = {kind: [] for kind in kinds}
    while wanted:
        asked = [[kind, seeds[repeat], n] for (kind, repeat), n in wanted.items()]
        together = isinstance(trials.train, StackedProcedure)
        groups = [asked] if together else [[each] for each in asked]
        items = [{"trials": group} | trials.identity() for group in groups]
        note = f"up to {max(wanted.values())} samples"
        found = [runs for result in sweep(trials, items, description=note, **keeping) for runs in result["runs"]]
        after: dict[tuple[Labels, int], int] = {}
        for (place, n), runs in zip(wanted.items(), found, strict=True):
            rows = [CapacityProbe(place[1], n, restart, **run) for restart, run in enumerate(runs)]
            probes[place[0]] += rows
            try:
                after[place] = searches[place].send(any(row.fitted for row in rows))
            except StopIteration as end:
                brackets[place] = end.value
        wanted = after
    return [
        EffectiveModelComplexity(
            labels=kind,
            n_fitted=tuple(brackets[kind, repeat][0] for repeat in range(len(seeds))),
            n_failed=tuple(brackets[kind, repeat][1] for repeat in range(len(seeds))),
            n_samples=most,
            n_parameters=n_parameters,
            probes=tuple(probes[kind]),
        )
        for kind in kinds
    ]
