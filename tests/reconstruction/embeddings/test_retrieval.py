import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from assay.core import InvalidInputError
from assay.reconstruction import retrieval_audit


@settings(max_examples=30)
@given(st.integers(0, 1000), st.integers(1, 9))
def test_it_counts_what_a_loop_counts(seed, k):
    draw = torch.Generator().manual_seed(seed)
    pool = torch.randn(20, 5, generator=draw, dtype=torch.float64)
    found = torch.randn(7, 5, generator=draw, dtype=torch.float64)
    members = torch.zeros(20, dtype=torch.bool)
    members[torch.randperm(20, generator=draw)[:6]] = True
    audit = retrieval_audit(found, pool, members, k)
    nearest = []
    for one in found[:k]:
        cosines = [float(one @ other / one.norm() / other.norm()) for other in pool]
        nearest.append(cosines.index(max(cosines)))
    hits = [index for index in nearest if members[index]]
    assert audit.retrieved.tolist() == nearest
    assert audit.precision == pytest.approx(len(hits) / len(nearest))
    assert audit.recall == pytest.approx(len(set(hits)) / 6)
    assert audit.chance == pytest.approx(0.3)


def test_scale_does_not_matter():
    pool, members = torch.eye(4), torch.tensor([True, True, False, False])
    audit = retrieval_audit(pool * torch.tensor([[1e-3], [1.0], [5.0], [1e3]]), pool, members, 2)
    assert (audit.precision, audit.recall, audit.chance) == (1.0, 1.0, 0.5)


def test_bad_input():
    pool, members = torch.eye(4), torch.tensor([True, True, False, False])
    with pytest.raises(InvalidInputError, match="do not fit"):
        retrieval_audit(torch.ones(1, 3), pool, members, 1)
    with pytest.raises(InvalidInputError, match="one flag per record"):
        retrieval_audit(pool, pool, members[:3], 1)
    with pytest.raises(InvalidInputError, match="k must be a whole number of at least 1"):
        retrieval_audit(pool, pool, members, 0)
    with pytest.raises(InvalidInputError, match="4 members among 4"):
        retrieval_audit(pool, pool, torch.ones(4, dtype=torch.bool), 1)
    with pytest.raises(InvalidInputError, match="non-empty"):
        retrieval_audit(pool[:0], pool, members, 1)
