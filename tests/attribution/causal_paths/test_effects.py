import copy

import pytest
import torch
from torch import nn

from assay.attribution import find_causal_graph
from assay.attribution.causal_paths import LayerChain, layer_chain, path_intervention_effect
from assay.core import InvalidInputError, seeded
from assay.nets import mlp, small_conv

SOURCE = 3


def randn(*shape, seed=SOURCE):
    return torch.randn(shape, generator=seeded(seed), dtype=torch.float64)


def edited(model, name, rows, columns, value, x):
    """Return the logits with some weights set, by editing a copy."""
    other = copy.deepcopy(model).eval()
    weight = dict(other.named_modules())[name].weight
    with torch.no_grad():
        weight[rows, columns] = value
        return other(x)


def state(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


def test_the_effect_in_a_linear_network_is_the_weight_times_the_input():
    model, x = nn.Sequential(nn.Linear(4, 3)).double(), randn(6, 4)
    found = path_intervention_effect(model, "0", range(4), [1], x, target=1)
    torch.testing.assert_close(found.total, -(model[0].weight[1] * x).T.detach())
    torch.testing.assert_close(found.observed, model(x)[:, 1].detach())


@pytest.mark.parametrize("cut", [False, True])
@pytest.mark.parametrize("value", [0.0, 0.3])
def test_effects_are_those_of_edited_weights(cut, value):
    model, x = mlp((5, 6, 6, 3), generator=seeded(1)).double(), randn(7, 5)
    before = state(model)
    for layer, effects in (("4", [2]), ("2", [0, 3, 5]), ("0", [1, 4])):
        units = dict(model.named_modules())[layer].in_features
        options = {"value": value, "cut": cut, "batch_size": 20}
        found = path_intervention_effect(model, layer, range(units), effects, x, target=2, **options)
        logits = model(x).detach()
        for unit in range(units):
            after = edited(model, layer, effects, unit, value, x)
            torch.testing.assert_close(found.total[unit], after[:, 2] - logits[:, 2])
            p, q = after.log_softmax(1), logits.log_softmax(1)
            divergence = nn.functional.kl_div(q, p, log_target=True, reduction="none").sum(1)
            torch.testing.assert_close(found.divergence[unit], divergence, atol=1e-12, rtol=1e-8)
        assert bool((found.divergence >= 0).all())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


CONVOLUTIONS = {
    "plain": nn.Conv2d(4, 6, 3, stride=2, padding=1),
    "circular": nn.Conv2d(4, 6, 3, padding=1, dilation=2, padding_mode="circular"),
    "same": nn.Conv2d(4, 6, 3, padding="same", bias=False),
    "groups": nn.Conv2d(4, 6, 3, groups=2),
    "depthwise": nn.Conv2d(4, 4, 3, groups=4, padding=1),
}


@pytest.mark.parametrize("kind", CONVOLUTIONS)
def test_effects_through_convolutions_are_those_of_edited_kernels(kind):
    layer = CONVOLUTIONS[kind]
    x = randn(3, 2, 8, 8)
    body = nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(inplace=True), layer, nn.ReLU())
    model = nn.Sequential(*body, nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(4 * layer.out_channels, 3)).double()
    model.eval()
    effects, groups = [0, 2, 3], layer.groups
    found = path_intervention_effect(model, "3", range(4), effects, x, target=0, value=0.1, cut=True)
    for cause in range(4):
        group, place = divmod(cause, 4 // groups)
        rows = [e for e in effects if e * groups // layer.out_channels == group]
        after = edited(model, "3", rows, place, 0.1, x)
        torch.testing.assert_close(found.total[cause], (after - model(x))[:, 0].detach())


def test_a_flattened_channel_owns_its_pixels():
    model, x = small_conv((1, 8, 8), 3, channels=(3, 5), hidden=6, generator=seeded(0)).double(), randn(4, 1, 8, 8)
    found = path_intervention_effect(model, "5", range(5), [1, 2], x, target=1, columns=4, cut=True)
    for unit in range(5):
        after = edited(model, "5", slice(1, 3), slice(4 * unit, 4 * unit + 4), 0.0, x)
        torch.testing.assert_close(found.total[unit], (after - model(x))[:, 1].detach())


def test_a_dead_unit_has_no_effect():
    model, x = mlp((4, 5, 2), generator=seeded(1)).double(), randn(6, 4)
    with torch.no_grad():
        model[0].weight[2], model[0].bias[2] = 0.0, -1.0
    found = path_intervention_effect(model, "2", range(5), [1], x, target=1)
    assert torch.equal(found.total[2], torch.zeros(6, dtype=torch.float64))
    assert torch.equal(found.divergence[2], torch.zeros(6, dtype=torch.float64))


def test_drawn_weights_lie_between_the_ends():
    model, x = nn.Sequential(nn.Linear(4, 3, bias=False)).double(), torch.eye(4, dtype=torch.float64)
    found = path_intervention_effect(model, "0", range(4), [1], x, target=1, value=(0.2, 0.3))
    drawn = found.total.diagonal() + model[0].weight[1].detach()
    assert bool(((drawn >= 0.2) & (drawn <= 0.3)).all())
    assert len(set(drawn.tolist())) == 4


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.inner, self.last = nn.Linear(4, 5), nn.Linear(5, 5), nn.Linear(5, 3)

    def forward(self, x):
        h = self.first(x).relu()
        return self.last(h + self.inner(h).relu())


def test_a_branching_network_is_refused_unless_its_layers_are_named():
    model, x = Residual().double(), randn(6, 4)
    with pytest.raises(InvalidInputError, match=r"'inner' does not decide the logits alone.*layers="):
        layer_chain(model, x, n_classes=3)
    chain = layer_chain(model, x, ["inner", "last"], n_classes=3)
    assert chain == LayerChain(("inner", "last"), (5, 5), (1, 1), (False, True))
    found = path_intervention_effect(model, "inner", range(5), [0, 2], x, target=1)
    for unit in range(5):
        after = edited(model, "inner", [0, 2], unit, 0.0, x)
        torch.testing.assert_close(found.total[unit], (after - model(x))[:, 1].detach())


def test_a_network_that_mixes_units_is_refused():
    model = nn.Sequential(nn.Linear(4, 5), nn.LayerNorm(5), nn.Linear(5, 3))
    with pytest.raises(InvalidInputError, match="mixed before layer '2'"):
        layer_chain(model, torch.rand(3, 4), n_classes=3)
    shuffled = nn.Sequential(nn.Conv2d(1, 4, 1), nn.ChannelShuffle(2), nn.Flatten(), nn.Linear(16, 3))
    with pytest.raises(InvalidInputError, match="mixed"):
        layer_chain(shuffled, torch.rand(3, 1, 2, 2), n_classes=3)


def test_a_chain_of_convolutions_knows_the_pixels_of_a_channel():
    model = small_conv((1, 8, 8), 3, channels=(3, 5), hidden=6)
    chain = layer_chain(model, torch.rand(2, 1, 8, 8), n_classes=3)
    assert chain == LayerChain(("0", "2", "5", "7"), (1, 3, 5, 6), (1, 1, 4, 1), (True,) * 4)


class FixedRows(nn.Module):
    """Takes the number of rows from its input."""

    def __init__(self):
        super().__init__()
        self.filters, self.head = nn.Conv2d(1, 2, 3), nn.Linear(8, 3)

    def forward(self, x):
        n = len(x)
        return self.head(self.filters(x).relu().view(n, -1))


def test_a_network_that_fixes_its_rows_runs_whole():
    assert layer_chain(FixedRows(), torch.rand(3, 1, 4, 4), n_classes=3).cuts == (False, True)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layer": "1"}, "dense or convolution"),
        ({"layer": "nope"}, "no layer"),
        ({"causes": [6]}, "causes must be"),
        ({"effects": [0, 0]}, "effects must be"),
        ({"target": 3}, "target must be"),
        ({"columns": 4}, "columns"),
        ({"value": (0.2, 0.1)}, "value must"),
    ],
)
def test_bad_input_is_refused(options, message):
    model = mlp((4, 6, 3))
    given = {"layer": "2", "causes": [0], "effects": [1], "target": 1} | options
    with pytest.raises(InvalidInputError, match=message):
        path_intervention_effect(model, x=torch.rand(2, 4), **given)


