"""What every callable that is given a network must keep to: analyses, attacks and estimators alike."""

import functools

import pytest
import safetensors.torch
import torch

from assay.core import InvalidInputError
from helpers.rows import misbehaving_methods as bad
from helpers.rows import rows_of
from helpers.rows.answers import assert_near, assert_same, state
from helpers.rows.base import Analysis, TakesModel, title, with_gaps
from helpers.rows.noticing import Misbehaviour, checks_of, unnoticed
from helpers.rows.subjects import subject

ROWS = rows_of(TakesModel)
every_row = pytest.mark.parametrize("row", ROWS, ids=title)
with_data = pytest.mark.parametrize("row", [row for row in ROWS if row.needs_data], ids=title)
in_batches = pytest.mark.parametrize("row", [row for row in ROWS if row.in_batches], ids=title)


@functools.cache
def reference(row):
    """Return the answer that others are compared with."""
    return row.answer(*subject(row))


def count_calls(model):
    """Hook every layer; return the counts and the handles."""
    counts = dict.fromkeys((name for name, _ in model.named_modules()), 0)

    def hook(name):
        def increase(module, inputs, output):
            counts[name] += 1

        return increase

    return counts, [module.register_forward_hook(hook(name)) for name, module in model.named_modules()]


@every_row
def test_answers_with_figures_that_are_none_of_them_nan(row):
    answer = reference(row)
    assert answer, "no figure in the answer"
    for name, value in answer.items():
        assert not value.isnan().any(), f"{name} is NaN"
        assert row.infinite or not value.isinf().any(), f"{name} is infinite"


@every_row
def test_leaves_the_model_the_data_and_the_global_state_as_they_were(row):
    model, x, y = subject(row)
    before = state(model, x, y)
    row.answer(model, x, y)
    assert_same(before, state(model, x, y))


@every_row
def test_leaves_the_users_hooks_in_place_and_adds_none(row):
    model, x, y = subject(row)
    counts, handles = count_calls(model)
    row.answer(model, x, y)
    counts.update(dict.fromkeys(counts, 0))
    model(x)
    assert set(counts.values()) == {1}
    for handle in handles:
        handle.remove()
    hooks = [len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.modules()]
    assert hooks == [0] * len(hooks), "hooks"


def break_after(model, survives):
    """Make the last layer raise once it has been called a number of times."""
    calls = 0

    def break_down(module, inputs):
        nonlocal calls
        calls += 1
        if calls > survives:
            raise bad.BrokenError

    return list(model.modules())[-1].register_forward_pre_hook(break_down)


@every_row
def test_leaves_everything_as_it_was_after_an_exception(row):
    for survives in (0, 1, 3):  # a method may need fewer passes than that, or none
        model, x, y = subject(row)
        handle = break_after(model, survives)
        before = state(model, x, y)
        try:
            row.answer(model, x, y)
        except bad.BrokenError:
            pass
        except InvalidInputError as error:  # a look at the network says what it raised
            if bad.BrokenError.__name__ not in str(error):
                raise
        else:
            assert survives or not row.needs_data, "the model was not run, or its exception was swallowed"
        assert_same(before, state(model, x, y))
        handle.remove()


@every_row
def test_the_same_seed_gives_the_same_answer(row):
    expected = reference(row)
    torch.rand(3)  # the global state is no source of randomness
    assert_same(expected, row.answer(*subject(row)))


@pytest.mark.parametrize("row", [row for row in ROWS if getattr(row, "random", False)], ids=title)
def test_another_seed_gives_another_answer(row):
    other = row.answer(*subject(row), seed=6)
    assert any(not torch.equal(value, other[name]) for name, value in reference(row).items()), "the seed has no effect"


@pytest.mark.gpu
@every_row
def test_the_device_follows_the_inputs(row):
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    answer = row.answer(*(part.cuda() for part in subject(row)))
    assert {value.device.type for value in answer.values()} == {"cuda"}
    assert_near(answer, reference(row), row.tolerance)


@with_data
def test_works_on_a_batch_of_one(row):
    model, x, y = subject(row)
    for name, value in row.answer(model, x[:1], y[:1]).items():
        assert not value.isnan().any(), f"{name} is NaN"
        assert row.infinite or not value.isinf().any(), f"{name} is infinite"


