"""Options of the search for a seed, checked."""

from collections.abc import Iterable, Sequence

import torch

from assay.core import InvalidInputError, check_choice, check_count, find_device
from assay.reconstruction.known_start.initializers import INITIALIZERS, Skip


def checked_seeds(seeds: Iterable[int]) -> list[int]:
    """Require seeds, and return each once."""
    found = list(dict.fromkeys(seeds))
    for seed in found:
        check_count(seed, "every seed", at_least=-(2**63))
    if not found:
        raise InvalidInputError("seeds holds no seed; pass at least one, such as range(1000)")
    return [int(seed) for seed in found]


def checked_options(
    build: object,
    skips: Sequence[Skip],
    initializers: Sequence[str] | None,
    devices: Sequence[str],
    dtypes: Sequence[torch.dtype],
) -> Sequence[str]:
    """Check the options, and return the names of the initialisers."""
    for skip in skips:
        if not callable(skip):
            check_count(skip, "every skip", at_least=0)
    for device in devices:
        find_device(device)
    for dtype in dtypes:
        check_choice(dtype, (torch.float32, torch.float64, torch.float16, torch.bfloat16), "every dtype")
    if build is not None:
        if not callable(build):
            raise InvalidInputError(
                f"build must be a function without arguments, got {type(build).__name__}; pass the class or function, "
                "not the network"
            )
        if initializers is not None:
            raise InvalidInputError("initializers are tried without build only: a factory has its own; leave out one")
    names = tuple(initializers if initializers is not None else ("default", *INITIALIZERS))
    for name in names:
        check_choice(name, ("default", *INITIALIZERS), "initializers")
    if not (skips and devices and dtypes and names):
        raise InvalidInputError(
            "skips, devices, dtypes and initializers must not be empty; leave them out for the defaults"
        )
    return names
