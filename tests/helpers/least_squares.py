"""A least-squares problem to train on."""

from functools import partial

import torch
from torch import nn

from assay.core import isolated_rng, seeded

SGD = partial(torch.optim.SGD, lr=0.1)


def problem() -> tuple[nn.Linear, torch.Tensor, torch.Tensor]:
    with isolated_rng(0):
        model = nn.Linear(3, 1, bias=False).double()
    x = torch.randn(20, 3, dtype=torch.float64, generator=seeded(0))
    return model, x, x @ torch.tensor([1.0, -2.0, 3.0], dtype=torch.float64)
