from collections import namedtuple

import pytest
import torch
from torch import nn

from assay.core import InvalidInputError, find_layer, isolated_rng, layer_names, layer_outputs, predict, watch_layers

Answer = namedtuple("Answer", ["logits", "states"])


class Shared(nn.Module):
    """Use one activation twice, and an output in a named tuple."""

    def __init__(self):
        super().__init__()
        self.first, self.act = nn.Linear(4, 5), nn.ReLU(inplace=True)
        self.memory = nn.LSTM(5, 6, batch_first=True)
        self.last = nn.Linear(6, 3)

    def forward(self, x):
        hidden = self.act(self.act(self.first(x)))
        return self.last(self.memory(hidden[:, None])[0][:, -1])


@pytest.fixture
def network():
    with isolated_rng(0):
        return nn.Sequential(nn.Linear(4, 5), nn.ReLU(inplace=True), nn.Linear(5, 3)).double()


@pytest.fixture
def x():
    return torch.randn(7, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_outputs_are_those_before_an_operation_in_place(network, x):
    found = layer_outputs(network, x, ["0", "1"], batch_size=3)
    before = nn.functional.linear(x, network[0].weight, network[0].bias).detach()
    torch.testing.assert_close(found["0"], before)
    torch.testing.assert_close(found["1"], before.relu())


@pytest.mark.parametrize("frozen", [False, True])
def test_gradients_in_an_output_are_those_of_autograd(network, x, frozen):
    network.requires_grad_(not frozen)
    with watch_layers(network, ["0"]) as watch:
        score = network(x)[:, 1].sum()
    (found,) = torch.autograd.grad(score, watch.outputs["0"])
    mask = (nn.functional.linear(x, network[0].weight, network[0].bias) > 0).double()
    torch.testing.assert_close(found, mask * network[2].weight[1].detach())


def test_a_replacement_is_what_the_network_goes_on_with(network, x):
    with watch_layers(network, ["0"], replace={"1": torch.zeros_like}) as watch:
        outputs = network(x)
    torch.testing.assert_close(outputs, network[2].bias.expand(7, 3))
    assert set(watch.outputs) == {"0", "1"}
    assert not torch.equal(network(x), outputs)


def test_hooks_go_when_the_block_fails(network, x):
    with pytest.raises(RuntimeError, match="cannot be multiplied"), watch_layers(network, ["0", "1"]):
        network(x[:, :2])
    assert all(not module._forward_hooks and not module._forward_pre_hooks for module in network.modules())


def test_each_forward_pass_is_its_own(network, x):
    with watch_layers(network, ["0"]) as watch:
        network(x)
        network(x[:2])
    assert len(watch.outputs["0"]) == 2


def test_a_layer_that_runs_twice_is_refused_and_not_listed():
    model, x = Shared(), torch.ones(3, 4)
    assert layer_names(model, x) == ["first", "memory", "last"]
    with pytest.raises(InvalidInputError, match="'act' runs more than once"):
        layer_outputs(model, x, ["act"])


def test_the_first_tensor_of_several_is_read_and_replaced():
    model, x = Shared(), torch.ones(3, 4)
    assert layer_outputs(model, x, ["memory"])["memory"].shape == (3, 1, 6)
    with watch_layers(model, [], replace={"memory": torch.zeros_like}):
        torch.testing.assert_close(model(x), model.last.bias.expand(3, 3))


def test_named_tuples_and_mappings_keep_their_kind():
    class Tuples(nn.Module):
        def forward(self, x):
            return Answer(x, {"more": x + 1})

    class Outer(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = Tuples()

        def forward(self, x):
            answer = self.inner(x)
            assert isinstance(answer, Answer)
            return answer.logits + 0 * answer.states["more"]

    model = Outer()
    with watch_layers(model, [], replace={"inner": lambda value: 2 * value}) as watch:
        assert model(torch.ones(2, 1)).tolist() == [[2.0], [2.0]]
    assert watch.outputs["inner"].tolist() == [[1.0], [1.0]]


def test_a_name_that_is_not_there_is_answered_by_those_alike(network):
    named = nn.ModuleDict({"layer1": nn.Linear(1, 1), "layer2": nn.Linear(1, 1)})
    with pytest.raises(InvalidInputError, match="no layer 'layer3'; it has 'layer"):
        find_layer(named, "layer3")
    with pytest.raises(InvalidInputError, match="layers is a list of names"):
        layer_outputs(network, torch.ones(2, 4).double(), "0")


def test_a_layer_that_gives_no_row_a_sample_is_refused():
    class Mean(nn.Module):
        def forward(self, x):
            return x.mean(0)

    class Centred(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear, self.mean = nn.Linear(2, 2), Mean()

        def forward(self, x):
            self.mean(torch.ones(5, 2))
            return self.linear(x)

    with pytest.raises(InvalidInputError, match=r"'mean' gives shape \(2,\) for 1 sample"):
        layer_outputs(Centred(), torch.ones(4, 2), ["mean"])


def test_wrapped_networks_have_the_names_of_the_network_itself(network, x):
    wrapped = nn.DataParallel(network)
    torch.testing.assert_close(layer_outputs(wrapped, x, ["2"])["2"], predict(network, x))


def test_a_tensor_that_a_layer_hands_on_stays_as_it_was():
    x, network = torch.ones(4, 3), nn.Sequential(nn.Identity(), nn.Linear(3, 2))
    with watch_layers(network, ["0"]) as watch:
        score = network(x).sum()
    assert not x.requires_grad
    (slope,) = torch.autograd.grad(score, watch.outputs["0"])
    torch.testing.assert_close(slope, network[1].weight.detach().sum(0).expand(4, 3))


@pytest.mark.parametrize("steps", [1, 2, 6])
def test_a_layer_with_time_first_is_refused_and_not_listed_whatever_its_length(steps):
    class TimeFirst(nn.Module):
        def __init__(self):
            super().__init__()
            self.memory, self.last = nn.LSTM(5, 7), nn.Linear(7, 3)

        def forward(self, x):
            return self.last(self.memory(x.transpose(0, 1))[0].mean(0))

    model, x = TimeFirst(), torch.ones(6, steps, 5)
    assert layer_names(model, x) == ["last"]
    with pytest.raises(InvalidInputError, match="name a layer whose first axis is that of the samples"):
        layer_outputs(model, x, ["memory"])
