"""Moments of per-sample gradients beside a loop over samples in float64."""

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import assay.core.moments
from assay.core import InvalidInputError, cross_entropy, gradient_moments, isolated_rng, seeded, squared_error
from helpers.layered_networks import CASES


def data(shape: tuple[int, ...], kind: str, n: int) -> tuple[Tensor, Tensor]:
    source = seeded(n)
    size = (n, *shape[1:])
    x = torch.randint(5, size, generator=source) if kind == "tokens" else torch.randn(size, generator=source).double()
    return x, torch.arange(n) % 3


def built(make: Callable[[], nn.Module], x: Tensor) -> nn.Module:
    with isolated_rng(0):
        model = make().double().eval()
        model(x)  # sizes of lazy layers
        for value in (*model.parameters(), *model.buffers()):
            if value.is_floating_point():
                nn.init.uniform_(value, 0.1, 0.9)
    return model


def looped(model: nn.Module, x: Tensor, y: Tensor) -> list[dict[str, Tensor]]:
    own = {name: value for name, value in model.named_parameters() if value.requires_grad}
    rows = []
    for i in range(len(x)):
        value = cross_entropy(model(x[i : i + 1].clone()), y[i : i + 1])
        rows.append(dict(zip(own, torch.autograd.grad(value, list(own.values())), strict=True)))
    return rows


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@pytest.mark.parametrize("name", CASES)
def test_the_moments_are_those_of_a_loop_over_samples(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    make, (shape, kind), other_way = CASES[name]
    asked: list[set[str]] = []
    original = assay.core.moments.sample_derivatives

    def noted(model, x, y, mean, params, batch_size, reduce):
        asked.append(set(params))
        return original(model, x, y, mean, params, batch_size, reduce)

    monkeypatch.setattr(assay.core.moments, "sample_derivatives", noted)
    x, y = data(shape, kind, 7)
    model = built(make, x)
    rows = looped(model, x, y)
    for batch_size in (3, 7):
        found = gradient_moments(model, x, y, cross_entropy, batch_size=batch_size)
        for key, value in found.mean.items():
            torch.testing.assert_close(value, torch.stack([row[key] for row in rows]).mean(0))
            expected = torch.stack([row[key].square().sum() for row in rows])
            torch.testing.assert_close(found.square_norms[key], expected, rtol=1e-9, atol=1e-15)
        torch.testing.assert_close(found.norms.square(), torch.stack(list(found.square_norms.values())).sum(0))
    assert (asked or [set()])[0] == other_way


@given(
    n=st.integers(1, 5),
    batch_size=st.integers(1, 6),
    steps=st.integers(1, 12),
    fan_in=st.integers(1, 6),
    fan_out=st.integers(2, 6),
)
@settings(max_examples=20, deadline=None)
def test_both_forms_of_a_linear_layer_agree_with_the_loop(
    n: int, batch_size: int, steps: int, fan_in: int, fan_out: int
) -> None:
    with isolated_rng(0):
        model = nn.Sequential(nn.Linear(fan_in, fan_out), nn.Flatten(), nn.Linear(steps * fan_out, 3)).double()
    x, y = torch.randn(n, steps, fan_in, generator=seeded(1)).double(), torch.arange(n) % 3
    rows = looped(model, x, y)
    found = gradient_moments(model, x, y, cross_entropy, batch_size=batch_size)
    for key in found.mean:
        torch.testing.assert_close(found.square_norms[key], torch.stack([row[key].square().sum() for row in rows]))


def test_parts_and_frozen_parameters() -> None:
    x, y = data((2, 4), "rows", 5)
    model = built(CASES["perceptron"][0], x)
    model.get_submodule("0").requires_grad_(False)
    trained = gradient_moments(model, x, y, cross_entropy)
    every = gradient_moments(model, x, y, cross_entropy, params="all")
    part = gradient_moments(model, x, y, cross_entropy, params=["2.bias"])
    assert list(trained.mean) == ["2.weight", "2.bias"]
    assert list(every.mean) == ["0.weight", "0.bias", "2.weight", "2.bias"]
    assert list(part.mean) == ["2.bias"]
    torch.testing.assert_close(trained.square_norms["2.bias"], every.square_norms["2.bias"])
    torch.testing.assert_close(part.square_norms["2.bias"], every.square_norms["2.bias"])
    assert not model.get_parameter("0.weight").requires_grad


def test_the_mean_is_the_gradient_of_a_weighted_loss() -> None:
    x, y = data((2, 4), "rows", 6)
    model = built(CASES["perceptron"][0], x)
    loss = nn.CrossEntropyLoss(weight=torch.tensor([1.0, 2.0, 5.0]).double())
    found = gradient_moments(model, x, y, loss, batch_size=2)
    expected = torch.autograd.grad(loss(model(x), y), list(model.parameters()))
    for value, slope in zip(found.mean.values(), expected, strict=True):
        torch.testing.assert_close(value, slope)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_near_single(dtype: torch.dtype) -> None:
    x, y = data((2, 3, 6, 7), "image", 6)
    with isolated_rng(0):
        layers = nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.GroupNorm(2, 8), nn.ReLU(), nn.Flatten(), nn.Linear(160, 3)
    model = nn.Sequential(*layers).eval()
    norms = gradient_moments(model, x.float(), y, cross_entropy).norms
    found = gradient_moments(model.to(dtype), x.to(dtype), y, cross_entropy).norms
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, norms, rtol=0.1, atol=0.0)


def test_layers_are_left_without_records_after_an_error() -> None:
    model = nn.Sequential(nn.Linear(4, 3))
    broken = {"calls": 0}

    def loss(outputs: Tensor, y: Tensor) -> Tensor:
        broken["calls"] += 1
        if broken["calls"] > 20:
            raise InvalidInputError("no more")
        return squared_error(outputs, y)

    x, y = torch.randn(200, 4, generator=seeded(0)), torch.zeros(200, 3)
    with pytest.raises(InvalidInputError, match="no more"):
        gradient_moments(model, x, y, loss, batch_size=4)
    assert not model[0]._forward_hooks
    assert list(gradient_moments(model, x[:1], y[:1], squared_error).mean) == ["0.weight", "0.bias"]
    assert all(value.grad is None and value.requires_grad for value in model.parameters())
