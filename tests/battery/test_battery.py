"""What every method that takes a model must keep to; one row a method, in its room's file below `rows`."""

import contextlib

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn

from assay.core import InvalidInputError
from helpers.rows import ROWS, Row

with_data = [row for row in ROWS if row.needs_data]
in_batches = [row for row in ROWS if row.batch_option]


def named(row):
    return row.name


def subject(row, dtype=torch.float64):
    """Build the row's network in training mode with gradients on it, and seven samples."""
    generator = torch.Generator().manual_seed(0)
    model = row.model().to(dtype).train()
    shape = getattr(model, "input_shape", (4,))
    x = torch.rand(7, *shape, generator=generator, dtype=torch.float64).to(dtype)
    y = torch.arange(7) % 3
    for index, parameter in enumerate(model.parameters()):
        parameter.grad = torch.full_like(parameter, index)
    next(iter(model.parameters())).requires_grad_(False)
    return model, x, y


def call(row, model, x, y, seed=5, **options):
    return row.run(model, x, y, torch.Generator().manual_seed(seed), **options)


def state(model, x, y):
    """Copy everything that a method must leave alone."""
    return {
        "inputs": (x.clone(), y.clone(), x.requires_grad, x.grad),
        "parameters": [value.detach().clone() for value in model.parameters()],
        "identities": [id(value) for value in model.parameters()],
        "requires_grad": [value.requires_grad for value in model.parameters()],
        "gradients": [value.grad.clone() for value in model.parameters()],
        "buffers": [value.clone() for value in model.buffers()],
        "modes": [module.training for module in model.modules()],
        "attributes": [sorted(vars(module)) for module in model.modules()],
        # Python's own `random` is left out: beartype draws from it while the tests run.
        "random": (torch.get_rng_state(), [str(part) for part in np.random.get_state()]),  # noqa: NPY002
        "settings": (torch.is_grad_enabled(), torch.get_default_dtype(), torch.get_num_threads()),
    }


def count_calls(model):
    """Hook every layer; return the counts and the handles."""
    counts = dict.fromkeys((name for name, _ in model.named_modules()), 0)

    def hook(name):
        def increase(module, inputs, output):
            counts[name] += 1

        return increase

    return counts, [module.register_forward_hook(hook(name)) for name, module in model.named_modules()]


def assert_same(before, after, what="state"):
    """Compare nested states entry by entry, tensors bit by bit."""
    if isinstance(before, torch.Tensor):
        assert torch.equal(after, before), what
    elif isinstance(before, dict):
        for key, value in before.items():
            assert_same(value, after[key], key)
    elif isinstance(before, (list, tuple)):
        assert len(after) == len(before), what
        for one, other in zip(before, after, strict=True):
            assert_same(one, other, what)
    else:
        assert after == before, what


@pytest.mark.parametrize("row", ROWS, ids=named)
def test_leaves_the_model_the_data_and_the_global_state_as_they_were(row):
    model, x, y = subject(row)
    before = state(model, x, y)
    call(row, model, x, y)
    assert_same(before, state(model, x, y))


@pytest.mark.parametrize("row", ROWS, ids=named)
def test_leaves_the_users_hooks_in_place_and_adds_none(row):
    model, x, y = subject(row)
    counts, handles = count_calls(model)
    call(row, model, x, y)
    counts.update(dict.fromkeys(counts, 0))
    model(x)
    assert set(counts.values()) == {1}
    for handle in handles:
        handle.remove()
    model(x)
    assert set(counts.values()) == {1}


class BrokenError(Exception):
    pass


@pytest.mark.parametrize("row", ROWS, ids=named)
@pytest.mark.parametrize("survives", [0, 1, 3])
def test_leaves_everything_as_it_was_after_an_exception(row, survives):
    model, x, y = subject(row)
    calls = 0

    def break_down(module, inputs):
        nonlocal calls
        calls += 1
        if calls > survives:
            raise BrokenError

    handle = list(model.modules())[-1].register_forward_pre_hook(break_down)
    before = state(model, x, y)
    if survives == 0 and row.needs_data:
        with pytest.raises(BrokenError):
            call(row, model, x, y)
    else:  # a method may need fewer passes than that, or none
        with contextlib.suppress(BrokenError):
            call(row, model, x, y)
    assert_same(before, state(model, x, y))
    handle.remove()


