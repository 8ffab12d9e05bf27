"""Examine trained neural networks.

Recover training samples from the weights, and learn what else a network gives away. The rooms of methods
(``assay.reconstruction``, ``assay.adversarial``, ...) load on first use, so that ``import assay`` costs nothing.
"""

import importlib
from types import ModuleType

from assay.rooms import ROOMS

__version__ = "0.1.0"

_PACKAGES = (*ROOMS, "core", "data", "nets", "lab", "studies", "audit")


def __getattr__(name: str) -> ModuleType:
    if name in _PACKAGES:
        return importlib.import_module(f"assay.{name}")
    raise AttributeError(f"module 'assay' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted((*_PACKAGES, "ROOMS", "__version__"))
