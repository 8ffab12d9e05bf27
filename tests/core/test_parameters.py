import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from assay.core import flatten, functional, isolated_rng, named_parameters, spawn_seeds, unflatten


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
