import contextlib
import copy
import threading
import warnings

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.func import grad

from assay.core import (
    InvalidInputError,
    assign_parameters,
    copy_network,
    flatten,
    functional,
    isolated_rng,
    named_parameters,
    preserved,
    seeded,
    spawn_seeds,
    unflatten,
    unwrapped,
    unwrapped_state,
)


@given(st.lists(st.lists(st.integers(1, 3), min_size=0, max_size=3), min_size=1, max_size=4))
def test_unflatten_inverts_flatten(shapes: list[list[int]]) -> None:
    params = {str(i): torch.full(shape, float(i)) for i, shape in enumerate(shapes)}
    back = unflatten(flatten(params), params)
    assert all(torch.equal(back[name], value) for name, value in params.items())


def test_functional_call_uses_given_values_and_fixed_buffers() -> None:
    with isolated_rng(0):
        model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)).eval()
    call, params = functional(model), named_parameters(model)
    x = torch.ones(3, 2)
    torch.testing.assert_close(call(params, x), model(x).detach())
    doubled = params | {"0.weight": 2 * params["0.weight"], "0.bias": 2 * params["0.bias"]}
    twice = nn.functional.batch_norm(2 * model[0](x), model[1].running_mean, model[1].running_var, eps=model[1].eps)
    torch.testing.assert_close(call(doubled, x), twice.detach())


def test_seeds_differ_and_isolated_rng_restores_the_state() -> None:
    state = torch.get_rng_state()
    with isolated_rng(3):
        first = torch.rand(2)
    with isolated_rng(3):
        assert torch.equal(first, torch.rand(2))
    assert torch.equal(state, torch.get_rng_state())
    assert spawn_seeds(0, 3) == spawn_seeds(0, 5)[:3]


