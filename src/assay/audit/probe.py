"""Probes, and the findings that they return."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, get_args

import torch
from torch import Tensor

from assay.audit.budget import PROBE_SECONDS
from assay.audit.subject import Need, Subject
from assay.core import AssayError, InvalidInputError

Severity = Literal["info", "low", "medium", "high"]

SEVERITIES: tuple[Severity, ...] = get_args(Severity)  # from least to most severe

Topic = Literal["privacy", "robustness", "data", "training", "generalisation"]

TOPICS: tuple[Topic, ...] = get_args(Topic)  # in the order of the report, where findings are equally severe


class SkipProbe(AssayError):
    """Raised by a probe that does not apply to the subject; the report gives the message as the reason."""


@dataclass(frozen=True)
class Picture:
    """One image of a report.

    Args:
        name: File name without its ending, unique within a finding.
        data: The file's bytes.
        format: ``"png"`` or ``"svg"``.
        alt: What the picture shows, for readers who cannot see it.
    """

    name: str
    data: bytes
    format: Literal["png", "svg"]
    alt: str

    def __post_init__(self) -> None:
        if not self.alt.strip():
            raise InvalidInputError(f"picture {self.name!r} has no alt text; say in a sentence what it shows")


@dataclass(frozen=True)
class Figure:
    """One or more pictures under one caption.

    Args:
        pictures: Shown side by side.
        caption: One line; plain text.
        tile: True for a small image (a sample of the data): it is enlarged without smoothing, and
            consecutive tiles share a grid.
    """

    pictures: tuple[Picture, ...]
    caption: str
    tile: bool = False


@dataclass(frozen=True)
class Table:
    """A small table of a report; every row has one cell for each column."""

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str | int | float, ...], ...]

    def __post_init__(self) -> None:
        if any(len(row) != len(self.columns) for row in self.rows):
            raise InvalidInputError(f"table {self.caption!r}: every row needs {len(self.columns)} cells")


@dataclass(frozen=True)
class Finding:
    """A probe's answer.

    Args:
        headline: One sentence with the main number in it.
        severity: How serious it is, by ``rule``.
        rule: The rule that gave the severity, in words.
        advice: What to do next.
        limits: What the evidence does and does not prove.
        measures: Named numbers, all finite.
        figures: In reading order.
        tables: In reading order.

    Raises:
        InvalidInputError: A measure is NaN or infinite, or the severity is unknown.
    """

    headline: str
    severity: Severity
    rule: str
    advice: str
    limits: str = ""
    measures: dict[str, float] = field(default_factory=dict)
    figures: tuple[Figure, ...] = ()
    tables: tuple[Table, ...] = ()

    def __post_init__(self) -> None:
        if self.severity not in SEVERITIES:
            raise InvalidInputError(f"unknown severity {self.severity!r}; use one of {', '.join(SEVERITIES)}")
        for name, value in self.measures.items():
            if not math.isfinite(value):
                raise InvalidInputError(f"measure {name!r} is {value}; a finding holds finite numbers only")


@dataclass(frozen=True)
class Context:
    """The seed and the settings that an audit gives each probe.

    Args:
        seed: The audit's seed.
        progress: Whether to show progress bars (on stderr).
        seconds: Time that a probe may take. It estimates its cost before it begins, and does less or is skipped where
            that is more.
    """

    seed: int = 0
    progress: bool = False
    seconds: float = PROBE_SECONDS

    def generator(self) -> torch.Generator:
        """Return a new CPU generator at the audit's seed: so probes do not depend on each other's draws."""
        return torch.Generator().manual_seed(self.seed)

    def sample(self, pairs: tuple[Tensor, Tensor] | None, limit: int) -> tuple[Tensor, Tensor]:
        """Return all inputs and targets, or ``limit`` random ones where there are more.

        Raises:
            SkipProbe: There are none.
        """
        if pairs is None:
            raise SkipProbe("it needs labelled samples, which this subject does not have")
        chosen = torch.randperm(len(pairs[0]), generator=self.generator())[:limit].to(pairs[0].device)
        return pairs[0][chosen], pairs[1][chosen]


@dataclass(frozen=True)
class Probe:
    """One question asked of a subject.

    Args:
        name: Its name, which is its file's.
        question: Its question, in one sentence.
        topic: The heading under which the report has it.
        needs: Parts that the subject must have; where one is missing, the probe is skipped with that reason.
        run: Called as ``run(subject, context)``; returns the finding, or raises `SkipProbe`.
        opt_in: Run it only where it is named, as for a probe that takes minutes.
    """

    name: str
    question: str
    topic: Topic
    needs: frozenset[Need]
    run: Callable[[Subject, Context], Finding]
    opt_in: bool = False