@pytest.mark.parametrize("row", ROWS, ids=named)
def test_the_same_seed_gives_the_same_answer(row):
    model, x, y = subject(row)
    first = call(row, model, x, y)
    torch.rand(3)  # the global state is no source of randomness
    second = call(row, model, x, y)
    torch.testing.assert_close(first, second, rtol=0, atol=0)


@pytest.mark.gpu
@pytest.mark.parametrize("row", ROWS, ids=named)
def test_the_device_follows_the_inputs(row):
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    expected = call(row, *subject(row))
    answer = call(row, *(part.cuda() for part in subject(row)))
    for key, value in expected.items():
        assert answer[key].device.type == "cuda"
        scale = float(value.double().abs().max()) or 1.0
        torch.testing.assert_close(answer[key].cpu(), value, rtol=0, atol=row.tolerance * scale)


@pytest.mark.parametrize("row", with_data, ids=named)
def test_works_on_a_batch_of_one(row):
    model, x, y = subject(row)
    for value in call(row, model, x[:1], y[:1]).values():
        assert torch.isfinite(value.double()).all()


@pytest.mark.parametrize("row", with_data, ids=named)
def test_an_empty_batch_is_a_clear_error(row):
    model, x, y = subject(row)
    with pytest.raises(InvalidInputError, match="non-empty"):
        call(row, model, x[:0], y[:0])


@pytest.mark.parametrize("row", ROWS, ids=named)
def test_float32_is_near_float64_and_types_follow_the_inputs(row):
    single, double = (call(row, *subject(row, dtype)) for dtype in (torch.float32, torch.float64))
    for key, value in double.items():
        if value.is_floating_point():
            assert single[key].dtype == torch.float32
            assert value.dtype == torch.float64
        scale = float(value.double().abs().max()) or 1.0
        torch.testing.assert_close(single[key].double(), value.double(), rtol=0, atol=row.tolerance * scale)


@pytest.mark.parametrize("size", [1, 3, 100])
@pytest.mark.parametrize("row", in_batches, ids=named)
def test_the_batch_size_does_not_change_the_answer(row, size):
    model, x, y = subject(row)
    answer = call(row, model, x, y, **{row.batch_option: size})
    torch.testing.assert_close(answer, call(row, model, x, y), rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("row", ROWS, ids=named)
def test_the_answer_survives_save_and_load(row):
    answer = call(row, *subject(row))
    restored = safetensors.torch.load(safetensors.torch.save(answer))
    torch.testing.assert_close(restored, answer, rtol=0, atol=0)


@pytest.mark.parametrize("row", ROWS, ids=named)
def test_the_answer_carries_no_graph(row):
    assert not any(value.requires_grad for value in call(row, *subject(row)).values())


def _well(model, x, y, generator):
    return {"logits": model(x).detach()}


def _trains(model, x, y, generator):
    model.train()
    model.eval()
    return _well(model, x, y, generator)


def _clears(model, x, y, generator):
    model.zero_grad(set_to_none=False)
    return _well(model, x, y, generator)


def _draws(model, x, y, generator):
    return {"noise": torch.rand(3)}


@pytest.mark.parametrize(
    ("method", "noticed"), [(_well, None), (_trains, "modes"), (_clears, "gradients"), (_draws, "random")]
)
def test_the_battery_notices_a_method_that_misbehaves(method, noticed):
    """The checks can fail: each of these methods but the first does one thing wrong."""
    row = Row("stand-in", method, model=lambda: nn.Linear(4, 3))
    if noticed is None:
        test_leaves_the_model_the_data_and_the_global_state_as_they_were(row)
    else:
        with pytest.raises(AssertionError, match=noticed):
            test_leaves_the_model_the_data_and_the_global_state_as_they_were(row)
