"""What every pure function of tensors or numbers must keep to."""

import pytest
import torch
from jaxtyping import config

from assay.core import InvalidInputError
from helpers.rows import rows_of
from helpers.rows.answers import assert_near, assert_same, global_state, named_tensors
from helpers.rows.base import title
from helpers.rows.noticing import Misbehaviour, checks_of, unnoticed
from helpers.rows.shapes import some_rows, tensors
from helpers.rows.standalone import Formula
from helpers.rows.wrong_shapes import check_refused, given, wrong_shape_cases

ROWS = rows_of(Formula)
every_row = pytest.mark.parametrize("row", ROWS, ids=title)
rowwise = pytest.mark.parametrize("row", [row for row in ROWS if row.rowwise], ids=title)


def answer(row, inputs):
    """Return all figures of a call."""
    like = next((value for value in tensors(inputs) if value.is_floating_point()), torch.zeros(0, dtype=torch.float64))
    return named_tensors(row(*inputs), like)


@every_row
def test_answers_with_figures_that_are_none_of_them_nan(row):
    found = answer(row, given(row))
    assert found, "no figure in the answer"
    for name, value in found.items():
        assert not value.isnan().any(), f"{name} is NaN"
        assert row.infinite or not value.isinf().any(), f"{name} is infinite"


@every_row
def test_leaves_its_arguments_and_the_global_state_as_they_were(row):
    inputs = given(row)
    before, shared = [value.clone() for value in tensors(inputs)], global_state()
    row(*inputs)
    assert_same(before, tensors(inputs), "arguments")
    assert_same(shared, global_state())


@every_row
def test_the_same_arguments_give_the_same_answer(row):
    assert_same(answer(row, given(row)), answer(row, given(row)))


@every_row
def test_float32_is_near_float64_and_types_follow_the_arguments(row):
    single, double = answer(row, given(row, torch.float32)), answer(row, given(row))
    if any(value.is_floating_point() for value in tensors(given(row))):
        types = {key: (single[key].dtype, value.dtype) for key, value in double.items() if value.is_floating_point()}
        assert {key: pair for key, pair in types.items() if pair != (torch.float32, torch.float64)} == {}
    assert_near(single, double, row.tolerance)


@pytest.mark.gpu
@every_row
def test_the_device_follows_the_arguments(row):
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    inputs = given(row)
    if tensors(inputs):
        on_device = answer(row, tuple(value.cuda() if isinstance(value, torch.Tensor) else value for value in inputs))
        assert {value.device.type for value in on_device.values()} == {"cuda"}
        assert_near(on_device, answer(row, inputs), row.tolerance)


@rowwise
def test_each_row_is_computed_by_itself(row):
    together = answer(row, given(row))
    for first in (slice(0, 1), slice(2, 5)):
        part = answer(row, some_rows(given(row), first))
        assert_near(part, {name: value[first] for name, value in together.items()}, 1e-9)


@pytest.mark.parametrize(("row", "what"), wrong_shape_cases(ROWS))
def test_a_wrong_shape_is_an_error(row, what, monkeypatch):
    monkeypatch.setattr(config, "jaxtyping_disable", True)  # as users run it: our own checks, not the test run's
    check_refused(row, row, what)


@pytest.mark.parametrize(
    ("row", "what"), [pytest.param(row, what, id=f"{title(row)}-{what}") for row in ROWS for what in row.wrong]
)
def test_wrong_arguments_are_a_clear_error(row, what):
    with pytest.raises(InvalidInputError):
        row(*row.wrong[what]())


def drawn(source, n):
    return torch.rand(n, 3, generator=source, dtype=torch.float64), torch.arange(n) % 3


def well(logits, y):
    if logits.ndim != 2 or y.ndim != 1 or len(logits) != len(y) or not len(y):
        raise InvalidInputError("logits must be (n, c) with as many labels")
    return logits.gather(1, y[:, None]).squeeze(1)


def in_place(logits, y):
    logits += 1
    return well(logits, y)


def from_global_state(logits, y):
    return well(logits, y) + torch.rand(len(y))


def always_double(logits, y):
    return well(logits, y).double()


def loses_digits(logits, y):
    return well(logits, y) if logits.dtype == torch.float64 else well(logits.half(), y).float()


def minus_mean(logits, y):
    return well(logits, y) - logits.mean()


def infinite(logits, y):
    return well(logits, y) / 0


def says_nothing(logits, y):
    return "fine"


STAND_INS = [
    Misbehaviour(Formula(says_nothing, drawn), test_answers_with_figures_that_are_none_of_them_nan, "no figure"),
    Misbehaviour(Formula(infinite, drawn), test_answers_with_figures_that_are_none_of_them_nan, "infinite"),
    Misbehaviour(Formula(in_place, drawn), test_leaves_its_arguments_and_the_global_state_as_they_were, "arguments"),
    Misbehaviour(
        Formula(from_global_state, drawn), test_leaves_its_arguments_and_the_global_state_as_they_were, "random"
    ),
    Misbehaviour(Formula(from_global_state, drawn), test_the_same_arguments_give_the_same_answer),
    Misbehaviour(Formula(always_double, drawn), test_float32_is_near_float64_and_types_follow_the_arguments),
    Misbehaviour(Formula(loses_digits, drawn), test_float32_is_near_float64_and_types_follow_the_arguments),
    Misbehaviour(Formula(minus_mean, drawn), test_each_row_is_computed_by_itself),
]


@pytest.mark.parametrize("stand_in", STAND_INS, ids=lambda one: title(one.row))
def test_a_formula_that_misbehaves_is_noticed(stand_in):
    stand_in.must_be_noticed()


@pytest.mark.parametrize("what", ["rows", "axis", "empty"])
def test_a_formula_that_broadcasts_is_noticed(what):
    lenient = Formula(lambda logits, y: (logits.sum(-1) + y).sum(), drawn)
    with pytest.raises(AssertionError, match="went through"):
        check_refused(lenient, lenient, what)
    behaved = Formula(well, drawn)
    check_refused(behaved, behaved, what)


@pytest.mark.parametrize("check", checks_of(globals()), ids=lambda check: check.__name__)
def test_a_formula_that_behaves_passes(check):
    check(Formula(well, drawn))


def test_every_check_notices_a_stand_in():
    assert unnoticed(globals(), STAND_INS) == []
