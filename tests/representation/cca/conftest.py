import pytest
from jaxtyping import config


@pytest.fixture
def as_users_run_it(monkeypatch):
    """Without the shape checks of the test run, which would refuse some bad input before our own checks see it."""
    monkeypatch.setattr(config, "jaxtyping_disable", True)
