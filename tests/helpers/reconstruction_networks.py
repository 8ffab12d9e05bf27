"""A network for the tests of reconstruction, and the same after some training."""

import copy

import torch

from assay.core import seeded
from assay.nets import mlp


def relu_network():
    return mlp((4, 6, 3), generator=seeded(1)).double()


def displaced(model):
    other = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=seeded(7)).double()
    return other
