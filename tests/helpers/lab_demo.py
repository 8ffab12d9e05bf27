"""A small study for the lab's tests; its cells are importable by worker processes."""

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from assay.core import seeded
from assay.lab import Claim, Lab, Paper, Study


@dataclasses.dataclass(frozen=True)
class Settings:
    seeds: int = 3
    widths: tuple[int, ...] = (4, 8)
    rate: float = 0.1


def make_study(
    run: Callable[[Settings, Lab], None] | None = None,
    *,
    claims: Mapping[str, Claim | str] | None = None,
    slug: str = "demo",
    methods: tuple[str, ...] = (),
    **settings: Any,
) -> Study:
    given = claims or {"C1": "A draw is positive", "C2": "A draw is small"}
    study = Study(
        slug,
        Paper("On <demos>", "A. Uthor", 2024, arxiv="2401.00001", venue="ICML"),
        {name: claim if isinstance(claim, Claim) else Claim(claim, ours=True) for name, claim in given.items()},
        {"smoke": Settings(seeds=2), "small": Settings(**settings)},
        methods,
    )
    if run is not None:
        study.experiment(run)
    return study


def draw(seed: int) -> dict[str, torch.Tensor]:
    return {"draws": torch.rand(5, generator=seeded(seed), dtype=torch.float64)}


def measure_draws(settings: Settings, lab: Lab) -> None:
    rows = lab.map(draw, range(lab.seed, lab.seed + settings.seeds), name="draws")
    lab.measure("C1", [row["draws"].min() for row in rows], what="smallest draw", at_least=0.0)
    lab.measure("C2", [row["draws"].max() for row in rows], what="largest draw", at_most=1.0)


def log_call(path: Path, text: object) -> int:
    """Append a line; return how many lines say the same now. Works across processes."""
    with open(path, "a") as file:
        file.write(f"{text}\n")
    return path.read_text().splitlines().count(str(text))
