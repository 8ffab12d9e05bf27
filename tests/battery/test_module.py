"""What every layer, network and loss must keep to."""

import pytest
import torch
from jaxtyping import config

from helpers.rows import misbehaving_modules as bad
from helpers.rows import rows_of
from helpers.rows.answers import assert_near, assert_same, global_state, named_tensors
from helpers.rows.base import title
from helpers.rows.noticing import Misbehaviour, checks_of, unnoticed
from helpers.rows.shapes import mapped, some_rows, tensors
from helpers.rows.standalone import Module
from helpers.rows.wrong_shapes import check_refused, given, wrong_shape_cases

ROWS = rows_of(Module)
every_row = pytest.mark.parametrize("row", ROWS, ids=title)
rowwise = pytest.mark.parametrize("row", [row for row in ROWS if row.rowwise and not row.loss], ids=title)
built = pytest.mark.parametrize("row", [row for row in ROWS if row.build is not None], ids=title)
losses = pytest.mark.parametrize("row", [row for row in ROWS if row.loss], ids=title)
smooth = pytest.mark.parametrize("row", [row for row in ROWS if row.gradcheck], ids=title)


def answer(module, inputs):
    """Return all figures of a call, without a graph."""
    with torch.no_grad():
        return named_tensors(module(*inputs), torch.zeros(0, dtype=torch.float64))


@every_row
def test_answers_with_finite_figures(row):
    found = answer(row.module(), given(row))
    assert found, "no figure in the answer"
    assert all(value.isfinite().all() for value in found.values()), "not finite"


@every_row
def test_a_call_leaves_arguments_state_and_global_state_as_they_were(row):
    module, inputs = row.module(), given(row)
    before = [value.clone() for value in tensors(inputs)], {k: v.clone() for k, v in module.state_dict().items()}
    modes, shared = [inner.training for inner in module.modules()], global_state()
    answer(module, inputs)
    assert_same(before[0], tensors(inputs), "arguments")
    assert_same(before[1], dict(module.state_dict()), "state")
    assert_same(modes, [inner.training for inner in module.modules()], "modes")
    assert_same(shared, global_state())


@every_row
def test_the_state_survives_save_and_load(row):
    module, other = row.module(seed=1), row.module(seed=2)
    other.load_state_dict({name: value.clone() for name, value in module.state_dict().items()})
    assert_same(answer(module, given(row)), answer(other, given(row)))


@built
def test_the_generator_alone_decides_the_first_state(row):
    before = global_state()
    first, again, other = (dict(row.module(seed=seed).state_dict()) for seed in (1, 1, 2))
    assert_same(before, global_state())
    assert_same(first, again, "the same seed")
    assert any(not torch.equal(value, other[name]) for name, value in first.items()), "the seed has no effect"


@every_row
def test_two_calls_give_the_same_answer(row):
    module = row.module()
    assert_same(answer(module, given(row)), answer(module, given(row)))


@every_row
def test_training_mode_changes_the_answer_only_where_the_row_says_so(row):
    module = row.module()
    evaluated = answer(module, given(row))
    with torch.random.fork_rng():
        trained = answer(module.train(), given(row))
    same = all(torch.equal(trained[name], value) for name, value in evaluated.items())
    assert same is not row.modes_differ


@every_row
def test_float32_is_near_float64_and_types_follow_the_module(row):
    single = answer(row.module(dtype=torch.float32), given(row, torch.float32))
    double = answer(row.module(), given(row))
    types = {key: (single[key].dtype, value.dtype) for key, value in double.items() if value.is_floating_point()}
    assert {key: pair for key, pair in types.items() if pair != (torch.float32, torch.float64)} == {}
    assert_near(single, double, row.tolerance)


@pytest.mark.gpu
@every_row
def test_the_device_follows_the_module(row):
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    on_device = answer(row.module().cuda(), mapped(given(row), torch.Tensor.cuda))
    assert {value.device.type for value in on_device.values()} == {"cuda"}
    assert_near(on_device, answer(row.module(), given(row)), row.tolerance)


