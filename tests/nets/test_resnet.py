import pytest
import torch
from torch import nn
from torch.nn import functional as F

from assay.core import InvalidInputError, inspect_model, seeded
from assay.nets import CifarResNet, Normalize


@pytest.mark.parametrize(
    ("depth", "n_parameters"), [(20, 269_722), (32, 464_154), (44, 658_586), (56, 853_018)]
)  # the paper's table 6 gives 0.27, 0.46, 0.66 and 0.85 million
def test_depths_of_the_paper_have_its_number_of_parameters(depth, n_parameters):
    model = CifarResNet(depth)
    assert sum(parameter.numel() for parameter in model.parameters()) == n_parameters
    assert sum(isinstance(layer, (nn.Conv2d, nn.Linear)) for layer in model.modules()) == depth


def test_the_network_computes_what_the_paper_draws():
    """The same network written out with functions, one stage after another."""
    model = CifarResNet(14, 5, n_channels=2, generator=seeded(1)).double().eval()
    draw = seeded(2)
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm2d):
            for value in (layer.weight.data, layer.bias.data, layer.running_mean, layer.running_var):
                value.copy_(0.5 + torch.rand(value.shape, generator=draw, dtype=torch.float64))
    state = model.state_dict()

    def convolve(x, name, normal, stride=1):
        x = F.conv2d(x, state[f"{name}.weight"], stride=stride, padding=1)
        parts = (state[f"{normal}.{part}"].view(-1, 1, 1) for part in ("running_mean", "running_var", "weight", "bias"))
        mean, variance, weight, bias = parts
        return (x - mean) / (variance + 1e-5).sqrt() * weight + bias

    images = torch.rand(3, 2, 12, 8, generator=draw, dtype=torch.float64)
    x = convolve(images, "conv1", "bn1").relu()
    for stage in (1, 2, 3):
        for block in (0, 1):
            name, halves = f"layer{stage}.{block}", stage > 1 and block == 0
            inside = convolve(x, f"{name}.conv1", f"{name}.bn1", 2 if halves else 1).relu()
            inside = convolve(inside, f"{name}.conv2", f"{name}.bn2")
            if halves:
                quarter = torch.zeros_like(inside[:, : inside.shape[1] // 4])
                x = torch.cat([quarter, x[:, :, ::2, ::2], quarter], 1)
            x = (inside + x).relu()
    expected = x.mean((2, 3)) @ state["linear.weight"].T + state["linear.bias"]
    torch.testing.assert_close(model(images), expected)


def test_hooks_and_gradients_find_nothing_in_their_way():
    assert inspect_model(CifarResNet(8).eval()) == []


def test_convolutions_start_with_hes_deviation():
    weight = CifarResNet(8).layer3[0].conv2.weight
    assert weight.std().item() == pytest.approx((2 / (64 * 9)) ** 0.5, rel=0.02)  # 3.8 standard errors


def test_normalize_is_undone_by_its_inverse():
    x = torch.rand(2, 3, 4, 4, generator=seeded(0))
    mean, std = (0.1, 0.2, 0.3), (0.5, 1.0, 2.0)
    back = Normalize(mean, std)(x) * torch.tensor(std).view(3, 1, 1) + torch.tensor(mean).view(3, 1, 1)
    torch.testing.assert_close(back, x)
    assert not Normalize(mean, std).state_dict(), "published weights do not hold the normalisation"


@pytest.mark.parametrize(
    "build",
    [
        lambda: CifarResNet(18),
        lambda: CifarResNet(2),
        lambda: CifarResNet(20, 0),
        lambda: Normalize((0.5,), (0.0,)),
        lambda: Normalize((0.5, 0.5), (1.0,)),
        lambda: Normalize((), ()),
    ],
)
def test_impossible_sizes_are_refused(build):
    with pytest.raises(InvalidInputError):
        build()
