from functools import partial

import pytest
import torch
from torch import nn

from assay.audit.training import fit_in_span
from assay.core import accuracy, binary_cross_entropy, fit, generator, predict
from assay.nets import mlp


def test_training_in_the_span_of_the_data_equals_plain_training():
    draw = generator(0)
    x = torch.randn(6, 1, 5, 5, generator=draw, dtype=torch.float64)  # 6 samples span 6 of 25 dimensions
    y = torch.arange(6) % 2
    plain, fast = (
        nn.Sequential(nn.Flatten(), *mlp((25, 12, 1), bias="first", generator=generator(1))).double() for _ in range(2)
    )
    sgd = partial(torch.optim.SGD, lr=0.1, momentum=0.9, weight_decay=1e-2)
    fit(plain, x, y, loss=binary_cross_entropy, optimizer=sgd, schedule="cosine", steps=200)
    fit_in_span(fast, x, y, decay=1e-2, steps=200)
    for ours, reference in zip(fast.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(ours, reference, rtol=1e-9, atol=1e-12)


def test_the_first_module_with_weights_must_be_dense():
    with pytest.raises(TypeError, match="first dense layer"):
        fit_in_span(nn.Sequential(nn.Flatten(), nn.ReLU()), torch.rand(2, 3), torch.tensor([0, 1]), decay=0.1, steps=1)


def test_digits_is_trained_to_fit_its_samples_and_generalises(digits):
    assert accuracy(predict(digits.model, digits.train[0]), digits.train[1]) == 1.0
    assert accuracy(predict(digits.model, digits.test[0]), digits.test[1]) > 0.8
    assert digits.initial_state.keys() == digits.model.state_dict().keys()
    assert digits.raw(digits.train[0]).min() == 0
