"""What everything that draws samples must keep to."""

import pytest
import torch

from assay.core import seeded
from helpers.rows import rows_of
from helpers.rows.answers import assert_same, global_state
from helpers.rows.base import title
from helpers.rows.noticing import Misbehaviour, checks_of, unnoticed
from helpers.rows.standalone import Sampler

ROWS = rows_of(Sampler)
every_row = pytest.mark.parametrize("row", ROWS, ids=title)
optional = pytest.mark.parametrize("row", [row for row in ROWS if row.optional], ids=title)
in_batches = pytest.mark.parametrize("row", [row for row in ROWS if row.in_batches], ids=title)


@every_row
def test_draws_as_many_finite_samples_as_asked_for(row):
    for n in (1, 5):
        drawn = row.draw(seeded(5), n)
        assert drawn.shape == (n, *row.shape)
        assert drawn.isfinite().all(), "not finite"
        assert not drawn.requires_grad, "carries a graph"


@every_row
def test_the_generator_decides_the_samples(row):
    assert torch.equal(row.draw(seeded(5), 5), row.draw(seeded(5), 5)), "the same seed draws others"
    assert not torch.equal(row.draw(seeded(5), 5), row.draw(seeded(6), 5)), "another seed draws the same"


@every_row
def test_a_generator_goes_on_from_draw_to_draw(row):
    source = seeded(5)
    assert not torch.equal(row.draw(source, 5), row.draw(source, 5)), "the generator stands still"


@every_row
def test_global_state_is_neither_read_nor_changed(row):
    before = global_state()
    first = row.draw(seeded(5), 5)
    assert_same(before, global_state())
    torch.rand(3)
    assert torch.equal(first, row.draw(seeded(5), 5)), "drawn from global state"


@optional
def test_no_generator_is_a_fixed_seed(row):
    first = row.draw(None, 5)
    torch.rand(3)
    assert torch.equal(first, row.draw(None, 5))


@in_batches
def test_the_batch_size_does_not_change_the_samples(row):
    expected = row.draw(seeded(5), 5)
    for size in (1, 2, 100):
        torch.testing.assert_close(row.draw(seeded(5), 5, batch_size=size), expected, rtol=0, atol=1e-9)


def well(generator, n, *, batch_size=3):
    source = seeded(0) if generator is None else generator
    return torch.cat([part * 2 for part in torch.rand(n, 2, generator=source, dtype=torch.float64).split(batch_size)])


def too_many(generator, n):
    return well(generator, n + 1)


def deaf(generator, n):
    return well(seeded(5), n)


def frozen(generator, n):
    return well(seeded(generator.initial_seed()), n)


def from_global_state(generator, n):
    return torch.rand(n, 2)


def in_batches_of_noise(generator, n, *, batch_size=3):
    return well(generator, n, batch_size=batch_size) + batch_size


def stand_in(draw):
    return Sampler(draw, draw, (2,))


STAND_INS = [
    Misbehaviour(stand_in(too_many), test_draws_as_many_finite_samples_as_asked_for),
    Misbehaviour(stand_in(deaf), test_the_generator_decides_the_samples, "another seed"),
    Misbehaviour(stand_in(from_global_state), test_the_generator_decides_the_samples, "the same seed"),
    Misbehaviour(stand_in(frozen), test_a_generator_goes_on_from_draw_to_draw, "stands still"),
    Misbehaviour(stand_in(from_global_state), test_global_state_is_neither_read_nor_changed, "random"),
    Misbehaviour(stand_in(from_global_state), test_no_generator_is_a_fixed_seed),
    Misbehaviour(stand_in(in_batches_of_noise), test_the_batch_size_does_not_change_the_samples),
]


@pytest.mark.parametrize("misbehaviour", STAND_INS, ids=lambda one: title(one.row))
def test_a_sampler_that_misbehaves_is_noticed(misbehaviour):
    misbehaviour.must_be_noticed()


@pytest.mark.parametrize("check", checks_of(globals()), ids=lambda check: check.__name__)
def test_a_sampler_that_behaves_passes(check):
    check(stand_in(well))


def test_every_check_notices_a_stand_in():
    assert unnoticed(globals(), STAND_INS) == []
