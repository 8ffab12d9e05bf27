"""Every derivative of networks that torch.func, forward mode or vmap refuse, beside plain autograd by hand.

The networks' battery crosses what users have with every entry; here are ways of writing a network that it leaves out.
"""

import contextlib
import copy
import warnings
from collections.abc import Callable
from functools import cache

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from assay.core import (
    GaussNewtonOperator,
    HessianOperator,
    InvalidInputError,
    cross_entropy,
    flatten,
    hessian_vector_product,
    isolated_rng,
    jacobian_vector_product,
    named_parameters,
    output_jacobian,
    parameter_gradients,
    per_sample_gradient_norms,
    per_sample_gradients,
    seeded,
    vector_jacobian_product,
)
from helpers.hard_networks import NETWORKS, Body, ByHand, Checkpointed, Last, OldCube, Once, built

DATA = torch.randn(5, 4, generator=seeded(0), dtype=torch.float64), torch.arange(5) % 3


CASES = [(name, contextlib.nullcontext) for name in NETWORKS]
CASES += [
    (name, caller) for name in ("writes", "checkpoint", "attention") for caller in (torch.no_grad, torch.inference_mode)
]


@cache
def by_hand(name: str) -> ByHand:
    return ByHand(built(name), *DATA)


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors is in prototype stage")
@pytest.mark.parametrize(("name", "caller"), CASES)
def test_all_derivatives_are_those_of_backward_passes_by_hand(name: str, caller: Callable[[], object]) -> None:
    x, y = DATA
    expected = by_hand(name)
    model = built(name)
    state = copy.deepcopy(model.state_dict())
    with caller():
        given = x.clone().requires_grad_()
        ones = torch.ones_like(flatten(named_parameters(model, params="trainable")))
        found = {
            "rows": per_sample_gradients(model, given, y, cross_entropy, batch_size=3),
            "norms": per_sample_gradient_norms(model, given, y, cross_entropy),
            "fixed": parameter_gradients(model, x, y, cross_entropy),
            "mean": parameter_gradients(model, x, y, cross_entropy, per_sample=False),
            "jacobian": output_jacobian(model, given, batch_size=2),
            "forward": jacobian_vector_product(model, given, ones),
            "backward": vector_jacobian_product(model, given, torch.ones(5, 3, dtype=x.dtype)),
            "hessian": HessianOperator(model, given, y, cross_entropy, batch_size=3).to_dense(),
            "product": hessian_vector_product(model, given, y, cross_entropy, ones),
            "gauss": GaussNewtonOperator(model, given, y, cross_entropy, batch_size=3).to_dense(),
        }
    answers = {
        "rows": expected.rows,
        "norms": expected.rows.norm(dim=1),
        "fixed": expected.rows,
        "mean": expected.rows.mean(0),
        "jacobian": expected.jacobian,
        "forward": expected.jacobian.sum(2),
        "backward": expected.jacobian.sum((0, 1)),
        "hessian": expected.hessian,
        "product": expected.hessian.sum(1),
        "gauss": expected.gauss_newton,
    }
    for key, value in found.items():
        assert not value.requires_grad, key
        assert not value.is_inference(), key
        torch.testing.assert_close(
            value, answers[key], rtol=1e-9, atol=1e-11, msg=lambda text, key=key: f"{key}: {text}"
        )
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())


def test_frozen_parameters_count_when_asked_for() -> None:
    x, y = DATA
    model, whole = built("frozen first layer"), built("plain")
    torch.testing.assert_close(
        HessianOperator(model, x, y, cross_entropy, params="all").to_dense(),
        HessianOperator(whole, x, y, cross_entropy).to_dense(),
    )
    torch.testing.assert_close(
        output_jacobian(model, x, params="all")[:, :, -18:], output_jacobian(model, x, params="trainable")
    )
    assert not model.first.weight.requires_grad


def test_the_hessian_of_hardsigmoid_is_that_of_its_formula() -> None:
    x, y = DATA
    pair = [Body(nn.Hardsigmoid()), Body(lambda h: (h / 6 + 0.5).clamp(0, 1))]
    pair[1].load_state_dict(pair[0].state_dict())
    found, expected = (HessianOperator(model.double(), 3 * x, y, cross_entropy).to_dense() for model in pair)
    torch.testing.assert_close(found, expected)


class Formula(nn.Module):
    """A weight-normed layer in plain operations: w = v (g / |v|)."""

    def __init__(self, model: nn.Sequential) -> None:
        super().__init__()
        values = dict(model.named_parameters())
        length = next(name for name in values if name.endswith(("weight_g", "original0")))
        direction = next(name for name in values if name.endswith(("weight_v", "original1")))
        self.bias = nn.Parameter(values["0.bias"].detach().clone())
        self.length = nn.Parameter(values[length].detach().clone())
        self.direction = nn.Parameter(values[direction].detach().clone())
        self.last = copy.deepcopy(model[2])

    def forward(self, x: Tensor) -> Tensor:
        weight = self.direction * (self.length / self.direction.square().sum(1, keepdim=True).sqrt())
        return self.last(torch.tanh(F.linear(x, weight, self.bias)))


