import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.generalization.capacity.bisection import growth_and_bisection


def answer(fits, **options):
    """Drive a search by a function of n, and return its bracket and the numbers that it asked for."""
    search, asked = growth_and_bisection(**options), []
    n = next(search)
    while True:
        asked.append(n)
        try:
            n = search.send(fits(n))
        except StopIteration as end:
            return end.value, asked


@given(st.integers(0, 400), st.integers(1, 60), st.floats(1.01, 3), st.integers(1, 300))
def test_a_monotone_procedure_is_found_exactly(capacity, start, growth, most):
    options = {"start": start, "growth": growth, "tolerance": 0, "most": most}
    bracket, asked = answer(lambda n: n <= capacity, **options)
    assert bracket == ((most, None) if capacity >= most else (capacity, capacity + 1))
    assert len(asked) == len(set(asked))  # no number is tried twice
    assert 1 <= min(asked) <= max(asked) <= most


@given(st.integers(1, 5000), st.floats(0.01, 0.9))
def test_the_bracket_is_as_narrow_as_the_tolerance(capacity, tolerance):
    (fitted, failed), _ = answer(lambda n: n <= capacity, start=1, growth=1.5, tolerance=tolerance, most=10**6)
    assert fitted <= capacity < failed
    assert failed - fitted <= max(1, tolerance * fitted)


def test_growth_ends_at_the_first_failure():
    bracket, asked = answer(lambda n: n not in (15, 16), start=10, growth=1.5, tolerance=0, most=1000)
    assert asked[:2] == [10, 15]
    assert bracket == (14, 15)  # larger numbers that would be fitted again are not looked for


@pytest.mark.parametrize("start", [1, 7])
def test_nothing_is_fitted(start):
    assert answer(lambda n: False, start=start, growth=2, tolerance=0.1, most=50)[0] == (0, 1)
