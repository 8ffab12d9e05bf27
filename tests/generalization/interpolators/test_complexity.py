import math
from itertools import product

import pytest
import torch

from assay.core import InvalidInputError
from assay.generalization import QuantizedMLP, enumerate_functions, sample_complexity_bound, teacher_complexity

SMALL = torch.cartesian_prod(*2 * [torch.tensor([-1.0, 1.0])])


def test_the_bound_is_the_union_bound_of_its_proof():
    p, eps, delta = 0.016, 0.2, 0.1
    n = sample_complexity_bound(p, eps, delta)
    draws = math.ceil(math.log(2 / delta) / p)
    assert (1 - p) ** draws <= delta / 2
    assert draws * math.exp(-eps * n) == pytest.approx(delta / 2)
    assert sample_complexity_bound(1e-300, eps, delta) > n


@pytest.mark.parametrize("scaled", [False, True])
def test_counting_is_below_the_exact_probability_of_the_teacher(scaled):
    for width in (1, 2):
        prior = QuantizedMLP((2, width, 1), scaled_neurons=scaled)
        p = enumerate_functions(prior, SMALL).teacher_probability(torch.where(SMALL.sum(1) > 1, 1, -1))
        assert -math.log(p) <= teacher_complexity((2, width, 1), (2, 1, 1), 3, scaled_neurons=scaled)


def test_counts_are_those_of_the_weights_that_the_teacher_fixes():
    """Count the weights that must have one value for a student to hold the teacher, one by one."""
    student, teacher = (3, 5, 4, 1), (3, 2, 3, 1)
    fixed = {False: 0, True: 0}
    for layer in (1, 2, 3):
        for row, column in product(range(student[layer]), range(student[layer - 1])):
            fixed[False] += row < teacher[layer]
            fixed[True] += row < teacher[layer] and column < teacher[layer - 1]
        for row in range(student[layer]):
            fixed[False] += row < teacher[layer]
            fixed[True] += 1 + (layer < 3)
    for scaled, count in fixed.items():
        found = teacher_complexity(student, teacher, 5, scaled_neurons=scaled)
        assert found == pytest.approx(count * math.log(5))
    ones = teacher_complexity(student, teacher, 5, kernel_sizes=(1, 1, 1))
    assert ones == pytest.approx(fixed[False] * math.log(5))
    assert teacher_complexity((1, 4), (1, 4), 3, kernel_sizes=(3,)) == pytest.approx((9 * 4 + 4) * math.log(3))


def test_bad_input_is_refused():
    with pytest.raises(InvalidInputError, match="p_teacher"):
        sample_complexity_bound(0.0, 0.1, 0.1)
    with pytest.raises(InvalidInputError, match="wider than student"):
        teacher_complexity((2, 1, 1), (2, 2, 1), 3)
    with pytest.raises(InvalidInputError, match="as many layers"):
        teacher_complexity((2, 1), (2, 2, 1), 3)
    with pytest.raises(InvalidInputError, match="one a layer"):
        teacher_complexity((2, 1), (2, 1), 3, kernel_sizes=(1, 1))
