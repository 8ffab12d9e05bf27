import math
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from assay.core import InvalidInputError, seeded
from assay.representation.information_plane import layer_information


def entropy(rows) -> float:
    counts = Counter(map(tuple, rows))
    return -sum(k / len(rows) * math.log2(k / len(rows)) for k in counts.values())


def draw(seed: int, n: int = 60, d: int = 3, values: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    source = seeded(seed)
    return torch.randint(values, (n, d), generator=source), torch.randint(3, (n,), generator=source)


@given(st.integers(0, 10_000), st.integers(1, 4), st.integers(1, 5))
def test_information_is_that_of_counted_tuples(seed, d, values) -> None:
    codes, labels = draw(seed, d=d, values=values)
    found, rows = layer_information(codes, labels), codes.tolist()
    within = sum(
        share * entropy([row for row, own in zip(rows, labels.tolist(), strict=True) if own == label])
        for label, share in ((y, (labels == y).double().mean().item()) for y in labels.unique().tolist())
    )
    assert found.input_bits == pytest.approx(entropy(rows), abs=1e-10)
    assert found.label_bits == pytest.approx(entropy(rows) - within, abs=1e-10)
    assert found.label_bits <= min(found.input_bits, entropy(labels[:, None].tolist())) + 1e-12
    assert found.input_bits <= math.log2(len(codes)) + 1e-12


@given(st.integers(0, 1000))
def test_finer_codes_have_no_less_entropy(seed) -> None:
    codes, labels = draw(seed, values=9)
    assert layer_information(codes, labels).input_bits >= layer_information(codes // 3, labels).input_bits - 1e-12


def test_many_wide_columns_are_counted_exactly() -> None:
    codes = torch.randint(2**40, (50, 30), generator=seeded(0))[torch.arange(200) % 50]
    expected = entropy(codes.tolist())
    assert layer_information(codes, torch.zeros(200, dtype=torch.long)).input_bits == pytest.approx(expected)
    assert expected == pytest.approx(np.log2(50))


def test_a_code_that_is_the_label_has_all_of_its_information() -> None:
    labels = torch.tensor([[0], [1], [1], [5]])
    found = layer_information(labels, labels)
    assert found.input_bits == found.label_bits == 1.5


def test_bad_input_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="integers of shape"):
        layer_information(torch.zeros(0, 2, dtype=torch.long), torch.zeros(0, dtype=torch.long))
    with pytest.raises(InvalidInputError, match="bin real targets"):
        layer_information(torch.zeros(3, 2, dtype=torch.long), torch.tensor([0.0, 0.5, 1.0]))
