import pytest
import torch

from assay.core import find_copies, seeded


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64, torch.uint8, torch.int64, torch.bool])
def test_copies_are_those_of_a_comparison_entry_by_entry(dtype):
    source = seeded(0)
    x, pool = (torch.randint(2, (n, 1, 2, 2), generator=source).to(dtype) for n in (9, 30))
    expected = [[k for k, other in enumerate(pool) if torch.equal(one, other)] for one in x]
    assert find_copies(x, pool) == expected
    assert any(expected)
    assert not all(expected)


def test_another_type_or_shape_is_no_copy():
    x = torch.eye(2)
    assert find_copies(x, x.double()) == find_copies(x, torch.eye(2)[:, None]) == [[], []]
