"""Gradient coherence by `gradient_coherence` against a loop over samples and `torch.func.vmap`, in one run.

Times are medians of repeats in alternation in one process; memory is the growth of a fresh process's peak resident size
over what it takes with the data loaded and one forward pass made. All methods return the same figure: n times the
squared norm of the mean gradient over the mean squared norm. `with alignments` adds each sample's cosine with the sum
of the other gradients, for which the others would have to keep all gradients.

    python benchmarks/coherence.py   # needs ASSAY_DATA for CIFAR-10 and the published weights
"""

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import tyro
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from assay.core import cross_entropy, named_parameters, seeded
from assay.data import load
from assay.generalization import gradient_coherence
from assay.nets import load_pretrained, mlp

RESULTS = Path(__file__).with_suffix(".json")
SAMPLES, BATCH = {"perceptron": 1000, "ResNet-20": 1000}, {"perceptron": 250, "ResNet-20": 64}
REPEATS = {"perceptron": 5, "ResNet-20": 3}
FASTER = 20  # times the loop: the bar, set before the first run


def subject(network: str) -> tuple[nn.Module, Tensor, Tensor]:
    """Return a network with CIFAR-10: a perceptron at its initial weights, or the published ResNet-20."""
    data = load("cifar10")
    x, y = data.x_train[: SAMPLES[network]], data.y_train[: SAMPLES[network]]
    if network == "perceptron":
        return mlp((3072, 256, 256, 10), generator=seeded(1)).eval(), x.flatten(1), y
    return load_pretrained("cifar10-resnet20").eval(), x, y


def ours(model: nn.Module, x: Tensor, y: Tensor, batch_size: int) -> float:
    """Measure m-coherence from layers' inputs and output gradients."""
    return gradient_coherence(model, x, y, loss=cross_entropy, batch_size=batch_size, alignments=False).m_coherence


def ours_with_alignments(model: nn.Module, x: Tensor, y: Tensor, batch_size: int) -> float:
    """Measure the alignment of each sample, too."""
    return gradient_coherence(model, x, y, loss=cross_entropy, batch_size=batch_size).m_coherence


def loop(model: nn.Module, x: Tensor, y: Tensor, batch_size: int) -> float:
    """Take a backward pass for each sample, and keep the sums."""
    own = list(model.parameters())
    total, squares = [torch.zeros_like(value) for value in own], torch.zeros(())
    for sample, target in zip(x.split(1), y.split(1), strict=True):
        slopes = torch.autograd.grad(nn.functional.cross_entropy(model(sample), target), own)
        for part, slope in zip(total, slopes, strict=True):
            part += slope
            squares += slope.square().sum()
    return float(sum(part.square().sum() for part in total) / squares)


def mapped(model: nn.Module, x: Tensor, y: Tensor, batch_size: int) -> float:
    """Take the gradients of a batch's samples by vmap, and keep the sums."""
    point = named_parameters(model)

    def loss(values: dict[str, Tensor], sample: Tensor, target: Tensor) -> Tensor:
        return nn.functional.cross_entropy(functional_call(model, values, (sample[None],)), target[None])

    rows = vmap(grad(loss), (None, 0, 0))
    total, squares = {name: torch.zeros_like(value) for name, value in point.items()}, torch.zeros(())
    for samples, targets in zip(x.split(batch_size), y.split(batch_size), strict=True):
        for name, slopes in rows(point, samples, targets).items():
            total[name] += slopes.sum(0)
            squares += slopes.square().sum()
    return float(sum(part.square().sum() for part in total.values()) / squares)


METHODS: dict[str, Callable[[nn.Module, Tensor, Tensor, int], float]] = {
    "assay": ours,
    "assay, with alignments": ours_with_alignments,
    "loop": loop,
    "vmap": mapped,
}


def main(memory_of: tuple[str, str] | None = None) -> None:
    """Measure every method on both networks, and write the results beside this file.

    Args:
        memory_of: Method and network of one call whose peak memory is printed instead.
    """
    torch.set_num_threads(1)
    if memory_of is not None:
        print(growth(*memory_of))
        return
    found: dict[str, Any] = {"torch": torch.__version__, "samples": SAMPLES, "batch": BATCH, "bar": FASTER}
    found["networks"] = {network: timed(network) for network in SAMPLES}
    for network, rows in found["networks"].items():
        for method, row in rows.items():
            row["MB"] = in_fresh_process(method, network)
            row["loop's time"] = rows["loop"]["CPU s"] / row["CPU s"]
        print(network, json.dumps(rows, indent=1), flush=True)
        RESULTS.write_text(json.dumps(found, indent=1) + "\n")


def timed(network: str) -> dict[str, dict[str, Any]]:
    """Return the median CPU seconds and the result of each method, called in turn."""
    model, x, y = subject(network)
    rows: dict[str, dict[str, Any]] = {}
    times: dict[str, list[float]] = {method: [] for method in METHODS}
    for call in METHODS.values():  # warms up
        call(model, x[:100], y[:100], BATCH[network])
    for _ in range(REPEATS[network]):
        for method, call in METHODS.items():
            begin = time.process_time()
            value = call(model, x, y, BATCH[network])
            times[method].append(time.process_time() - begin)
            rows[method] = {"m-coherence": value}
    for method, row in rows.items():
        row["CPU s"] = statistics.median(times[method])
    return rows


def growth(method: str, network: str) -> float:
    """Return by how many MB the peak of this process grows during one call."""
    model, x, y = subject(network)
    with torch.no_grad():
        model(x[:8])
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts from here
    before = peak()
    METHODS[method](model, x, y, BATCH[network])
    return (peak() - before) / 1024


def peak() -> float:
    """Return the peak resident size of this process in kB, which Linux tells."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return float(next(line for line in lines if line.startswith("VmHWM")).split()[1])


def in_fresh_process(method: str, network: str) -> float:
    """Return the growth of a fresh process's peak."""
    command = [sys.executable, __file__, "--memory-of", method, network]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


if __name__ == "__main__":
    tyro.cli(main)
