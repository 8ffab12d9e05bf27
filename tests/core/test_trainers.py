import copy
from functools import partial

import pytest
import torch
from torch import nn

from assay.core import (
    NumericalError,
    SequentialTrainer,
    StackedTrainer,
    binary_cross_entropy,
    cross_entropy,
    fit,
    seeded,
    spawn_seeds,
)
from assay.core.trainers import _own_batches
from assay.nets import mlp, small_conv
from helpers.stacks import MOMENTUM, halves

ADAM = partial(torch.optim.Adam, lr=0.01)


@pytest.mark.parametrize("optimizer", [MOMENTUM, ADAM])
@pytest.mark.parametrize(("outputs", "loss"), [(3, cross_entropy), (1, binary_cross_entropy)])
def test_trains_each_model_as_if_it_were_alone(optimizer, outputs, loss):
    # Parts of one size and batches as large: every step is a full-batch step, whatever the order.
    x = torch.rand(8, 5, generator=seeded(0), dtype=torch.float64)
    y = torch.arange(8) % max(outputs, 2)
    models = [mlp((5, 6, outputs), generator=seeded(k)).double() for k in range(3)]
    alone = copy.deepcopy(models)
    StackedTrainer(loss, optimizer, epochs=12, batch_size=4)(models, x, y, halves(), generator=seeded(0))
    for one, other, kept in zip(models, alone, halves(), strict=True):
        fit(other, x[kept], y[kept], loss=loss, optimizer=optimizer, schedule="cosine", n_iter=12)
        torch.testing.assert_close(one.state_dict(), other.state_dict(), rtol=1e-9, atol=1e-11)
        assert not one.training


def test_convolutions_are_stacked_too():
    x, y = torch.rand(8, 1, 8, 8, generator=seeded(0)).double(), torch.arange(8) % 2
    models = [small_conv((1, 8, 8), 2, channels=(2,), hidden=4, generator=seeded(k)).double() for k in range(3)]
    alone = copy.deepcopy(models)
    StackedTrainer(cross_entropy, MOMENTUM, epochs=3, batch_size=4)(models, x, y, halves(), generator=seeded(0))
    for one, other, kept in zip(models, alone, halves(), strict=True):
        fit(other, x[kept], y[kept], loss=cross_entropy, optimizer=MOMENTUM, schedule="cosine", n_iter=3)
        torch.testing.assert_close(one.state_dict(), other.state_dict(), rtol=1e-9, atol=1e-11)


def test_one_by_one_trains_each_model_on_its_part_with_a_generator_of_its_own():
    calls = []
    trainer = SequentialTrainer(lambda model, x, y, source: calls.append((model, x, y, source.initial_seed())))
    models, x, y = [nn.Linear(5, 2) for _ in range(3)], torch.rand(8, 5), torch.arange(8) % 2
    trainer(models, x, y, halves(), generator=seeded(4))
    seed = int(torch.randint(2**31, (1,), generator=seeded(4)))
    for call, model, kept, own_seed in zip(calls, models, halves(), spawn_seeds(seed, 3), strict=True):
        assert call[0] is model
        assert torch.equal(call[1], x[kept])
        assert torch.equal(call[2], y[kept])
        assert call[3] == own_seed
    trainer(models, x, y, halves(), generator=seeded(5))
    assert {call[3] for call in calls[:3]}.isdisjoint(call[3] for call in calls[3:])


def test_the_generator_decides_the_batches():
    def weights(seed):
        model = mlp((5, 2), generator=seeded(0)).double()
        x, y = torch.rand(8, 5, generator=seeded(0)).double(), torch.arange(8) % 2
        trainer = StackedTrainer(cross_entropy, MOMENTUM, epochs=2, batch_size=2)
        trainer([model], x, y, torch.ones(1, 8) > 0, generator=seeded(seed))
        return model[0].weight.detach()

    assert torch.equal(weights(1), weights(1))
    assert not torch.equal(weights(1), weights(2))


def test_batches_hold_own_samples_only_and_none_twice_in_an_epoch():
    seen = torch.rand(5, 30, generator=seeded(0)) < 0.5
    fewest = int(seen.sum(1).min())
    per_epoch = fewest // 4
    batches = list(_own_batches(seen, 4, 3 * per_epoch, seeded(1)))
    assert len(batches) == 3 * per_epoch
    for epoch in range(3):
        drawn = torch.cat(batches[epoch * per_epoch : (epoch + 1) * per_epoch], 1)
        for model, indices in enumerate(drawn):
            assert seen[model, indices].all()
            assert len(indices.unique()) == len(indices) == 4 * per_epoch
    assert not torch.equal(batches[0], batches[per_epoch])


def test_a_batch_larger_than_the_smallest_part_is_that_part():
    (batch,) = _own_batches(halves(), 50, 1, seeded(0))
    assert [sorted(row) for row in batch.tolist()] == [[0, 1, 2, 3], [4, 5, 6, 7], [0, 2, 4, 6]]


def test_divergence_is_an_error():
    models = [mlp((5, 6, 2), generator=seeded(k)) for k in range(3)]
    trainer = StackedTrainer(cross_entropy, partial(torch.optim.SGD, lr=1e30), epochs=20, batch_size=2)
    with pytest.raises(NumericalError, match="weight"):
        trainer(models, torch.rand(8, 5), torch.arange(8) % 2, halves(), generator=seeded(0))
