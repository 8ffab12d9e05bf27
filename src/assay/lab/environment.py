"""Environment of a run: versions and machine, without names of hosts or users."""

import importlib.metadata
import os
import platform
from typing import Any

import torch

import assay

_PACKAGES = ("torch", "numpy", "scipy", "scikit-learn", "joblib", "matplotlib", "safetensors")


def versions() -> dict[str, str]:
    """Return the versions of assay, Python and the packages that compute the results.

    Returns:
        Versions by name.
    """
    packages = {name: importlib.metadata.version(name) for name in _PACKAGES}
    return {"assay": assay.__version__, "python": platform.python_version(), **packages}


def machine(device: torch.device) -> dict[str, Any]:
    """Return this machine's system, architecture, number of CPU cores, and the GPU where one is used.

    Args:
        device: The device of the run.

    Returns:
        JSON values; no host name, user or path.
    """
    gpu = torch.cuda.get_device_name(device) if device.type == "cuda" else None
    return {
        "system": platform.system(),
        "architecture": platform.machine(),
        "cpu_cores": os.cpu_count(),
        "gpu": gpu,
    }
