"""Rows of what is given a network: an analysis, an attack, an estimator; the other kinds are in `standalone`.

A row covers the callables in `public`. Where a call needs nothing but a model, samples, labels, a loss and a source of
randomness, and options that are stated, the row is one line. Answers are brought into named tensors by `named_tensors`.
"""

import inspect
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from torch import Tensor, nn

from assay.adversarial import Lp
from assay.core import cross_entropy, named_parameters, seeded
from helpers.rows.answers import Answer, named_tensors
from helpers.rows.subjects import classifier, copied, relu_network

Options = Mapping[str, Any] | Callable[[nn.Module, Tensor, Tensor], Mapping[str, Any]]
"""Options of a call, or a function `(model, x, y)` of what they depend on."""


def resolved(options: Options, model: nn.Module, x: Tensor, y: Tensor) -> dict[str, Any]:
    """Return options for these inputs."""
    return dict(options(model, x, y) if callable(options) else options)


def with_gaps(rows: list[Any], what: str) -> list[Any]:
    """Mark the rows with a known gap: their test must fail until it is mended, and the gap then leaves the row."""
    mark = pytest.mark.xfail(strict=True, reason="a known gap")
    return [pytest.param(row, id=title(row), marks=[mark] if what in row.gaps else []) for row in rows]


def title(row: Any) -> str:
    """Name a row in the tests."""
    first = row.public[0] if isinstance(row.public, tuple) else row.public
    return " ".join(filter(None, (getattr(first, "__name__", str(first)), row.variant)))


def covered(row: Any) -> tuple[Any, ...]:
    """Return the public callables that a row tries."""
    return row.public if isinstance(row.public, tuple) else (row.public,)


@dataclass(frozen=True, eq=False)
class TakesModel(ABC):
    """A name whose call is given a network, which must come back as it was.

    Attributes:
        public: The public callable, or several that one call tries.
        variant: Told beside the name in the tests, where a name has several rows.
        options: Of the call or the constructor.
        model: Builds the network, in float32.
        needs_data: Whether samples are read; the weights alone have no batch to vary.
        mini_batches: Whether `batch_size` is that of a training loop, which the answer depends on.
        infinite: Whether an infinite figure is an answer, as where nothing breaks a decision.
        gaps: "empty" where an empty batch is not yet an error in our own words.
        tolerance: How far float32 may be from float64, relative to the largest entry.
    """

    public: Any
    variant: str = field(default="", kw_only=True)
    options: Options = field(default_factory=dict, kw_only=True)
    model: Callable[[], nn.Module] = field(default=classifier, kw_only=True)
    needs_data: bool = field(default=True, kw_only=True)
    mini_batches: bool = field(default=False, kw_only=True)
    infinite: bool = field(default=False, kw_only=True)
    gaps: tuple[str, ...] = field(default=(), kw_only=True)
    tolerance: float = field(default=1e-4, kw_only=True)

    @abstractmethod
    def answer(self, model: nn.Module, x: Tensor, y: Tensor, *, seed: int = 5, **options: Any) -> Answer:
        """Call, and return all figures."""

    @property
    @abstractmethod
    def called(self) -> Callable[..., Any]:
        """The function whose signature says which options there are."""

    @property
    def in_batches(self) -> bool:
        """Whether `batch_size` bounds how much is worked on at once, and must not change the answer."""
        return not self.mini_batches and "batch_size" in inspect.signature(self.called).parameters


