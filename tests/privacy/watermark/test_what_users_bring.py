"""Networks, labels and autograd states as users have them."""

import pytest
import torch
from torch import nn
from torch.func import functional_call
from torch.nn.utils import parametrizations, weight_norm

from assay.core import InvalidInputError, LogProbabilities, accuracy, flatten, named_parameters, seeded
from assay.nets import mlp
from assay.privacy import SmoothedWatermark, TriggerSet
from assay.privacy.watermark import (
    Pruning,
    Quantisation,
    RandomShift,
    Retraining,
    TriggerAscent,
    smoothed_trigger_accuracy,
    smoothed_trigger_gradient,
)

REMOVALS = (RandomShift(0.5), Pruning(), Quantisation(4), TriggerAscent(0.5, n_iter=2), Retraining(0.5, epochs=1))


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.cell, self.out = nn.LSTM(4, 6, batch_first=True), nn.Linear(6, 3)

    def forward(self, x):
        return self.out(self.cell(x)[0][:, -1])


class Attentive(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.TransformerEncoderLayer(4, 2, 8, dropout=0.1, batch_first=True)
        self.out = nn.Linear(4, 3)

    def forward(self, x):
        return self.out(self.body(x).mean(1))


class Adapted(nn.Module):
    """An adapter in float32 beside a layer in bfloat16."""

    def __init__(self):
        super().__init__()
        self.base = nn.Linear(4, 6).to(torch.bfloat16).requires_grad_(False)
        self.up, self.out = nn.Linear(4, 6), nn.Linear(6, 3)

    def forward(self, x):
        return self.out((self.base(x.to(torch.bfloat16)).float() + self.up(x)).relu())


def built(kind, seed=0):
    """Build a network of torch's own layers, which draw from the global state."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return kind().eval()


def sequences(n=6):
    return torch.randn(n, 5, 4, generator=seeded(1))


def by_hand(model, triggers, sigma, n, source):
    """One disturbed copy after the other: in the widest type, and rounded to each parameter's own."""
    params = named_parameters(model)
    found = []
    for _ in range(n):
        noise = sigma * torch.randn(flatten(params).shape, generator=source)
        pieces = noise.split([value.numel() for value in params.values()])
        moved = {
            name: (value.float() + piece.view(value.shape)).to(value.dtype)
            for (name, value), piece in zip(params.items(), pieces, strict=True)
        }
        found.append(accuracy(functional_call(model, moved, (triggers.x,)), triggers.y))
    return torch.tensor(found)


@pytest.mark.parametrize("kind", [Recurrent, Attentive])
def test_networks_that_torch_does_not_batch_are_disturbed_one_by_one(kind):
    model, triggers = built(kind), TriggerSet(sequences(), label=1)
    found = smoothed_trigger_accuracy(model, triggers, sigma=0.5, n=8, batch_size=3, generator=seeded(2))
    assert torch.allclose(found, by_hand(model, triggers, 0.5, 8, seeded(2)))
    gradient = smoothed_trigger_gradient(model, triggers, sigma=0.0, n=1)
    loss = nn.functional.cross_entropy(model(triggers.x), triggers.y)
    expected = torch.autograd.grad(loss, list(model.parameters()))
    torch.testing.assert_close(gradient, torch.cat([part.flatten() for part in expected]))


def test_each_parameter_keeps_its_type_under_noise():
    model, triggers = built(Adapted), TriggerSet(torch.randn(7, 4, generator=seeded(1)), label=1)
    found = smoothed_trigger_accuracy(model, triggers, sigma=0.5, n=20, generator=seeded(2))
    assert torch.allclose(found, by_hand(model, triggers, 0.5, 20, seeded(2)))
    assert len(found.unique()) > 2


def test_accuracies_in_half_precision_are_not_rounded_to_one():
    model = nn.Linear(300, 2, bias=False).bfloat16()
    model.weight.data = torch.zeros(2, 300).bfloat16()
    model.weight.data[1] = 1
    model.weight.data[1, 0] = -1
    triggers = TriggerSet(torch.eye(300).bfloat16(), label=1)
    found = smoothed_trigger_accuracy(model, triggers, sigma=1e-6, n=1)
    assert found.dtype == torch.float32
    assert found.item() == pytest.approx(299 / 300)


@pytest.mark.parametrize("norm", [weight_norm, parametrizations.weight_norm])
@pytest.mark.filterwarnings("ignore:.*weight_norm")
def test_networks_with_weight_norm_are_attacked(norm):
    model, x, y = mlp((4, 6, 3), generator=seeded(1)), torch.rand(9, 4, generator=seeded(2)), torch.arange(9) % 3
    norm(model[0])
    with pytest.raises(InvalidInputError, match="fold such weights first"):
        Pruning(share=0.9).run(model, x, y, triggers=TriggerSet(x, label=1), test=(x, y), sigma=0.1)
    for removal in (one for one in REMOVALS if not isinstance(one, Pruning)):
        report = removal.run(model, x, y, triggers=TriggerSet(x, label=1), test=(x, y), sigma=0.1, n_draws=3)
        assert report.start.distance == 0
        assert report.end.distance > 0


def test_wrapped_and_partly_frozen_networks_are_attacked_as_themselves():
    x, y = torch.rand(9, 4, generator=seeded(2)), (torch.arange(9) % 3).to(torch.uint8)[:, None]
    options = {"triggers": TriggerSet(x, label=1), "test": (x, y), "sigma": 0.1, "n_draws": 3}
    for removal in REMOVALS:
        plain, frozen = mlp((4, 6, 3), generator=seeded(1)), mlp((4, 6, 3), generator=seeded(1))
        frozen[0].requires_grad_(False)
        expected = removal.run(plain, x, y.flatten().long(), **options | {"test": (x, y.flatten().long())})
        found = removal.run(nn.DataParallel(frozen), x, y, **options)
        assert found.history == expected.history
        assert all(parameter.requires_grad for parameter in found.model.parameters())
        assert not frozen[0].weight.requires_grad


def taught(model, x, y, triggers):
    """Train a network on a watermark, and return it."""
    options = {"triggers": triggers, "optimizer": lambda parameters: torch.optim.SGD(parameters, lr=0.1), "epochs": 20}
    SmoothedWatermark(0.1, n_levels=2, n_noise=2, warmup=1).train(model, x, y, **options)
    return model


@pytest.mark.parametrize("state", [torch.no_grad, torch.inference_mode])
def test_the_callers_autograd_state_does_not_matter(state):
    def everything(x, y, models):
        triggers = TriggerSet(x[:4], label=1)
        options = {"triggers": triggers, "test": (x, y), "sigma": 0.1, "n_draws": 3}
        histories = [removal.run(models[0], x, y, **options).history for removal in REMOVALS]
        gradient = smoothed_trigger_gradient(models[0], triggers, sigma=0.1, n=3)
        return histories, gradient, taught(models[1], x, y, triggers)[0].weight.detach()

    x, y = torch.rand(9, 4, generator=seeded(2)), torch.arange(9) % 3
    first, second = ([mlp((4, 6, 3), generator=seeded(1)) for _ in range(2)] for _ in range(2))
    expected = everything(x.requires_grad_(), y, first)
    with state():
        found = everything(x.clone(), y.clone(), second)
    assert found[0] == expected[0]
    assert all(torch.equal(one, other) for one, other in zip(found[1:], expected[1:], strict=True))


def test_probabilities_are_verified_and_not_trained_on():
    model, x, y = mlp((4, 6, 3), generator=seeded(1)), torch.rand(9, 4, generator=seeded(2)), torch.arange(9) % 3
    soft, triggers = nn.Sequential(model, nn.Softmax(1)), TriggerSet(x, label=1)
    options = {"sigma": 0.5, "n": 20}
    expected = smoothed_trigger_accuracy(model, triggers, **options)
    assert torch.equal(smoothed_trigger_accuracy(soft, triggers, **options), expected)
    calls = (
        lambda: smoothed_trigger_gradient(soft, triggers, **options),
        lambda: Retraining(epochs=1).run(soft, x, y, triggers=triggers, test=(x, y), sigma=0.1),
        lambda: TriggerAscent(0.1).run(soft, x, y, triggers=triggers, test=(x, y), sigma=0.1),
        lambda: taught(soft, x, y, triggers),
    )
    for call in calls:
        with pytest.raises(InvalidInputError, match="take the softmax off"):
            call()
    wrapped = nn.Sequential(soft, LogProbabilities())
    torch.testing.assert_close(
        smoothed_trigger_gradient(wrapped, triggers, **options),
        smoothed_trigger_gradient(model, triggers, **options),
        rtol=1e-4,
        atol=1e-6,
    )


def test_a_network_of_tokens_is_watermarked():
    table = nn.Embedding.from_pretrained(torch.randn(5, 4, generator=seeded(1)), freeze=False)
    model = nn.Sequential(table, nn.Flatten(), *mlp((12, 8, 3), generator=seeded(1)))
    x, y = torch.randint(5, (9, 3), generator=seeded(2)), torch.arange(9) % 3
    triggers = TriggerSet(torch.tensor([[0, 1, 2], [0, 1, 3]]), label=1)
    before = smoothed_trigger_accuracy(model, triggers, sigma=0.1, n=50).mean()
    after = smoothed_trigger_accuracy(taught(model, x, y, triggers), triggers, sigma=0.1, n=50).mean()
    assert before < 0.7 < 0.95 < after


def test_pruning_needs_a_matrix():
    class Scale(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.ones(3))

        def forward(self, x):
            return self.weight * x

    x, y = torch.rand(9, 3, generator=seeded(2)), torch.arange(9) % 3
    with pytest.raises(InvalidInputError, match="no weight matrix"):
        Pruning().run(Scale(), x, y, triggers=TriggerSet(x, label=1), test=(x, y), sigma=0.1)


def test_a_head_without_a_part_in_the_scores_has_no_slope():
    triggers = TriggerSet(torch.rand(3, 4, generator=seeded(0)), label=1)
    model = mlp((4, 6, 3), generator=seeded(1))
    alone = smoothed_trigger_gradient(model, triggers, sigma=0.0, n=1)
    model.add_module("unused", nn.Identity())
    model.unused.register_parameter("weight", nn.Parameter(torch.ones(2)))
    assert torch.equal(smoothed_trigger_gradient(model, triggers, sigma=0.0, n=1), torch.cat([alone, torch.zeros(2)]))