@pytest.mark.parametrize("norm", [nn.utils.weight_norm, nn.utils.parametrizations.weight_norm])
def test_the_hessian_of_weight_norm_is_that_of_its_formula(norm: Callable[[nn.Module], nn.Module]) -> None:
    x, y = DATA
    with isolated_rng(3), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # one of the two is deprecated
        model = nn.Sequential(norm(nn.Linear(4, 5)), nn.Tanh(), nn.Linear(5, 3)).double()
    for operator in (HessianOperator, GaussNewtonOperator):
        found = operator(model, x, y, cross_entropy).to_dense()
        torch.testing.assert_close(found, found.T)
        torch.testing.assert_close(found, operator(Formula(model), x, y, cross_entropy).to_dense())


NORMALISED = {
    "layer": lambda: nn.Sequential(nn.Linear(4, 6), nn.LayerNorm(6), nn.Tanh(), nn.Linear(6, 3)),
    "group": lambda: nn.Sequential(
        nn.Unflatten(1, (2, 2)), nn.GroupNorm(1, 2), nn.Flatten(), nn.Tanh(), nn.Linear(4, 3)
    ),
    "instance": lambda: nn.Sequential(
        nn.Unflatten(1, (1, 2, 2)), nn.Conv2d(1, 2, 1), nn.InstanceNorm2d(2, affine=True), nn.Flatten(), nn.Linear(8, 3)
    ),
    "old form": lambda: Body(OldCube.apply),
    "LSTM": lambda: nn.Sequential(nn.Unflatten(1, (2, 2)), Last(nn.LSTM(2, 3, batch_first=True)), nn.Linear(3, 3)),
}


@pytest.mark.parametrize("per_sample", [True, False])
@pytest.mark.parametrize("kind", NORMALISED)
def test_gradients_are_differentiable_in_the_inputs_through_normalisations(kind: str, per_sample: bool) -> None:
    x, y = DATA
    with isolated_rng(3):
        model = NORMALISED[kind]().double()
        for value in model.parameters():
            nn.init.normal_(value)
    weights = torch.randn(5, sum(value.numel() for value in model.parameters()), generator=seeded(5)).double()
    point = x.clone().requires_grad_()
    rows = parameter_gradients(model, point, y, cross_entropy, per_sample=per_sample)
    (found,) = torch.autograd.grad((rows * (weights if per_sample else weights[0])).sum(), point)

    def by_hand(samples: Tensor, labels: Tensor) -> Tensor:
        slopes = torch.autograd.grad(
            F.cross_entropy(model(samples), labels), list(model.parameters()), create_graph=True
        )
        return torch.cat([slope.reshape(-1) for slope in slopes])

    if per_sample:
        total = sum(by_hand(point[i : i + 1], y[i : i + 1]) @ weights[i] for i in range(5))
    else:
        total = by_hand(point, y) @ weights[0]
    torch.testing.assert_close(found, torch.autograd.grad(total, point)[0])
    assert all(value.grad is None for value in model.parameters())


def test_gradients_in_the_inputs_refuse_weights_that_they_cannot_follow() -> None:
    x, y = DATA
    with pytest.raises(InvalidInputError, match="names that are not registered"):
        parameter_gradients(built("weight in a list"), x.clone().requires_grad_(), y, cross_entropy)
    with torch.no_grad():
        rows = parameter_gradients(built("plain"), x.clone().requires_grad_(), y, cross_entropy)
    assert not rows.requires_grad


@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad")
@pytest.mark.parametrize(
    ("model", "message"),
    [
        (Checkpointed(use_reentrant=True), "use_reentrant=False"),
        (Body(torch.no_grad()(torch.tanh)), "remove torch.no_grad"),
        (Body(lambda h: torch.from_numpy(h.detach().numpy())), "remove torch.no_grad"),
    ],
)
def test_a_derivative_that_would_lose_a_share_is_refused(model: nn.Module, message: str) -> None:
    (x, y), lost_share = DATA, model.double()
    if message != "use_reentrant=False":
        lost_share.last.requires_grad_(False)
    ones = torch.ones_like(flatten(named_parameters(model, params="trainable")))
    for call in (
        lambda: per_sample_gradients(model, x, y, cross_entropy),
        lambda: output_jacobian(model, x),
        lambda: jacobian_vector_product(model, x, ones),
        lambda: HessianOperator(model, x, y, cross_entropy) @ ones,
        lambda: GaussNewtonOperator(model, x, y, cross_entropy) @ ones,
    ):
        with pytest.raises(InvalidInputError, match=message):
            call()


def test_second_derivatives_that_torch_would_pass_over_are_refused() -> None:
    x, y = DATA
    model = Body(Once.apply).double()
    torch.testing.assert_close(
        per_sample_gradients(model, x, y, cross_entropy),
        torch.stack(
            [
                torch.cat(
                    [
                        slope.reshape(-1)
                        for slope in torch.autograd.grad(F.cross_entropy(model(a), b), list(model.parameters()))
                    ]
                )
                for a, b in zip(x.split(1), y.split(1), strict=True)
            ]
        ),
    )
    with pytest.raises(InvalidInputError, match=r"once_differentiable.*can differentiate twice"):
        HessianOperator(model, x, y, cross_entropy).to_dense()