@dataclass(frozen=True, eq=False)
class Analysis(TakesModel):
    """A function `f(model, x, y, ...) -> result`.

    Arguments are given by name as far as the signature has them: `x`, `y`, `generator` or `random_state`, and
    `loss`, which is cross-entropy. The model comes first. Options override all of them.

    Attributes:
        run: The call, `run(model, x, y, generator)`, where names do not suffice; where it names `batch_size`, that is
            varied.
        trains: Whether the model is changed in place: the call is then given a copy, and answers with its state.
        random: Whether another seed must give another answer.
    """

    run: Callable[..., Any] | None = field(default=None, kw_only=True)
    trains: bool = field(default=False, kw_only=True)
    random: bool = field(default=False, kw_only=True)

    @property
    def called(self) -> Callable[..., Any]:
        return self.run or covered(self)[0]

    def answer(self, model: nn.Module, x: Tensor, y: Tensor, *, seed: int = 5, **options: Any) -> Answer:
        model = copied(model) if self.trains else model
        given = resolved(self.options, model, x, y) | options
        if self.run is not None:
            result = self.run(model, x, y, seeded(seed), **given)
        else:
            random = {"generator": seeded(seed), "random_state": seed, "seed": seed}
            known = {"x": x, "y": y, "loss": cross_entropy, **random}
            names = list(inspect.signature(self.called).parameters)[1:]
            result = self.called(model, **{name: known[name] for name in names if name in known} | given)
        trained = {"state": dict(named_parameters(model))} if self.trains else {}
        return named_tensors(result, x) | named_tensors(trained, x)


@dataclass(frozen=True, eq=False)
class Attack(TakesModel):
    """A callable `attack(model, x, y) -> x_adv`, built from a threat model.

    Attributes:
        build: Builds the attack from a threat model; the public class with the row's options by default.
        norms: Norms of the threat models that it takes.
        targeted: Whether `y` are classes to reach.
        input_range: Range of the inputs; unbounded for attacks that know none.
        call: `call(attack, model, x, y)`, for attacks that are asked for something else than adversarial examples.
    """

    build: Callable[[Lp], Callable[..., Tensor]] | None = field(default=None, kw_only=True)
    norms: tuple[float, ...] = field(default=(2, math.inf), kw_only=True)
    targeted: bool = field(default=False, kw_only=True)
    input_range: tuple[float, float] = field(default=(0.0, 1.0), kw_only=True)
    call: Callable[..., Tensor] | None = field(default=None, kw_only=True)

    @property
    def called(self) -> Callable[..., Any]:
        return self.perturb

    def attack(self, threat: Lp) -> Callable[..., Tensor]:
        """Build the attack."""
        return self.build(threat) if self.build is not None else covered(self)[0](threat, **dict(self.options))

    def perturb(self, threat: Lp, model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        """Return perturbed inputs."""
        attack = self.attack(threat)
        return attack(model, x, y) if self.call is None else self.call(attack, model, x, y)

    def answer(self, model: nn.Module, x: Tensor, y: Tensor, *, seed: int = 5, **options: Any) -> Answer:
        threats = [Lp(norm=norm, eps=0.1, input_range=self.input_range) for norm in self.norms]
        return {f"{threat.norm:g}-norm": self.perturb(threat, model, x, y) for threat in threats}


@dataclass(frozen=True, eq=False)
class Estimator(TakesModel):
    """A scikit-learn estimator.

    Attributes:
        fit: `fit(estimator, model, x, y)`; `estimator.fit(model)` by default.
    """

    fit: Callable[..., Any] = field(default=lambda estimator, model, x, y: estimator.fit(model), kw_only=True)
    model: Callable[[], nn.Module] = field(default=relu_network, kw_only=True)
    needs_data: bool = field(default=False, kw_only=True)

    @property
    def called(self) -> Callable[..., Any]:
        return self.public

    def build(self, model: nn.Module, x: Tensor, y: Tensor, *, seed: int = 5, **options: Any) -> Any:
        """Return the estimator, not fitted."""
        random = {"random_state": seed} if "random_state" in inspect.signature(self.public).parameters else {}
        return self.public(**random | resolved(self.options, model, x, y) | options)

    def answer(self, model: nn.Module, x: Tensor, y: Tensor, *, seed: int = 5, **options: Any) -> Answer:
        fitted = self.fit(self.build(model, x, y, seed=seed, **options), model, x, y)
        return named_tensors(fitted, x)
