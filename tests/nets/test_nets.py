import pytest
import torch
from torch import nn

from assay.core import InvalidInputError, seeded
from assay.nets import mlp, normalized_conv, small_conv


def same_as_pytorch(ours, theirs):
    """Draw PyTorch's own initialisation from the same seed: the oracle of ours."""
    with torch.random.fork_rng():
        torch.manual_seed(3)
        expected = nn.Sequential(*[layer() for layer in theirs])
    assert len(ours) == len(expected)
    for ours_value, value in zip(ours.parameters(), expected.parameters(), strict=True):
        torch.testing.assert_close(ours_value, value)


def test_mlp_is_pytorchs_own():
    ours = mlp((7, 5, 4, 3), generator=seeded(3))
    linear = [lambda: nn.Linear(7, 5), nn.ReLU, lambda: nn.Linear(5, 4), nn.ReLU, lambda: nn.Linear(4, 3)]
    same_as_pytorch(ours, linear)


def test_small_conv_is_pytorchs_own():
    layers = [
        *(lambda: nn.Conv2d(3, 4, 4, 2, 1), nn.ReLU, lambda: nn.Conv2d(4, 6, 4, 2, 1), nn.ReLU, nn.Flatten),
        *(lambda: nn.Linear(6 * 2 * 3, 9), nn.ReLU, lambda: nn.Linear(9, 5)),
    ]
    ours = small_conv((3, 11, 13), 5, channels=(4, 6), hidden=9, generator=seeded(3))
    same_as_pytorch(ours, layers)
    assert ours(torch.rand(2, 3, 11, 13, generator=seeded(0))).shape == (2, 5)


def test_normalized_conv_is_pytorchs_own():
    def block(n_in, n_out):
        return lambda: nn.Conv2d(n_in, n_out, 3, padding=1), lambda: nn.GroupNorm(n_out, n_out), nn.ReLU, nn.Identity

    layers = [*block(3, 4), *block(4, 6), nn.Flatten, lambda: nn.Linear(6 * 2 * 3, 5)]
    ours = normalized_conv((3, 11, 13), 5, channels=(4, 6), generator=seeded(3))
    same_as_pytorch(ours, layers)
    x = torch.rand(2, 3, 11, 13, generator=seeded(0))
    inner = x
    for k in (0, 4):
        inner = torch.nn.functional.group_norm(ours[k](inner), (4, 6)[k // 4])
        inner = torch.nn.functional.avg_pool2d(inner.relu(), 2)
    torch.testing.assert_close(ours(x), ours[-1](inner.flatten(1)))


@pytest.mark.parametrize(("shape", "channels"), [((0, 8, 8), (2,)), ((1, 8, 8), (2, 0)), ((1, 6, 8), (2, 2, 2))])
def test_normalized_conv_refuses_sizes_that_cannot_be(shape, channels):
    with pytest.raises(InvalidInputError):
        normalized_conv(shape, 3, channels=channels)


@pytest.mark.parametrize(
    ("bias", "expected"), [("all", [True] * 3), ("first", [True, False, False]), ("none", [False] * 3)]
)
def test_mlp_has_the_biases_asked_for(bias, expected):
    network = mlp((4, 5, 6, 2), bias=bias)
    assert [layer.bias is not None for layer in network if isinstance(layer, nn.Linear)] == expected


def test_mlp_without_biases_is_homogeneous():
    network = mlp((4, 5, 6, 2), bias="none").double()
    x = torch.randn(8, 4, dtype=torch.float64, generator=seeded(0))
    before = network(x)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter *= 2
    torch.testing.assert_close(network(x), 8 * before)


def test_first_layer_std_scales_weight_and_bias_of_the_first_layer_only():
    network = mlp((200, 300, 2), first_layer_std=1e-4, generator=seeded(0)).requires_grad_(False)
    assert float(network[0].weight.std()) == pytest.approx(1e-4, rel=0.02)
    assert float(network[0].bias.std()) == pytest.approx(1e-4, rel=0.2)
    assert float(network[2].weight.std()) == pytest.approx(1 / (3 * 300) ** 0.5, rel=0.1)


@pytest.mark.parametrize(
    "build", [lambda g: mlp((4, 3, 2), generator=g), lambda g: small_conv((1, 8, 8), 2, generator=g)]
)
def test_the_generator_decides_and_the_global_state_is_left_alone(build):
    before = torch.get_rng_state()
    first, again, other, default = build(seeded(1)), build(seeded(1)), build(seeded(2)), build(None)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(first[0].weight, again[0].weight)
    assert not torch.equal(first[0].weight, other[0].weight)
    assert torch.equal(default[0].weight, build(seeded(0))[0].weight)


@pytest.mark.parametrize(
    "build",
    [
        lambda: mlp((4,)),
        lambda: mlp((4, 0, 2)),
        lambda: mlp((4, 2), first_layer_std=0.0),
        lambda: small_conv((1, 3, 28), 10),
        lambda: small_conv((1, 28, 28), 0),
    ],
)
def test_impossible_sizes_are_refused(build):
    with pytest.raises(InvalidInputError):
        build()
