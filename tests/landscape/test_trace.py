import math

import pytest
import torch

from assay.core import DenseOperator, InvalidInputError, seeded
from assay.landscape import hutch_plus_plus


def random_symmetric(eigenvalues):
    basis = torch.linalg.qr(torch.randn(len(eigenvalues), len(eigenvalues), generator=seeded(1)).double()).Q
    matrix = basis @ torch.diag(eigenvalues) @ basis.T
    return DenseOperator((matrix + matrix.T) / 2)


def test_low_rank_and_small_matrices_are_exact():
    low_rank = random_symmetric(torch.cat([torch.tensor([5.0, -3.0, 1.0]), torch.zeros(37)]).double())
    assert hutch_plus_plus(low_rank, products=12).value == pytest.approx(3.0, abs=1e-9)
    full = hutch_plus_plus(random_symmetric(torch.arange(10.0).double()), products=30)
    assert full.value == pytest.approx(45.0)
    assert full.error == 0.0
    with pytest.raises(InvalidInputError, match="products"):
        hutch_plus_plus(low_rank, products=3)


def test_estimates_are_unbiased_and_their_error_is_the_stated_one():
    operator = random_symmetric(1 / (1 + torch.arange(60.0).double()) - 0.1)
    found = [hutch_plus_plus(operator, products=30, generator=seeded(seed)) for seed in range(300)]
    values = torch.tensor([one.value for one in found])
    trace = operator.matrix.trace().item()
    spread = values.std().item()
    assert abs(values.mean().item() - trace) < 4 * spread / math.sqrt(300)  # 99.99% confidence
    assert torch.tensor([one.error for one in found]).square().mean().sqrt().item() == pytest.approx(spread, rel=0.2)
