"""Random generators and seeds."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


def seeded(seed: int) -> torch.Generator:
    """Return a generator on the CPU, so that a seed gives the same numbers for every device.

    >>> torch.equal(torch.rand(2, generator=seeded(0)), torch.rand(2, generator=seeded(0)))
    True
    """
    return torch.Generator().manual_seed(seed)


def as_generator(generator: torch.Generator | None) -> torch.Generator:
    """Return the given generator, or one seeded with 0 for None.

    >>> as_generator(None).initial_seed()
    0
    """
    return seeded(0) if generator is None else generator


def spawn_seeds(seed: int, n: int) -> list[int]:
    """Derive `n` statistically independent seeds from one, by NumPy's `SeedSequence`.

    >>> len(set(spawn_seeds(0, 100)))
    100
    """
    return [int(child.generate_state(1)[0]) for child in np.random.SeedSequence(seed).spawn(n)]


@contextmanager
def isolated_rng(seed: int) -> Iterator[None]:
    """Seed torch's global generators inside the block and restore them after it.

    For code that draws from global state only, such as the initialisation of an `nn.Module`.

    >>> before = torch.get_rng_state()
    >>> with isolated_rng(0):
    ...     _ = torch.nn.Linear(3, 2)
    >>> torch.equal(before, torch.get_rng_state())
    True
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield
