"""Reconstruction from weights: `KKTReconstructor` as it comes, against the published search on the same networks.

The published search (Haim et al., 2022) is written here from its equations, in pixels, with the hyper-parameters that
its authors ship for MNIST and its full budget. Both attack five networks of 30 images of MNIST's odd and even digits;
both are charged CPU seconds of one thread, without the scoring, which needs the training data. One file a network is
kept below `--out`: an interrupted run continues, and `--repeat` runs our part again, which is cheap,
after a change of our code.

    python benchmarks/reconstruction.py --out /tmp/benchmark
"""

import json
import math
import platform
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import tyro
from torch import Tensor
from torch.func import functional_call

from assay.core import margins, named_parameters, seeded
from assay.reconstruction import KKTReconstructor, ReconstructionScore, score_reconstructions
from assay.reconstruction.kkt import with_surrogate_relu
from assay.studies.reconstruction.shared.victims import Trained, Victim, train

CONVERGED = Victim("mnist", 30, (500,), 21_000)
SHORT = Victim("mnist", 30, (500,), 7_000)
NETWORKS = {f"converged-{seed}": (CONVERGED, seed) for seed in (0, 1, 2)}
NETWORKS |= {f"short-training-{seed}": (SHORT, seed) for seed in (0, 1)}

# Chosen before the first run.
LEAST_SPEED_UP, LEAST_GAIN_75, LEAST_GAIN_90 = 100, 1.2, 3

RESTARTS_AT_ONCE = (2, 2, 5)
"""Of ours, in its first, its second and every later fit: few can stop early, many take less time each."""

RESULTS = Path(__file__).with_suffix(".json")

Record = dict[str, Any]


@dataclass(frozen=True)
class Published:
    """Settings of the published search: the shipped run "MNIST binary B", whose short runs recover most here.

    Attributes:
        init_scale: Standard deviation of the starting points.
        lr_x: Learning rate of the candidates.
        lr_multipliers: Learning rate of the multipliers.
        lambda_min: Floor of the multipliers, kept by a penalty.
        relu_alpha: Sharpness of the gates, the same all along.
        momentum: Of both optimisers.
        candidates: For each training image.
        steps: The full budget.
        every: Steps between two scores.
    """

    init_scale: float = 1.74e-3
    lr_x: float = 0.282
    lr_multipliers: float = 1e-4
    lambda_min: float = 0.415
    relu_alpha: float = 19.2
    momentum: float = 0.9
    candidates: int = 2
    steps: int = 50_000
    every: int = 1_000


def main(out: Path, full: bool = False, repeat: bool = False) -> None:
    """Attack every network with both, and write the comparison so far beside this file.

    Args:
        out: Folder of the networks' files.
        full: Go on with ours for as long as the published search took, instead of a tenth of it.
        repeat: Run ours again; the results of the published search are kept.
    """
    published = Published()
    torch.set_num_threads(1)
    out.mkdir(parents=True, exist_ok=True)
    rows = {}
    for name, network in NETWORKS.items():
        rows[name] = compared(attack_with_both(out / f"{name}.json", train(*network), published, full, repeat))
        print(name, json.dumps(rows[name]), flush=True)
        RESULTS.write_text(json.dumps(summary(rows, published), indent=1) + "\n")


def attack_with_both(path: Path, trained: Trained, published: Published, full: bool, repeat: bool) -> Record:
    """Do what is not in the network's file yet, and keep every part of it as soon as it is there."""
    record = json.loads(path.read_text()) if path.exists() else {}
    if "published" not in record:
        record["published"] = attack_as_published(trained, published)
        keep(path, record)
    if repeat:
        record.pop("ours", None)
    budget = record["published"]["seconds"] * (1 if full else 0.1)
    for ours in attack_with_ours(trained, record.get("ours"), budget):
        record["ours"] = ours
        keep(path, record)
    return record


def keep(path: Path, record: Record) -> None:
    """Write a file as a whole or not at all."""
    part = path.with_suffix(".part")
    part.write_text(json.dumps(record))
    part.replace(path)


# --- The published search --------------------------------------------------------------------------------------------


def attack_as_published(trained: Trained, options: Published) -> Record:
    """Run the published search to its end, and score its candidates on the way."""
    record: Record = {"history": []}
    for seconds, candidates in search_as_published(trained, options):
        score = scored(trained, candidates)
        record |= {"seconds": seconds, "n75": score.n75, "n90": score.n90, "nulls": score.nulls()}
        record["history"].append([seconds, score.n75, score.n90])
        print(
            f"  {len(record['history']) * options.every} steps, {seconds:.0f} s: {score.n75} / {score.n90}", flush=True
        )
    return record


