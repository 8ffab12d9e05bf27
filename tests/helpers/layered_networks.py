"""Networks of every kind of layer, and of uses of their parameters that a record of layers must tell apart."""

import copy
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from helpers.hard_networks import Last, SelfAttention


class Net(nn.Module):
    """Modules and a function of them."""

    def __init__(self, forward: Callable[[Any, Tensor], Tensor], **modules: nn.Module) -> None:
        super().__init__()
        self.answer = forward
        for name, module in modules.items():
            self.add_module(name, module)

    def forward(self, x: Tensor) -> Tensor:
        return self.answer(self, x)


def images(*layers: nn.Module) -> Callable[[], nn.Module]:
    return lambda: nn.Sequential(*map(copy.deepcopy, layers), nn.Flatten(), nn.LazyLinear(3))


def residual(net: Any, x: Tensor) -> Tensor:
    out = net.norm(F.relu_(net.conv(x)))
    out += x
    return net.out(out.relu_().mean((2, 3)))


def time_first(net: Any, x: Tensor) -> Tensor:
    return net.out(torch.tanh(net.norm(net.inner(x.movedim(1, 0)))).mean(0))


def flat_rows(net: Any, x: Tensor) -> Tensor:
    return net.out(torch.tanh(net.inner(x.reshape(-1, 4))).reshape(len(x), -1, 5).mean(1))


def interleaved_rows(net: Any, x: Tensor) -> Tensor:
    return net.out(torch.tanh(net.inner(x.movedim(1, 0).reshape(-1, 4))).reshape(-1, len(x), 5).mean(0))


def frames(net: Any, x: Tensor) -> Tensor:
    hidden = net.norm(net.wide(torch.tanh(net.conv(x.flatten(0, 1)))))
    return net.out(torch.tanh(hidden).mean((2, 3)).unflatten(0, (len(x), -1)).mean(1))


def twice(net: Any, x: Tensor) -> Tensor:
    return net.out(torch.tanh(net.inner(torch.tanh(net.inner(x)))).mean(1))


def tied(net: Any, x: Tensor) -> Tensor:
    return F.linear(torch.tanh(net.tokens(x).mean(1)), net.tokens.weight)


def transposed(net: Any, x: Tensor) -> Tensor:
    return net.out(torch.tanh(net.inner(torch.tanh(net.inner(x)) @ net.inner.weight.T))).mean(1)


def language(net: Any, x: Tensor) -> Tensor:
    hidden = net.tokens(x) + net.places(torch.arange(x.shape[1]))
    return net.out(net.norm(net.layer(hidden)).mean(1))


def by_shape(net: Any, x: Tensor) -> Tensor:
    return net.out(torch.tanh(net.inner(x) if len(x) > 1 else net.inner(x) + net.inner(0 * x) - net.inner.bias))


