"""Diffusion spectral entropy by Lanczos against all eigenvalues, by number of samples.

Times are CPU seconds of one thread, of one call; memory is the growth of a fresh process's peak
resident size over what it takes with the data loaded. Both return the same entropy: the difference stands beside the
error that the estimate states. The dense method stops at 8000 samples; its times grow as the cube of their number.

    python benchmarks/representation_entropy.py
"""

import json
import math
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Literal

import torch
import tyro
from torch import Tensor

from assay.core import seeded
from assay.representation import diffusion_spectral_entropy

RESULTS = Path(__file__).with_suffix(".json")
SIZES = {"lanczos": (1000, 2000, 4000, 8000, 20_000), "dense": (1000, 2000, 4000, 8000)}
FEATURES, SIGMA = 64, 50.0
WITHIN = 3  # stated errors of the estimate: the bar, set before the first run

Method = Literal["lanczos", "dense"]


def samples(n: int) -> Tensor:
    """Return points near a surface of five dimensions in 64."""
    source = seeded(0)
    signal = 6 * torch.randn(n, 5, generator=source) @ torch.randn(5, FEATURES, generator=source)
    return signal + 0.5 * torch.randn(n, FEATURES, generator=source)


def measured(method: Method, n: int) -> dict[str, float]:
    """Return seconds, growth of the peak in MB, the entropy and its error, of one call in this process."""
    x = samples(n)
    diffusion_spectral_entropy(samples(200), sigma=SIGMA, method=method)  # warms up
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts from here
    before, begin = peak(), time.process_time()
    found = diffusion_spectral_entropy(x, sigma=SIGMA, method=method)
    seconds = time.process_time() - begin
    return {"CPU s": seconds, "MB": (peak() - before) / 1024, "entropy": found.value, "error": found.error}


def peak() -> float:
    """Return the peak resident size of this process in kB, which Linux tells."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return float(next(line for line in lines if line.startswith("VmHWM")).split()[1])


def entropy_rows() -> dict[str, Any]:
    """Measure every size in a fresh process, and fit the growth of time and memory with the number of samples."""
    rows: dict[str, Any] = {}
    for method, sizes in SIZES.items():
        rows[method] = {}
        for n in sizes:
            command = [sys.executable, __file__, "--one", method, str(n)]
            said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            rows[method][str(n)] = json.loads(said)
            print(method, n, said.strip(), flush=True)
    shared = [str(n) for n in SIZES["dense"]]
    for n in shared:
        row, dense = rows["lanczos"][n], rows["dense"][n]
        row["in stated errors"] = abs(row["entropy"] - dense["entropy"]) / row["error"]
        row["dense time"] = dense["CPU s"] / row["CPU s"]
    for found in rows.values():
        first, last = (found[n] for n in (shared[1], shared[-1]))
        doublings = math.log(int(shared[-1]) / int(shared[1]))
        found["growth"] = {name: math.log(last[name] / first[name]) / doublings for name in ("CPU s", "MB")}
    return rows


def main(one: tuple[Method, int] | None = None) -> None:
    """Measure all sizes, and write the results beside this file.

    Args:
        one: Method and number of samples of one call, whose figures are printed instead.
    """
    torch.set_num_threads(1)
    if one is not None:
        print(json.dumps(measured(*one)))
        return
    found = {"torch": torch.__version__, "bars": {"in stated errors": WITHIN}}
    RESULTS.write_text(json.dumps(found | entropy_rows(), indent=1) + "\n")


if __name__ == "__main__":
    tyro.cli(main)
