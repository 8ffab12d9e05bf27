"""What holds for every test."""

import sys
from collections.abc import Iterable, Iterator

import pytest
import torch
from hypothesis import settings

from helpers.type_checks import spare_inner_functions

spare_inner_functions()

# An example may take as long as it takes: on a busy machine a limit tells nothing about the code.
settings.register_profile("house", deadline=None)
settings.load_profile("house")

# On a machine with other work, two threads wait for each other and a test takes several times as long.
torch.set_num_threads(1)


SLOW_STUDIES = ("logit-difference-universality", "reconstruction-multiclass")
"""Studies whose smoke run takes over half a minute; the tests of their parts are quick."""


@pytest.fixture(autouse=True)
def _closed_figures() -> Iterator[None]:
    """Close the figures that a test left open in pyplot."""
    yield
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")


@pytest.hookimpl(tryfirst=True)  # before `-m` selects, and before xdist reads the groups
def pytest_collection_modifyitems(items: Iterable[pytest.Item]) -> None:
    """Count whatever starts a cluster among the slow tests; keep what shares costly work in one process of xdist."""
    for item in items:
        if item.get_closest_marker("cluster"):
            item.add_marker("slow")
        if isinstance(item, pytest.Function) and (group := _group(item)):
            item.add_marker(pytest.mark.xdist_group(group))
            if group in SLOW_STUDIES:
                item.add_marker("slow")


def _group(item: pytest.Function) -> str | None:
    """Name what the test shares with others: an audit, a study's run or its file; the battery's tests share nothing."""
    if "digits_audit" in item.fixturenames:
        return "digits_audit"
    if "smoke_run" in item.fixturenames:
        slug = item.callspec.params.get("run") if hasattr(item, "callspec") else None
        return slug or item.path.stem.removeprefix("test_").replace("_", "-")
    return None if "battery" in item.path.parts else item.nodeid.partition("::")[0]
