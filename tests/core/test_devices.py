import pytest
import torch

from assay.core import InvalidInputError, find_device


def test_the_cpu_is_always_there():
    assert find_device("cpu") == torch.device("cpu")


@pytest.mark.parametrize("name", ["abacus", "meta:9x", "cuda:99"])
def test_a_device_that_is_not_here_is_named(name):
    with pytest.raises(InvalidInputError, match=f"{name!r} cannot be used here"):
        find_device(name)
