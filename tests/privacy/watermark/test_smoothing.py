import math

import pytest
import torch
import torch.nn.functional as F
from scipy.stats import norm
from torch import nn
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from assay.core import InvalidInputError, accuracy, seeded
from assay.nets import mlp
from assay.privacy import TriggerSet
from assay.privacy.watermark import smoothed_trigger_accuracy, smoothed_trigger_gradient


@pytest.fixture
def model():
    return mlp((6, 5, 3), generator=seeded(1)).double()


@pytest.fixture
def triggers():
    return TriggerSet(torch.randn(7, 6, generator=seeded(2), dtype=torch.float64), label=1)


def disturbed(model, sigma, source):
    """A copy of the model whose parameters were all disturbed by the source's next draws."""
    copy = mlp((6, 5, 3)).double()
    start = parameters_to_vector(model.parameters()).detach()
    vector_to_parameters(start + sigma * torch.randn(len(start), generator=source).double(), copy.parameters())
    return copy


def test_accuracies_are_those_of_networks_disturbed_one_by_one(model, triggers):
    model[0].weight.requires_grad_(False)
    got = smoothed_trigger_accuracy(model, triggers, sigma=0.7, n=25, batch_size=4, generator=seeded(3))
    source = seeded(3)
    expected = [accuracy(disturbed(model, 0.7, source)(triggers.x), triggers.y) for _ in range(25)]
    torch.testing.assert_close(got, torch.tensor(expected, dtype=torch.float64), rtol=0, atol=1e-15)
    assert len(got.unique()) > 1


def test_mean_accuracy_of_a_linear_network_is_that_of_a_normal_margin():
    # The margin of class 1 over class 0 is normal, with variance 2 sigma^2 (|x|^2 + 1).
    model, x = nn.Linear(4, 2).double(), torch.tensor([[0.5, -1.0, 2.0, 0.1]], dtype=torch.float64)
    with torch.no_grad():
        model.weight.copy_(torch.arange(8.0).view(2, 4) / 20)
        model.bias.zero_()
    scores, n = model(x)[0], 20_000
    chance = norm.cdf((scores[1] - scores[0]).item() / (0.3 * math.sqrt(2 * (x.square().sum().item() + 1))))
    got = smoothed_trigger_accuracy(model, TriggerSet(x, label=1), sigma=0.3, n=n, batch_size=5000)
    assert abs(got.mean().item() - chance) < 4.5 * math.sqrt(chance * (1 - chance) / n)
    assert 0.1 < chance < 0.9


@pytest.mark.parametrize("sigma", [0.0, 0.5])
def test_gradient_is_the_mean_of_those_at_networks_disturbed_one_by_one(model, triggers, sigma):
    source, rows = seeded(4), []
    for _ in range(9):
        copy = disturbed(model, sigma, source)
        loss = F.cross_entropy(copy(triggers.x), triggers.y)
        rows.append(parameters_to_vector(torch.autograd.grad(loss, list(copy.parameters()))))
    got = smoothed_trigger_gradient(model, triggers, sigma=sigma, n=9, batch_size=4, generator=seeded(4))
    torch.testing.assert_close(got, torch.stack(rows).mean(0), rtol=1e-10, atol=1e-12)


def test_running_statistics_of_a_batch_norm_take_no_part_and_stay():
    model = nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5), nn.Linear(5, 3))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    triggers = TriggerSet(torch.randn(4, 6, generator=seeded(0)), label=2)
    smoothed_trigger_accuracy(model, triggers, sigma=0.1, n=5)
    smoothed_trigger_gradient(model, triggers, sigma=0.1, n=5)
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize("method", [smoothed_trigger_accuracy, smoothed_trigger_gradient])
def test_bad_input(model, triggers, method):
    for options, message in (
        ({"sigma": -1.0}, "sigma"),
        ({"sigma": 1.0, "n": 0}, "n must be a whole number of at least 1"),
    ):
        with pytest.raises(InvalidInputError, match=message):
            method(model, triggers, **options)
    with pytest.raises(InvalidInputError, match="3 outputs"):
        method(model, TriggerSet(triggers.x, label=3), sigma=1.0)


class Kept(nn.Linear):
    """Keeps twice its weight from the first call in evaluation mode."""

    kept = None

    def forward(self, x):
        if self.training or self.kept is None:
            self.kept = 2 * self.weight
        return F.linear(x, self.kept)


@pytest.mark.parametrize("measure", [smoothed_trigger_accuracy, smoothed_trigger_gradient])
def test_a_weight_kept_from_an_earlier_call_is_refused_and_one_not_yet_kept_is_that_of_each_draw(triggers, measure):
    model, plain = Kept(6, 3, bias=False).double().eval(), nn.Linear(6, 3, bias=False).double().eval()
    nn.init.normal_(model.weight, generator=seeded(3))
    plain.weight = model.weight
    options = {"sigma": 0.7, "n": 9, "batch_size": 4}
    got, expected = measure(model, triggers, **options), measure(nn.Sequential(plain, Double()), triggers, **options)
    torch.testing.assert_close(got, expected)
    assert len(got.unique()) > 1
    model(triggers.x)
    with pytest.raises(InvalidInputError, match="outputs stay as they are"):
        measure(model, triggers, **options)


class Double(nn.Module):
    def forward(self, x):
        return 2 * x
