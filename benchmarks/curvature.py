"""Hessian-vector products and a 50-step Lanczos spectrum against curvlinops, PyHessian and torch.func, in one run.

The peers are optional: those that are not installed are left out. Times are medians of repeats in alternation in one
process; memory is the growth of a fresh process's peak resident size, over what it takes before the first product.
PyHessian keeps the graph of the gradient from its constructor on; `assay, kept` does so within 1 GiB, `assay` does not.

    python benchmarks/curvature.py   # needs ASSAY_DATA for the networks' data and weights
"""

import json
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
import tyro
from torch import Tensor, nn
from torch.func import functional_call, grad, vjp

from assay.core import HessianOperator, cross_entropy, flatten, named_parameters, seeded, unflatten
from assay.data import load
from assay.landscape import spectral_density, top_eigenpairs
from assay.nets import load_pretrained, mlp

RESULTS = Path(__file__).with_suffix(".json")
SAMPLES = {"perceptron": 256, "ResNet-20": 16}
STEPS, REPEATS = 50, {"product": 7, "density": 3}
EIGENVALUES = "top 20 eigenvalues of ResNet-20"
CLOSE = 1e-3  # relative error of an eigenvalue

Run = Callable[[], object]
KEPT = ExitStack()  # of prepared operators, until the process ends


def subject(network: str) -> tuple[nn.Module, Tensor, Tensor]:
    """Return a network with its data: Gaussian inputs for the perceptron, CIFAR-10 for the published ResNet-20."""
    n = SAMPLES[network]
    if network == "perceptron":
        x = torch.randn(n, 784, generator=seeded(0))
        return mlp((784, 256, 256, 10), generator=seeded(1)).eval(), x, torch.arange(n) % 10
    data = load("cifar10")
    return load_pretrained("cifar10-resnet20").eval(), data.x_train[:n], data.y_train[:n]


def runs(method: str, network: str) -> dict[str, Run]:
    """Return the timed calls of a method: a product, and a density where it has one."""
    model, x, y = subject(network)
    vector = torch.randn(flatten(named_parameters(model)).numel(), generator=seeded(2))
    return METHODS[method](model, x, y, vector)


def assay(model: nn.Module, x: Tensor, y: Tensor, vector: Tensor) -> dict[str, Run]:
    """Build the products as a single call takes them, and the density, which keeps graphs."""
    operator = HessianOperator(model, x, y, cross_entropy)
    return {
        "product": lambda: operator @ vector,
        "density": lambda: spectral_density(operator, n_iter=STEPS, probes=1),
    }


def assay_kept(model: nn.Module, x: Tensor, y: Tensor, vector: Tensor) -> dict[str, Run]:
    """Build the products as Lanczos takes them: the graph is kept from here on."""
    operator = HessianOperator(model, x, y, cross_entropy)
    KEPT.enter_context(operator.prepared())
    return {"product": lambda: operator @ vector}


def curvlinops(model: nn.Module, x: Tensor, y: Tensor, vector: Tensor) -> dict[str, Run]:
    """Build curvlinops's operator; its Lanczos does not orthogonalise again."""
    operator = _curvlinops_operator(model, x, y)
    from curvlinops.papyan2020traces.spectrum import fast_lanczos

    return {"product": lambda: operator @ vector, "density": lambda: fast_lanczos(operator, STEPS)}


def _curvlinops_operator(model: nn.Module, x: Tensor, y: Tensor) -> Any:
    from curvlinops import HessianLinearOperator

    params = dict(model.named_parameters())
    options = {"check_deterministic": False}
    try:
        return HessianLinearOperator(model, nn.CrossEntropyLoss(), params, [(x, y)], **options)
    except (TypeError, ValueError, AttributeError):
        return HessianLinearOperator(model, nn.CrossEntropyLoss(), list(params.values()), [(x, y)], **options)


def pyhessian(model: nn.Module, x: Tensor, y: Tensor, vector: Tensor) -> dict[str, Run]:
    """Build PyHessian's products; its density calls `torch.eig`, which current versions of torch no longer have."""
    from pyhessian import hessian
    from pyhessian.utils import hessian_vector_product

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        kept = hessian(model, nn.CrossEntropyLoss(), data=(x, y), cuda=False)
    pieces = list(unflatten(vector, named_parameters(model)).values())
    return {"product": lambda: hessian_vector_product(kept.gradsH, kept.params, pieces)}


