"""Networks that are no function of one sample are refused, and rounding is never taken for that."""

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from assay.core import InvalidInputError, check_outputs
from helpers.look_networks import Network, samples, seeded_network


class Counter(Network):
    """Changes its answer from call to call."""

    calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return super().forward(x) * self.calls


class MonteCarlo(Network):
    """Puts its dropout back into training mode in each call."""

    def __init__(self) -> None:
        super().__init__()
        self.drop = nn.Dropout(0.5)

    def forward(self, x: Tensor) -> Tensor:
        self.drop.train()
        return self.layer(self.drop(x))


class Routed(nn.Module):
    """Each of 32 experts takes the half of the batch that scores highest with it."""

    def __init__(self) -> None:
        super().__init__()
        self.gate, self.head = nn.Linear(6, 32), nn.Linear(32, 4)

    def forward(self, x: Tensor) -> Tensor:
        scores = self.gate(x)
        taken = scores.argsort(0, descending=True).argsort(0) < (len(x) + 1) // 2
        return self.head(scores * taken)


class StochasticDepth(Network):
    """Skips its layer for one sample in ten."""

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x) * (torch.rand(len(x), 1) > 0.1)


class Recurrent(nn.Module):
    """Classifies a sequence by the last state of a recurrent layer."""

    def __init__(self, kind: Callable[..., nn.Module], **options: Any) -> None:
        super().__init__()
        self.body, self.head = kind(6, 5, **options), nn.Linear(5, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x)[0][:, -1])