@pytest.mark.parametrize("row", with_gaps([row for row in ROWS if row.needs_data], "empty"))
def test_an_empty_batch_is_a_clear_error(row):
    model, x, y = subject(row)
    with pytest.raises(InvalidInputError, match="non-empty"):
        row.answer(model, x[:0], y[:0])


@every_row
def test_float32_is_near_float64_and_types_follow_the_inputs(row):
    single, double = row.answer(*subject(row, torch.float32)), reference(row)
    types = {key: (single[key].dtype, value.dtype) for key, value in double.items() if value.is_floating_point()}
    assert {key: pair for key, pair in types.items() if pair != (torch.float32, torch.float64)} == {}
    assert_near(single, double, row.tolerance)


@in_batches
def test_the_batch_size_does_not_change_the_answer(row):
    for size in (1, 3, 100):
        assert_near(row.answer(*subject(row), batch_size=size), reference(row), 1e-9)


@every_row
def test_the_answer_survives_save_and_load(row):
    answer = {name: value.clone(memory_format=torch.contiguous_format) for name, value in reference(row).items()}
    assert_same(answer, safetensors.torch.load(safetensors.torch.save(answer)))


@every_row
def test_the_answer_carries_no_graph(row):
    assert not any(value.requires_grad for value in reference(row).values())


STAND_INS = [
    Misbehaviour(Analysis(lambda model: None), test_answers_with_figures_that_are_none_of_them_nan, "no figure"),
    Misbehaviour(Analysis(bad.with_nan), test_answers_with_figures_that_are_none_of_them_nan, "NaN"),
    Misbehaviour(Analysis(bad.nan_alone), test_works_on_a_batch_of_one, "infinite"),
    Misbehaviour(Analysis(bad.trains), test_leaves_the_model_the_data_and_the_global_state_as_they_were, "modes"),
    Misbehaviour(Analysis(bad.clears), test_leaves_the_model_the_data_and_the_global_state_as_they_were, "gradients"),
    Misbehaviour(Analysis(bad.draws), test_leaves_the_model_the_data_and_the_global_state_as_they_were, "random"),
    Misbehaviour(Analysis(bad.writes), test_leaves_the_model_the_data_and_the_global_state_as_they_were, "inputs"),
    Misbehaviour(Analysis(bad.hooks), test_leaves_the_users_hooks_in_place_and_adds_none, "hooks"),
    Misbehaviour(Analysis(bad.breaks), test_leaves_everything_as_it_was_after_an_exception, "modes"),
    Misbehaviour(Analysis(bad.swallows), test_leaves_everything_as_it_was_after_an_exception, "swallowed"),
    Misbehaviour(Analysis(bad.draws), test_the_same_seed_gives_the_same_answer, "answer"),
    Misbehaviour(Analysis(bad.trains), test_another_seed_gives_another_answer, "no effect"),
    Misbehaviour(Analysis(bad.ignores_emptiness), test_an_empty_batch_is_a_clear_error),
    Misbehaviour(Analysis(bad.doubles), test_float32_is_near_float64_and_types_follow_the_inputs),
    Misbehaviour(Analysis(bad.loses_digits), test_float32_is_near_float64_and_types_follow_the_inputs),
    Misbehaviour(Analysis(bad.batches), test_the_batch_size_does_not_change_the_answer),
    Misbehaviour(Analysis(bad.sparse_figures), test_the_answer_survives_save_and_load),
    Misbehaviour(Analysis(bad.with_graph), test_the_answer_carries_no_graph),
]


@pytest.mark.parametrize("stand_in", STAND_INS, ids=lambda one: title(one.row))
def test_a_method_that_misbehaves_is_noticed(stand_in):
    stand_in.must_be_noticed()


@pytest.mark.parametrize("check", checks_of(globals()), ids=lambda check: check.__name__)
def test_a_method_that_behaves_passes(check):
    check(Analysis(bad.noisy if check is test_another_seed_gives_another_answer else bad.well))


def test_every_check_notices_a_stand_in():
    assert unnoticed(globals(), STAND_INS) == []
