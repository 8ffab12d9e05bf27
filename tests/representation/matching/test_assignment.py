from itertools import permutations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from assay.core import InvalidInputError, seeded
from assay.representation.matching import match_units


def test_the_assignment_is_the_best_of_all_permutations():
    between = torch.randn(7, 7, generator=seeded(0), dtype=torch.float64)
    rows = torch.arange(7)
    best = max(permutations(range(7)), key=lambda order: float(between[rows, list(order)].sum()))
    found = match_units(between)
    assert found.permutation.tolist() == list(best)
    assert torch.equal(found.scores, between[rows, list(best)])


@given(st.integers(1, 8), st.integers(1, 8), st.integers(0, 10**6))
def test_semi_matching_is_never_below_the_assignment(n_a, n_b, seed):
    between = torch.rand(n_a, n_b, generator=seeded(seed), dtype=torch.float64)
    bipartite, semi = match_units(between), match_units(between, method="semi")
    assert (semi.scores >= bipartite.scores).all()
    assert torch.equal(semi.scores, between.max(1).values)
    matched = bipartite.permutation[bipartite.permutation >= 0]
    assert len(matched) == len(set(matched.tolist())) == min(n_a, n_b)


def test_shares_count_units():
    found = match_units(torch.tensor([[0.9, 0.0, 0.0], [0.0, 0.5, 0.0], [0.0, 0.0, 0.3]]))
    assert found.share_above(0.8) == pytest.approx(1 / 3)
    assert found.mean == pytest.approx(1.7 / 3)
    assert "33% above 0.8, 33% at 0.4 or below" in str(found)


def test_what_is_no_matrix_is_refused():
    with pytest.raises(InvalidInputError):
        match_units(torch.tensor([[float("nan"), 0.0]]))
    with pytest.raises(InvalidInputError, match="batch"):
        match_units(torch.ones(0, 2))
