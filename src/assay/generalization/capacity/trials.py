"""Training runs of a search: data and weights of a repeat, training one by one or in a stack, checks of failures."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from assay.core import InvalidInputError, LossFunction, find_copies, isolated_rng, seeded, spawn_seeds
from assay.generalization.capacity.minimum import MinimumCheck, minimum_check
from assay.generalization.capacity.training import EstimatorReport, StackedProcedure

Labels = Literal["original", "random", "random inputs"]

Row = dict[str, Any]
"""A training run in JSON: the fields of `CapacityProbe`."""


@dataclass(frozen=True)
class Checks:
    """What a failure must show to count as one, and whether the Hessian is looked at."""

    loss: LossFunction | None
    gradient_tolerance: float
    slope_tolerance: float
    eigenvalues: bool

    def measure(self, model: nn.Module, x: Tensor, y: Tensor, history: Sequence[float] | None, *, last: bool) -> Row:
        """Return the measurements of a failure and whether it is decided; the Hessian only of the last one."""
        if self.loss is None or not isinstance(model, nn.Module):
            return {"decided": None}
        known = history if history is not None and len(history) >= 4 else None
        found = minimum_check(model, x, y, loss=self.loss, history=known, eigenvalues=False)
        decided = self._decided(found)
        if self.eigenvalues and (decided or last):
            found = minimum_check(model, x, y, loss=self.loss, history=known)
        return vars(found) | {"decided": decided}

    def _decided(self, found: MinimumCheck) -> bool:
        steep = found.loss_slope is not None and found.loss_slope > self.slope_tolerance
        return found.gradient_norm <= self.gradient_tolerance and not steep


@dataclass(frozen=True)
class Trials:
    """Run the trials of one item of a sweep: numbers of samples, each with some restarts.

    Attributes:
        build: Builds a fresh network, or an estimator.
        train: Trains it.
        x: All inputs, without copies.
        y: All targets.
        restarts: Initial weights to try for each number of samples.
        share_fitted: Share of samples that a trained network fits.
        checks: Checks of failures.
    """

    build: Callable[[torch.Generator], Any]
    train: Callable[..., Any]
    x: Tensor
    y: Tensor
    restarts: int
    share_fitted: Callable[[Any, Tensor, Tensor], float]
    checks: Checks

    def __call__(self, item: dict[str, Any]) -> dict[str, list[list[Row]]]:
        """Return the runs of each trial; a trial is a kind of labels, the seed of a repeat, and a number of samples."""
        if isinstance(self.train, StackedProcedure):
            return {"runs": self._stacked(item["trials"])}
        return {"runs": [self._one_by_one(*trial) for trial in item["trials"]]}

    def identity(self) -> dict[str, Any]:
        """Return what, beside the trials, decides the runs as far as it can be told: all but `build` and `train`."""
        content = hashlib.blake2b(digest_size=16)
        for values in (self.x, self.y):
            content.update(values.cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
        tolerances = [self.checks.gradient_tolerance, self.checks.slope_tolerance, self.checks.eigenvalues]
        return {"data": content.hexdigest(), "restarts": self.restarts, "checks": tolerances}

    def fresh(self, seed: int, restart: int) -> Any:
        """Build the network of a restart, whether it draws its weights from the generator or from the global state."""
        own = spawn_seeds(spawn_seeds(seed, 4)[2], restart + 1)[restart]
        with isolated_rng(own):
            return self.build(seeded(own))

    def samples(self, labels: Labels, seed: int, n: int) -> tuple[Tensor, Tensor]:
        """Return the first n samples of a repeat; its order and its random labels do not depend on n."""
        order, drawn, *_ = (seeded(each) for each in spawn_seeds(seed, 4))
        index = torch.randperm(len(self.x), generator=order)[:n].to(self.x.device)
        x, y = self.x, self.y
        if labels == "random":
            values = y.unique(dim=0)
            y = values[torch.randint(len(values), (len(y),), generator=drawn).to(y.device)]
        elif labels == "random inputs":
            noise = torch.randn(x.shape, generator=drawn, dtype=torch.float64).to(x)
            x = x.mean(0) + x.std(0) * noise
        return x[index], y[index]

    def _source(self, seed: int, restart: int) -> torch.Generator:
        return seeded(spawn_seeds(spawn_seeds(seed, 4)[3], restart + 1)[restart])

    def _one_by_one(self, labels: Labels, seed: int, n: int) -> list[Row]:
        """Train restart after restart until one fits."""
        x, y = self.samples(labels, seed, n)
        rows: list[Row] = []
        for restart in range(self.restarts):
            model, source = self.fresh(seed, restart), self._source(seed, restart)
            # Where training had not ended, a second call goes on: the budget is doubled once.
            for last in (False, True):
                with isolated_rng(source.initial_seed()), torch.enable_grad():
                    report = self.train(model, x, y, source)
                row = self._judge(model, x, y, report, last=last)
                if row.get("decided") is not False:
                    break
            rows.append(row)
            if row["accuracy"] == 1:
                break
        return rows

    def _stacked(self, trials: Sequence[Sequence[Any]]) -> list[list[Row]]:
        """Train all restarts of all trials at once, and the undecided failures once more."""
        cells = [(*trial, restart) for trial in trials for restart in range(self.restarts)]
        parts = [self.samples(labels, seed, n) for labels, seed, n, _ in cells]
        models = [self.fresh(seed, restart) for _, seed, _, restart in cells]
        # One number for each of the cells: another stack draws other batches.
        source = seeded(spawn_seeds(sum(seed for _, seed, _, _ in cells), 1)[0])
        rows: list[Row] = [{} for _ in cells]
        going = list(range(len(cells)))
        for last in (False, True):
            self._train_stack([models[place] for place in going], [parts[place] for place in going], source)
            for place in going:
                rows[place] = self._judge(models[place], *parts[place], None, last=last)
            going = [place for place in going if rows[place].get("decided") is False]
            if not going:
                break
        return [rows[start : start + self.restarts] for start in range(0, len(rows), self.restarts)]

    def _train_stack(
        self, models: list[nn.Module], parts: list[tuple[Tensor, Tensor]], source: torch.Generator
    ) -> None:
        """Train each network on its own part of one concatenated set."""
        lengths = [len(x) for x, _ in parts]
        membership = torch.zeros(len(parts), sum(lengths), dtype=torch.bool, device=self.x.device)
        start = 0
        for place, length in enumerate(lengths):
            membership[place, start : start + length] = True
            start += length
        x, y = (torch.cat(kind) for kind in zip(*parts, strict=True))
        self.train(models, x, y, membership, source)

    def _judge(self, model: Any, x: Tensor, y: Tensor, report: Any, *, last: bool) -> Row:
        share = self.share_fitted(model, x, y)
        if share == 1:
            return {"accuracy": share}
        if isinstance(report, EstimatorReport):
            return {"accuracy": share, "decided": report.converged}
        return {"accuracy": share} | self.checks.measure(model, x, y, _history(report), last=last)


def distinct(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Return the samples without copies: two labels of one input cannot both be fitted.

    >>> distinct(torch.tensor([[1.0], [2.0], [1.0]]), torch.tensor([0, 1, 1]))[1].tolist()
    [0, 1]
    """
    kept = [place for place, copies in enumerate(find_copies(x, x)) if copies[0] == place]
    return x[kept], y[kept]


def check_fresh(build: Callable[[torch.Generator], Any]) -> Any:
    """Require a function that builds a new network at each call, and return one.

    Raises:
        InvalidInputError: It is no function, or two calls give networks with shared weights.
    """
    if not callable(build) or isinstance(build, nn.Module):
        raise InvalidInputError(
            f"build must be a function of a generator that returns a fresh network, got {type(build).__name__}; "
            "pass lambda generator: mlp((64, 12, 10), generator=generator)"
        )
    with isolated_rng(0):
        one, other = build(seeded(0)), build(seeded(1))
    shared = one is other
    if isinstance(one, nn.Module) and isinstance(other, nn.Module):
        own = {id(value) for value in one.parameters()}
        shared = shared or any(id(value) in own for value in other.parameters())
    if shared:
        raise InvalidInputError("two calls of build return networks with the same weights; build a new network in it")
    return one


def _history(report: Any) -> Sequence[float] | None:
    history = getattr(report, "history", None)
    return history if isinstance(history, (list, tuple)) else None
