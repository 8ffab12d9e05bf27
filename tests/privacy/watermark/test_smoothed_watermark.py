from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from assay.core import InvalidInputError, accuracy, named_parameters, parameter_distance, predict, seeded, unflatten
from assay.nets import mlp
from assay.privacy import SmoothedWatermark, TriggerSet
from assay.privacy.watermark import smoothed_trigger_accuracy, smoothed_trigger_gradient

SGD = partial(torch.optim.SGD, lr=0.2, momentum=0.5)


def network():
    return mlp((4, 8, 3), generator=seeded(1)).double()


@pytest.fixture
def triggers():
    return TriggerSet(torch.randn(5, 4, generator=seeded(2), dtype=torch.float64), label=1)


@pytest.fixture
def data():
    return torch.randn(20, 4, generator=seeded(3), dtype=torch.float64), torch.arange(20) % 3


def test_embedding_steps_along_the_mean_gradient_at_each_rising_level(triggers):
    model, by_hand = network(), network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.2)
    SmoothedWatermark(0.4, n_levels=3, n_noise=6).embed_step(model, triggers, optimizer, generator=seeded(5))
    source = seeded(5)
    for sigma, n in ((0.0, 1), (0.2, 6), (0.4, 6)):
        gradient = smoothed_trigger_gradient(by_hand, triggers, sigma=sigma, n=n, generator=source)
        with torch.no_grad():
            for parameter, piece in zip(
                by_hand.parameters(), unflatten(gradient, named_parameters(by_hand)).values(), strict=True
            ):
                parameter -= 0.2 / 3 * piece
    assert parameter_distance(model, by_hand) < 1e-12


def test_training_is_the_papers_loop(triggers, data):
    x, y = data
    watermark = SmoothedWatermark(0.3, n_levels=2, n_noise=4, warmup=3)
    model, by_hand = network(), network()
    watermark.train(model, x, y, triggers=triggers, optimizer=SGD, epochs=6, generator=seeded(7))
    source, optimizer = seeded(7), SGD(by_hand.parameters())
    for epoch in range(6):
        if epoch >= 3:
            watermark.embed_step(by_hand, triggers, optimizer, generator=source)
        optimizer.zero_grad()
        F.cross_entropy(by_hand(torch.cat([x, triggers.x])), torch.cat([y, triggers.y])).backward()
        optimizer.step()
    assert parameter_distance(model, by_hand) < 1e-12
    assert parameter_distance(model, network()) > 0.1


def test_every_epoch_after_the_warm_up_is_embedded_in_mini_batches_too(triggers, data, monkeypatch):
    calls = []
    monkeypatch.setattr(SmoothedWatermark, "embed_step", lambda self, *_, **__: calls.append(1))
    watermark = SmoothedWatermark(0.3, warmup=2)
    result = watermark.train(network(), *data, triggers=triggers, optimizer=SGD, epochs=7, batch_size=8)
    assert result.n_iter == 7 * 3  # 25 samples in batches of 8, 8 and 9
    assert len(calls) == 5


def test_noise_makes_the_watermark_survive_noise(triggers, data):
    medians = []
    for sigma in (1e-6, 0.5):
        model = network()
        SmoothedWatermark(sigma, n_levels=3, n_noise=10).train(
            model, *data, triggers=triggers, optimizer=SGD, epochs=50, generator=seeded(0)
        )
        assert accuracy(predict(model, triggers.x), triggers.y) == 1
        noisy = smoothed_trigger_accuracy(model, triggers, sigma=0.5, n=500, generator=seeded(1))
        medians.append(noisy.median().item())
    assert medians[1] >= medians[0] + 0.2


def test_noisy_steps_leave_modes_buffers_and_frozen_parameters_alone():
    model = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Dropout(0.5), nn.Linear(6, 3))
    model[0].weight.requires_grad_(False)
    model[3].eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    optimizer = SGD([parameter for parameter in model.parameters() if parameter.requires_grad])
    triggers = TriggerSet(torch.randn(5, 4, generator=seeded(2)), label=1)
    SmoothedWatermark(0.1, n_levels=2, n_noise=2).embed_step(model, triggers, optimizer, generator=seeded(0))
    assert [module.training for module in model] == [True, True, True, False, True]
    moved = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert moved == {"0.bias", "1.weight", "1.bias", "4.weight", "4.bias"}
    assert model[0].weight.grad is None


def test_verification_does_not_meet_the_draws_of_training(triggers):
    # A loop that starts each epoch from one seed trains on the first of its draws again and again.
    model, options = network(), {"sigma": 0.9, "n": 100}
    of_training = smoothed_trigger_accuracy(model, triggers, **options, generator=seeded(0))
    by_default = smoothed_trigger_accuracy(model, triggers, **options)
    assert not torch.equal(by_default, of_training)
    assert torch.equal(by_default, smoothed_trigger_accuracy(model, triggers, **options))
    with pytest.raises(TypeError, match="generator"):
        SmoothedWatermark().embed_step(model, triggers, SGD(model.parameters()))


def test_a_frozen_network_cannot_be_embedded(triggers):
    frozen = network().requires_grad_(False)
    with pytest.raises(InvalidInputError, match="every parameter of the model is frozen"):
        SmoothedWatermark().embed_step(frozen, triggers, SGD(network().parameters()), generator=seeded(0))


def test_bad_input(triggers, data):
    for options in ({"sigma": 0.0}, {"n_levels": 1}, {"n_noise": 0}, {"warmup": 0}, {"batch_size": 0}):
        with pytest.raises(InvalidInputError):
            SmoothedWatermark(**options)
    with pytest.raises(InvalidInputError, match="within the warm-up"):
        SmoothedWatermark(warmup=5).train(network(), *data, triggers=triggers, optimizer=SGD, epochs=5)
    with pytest.raises(InvalidInputError, match="3 outputs"):
        SmoothedWatermark().train(network(), *data, triggers=TriggerSet(triggers.x), optimizer=SGD, epochs=9)
