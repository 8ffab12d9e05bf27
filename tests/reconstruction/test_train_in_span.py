from functools import partial

import pytest
import torch
from torch import nn

from assay.core import InvalidInputError, binary_cross_entropy, fit, seeded
from assay.nets import mlp
from assay.reconstruction import train_in_span


def test_training_in_the_span_is_training():
    source = seeded(0)
    x = torch.randn(6, 40, generator=source, dtype=torch.float64)
    y = torch.tensor([0, 1] * 3)
    plain, fast = (mlp((40, 8, 1), bias="first", generator=seeded(1)).double() for _ in range(2))
    sgd = partial(torch.optim.SGD, lr=0.1, momentum=0.9, weight_decay=1e-2)
    fit(plain, x, y, loss=binary_cross_entropy, optimizer=sgd, schedule="cosine", n_iter=300)
    train_in_span(fast, x, y, loss=binary_cross_entropy, n_iter=300, weight_decay=1e-2)
    for one, two in zip(plain.parameters(), fast.parameters(), strict=True):
        torch.testing.assert_close(one, two)


def test_the_first_layer_must_be_dense():
    network = nn.Sequential(nn.Flatten(), nn.Linear(3, 1))
    with pytest.raises(InvalidInputError, match=r"start with nn\.Linear"):
        train_in_span(
            network, torch.rand(2, 3), torch.tensor([0, 1]), loss=binary_cross_entropy, weight_decay=0.1, n_iter=1
        )