def attention(x: Tensor, dropout: float = 0.0) -> Tensor:
    return F.scaled_dot_product_attention(x[:, None], x[:, None], x[:, None], dropout_p=dropout).flatten(1)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (seeded_network(lambda z: F.dropout(z, 0.5)), r"dropout on in evaluation mode.*training=self\.training"),
        (nn.Sequential(nn.Identity(), MonteCarlo()), r"dropout in 1\.drop\)"),
        (seeded_network(lambda z: z, lambda x: attention(x, 0.5)), r"dropout on in evaluation mode.*dropout_p=0"),
        (seeded_network(lambda z: z + 1e-3 * torch.randn_like(z)), r"randn_like.*only if self\.training"),
        (seeded_network(lambda z: z + random.random()), r"random or numpy\.random in the network"),
        (seeded_network(lambda z: z + np.random.rand()), "drawn in evaluation mode"),  # noqa: NPY002
        (Counter(), "second call; keep no counter or cache"),
        (
            nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4, track_running_stats=False)),
            r"mixes samples.*own statistics in evaluation mode \(in 1\).*track_running_stats=True",
        ),
        (seeded_network(lambda z: F.batch_norm(z, None, None, training=True)), "own statistics"),
        (seeded_network(lambda z: z - 1e-4 * z.mean(0)), "mixes samples.*no mean"),
        (seeded_network(lambda z: z.softmax(0)), "mixes samples"),
        (Routed(), "mixes samples"),
        (StochasticDepth(), "random numbers drawn"),
        (seeded_network(lambda z: z / len(z)), "mixes samples"),
    ],
)
def test_networks_that_are_no_function_of_one_sample(model: nn.Module, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        check_outputs(model.eval(), samples(9))


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
def test_sequence_first_layers(kind: Callable[..., nn.Module]) -> None:
    x = samples(7, 8, 6)
    assert check_outputs(Recurrent(kind, batch_first=True), x).shape == (3, 4)
    for options in ({}, {"bidirectional": True}):
        model = Recurrent(kind, **options)
        model.head = nn.LazyLinear(4)
        model(x)
        with pytest.raises(InvalidInputError, match="time on the first axis of body; build it with batch_first=True"):
            check_outputs(model, x)


def test_mixed_precision_inside_is_no_mixing() -> None:
    def half(z: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return F.linear(torch.sin(10 * z), torch.linspace(-1, 1, 40).reshape(10, 4)).float()

    for n in (1, 2, 5):
        assert len(check_outputs(seeded_network(half), samples(n))) == min(n, 3)


def test_noise_of_a_seed_set_in_each_call_is_named() -> None:
    def noisy(z: Tensor) -> Tensor:
        torch.manual_seed(0)
        return z + torch.randn_like(z)

    with pytest.raises(InvalidInputError, match=r"random numbers drawn"):
        check_outputs(seeded_network(noisy), samples())


def deep(kind: Callable[[], nn.Module], n: int) -> nn.Module:
    return nn.Sequential(*(kind() for _ in range(n)))


ORDINARY: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "convolutions": (
        lambda: nn.Sequential(nn.Conv2d(3, 64, 3), nn.ReLU(), nn.Conv2d(64, 64, 3), nn.Flatten()),
        (3, 16, 16),
    ),
    "a wide product": (lambda: nn.Sequential(nn.Linear(4096, 2048), nn.ReLU(), nn.Linear(2048, 1000)), (4096,)),
    "a deep one": (lambda: deep(lambda: nn.Sequential(nn.Linear(64, 64), nn.LayerNorm(64), nn.ReLU()), 40), (64,)),
    "attention": (
        lambda: nn.TransformerEncoder(
            nn.TransformerEncoderLayer(64, 4, 128, batch_first=True), 4, enable_nested_tensor=False
        ),
        (33, 64),
    ),
    "recurrent": (lambda: Recurrent(nn.LSTM, batch_first=True, num_layers=1), (50, 6)),
    "norms over a sample": (
        lambda: nn.Sequential(
            nn.Conv2d(3, 8, 3), nn.GroupNorm(2, 8), nn.InstanceNorm2d(8), nn.LayerNorm([8, 6, 6]), nn.BatchNorm2d(8)
        ),
        (3, 8, 8),
    ),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("name", ORDINARY)
@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_rounding_is_never_called_mixing(name: str, dtype: torch.dtype, scale: float) -> None:
    build, shape = ORDINARY[name]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = build().eval().to(dtype)
    for n in (1, 2, 5):
        x = scale * torch.randn(n, *shape, generator=torch.Generator().manual_seed(n))
        assert len(check_outputs(model, x.to(dtype))) == min(n, 3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_small_mixing_is_found_beside_rounding(dtype: torch.dtype) -> None:
    build, shape = ORDINARY["a wide product"]

    class Centred(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = build()

        def forward(self, x: Tensor) -> Tensor:
            z = self.body(x)
            return z - 1e-4 * z.mean(0)

    with pytest.raises(InvalidInputError, match="mixes samples"):
        check_outputs(Centred().to(dtype), samples(4, *shape).to(dtype))


class Gathered(nn.Module):
    """Passes the rows of each sign of the first entry through the layer together, and amplifies the scores."""

    def __init__(self, mixing: float = 0.0) -> None:
        super().__init__()
        self.layer, self.mixing = nn.Linear(4096, 64), mixing

    def forward(self, x: Tensor) -> Tensor:
        out = x.new_zeros(len(x), 64)
        for side in (x[:, 0] > 0, x[:, 0] <= 0):
            out[side] = self.layer(x[side])
        return torch.sin(300 * out) + self.mixing * x.mean()


def test_rounding_that_changes_with_the_rows_gathered_is_not_mixing_and_mixing_of_that_size_is() -> None:
    x = torch.randn(3, 4096, generator=torch.Generator().manual_seed(0))
    x[:, 0] = torch.tensor([1.0, 1.0, -1.0])
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = Gathered()
    with torch.no_grad():
        difference = (model(x) - model(x[[2, 1, 2]]))[1:].abs().max()
    assert difference > 1e-5  # no more than rounding: in float64 it is gone
    assert check_outputs(model, x).shape == (3, 64)
    model.mixing = 0.01
    with pytest.raises(InvalidInputError, match="mixes samples"):
        check_outputs(model, x)
