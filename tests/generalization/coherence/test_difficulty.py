"""Learning times beside a loop over the record."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from assay.core import InvalidInputError, seeded
from assay.generalization import learning_times


@given(t=st.integers(1, 6), n=st.integers(1, 5), seed=st.integers(0, 99))
def test_times_are_those_of_a_loop(t: int, n: int, seed: int) -> None:
    correct = torch.rand(t, n, generator=seeded(seed)) < 0.5
    found = learning_times(correct)
    for sample, column in enumerate(correct.T.tolist()):
        assert int(found.first[sample]) == (column.index(True) if any(column) else t)
        stays = [time for time in range(t + 1) if all(column[time:])]
        assert int(found.last[sample]) == stays[0]
    assert str(found).startswith(f"Of {n} samples, {int(correct[-1].sum())} are learned")


def test_numbers_are_refused() -> None:
    with pytest.raises(InvalidInputError, match="Boolean matrix"):
        learning_times(torch.ones(3, 2))