def torch_func(model: nn.Module, x: Tensor, y: Tensor, vector: Tensor) -> dict[str, Run]:
    """Build the product that a user writes by hand: reverse over reverse."""
    params = named_parameters(model)
    direction = unflatten(vector, params)

    def loss(point: dict[str, Tensor]) -> Tensor:
        return nn.functional.cross_entropy(functional_call(model, point, (x,)), y)

    return {"product": lambda: vjp(grad(loss), params)[1](direction)}


METHODS = {
    "assay": assay,
    "assay, kept": assay_kept,
    "curvlinops": curvlinops,
    "PyHessian": pyhessian,
    "torch.func": torch_func,
}


def main(memory_of: tuple[str, str, str] | None = None, eigenvalues: bool = False) -> None:
    """Measure every method on both networks, and write the results beside this file.

    Args:
        memory_of: Method, network and task of one call whose peak memory is printed instead.
        eigenvalues: Compare the eigenvalues again, and leave the timings as they are.
    """
    torch.set_num_threads(1)
    if eigenvalues:
        found = json.loads(RESULTS.read_text())
        found[EIGENVALUES] = agreement()
        RESULTS.write_text(json.dumps(found, indent=1) + "\n")
        return
    if memory_of is not None:
        print(growth(*memory_of))
        return
    found: dict[str, Any] = {"torch": torch.__version__, "samples": SAMPLES, "networks": {}}
    for network in SAMPLES:
        found["networks"][network] = timed(network)
        print(network, json.dumps(found["networks"][network]), flush=True)
    for network, rows in found["networks"].items():
        for method, row in rows.items():
            for task in [task for task in row if task in REPEATS]:
                row[f"{task} MB"] = in_fresh_process(method, network, task)
        print(network, json.dumps(rows, indent=1), flush=True)
        RESULTS.write_text(json.dumps(found, indent=1) + "\n")
    found[EIGENVALUES] = agreement()
    RESULTS.write_text(json.dumps(found, indent=1) + "\n")


def timed(network: str) -> dict[str, dict[str, Any]]:
    """Return the median milliseconds of each method's calls, taken in turn."""
    calls: dict[tuple[str, str], Run] = {}
    rows: dict[str, dict[str, Any]] = {}
    for method in METHODS:
        rows[method] = {}
        try:
            calls |= {(method, task): call for task, call in runs(method, network).items()}
        except ImportError as error:
            rows[method]["left out"] = str(error)
    for task, repeats in REPEATS.items():
        timings: dict[str, list[float]] = {method: [] for method, name in calls if name == task}
        for turn in range(repeats + 1):
            for method, times in timings.items():
                begin = time.perf_counter()
                calls[method, task]()
                if turn:  # the first warms up
                    times.append(1000 * (time.perf_counter() - begin))
        for method, times in timings.items():
            rows[method][task] = statistics.median(times)
    return rows


def growth(method: str, network: str, task: str) -> float:
    """Return by how many MB the peak of this process grows while a method is built and called three times."""
    model, x, _ = subject(network)
    with torch.no_grad():
        model(x[:8])
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts from here
    before = peak()
    call = runs(method, network)[task]
    for _ in range(3 if task == "product" else 1):
        call()
    return (peak() - before) / 1024


def peak() -> float:
    """Return the peak resident size of this process in kB, which Linux tells."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return float(next(line for line in lines if line.startswith("VmHWM")).split()[1])


def in_fresh_process(method: str, network: str, task: str) -> float:
    """Return the growth of a fresh process's peak."""
    command = [sys.executable, __file__, "--memory-of", method, network, task]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def agreement() -> dict[str, Any]:
    """Compare the 20 largest eigenvalues with SciPy's on curvlinops's operator, both in float64.

    In float32 the smaller ones, two hundredths of the largest, differ by the products' rounding.
    """
    from scipy.sparse.linalg import eigsh

    model, x, y = subject("ResNet-20")
    model, x = model.double(), x.double()
    begin = time.perf_counter()
    ours = top_eigenpairs(HessianOperator(model, x, y, cross_entropy), 20, tolerance=1e-4)[0]
    row: dict[str, Any] = {"eigenvalues": ours.tolist(), "seconds": time.perf_counter() - begin}
    try:
        operator = _curvlinops_operator(model, x, y).to_scipy()
    except ImportError as error:
        return row | {"left out": str(error)}
    begin = time.perf_counter()
    theirs = eigsh(operator, 20, which="LA", tol=1e-4, return_eigenvectors=False)[::-1]
    worst = float((abs(ours.numpy() - theirs) / theirs).max())
    seconds = time.perf_counter() - begin
    return row | {
        "curvlinops seconds": seconds,
        "worst relative difference": worst,
        "bar": CLOSE,
        "holds": worst <= CLOSE,
    }


if __name__ == "__main__":
    tyro.cli(main)