def search_as_published(trained: Trained, options: Published) -> Iterator[tuple[float, Tensor]]:
    r"""Minimise $\lVert\theta - \frac1m \sum_i \lambda_i y_i \nabla\Phi(\theta; x_i)\rVert^2$ and two penalties."""
    model = with_surrogate_relu(trained.model, options.relu_alpha)
    weights = {name: weight.detach() for name, weight in named_parameters(model).items()}
    free = {name: weight.clone().requires_grad_() for name, weight in weights.items()}
    m, source = options.candidates * len(trained.x), seeded(0)
    x = (options.init_scale * torch.randn(m, trained.x[0].numel(), generator=source)).requires_grad_()
    multipliers = torch.rand(m, generator=source).requires_grad_()
    y = torch.arange(m) % 2
    optimizers = [
        torch.optim.SGD([x], lr=options.lr_x, momentum=options.momentum),
        torch.optim.SGD([multipliers], lr=options.lr_multipliers, momentum=options.momentum),
    ]
    seconds = 0.0
    for step in range(1, options.steps + 1):
        begin = time.process_time()
        scores = margins(functional_call(model, free, (x,)), y)
        explained = torch.autograd.grad((multipliers * scores).mean(), list(free.values()), create_graph=True)
        gap = sum((part - weight).square().sum() for part, weight in zip(explained, weights.values(), strict=True))
        floor = 5 * (options.lambda_min - multipliers).relu().square().sum()
        box = (x - 1).relu().square().sum() + (-1 - x).relu().square().sum()
        x.grad, multipliers.grad = torch.autograd.grad(gap + floor + box, (x, multipliers))
        for optimizer in optimizers:
            optimizer.step()
        seconds += time.process_time() - begin
        if step % options.every == 0:
            yield seconds, x.detach()


# --- Ours ------------------------------------------------------------------------------------------------------------


def attack_with_ours(trained: Trained, record: Record | None, budget: float) -> Iterator[Record]:
    """Add restarts of the defaults, a few at a time, until their CPU seconds exceed the budget."""
    n = len(trained.x)
    record = record or {"seconds": 0.0, "best": [-1.0] * n, "held out": [-1.0] * n, "random": [-1.0] * n, "history": []}
    while record["seconds"] < budget:
        fits = len(record["history"])
        begin = time.process_time()
        found = KKTReconstructor(n_restarts=restarts_of(fits), random_state=fits).fit(trained.model)
        record["seconds"] += time.process_time() - begin
        score = scored(trained, found.pool_, found.basis_, fits)
        for key, ncc in {"best": score.ncc, "held out": score.held_out_ncc, "random": score.random_ncc}.items():
            record[key] = [max(pair) for pair in zip(record[key], ncc.tolist(), strict=True)]
        counts = [above(record["best"], 0.75), above(record["best"], 0.9)]
        nulls = [above(record["held out"], 0.75), above(record["random"], 0.75)]
        record["history"].append([record["seconds"], *counts, *nulls])
        yield record


def restarts_of(fit: int) -> int:
    """Return how many restarts our fit of this number does."""
    return RESTARTS_AT_ONCE[min(fit, len(RESTARTS_AT_ONCE) - 1)]


def above(values: list[float], threshold: float) -> int:
    return sum(value > threshold for value in values)


def scored(trained: Trained, candidates: Tensor, basis: Tensor | None = None, draw: int = 0) -> ReconstructionScore:
    """Score candidates against the training images, beside held-out images and as many random candidates."""
    options = {"mean": trained.mean, "basis": basis, "held_out_x": trained.others, "generator": seeded(draw)}
    return score_reconstructions(candidates, trained.x, **options)


# --- The comparison --------------------------------------------------------------------------------------------------


def compared(record: Record) -> Record:
    """Set ours beside the published search: CPU seconds to the same n75, and counts in a tenth and all of its time."""
    theirs, ours = record["published"], record["ours"]["history"]
    return {
        "published": {key: theirs[key] for key in ("seconds", "n75", "n90", "nulls")},
        # Counts on the way rise and fall: this is the earliest that a user who looks at the truth could have stopped.
        "published, first at its n75": next(entry[0] for entry in theirs["history"] if entry[1] >= theirs["n75"]),
        "ours, first at the published n75": next((entry[0] for entry in ours if entry[1] >= theirs["n75"]), None),
        "ours, first at the published n90": next((entry[0] for entry in ours if entry[2] >= theirs["n90"]), None),
        "ours, a tenth of the time": counted(ours, theirs["seconds"] / 10),
        "ours, the same time": counted(ours, theirs["seconds"]),
    }


def counted(history: list[list[float]], seconds: float) -> Record | None:
    """Return the last counts within some CPU seconds, None where the run was not that long."""
    within = [entry for entry in history if entry[0] <= seconds]
    if not within or len(within) == len(history):
        return None
    names = ("seconds", "n75", "n90", "held out", "random")
    return {"restarts": sum(map(restarts_of, range(len(within)))), **dict(zip(names, within[-1], strict=True))}


def summary(rows: Record, options: Published) -> Record:
    """Weigh the comparison against the bars: total times, and mean counts in a tenth of the time."""
    theirs, ours = ([row[key] for row in rows.values()] for key in ("published", "ours, a tenth of the time"))
    reached = [row["ours, first at the published n75"] for row in rows.values()]
    spent = math.inf if None in reached else sum(reached)
    first = sum(row["published, first at its n75"] for row in rows.values())
    figures = {
        "speed-up to equal n75": (sum(row["seconds"] for row in theirs) / spent, LEAST_SPEED_UP),
        "n75 in a tenth of the time": (ratio(ours, theirs, "n75"), LEAST_GAIN_75),
        "n90 in a tenth of the time": (ratio(ours, theirs, "n90"), LEAST_GAIN_90),
    }
    return {
        "settings": asdict(options),
        "versions": {"torch": torch.__version__, "python": platform.python_version()},
        "bars": {
            name: {"value": value, "at least": bar, "holds": value >= bar} for name, (value, bar) in figures.items()
        },
        "speed-up against the first moment at which the published search had its n75": first / spent,
        "networks": rows,
    }


def ratio(ours: list[Record], theirs: list[Record], key: str) -> float:
    return sum(row[key] for row in ours) / sum(row[key] for row in theirs)


if __name__ == "__main__":
    tyro.cli(main)
