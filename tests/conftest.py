"""What holds for every test."""

import sys
from collections.abc import Iterable, Iterator

import pytest
import torch
from hypothesis import settings

# An example may take as long as it takes: on a busy machine a limit tells nothing about the code.
settings.register_profile("house", deadline=None)
settings.load_profile("house")

# On a machine with other work, two threads wait for each other and a test takes several times as long.
torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _closed_figures() -> Iterator[None]:
    """Close the figures that a test left open in pyplot."""
    yield
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")


@pytest.hookimpl(tryfirst=True)  # before `-m` selects
def pytest_collection_modifyitems(items: Iterable[pytest.Item]) -> None:
    """Count whatever starts a cluster among the slow tests."""
    for item in items:
        if item.get_closest_marker("cluster"):
            item.add_marker("slow")