@smooth
def test_the_derivative_is_that_of_the_values(row):
    module = row.module()
    names = [name for name, value in module.named_parameters() if value.requires_grad]
    weights = [dict(module.named_parameters())[name].detach().clone().requires_grad_() for name in names]
    inputs = some_rows(given(row), slice(0, 2))
    places = [k for k, value in enumerate(inputs) if isinstance(value, torch.Tensor) and value.is_floating_point()]

    def call(*varied):
        parameters = dict(zip(names, varied[: len(names)], strict=True))
        replaced = dict(zip(places, varied[len(names) :], strict=True))
        arguments = tuple(replaced.get(place, value) for place, value in enumerate(inputs))
        return torch.func.functional_call(module, parameters, arguments)

    varied = [*weights, *(inputs[place].clone().requires_grad_() for place in places)]
    if varied:
        assert torch.autograd.gradcheck(call, varied, fast_mode=True)


@rowwise
def test_samples_do_not_mix_in_evaluation_mode(row):
    module, inputs = row.module(), given(row)
    together = answer(module, inputs)
    for rows in (slice(0, 1), slice(2, 5)):
        part = answer(module, some_rows(inputs, rows))
        assert_near(part, {name: value[rows] for name, value in together.items()}, 1e-9)


@losses
def test_a_loss_is_the_mean_over_equal_parts(row):
    module, inputs = row.module(), given(row)
    whole, *halves = (answer(module, some_rows(inputs, rows)) for rows in (slice(None), slice(0, 3), slice(3, 6)))
    mean = {name: (halves[0][name] + halves[1][name]) / 2 for name in whole}
    assert all(value.ndim == 0 for value in whole.values()), "a loss is one number"
    assert_near(mean, whole, 1e-9)


@pytest.mark.parametrize(("row", "what"), wrong_shape_cases(ROWS))
def test_a_wrong_shape_is_an_error(row, what, monkeypatch):
    monkeypatch.setattr(config, "jaxtyping_disable", True)  # as users run it: our own checks, not the test run's
    check_refused(row, row.module(), what)


def drawn(source, n):
    return torch.rand(n, 3, generator=source, dtype=torch.float64), torch.arange(n) % 3


def stand_in(kind, **changes):
    return Module(kind, drawn, build=lambda source: kind(float(torch.rand(1, generator=source))), **changes)


STAND_INS = [
    Misbehaviour(stand_in(bad.Infinite), test_answers_with_finite_figures, "not finite"),
    Misbehaviour(stand_in(bad.InPlace), test_a_call_leaves_arguments_state_and_global_state_as_they_were, "arguments"),
    Misbehaviour(stand_in(bad.Counts), test_a_call_leaves_arguments_state_and_global_state_as_they_were, "calls"),
    Misbehaviour(stand_in(bad.Switches), test_a_call_leaves_arguments_state_and_global_state_as_they_were, "modes"),
    Misbehaviour(stand_in(bad.HidesItsState), test_the_state_survives_save_and_load),
    Misbehaviour(stand_in(bad.Stubborn), test_the_generator_alone_decides_the_first_state, "no effect"),
    Misbehaviour(stand_in(bad.Counts), test_two_calls_give_the_same_answer),
    Misbehaviour(stand_in(bad.Drops), test_training_mode_changes_the_answer_only_where_the_row_says_so),
    Misbehaviour(stand_in(bad.AlwaysDouble), test_float32_is_near_float64_and_types_follow_the_module),
    Misbehaviour(stand_in(bad.CutsTheGraph), test_the_derivative_is_that_of_the_values),
    Misbehaviour(stand_in(bad.Mixes), test_samples_do_not_mix_in_evaluation_mode),
    Misbehaviour(stand_in(bad.Sums), test_a_loss_is_the_mean_over_equal_parts),
]


@pytest.mark.parametrize("misbehaviour", STAND_INS, ids=lambda one: title(one.row))
def test_a_module_that_misbehaves_is_noticed(misbehaviour):
    misbehaviour.must_be_noticed()


@pytest.mark.parametrize("what", ["rows", "axis", "empty"])
def test_a_loss_that_broadcasts_is_noticed(what):
    with pytest.raises(AssertionError, match="went through"):
        check_refused(stand_in(bad.Lenient), stand_in(bad.Lenient).module(), what)
    check_refused(stand_in(bad.Behaved), stand_in(bad.Behaved).module(), what)


@pytest.mark.parametrize("check", checks_of(globals()), ids=lambda check: check.__name__)
def test_a_module_that_behaves_passes(check):
    check(stand_in(bad.Layer if check is test_samples_do_not_mix_in_evaluation_mode else bad.Behaved))


def test_every_check_notices_a_stand_in():
    assert unnoticed(globals(), STAND_INS) == []
