"""Rows of what needs no network to be tried on: a formula, module, sampler, optimiser or schedule."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from assay.core import seeded
from helpers.rows.base import covered
from helpers.rows.shapes import Inputs

MakeInputs = Callable[[torch.Generator, int], Inputs]
"""A function of a generator and a number of samples n that returns arguments, their floats in float64."""

REFUSED = ("rows", "axis", "empty")
"""Wrong shapes: one argument with a single row beside n of the others; an axis too many; no row at all."""


@dataclass(frozen=True, eq=False)
class TakesTensors:
    """A name whose call is given tensors or numbers.

    Attributes:
        public: The public callable, or several that one call tries.
        inputs: Makes the arguments of the call.
        variant: Told beside the name in the tests, where a name has several rows.
        options: Keyword arguments of the call, or of the constructor.
        rowwise: Whether row i of the answer is a function of row i of the arguments.
        refuses: Which wrong shapes must be an error; those that the definition allows are left out.
        gaps: Which of them go through today, and ought not to.
        tolerance: How far float32 may be from float64, relative to the largest entry.
    """

    public: Any
    inputs: MakeInputs
    variant: str = field(default="", kw_only=True)
    options: Mapping[str, Any] = field(default_factory=dict, kw_only=True)
    rowwise: bool = field(default=True, kw_only=True)
    refuses: tuple[str, ...] = field(default=REFUSED, kw_only=True)
    gaps: tuple[str, ...] = field(default=(), kw_only=True)
    tolerance: float = field(default=1e-4, kw_only=True)


@dataclass(frozen=True, eq=False)
class Formula(TakesTensors):
    """A pure function.

    Attributes:
        run: The call, where it is a method or needs an object.
        wrong: Makers of further wrong arguments, by what is wrong with them.
        infinite: Whether an infinite figure is an answer.
    """

    run: Callable[..., Any] | None = field(default=None, kw_only=True)
    wrong: Mapping[str, Callable[[], Inputs]] = field(default_factory=dict, kw_only=True)
    infinite: bool = field(default=False, kw_only=True)

    def __call__(self, *inputs: Any) -> Any:
        return (self.run or covered(self)[0])(*inputs, **self.options)


@dataclass(frozen=True, eq=False)
class Module(TakesTensors):
    """A layer, network or loss: an `nn.Module`.

    Attributes:
        build: Builds it from a generator, where the constructor takes more than options.
        loss: Whether it is a mean over samples.
        gradcheck: Whether its derivative is that of its values; a surrogate's is not.
        modes_differ: Whether training mode changes the answer.
    """

    build: Callable[[torch.Generator], nn.Module] | None = field(default=None, kw_only=True)
    loss: bool = field(default=False, kw_only=True)
    gradcheck: bool = field(default=True, kw_only=True)
    modes_differ: bool = field(default=False, kw_only=True)

    def module(self, seed: int = 1, dtype: torch.dtype = torch.float64) -> nn.Module:
        """Build the module in evaluation mode."""
        built = self.build(seeded(seed)) if self.build is not None else self.public(**self.options)
        return built.to(dtype).eval()


@dataclass(frozen=True, eq=False)
class Sampler:
    """Whatever draws samples.

    Attributes:
        public: The class or function.
        draw: `draw(generator, n)` returns n samples, where it names `batch_size`, worked on so many at a time.
        shape: Of one sample.
        variant: Told beside the name in the tests.
        optional: Whether the generator may be None, and then stands for a fixed seed.
    """

    public: Any
    draw: Callable[..., Tensor]
    shape: tuple[int, ...]
    variant: str = field(default="", kw_only=True)
    optional: bool = field(default=True, kw_only=True)

    @property
    def in_batches(self) -> bool:
        """Whether a batch size can be varied."""
        return "batch_size" in inspect.signature(self.draw).parameters


@dataclass(frozen=True, eq=False)
class Optimizer:
    """An optimiser, tried on a quadratic.

    Attributes:
        public: The class.
        options: Of the constructor, the learning rate `lr` among them.
        step: `step(theta, gradient, lr)` returns the parameters after the first step.
        couples: Whether parameter groups act on each other, as where one norm is taken over all.
        variant: Told beside the name in the tests.
    """

    public: Any
    step: Callable[[Tensor, Tensor, float], Tensor]
    options: Mapping[str, Any] = field(default_factory=lambda: {"lr": 0.1}, kw_only=True)
    couples: bool = field(default=False, kw_only=True)
    variant: str = field(default="", kw_only=True)


@dataclass(frozen=True, eq=False)
class Scheduler:
    """A learning-rate schedule.

    Attributes:
        public: The class.
        options: Of the constructor, after the optimiser.
        factor: `factor(t)` returns the learning rate after t steps, relative to the first.
        variant: Told beside the name in the tests.
    """

    public: Any
    factor: Callable[[int], float]
    options: Mapping[str, Any] = field(default_factory=dict, kw_only=True)
    variant: str = field(default="", kw_only=True)