class Scratch(nn.Module):
    """Writes into its input, a buffer and an attribute, counts its calls, and squeezes its scores."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 1)
        self.register_buffer("calls", torch.zeros(()))
        self.last: torch.Tensor | None = None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x.mul_(2)
        self.calls += 1
        self.last = self.layer(x)
        return self.last.squeeze()


@pytest.mark.parametrize("fails", [False, True])
def test_preserved_gives_back_the_network_as_it_was(fails: bool) -> None:
    model = nn.Sequential(Scratch(), nn.Dropout(0.5))
    model[1].eval()
    model[0].layer.bias.requires_grad_(False)
    model[0].layer.weight.grad = torch.ones(1, 2)
    called = []
    model[0].layer.register_full_backward_hook(lambda *_: called.append(1))
    buffer, state = model[0].calls, copy.deepcopy(model.state_dict())
    x = torch.ones(3, 2)
    with contextlib.suppress(KeyError), torch.inference_mode(), preserved(model):
        assert torch.is_grad_enabled()
        assert not torch.is_inference_mode_enabled()
        assert model(x).shape == (3,)
        assert model(x[:1]).shape == (1,)
        grad(lambda values: functional(model)(values, x).sum())(named_parameters(model))
        assert list(named_parameters(model, params="trainable")) == ["0.layer.weight"]
        with preserved(model):
            assert list(named_parameters(model, params="trainable")) == ["0.layer.weight"]
        if fails:
            raise KeyError
    assert torch.equal(x, torch.ones(3, 2))
    assert model[0].calls is buffer
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert model[0].last is None
    assert [module.training for module in model.modules()] == [True, True, True, False]
    assert model[0].layer.weight.requires_grad
    assert not model[0].layer.bias.requires_grad
    assert torch.equal(model[0].layer.weight.grad, torch.ones(1, 2))
    assert called == []
    model(x.requires_grad_() * 1).sum().backward()
    assert called == [1]


def test_trainable_parameters_are_all_where_none_is() -> None:
    model = nn.Linear(2, 1)
    model.bias.requires_grad_(False)
    assert list(named_parameters(model, params="trainable")) == ["weight"]
    assert list(named_parameters(model)) == ["weight", "bias"]
    assert list(named_parameters(model.requires_grad_(False), params="trainable")) == ["weight", "bias"]
    with pytest.raises((InvalidInputError, TypeError), match="params"):
        named_parameters(model, params="frozen")


def test_only_real_parameters_that_are_there_are_taken() -> None:
    model = nn.Linear(2, 1)
    model.register_parameter("codes", nn.Parameter(torch.arange(3), requires_grad=False))
    assert list(named_parameters(model)) == ["weight", "bias"]
    with pytest.raises(InvalidInputError, match=r"weight of the model is not initialised"):
        named_parameters(nn.LazyLinear(3))
    with pytest.raises(InvalidInputError, match=r"complex64.*view_as_real"):
        named_parameters(nn.Linear(2, 1, dtype=torch.complex64))


def test_parameters_made_in_inference_mode_come_as_ordinary_tensors() -> None:
    with torch.inference_mode():
        model = nn.Linear(2, 1)
        params = named_parameters(model)
        assert not any(value.is_inference() for value in params.values())
        with preserved(model):
            slopes = grad(lambda values: functional(model)(values, torch.ones(1, 2)).sum())(params)
    assert slopes["weight"].tolist() == [[1.0, 1.0]]


@pytest.mark.parametrize("wrap", [nn.DataParallel, lambda model: torch.compile(model, backend="eager")])
def test_wrappers_are_looked_through(wrap) -> None:
    model = nn.Linear(2, 1)
    wrapped = nn.DataParallel(wrap(model))
    assert unwrapped(wrapped) is model
    assert list(named_parameters(wrapped)) == ["weight", "bias"]
    x = torch.ones(3, 2)
    torch.testing.assert_close(functional(wrapped)(named_parameters(wrapped), x), model(x).detach())
    assign_parameters(wrapped, torch.tensor([1.0, 2.0, 3.0]))
    assert model.bias.item() == 3
    assert torch.equal(copy_network(wrapped).weight, model.weight)


def test_a_vector_has_the_widest_type_and_its_pieces_their_own() -> None:
    params = {"a": torch.ones(2, dtype=torch.bfloat16), "b": torch.ones(2, 2, dtype=torch.float32)}
    vector = flatten(params)
    assert vector.dtype == torch.float32
    assert {name: value.dtype for name, value in unflatten(vector, params).items()} == {
        "a": torch.bfloat16,
        "b": torch.float32,
    }
    with pytest.raises(InvalidInputError, match="each of the 6 parameters"):
        unflatten(vector[:5], params)


def weight_normed() -> nn.Module:
    layer = nn.Linear(3, 2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return nn.utils.weight_norm(layer)


NORMED = {
    "weight_norm by hooks": weight_normed,
    "weight_norm": lambda: nn.utils.parametrizations.weight_norm(nn.Linear(3, 2)),
    "spectral_norm by hooks": lambda: nn.utils.spectral_norm(nn.Linear(3, 2)),
    "spectral_norm": lambda: nn.utils.parametrizations.spectral_norm(nn.Linear(3, 2)),
}


@pytest.mark.parametrize("kind", NORMED)
def test_normed_layers_are_copied_and_called_with_other_parameters(kind: str) -> None:
    with isolated_rng(0):
        model = nn.Sequential(NORMED[kind](), nn.Softplus()).eval()  # which does not saturate
    model[0].seen = [model(torch.ones(1, 3))]
    twin = copy_network(model)
    x = torch.randn(4, 3, generator=seeded(0))
    torch.testing.assert_close(twin(x), model(x))
    with torch.no_grad():
        for value in twin.parameters():
            value += torch.rand(value.shape, generator=seeded(1))
    assert not torch.allclose(twin(x), model(x))
    torch.testing.assert_close(functional(model)(named_parameters(twin), x), twin(x).detach())


def test_what_cannot_be_copied_is_named() -> None:
    model = nn.Linear(2, 1)
    model.lock = threading.Lock()
    with pytest.raises(InvalidInputError, match=r"Linear cannot be copied .*lock"):
        copy_network(model)


def test_an_embedding_with_a_largest_norm_keeps_its_long_rows() -> None:
    model = nn.Embedding(3, 2, max_norm=0.5)
    with torch.no_grad():
        model.weight.fill_(2.0)
    with preserved(model), torch.no_grad():
        assert model(torch.tensor([1])).norm() < 0.6
    assert torch.equal(model.weight, torch.full((3, 2), 2.0))


@pytest.mark.parametrize(
    ("model", "says"),
    [(nn.Linear(2, 1, device="meta"), "meta device"), (nn.LazyLinear(1), "not initialised yet")],
    ids=["meta", "lazy"],
)
def test_weights_without_values_are_named_at_every_edge(model: nn.Module, says: str) -> None:
    def enter(network: nn.Module) -> None:
        with preserved(network):
            pytest.fail("entered")

    for edge in (named_parameters, enter, lambda each: assign_parameters(each, torch.zeros(3))):
        with pytest.raises(InvalidInputError, match=rf"parameter (weight|bias) of the model is .*{says}.*;|, .*;"):
            edge(model)


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "_orig_mod.module."])
def test_a_state_dict_is_read_without_the_names_of_wrappers(prefix) -> None:
    state = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1)).state_dict()
    wrapped = {prefix + name: value for name, value in state.items()}
    assert list(unwrapped_state(wrapped, list(state))) == list(state)
    inner = {"module.weight": torch.ones(1), "bias": torch.ones(1)}
    assert unwrapped_state(inner, ["module.weight"]) == inner
