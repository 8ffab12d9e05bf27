"""The trace is the coherence of the weights at each recorded step."""

from functools import partial

import pytest
import torch
from torch import nn

from assay.core import InvalidInputError, cross_entropy, fit, isolated_rng, seeded
from assay.generalization import CoherenceTracker, gradient_coherence


def test_a_trace_of_training_is_that_of_the_weights_then() -> None:
    with isolated_rng(0):
        model = nn.Sequential(nn.Linear(4, 5), nn.Dropout(0.5), nn.Tanh(), nn.Linear(5, 3))
    x, y = torch.randn(12, 4, generator=seeded(1)), torch.arange(12) % 3
    mask = torch.arange(12) < 5
    tracker = CoherenceTracker(x, y, loss=cross_entropy, every=3, groups={"first": mask})
    start = tracker.record(model, 0)
    assert start.alpha == gradient_coherence(model, x, y, loss=cross_entropy).alpha
    model.train()
    sgd = partial(torch.optim.SGD, lr=0.1)
    fit(model, x, y, loss=cross_entropy, optimizer=sgd, n_iter=7, callbacks=[tracker, lambda step: modes(step.model)])
    assert tracker.steps == [0, 3, 6]
    fit(model, x, y, loss=cross_entropy, optimizer=sgd, n_iter=3, callbacks=[tracker])
    end = gradient_coherence(model, x[mask], y[mask], loss=cross_entropy)
    assert tracker.group_history["first"][-1].alpha == end.alpha
    assert len(tracker.plot().get_lines()) == 3


def modes(model: nn.Module) -> None:
    assert model.training


def test_a_mask_without_samples_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="Boolean mask"):
        CoherenceTracker(
            torch.ones(3, 2), torch.zeros(3), loss=cross_entropy, every=1, groups={"none": torch.zeros(3).bool()}
        )
