"""Our attacks against the same ones in other libraries, at equal budgets, on the published provably robust networks.

Every attack gets the same correct samples, radius and number of gradient steps or queries. Its points are projected
onto the ball and the range, and success is read by one forward pass of this script. Charged are CPU seconds of one
thread, and every forward and backward pass, one a sample, counted in the same run. Peers that are not installed are
left out: `pip install --no-deps pyautoattack torchattacks foolbox eagerpy`. Each result is kept below `--out`: a run
that was cut short goes on where it stopped, and `--only` adds to what is there.

    ASSAY_DATA=... python benchmarks/attack_peers.py --out /tmp/peers --seeds 0 1 2
"""

import importlib.util
import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import tyro
from torch import Tensor, nn

from assay.adversarial import APGD, FMN, MALT, Lp, Square, TargetedAPGD
from assay.adversarial.attacks import PassCounter
from assay.core import isolated_rng, predict
from assay.data import load
from assay.lab.environment import machine, versions
from assay.nets import load_pretrained

RESULTS = Path(__file__).with_suffix(".json")

Call = Callable[[nn.Module, Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Options:
    """How much is attacked.

    Attributes:
        out: Folder for what was finished.
        seeds: Seeds of the random starts, one run each.
        samples: First test samples, of which the correct ones are attacked.
        only: Attacks whose name holds this text; all by default.
        problems: Numbers of the problems, from 0.
    """

    out: Path
    seeds: tuple[int, ...] = (0, 1, 2)
    samples: int = 300
    only: str = ""
    problems: tuple[int, ...] = (0, 1, 2, 3)


@dataclass(frozen=True)
class Problem:
    """A published network, a radius and a budget."""

    network: str
    norm: float
    eps: float
    n_iter: int
    n_queries: int = 1000

    @property
    def threat(self) -> Lp:
        """The threat model."""
        return Lp(self.norm, self.eps, (0.0, 1.0))


PROBLEMS = (
    Problem("mnist-provable", math.inf, 0.17, 50),
    Problem("mnist-provable", math.inf, 0.17, 100),
    Problem("fashion-mnist-provable", math.inf, 0.12, 100),
    Problem("mnist-provable", 2, 1.3, 30),
)


def main(options: Options) -> None:
    """Run every attack of every library that is installed, write the results and print them."""
    for problem in (PROBLEMS[number] for number in options.problems):
        data = load(problem.network.removesuffix("-provable"))
        model, x, y = load_pretrained(problem.network), data.x_test[: options.samples], data.y_test[: options.samples]
        correct = predict(model, x).argmax(1) == y
        for seed in options.seeds:
            for attack, library, call in attacks(problem, seed):
                path = options.out / f"{PROBLEMS.index(problem)}-{seed}-{attack}-{library}.json".replace(" ", "-")
                if options.only in attack and not path.exists():
                    measured = measure(model, x[correct], y[correct], problem.threat, call, seed)
                    row = {"attack": attack, "library": library, "seed": seed, "samples": int(correct.sum())}
                    keep(path, vars(problem) | row | measured)
    records = [json.loads(path.read_text()) for path in sorted(options.out.glob("*.json"))]
    used = {"versions": versions(), "machine": machine(torch.device("cpu"))}
    RESULTS.write_text(json.dumps(used | {"records": records}, indent=2) + "\n")
    print("\n".join(table(records)))


def keep(path: Path, record: dict[str, Any]) -> None:
    """Write a record in one step, so that an interruption leaves no half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.with_suffix(".part").write_text(json.dumps(record))
    path.with_suffix(".part").rename(path)


def attacks(problem: Problem, seed: int) -> Iterator[tuple[str, str, Call]]:
    """Yield each attack with its library."""
    threat, steps, queries = problem.threat, problem.n_iter, problem.n_queries
    yield "APGD-CE", "assay", APGD(threat, steps, "ce", random_state=seed)
    yield "APGD-DLR", "assay", APGD(threat, steps, "dlr", random_state=seed)
    yield "targeted, 9", "assay", MALT(TargetedAPGD(threat, steps, random_state=seed))
    yield "targeted, 9", "assay, likeliest", MALT(TargetedAPGD(threat, steps, random_state=seed), ranking="naive")
    yield "Square", "assay", Square(threat, queries, random_state=seed)
    yield "minimal norm", "assay FMN", FMN(threat, steps)
    installed = {"pyautoattack": autoattack, "torchattacks": torchattacks, "foolbox": foolbox}
    for name, library in installed.items():
        if importlib.util.find_spec(name) is not None:
            yield from library(problem, seed)


def autoattack(problem: Problem, seed: int) -> Iterator[tuple[str, str, Call]]:
    """Yield the attacks of AutoAttack's own code."""
    from pyautoattack.autopgd_base import APGDAttack, APGDAttack_targeted
    from pyautoattack.fab_pt import FABAttack_PT
    from pyautoattack.square import SquareAttack

    norm = "Linf" if problem.norm == math.inf else "L2"
    common = {"norm": norm, "eps": problem.eps, "seed": seed, "device": "cpu"}
    steps = {"n_iter": problem.n_iter}
    queries = {"n_queries": problem.n_queries, "n_restarts": 1, "resc_schedule": False}

    def run(kind: Any, **options: Any) -> Call:
        return lambda model, x, y: kind(model, **common, **options).perturb(x.clone(), y.clone()).detach()

    yield "APGD-CE", "pyautoattack", run(APGDAttack, loss="ce", **steps)
    yield "APGD-DLR", "pyautoattack", run(APGDAttack, loss="dlr", **steps)
    yield "targeted, 9", "pyautoattack", run(APGDAttack_targeted, n_target_classes=9, **steps)
    yield "Square", "pyautoattack", run(SquareAttack, **queries)
    yield "minimal norm", "pyautoattack FAB", run(FABAttack_PT, n_restarts=1, verbose=False, **steps)


def torchattacks(problem: Problem, seed: int) -> Iterator[tuple[str, str, Call]]:
    """Yield the attacks of torchattacks."""
    import torchattacks as library

    norm = "Linf" if problem.norm == math.inf else "L2"
    options = {"norm": norm, "eps": problem.eps, "steps": problem.n_iter, "seed": seed}
    yield "APGD-CE", "torchattacks", lambda model, x, y: library.APGD(model, loss="ce", **options)(x, y)
    yield "targeted, 9", "torchattacks", lambda model, x, y: library.APGDT(model, n_classes=10, **options)(x, y)


def foolbox(problem: Problem, seed: int) -> Iterator[tuple[str, str, Call]]:
    """Yield the attacks of foolbox."""
    import foolbox as library

    kind = library.attacks.LInfFMNAttack if problem.norm == math.inf else library.attacks.L2FMNAttack

    def run(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        wrapped = library.PyTorchModel(model.eval(), bounds=(0.0, 1.0), device="cpu")
        criterion = library.criteria.Misclassification(y)
        return kind(steps=problem.n_iter)(wrapped, x, criterion, epsilons=None)[1]

    yield "minimal norm", "foolbox FMN", run


def measure(model: nn.Module, x: Tensor, y: Tensor, threat: Lp, call: Call, seed: int) -> dict[str, float]:
    """Return how many samples an attack leaves standing, its CPU seconds and its passes."""
    counted = PassCounter(model.eval()).eval()
    with isolated_rng(seed):
        start = time.process_time()
        x_adv = call(counted, x, y)
        seconds = time.process_time() - start
    standing = int((predict(model, threat.project(x_adv.detach(), x)).argmax(1) == y).sum())
    return {"standing": standing, "seconds": seconds, "passes": counted.n_forward + counted.n_backward}


def table(records: list[dict[str, Any]]) -> list[str]:
    """Return a table in Markdown, one row an attack and library: standing by seed, means of passes and seconds."""
    rows: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for record in records:
        where = f"{record['network']}, {record['norm']:g}, {record['eps']:g}, {record['n_iter']}, n={record['samples']}"
        rows.setdefault((where, record["attack"], record["library"]), []).append(record)
    lines = ["| network, norm, radius, steps | attack | library | standing | passes | CPU s |", "| " + "--- | " * 6]
    for key, found in sorted(rows.items()):
        standing = ", ".join(str(record["standing"]) for record in found)
        passes, seconds = (sum(record[name] for record in found) / len(found) for name in ("passes", "seconds"))
        lines.append(f"| {' | '.join(key)} | {standing} | {passes:,.0f} | {seconds:.1f} |")
    return lines


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(tyro.cli(Options))
