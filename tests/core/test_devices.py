import pytest
import torch

from assay.core import InvalidInputError, find_device


def test_a_device_of_this_machine_is_found():
    assert find_device("cpu") == torch.device("cpu")


@pytest.mark.parametrize("name", ["nowhere", "cuda:99", "cpu:x"])
def test_a_device_that_is_not_here_is_refused(name):
    with pytest.raises(InvalidInputError, match=f"{name}' cannot be used here; leave out --device"):
        find_device(name)