PICTURES, STEPS, VECTORS, TOKENS = ((2, 3, 6, 7), "image"), ((2, 3, 4), "steps"), ((2, 4), "rows"), ((2, 6), "tokens")
convolution = partial(nn.Conv2d, 3)
CASES: dict[str, tuple[Callable[[], nn.Module], tuple[tuple[int, ...], str], set[str]]] = {
    "perceptron": (lambda: nn.Sequential(nn.Linear(4, 5), nn.ReLU(inplace=True), nn.Linear(5, 3)), VECTORS, set()),
    "stride, padding, dilation": (
        images(convolution(4, 3, stride=2, padding=1, dilation=2), nn.Tanh()),
        PICTURES,
        set(),
    ),
    "unequal sides": (images(convolution(4, (2, 3), stride=(1, 2), padding=(0, 1)), nn.Tanh()), PICTURES, set()),
    "groups": (images(convolution(6, 3, groups=3, padding="same"), nn.Tanh()), PICTURES, set()),
    "even kernel, same size": (images(convolution(4, (4, 2), padding="same", dilation=(1, 2))), PICTURES, set()),
    "valid, depthwise": (images(convolution(3, 3, groups=3, padding="valid", bias=False)), PICTURES, set()),
    "reflected": (images(convolution(4, 3, padding=1, padding_mode="reflect"), nn.Tanh()), PICTURES, set()),
    "wide": (
        images(convolution(16, 3, padding=1), nn.Tanh(), nn.Conv2d(16, 16, (3, 2), stride=(2, 1), groups=2)),
        PICTURES,
        set(),
    ),
    "frames": (
        lambda: Net(
            frames, conv=nn.Conv2d(3, 8, 1), wide=nn.Conv2d(8, 8, 3), norm=nn.BatchNorm2d(8), out=nn.Linear(8, 3)
        ),
        ((2, 2, 3, 6, 7), "images"),
        set(),
    ),
    "few positions": (images(convolution(16, 3), nn.Conv2d(16, 16, 4)), PICTURES, set()),
    "one dimension": (images(nn.Conv1d(3, 4, 3, padding=1, stride=2), nn.Tanh()), STEPS, set()),
    "batch-norm": (images(convolution(4, 3), nn.BatchNorm2d(4), nn.ReLU()), PICTURES, set()),
    "other norms": (
        images(convolution(4, 3), nn.GroupNorm(2, 4), nn.InstanceNorm2d(4, affine=True), nn.LayerNorm([4, 4, 5])),
        PICTURES,
        set(),
    ),
    "writes in place": (
        lambda: Net(residual, conv=convolution(3, 3, padding=1), norm=nn.BatchNorm2d(3), out=nn.Linear(3, 3)),
        PICTURES,
        set(),
    ),
    "transposed convolution": (images(nn.ConvTranspose2d(3, 2, 2)), PICTURES, {"0.weight", "0.bias"}),
    "long sequences": (
        lambda: nn.Sequential(nn.Linear(4, 2), nn.RMSNorm(2), nn.Flatten(), nn.Linear(6, 3)),
        STEPS,
        set(),
    ),
    "time first": (
        lambda: Net(time_first, inner=nn.Linear(4, 5), norm=nn.LayerNorm(5), out=nn.Linear(5, 3)),
        STEPS,
        set(),
    ),
    "rows of all samples": (lambda: Net(flat_rows, inner=nn.Linear(4, 5), out=nn.Linear(5, 3)), STEPS, set()),
    "interleaved rows": (
        lambda: Net(interleaved_rows, inner=nn.Linear(4, 5), out=nn.Linear(5, 3)),
        STEPS,
        {"inner.weight", "inner.bias"},
    ),
    "used twice": (lambda: Net(twice, inner=nn.Linear(4, 4), out=nn.Linear(4, 3)), STEPS, set()),
    "other use": (lambda: Net(transposed, inner=nn.Linear(4, 4), out=nn.Linear(4, 3)), STEPS, {"inner.weight"}),
    "other calls": (
        lambda: Net(by_shape, inner=nn.Linear(4, 4), out=nn.Linear(4, 3)),
        VECTORS,
        {"inner.weight", "inner.bias"},
    ),
    "tied": (lambda: Net(tied, tokens=nn.Embedding(5, 3)), TOKENS, {"tokens.weight"}),
    "padding": (
        lambda: nn.Sequential(nn.Embedding(5, 3, padding_idx=-2), nn.Tanh(), nn.Flatten(), nn.Linear(18, 3)),
        TOKENS,
        set(),
    ),
    "transformer": (
        lambda: Net(
            language,
            tokens=nn.Embedding(5, 4),
            places=nn.Embedding(6, 4),
            layer=nn.TransformerEncoderLayer(4, 2, 5, batch_first=True, norm_first=True),
            norm=nn.LayerNorm(4),
            out=nn.Linear(4, 3),
        ),
        TOKENS,
        {"places.weight", *(f"layer.self_attn.{name}" for name in ("in_proj_weight", "in_proj_bias"))}
        | {f"layer.self_attn.out_proj.{name}" for name in ("weight", "bias")},
    ),
    "attention": (
        SelfAttention,
        VECTORS,
        {f"attention.{name}" for name in ("in_proj_weight", "in_proj_bias", "out_proj.weight", "out_proj.bias")},
    ),
    "LSTM": (
        lambda: nn.Sequential(Last(nn.LSTM(4, 2, batch_first=True)), nn.Linear(2, 3)),
        STEPS,
        {f"0.cell.{name}" for name in ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")},
    ),
    "weight norm": (
        lambda: nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(4, 5)), nn.Tanh(), nn.Linear(5, 3)),
        VECTORS,
        {f"0.parametrizations.weight.original{i}" for i in (0, 1)},
    ),
}
