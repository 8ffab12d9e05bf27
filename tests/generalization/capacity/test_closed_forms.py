import itertools
from fractions import Fraction

import numpy as np
import pytest
from scipy.optimize import linprog

from assay.core import InvalidInputError
from assay.generalization.capacity import cover_probability


@pytest.mark.parametrize(("n", "d"), [(4, 1), (5, 2), (6, 3), (4, 4)])
def test_it_is_the_share_of_all_labellings_that_are_separable(n, d):
    x = np.random.default_rng(0).normal(size=(n, d))
    count = 0
    for labels in itertools.product((-1, 1), repeat=n):
        constraints = -(np.array(labels)[:, None] * x)
        count += linprog(np.zeros(d), constraints, -np.ones(n), bounds=(None, None)).status == 0
    assert Fraction(cover_probability(n, d)) == Fraction(count, 2**n)


@pytest.mark.parametrize("n", [1, 8, 2001])
def test_it_is_one_up_to_d_and_a_half_at_twice_d(n):
    assert cover_probability(n, n) == 1
    assert cover_probability(2 * n, n) == 0.5


def test_sizes_below_one_are_refused():
    with pytest.raises(InvalidInputError, match="d must be"):
        cover_probability(3, 0)
