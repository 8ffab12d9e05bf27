"""What holds for every test."""

from collections.abc import Iterable

import pytest
from hypothesis import settings

# An example may take as long as it takes: on a busy machine a limit tells nothing about the code.
settings.register_profile("house", deadline=None)
settings.load_profile("house")


@pytest.hookimpl(tryfirst=True)  # before `-m` selects
def pytest_collection_modifyitems(items: Iterable[pytest.Item]) -> None:
    """Count whatever starts a cluster among the slow tests."""
    for item in items:
        if item.get_closest_marker("cluster"):
            item.add_marker("slow")