@pytest.mark.parametrize(
    ("layers", "message"),
    [("0", "list of names"), (["2", "0"], "in this order"), (["0"], "6 units for 3 logits"), (["1"], "ReLU")],
)
def test_wrong_chains_are_refused(layers, message):
    with pytest.raises(InvalidInputError, match=message):
        layer_chain(mlp((4, 6, 3)), torch.rand(2, 4), layers, n_classes=3)


class TokenNetwork(nn.Module):
    """A residual block over tokens, and a head on their mean."""

    def __init__(self):
        super().__init__()
        self.table, self.norm = nn.Embedding(7, 4), nn.LayerNorm(4)
        self.wide, self.narrow, self.head = nn.Linear(4, 6), nn.Linear(6, 4), nn.Linear(4, 3)

    def forward(self, tokens):
        h = self.table(tokens)
        h = h + self.narrow(nn.functional.gelu(self.wide(self.norm(h))))
        return self.head(h.mean(1))


def test_named_layers_of_a_network_of_tokens_are_searched():
    torch.manual_seed(0)
    model, x = TokenNetwork().double(), torch.arange(20).reshape(4, 5) % 7
    found = path_intervention_effect(model, "narrow", range(6), [1, 3], x, target=2)
    for unit in range(6):
        after = edited(model, "narrow", [1, 3], unit, 0.0, x)
        torch.testing.assert_close(found.total[unit], (after - model(x))[:, 2].detach())
    target = int(model(x)[0].argmax())
    graph = find_causal_graph(model, x, target, layers=["wide", "narrow", "head"], sign="both")
    assert graph.layers[-1] == "head"
    assert graph.units[-1] == 4
