import subprocess
import sys

import numpy as np
import pytest
import torch

from assay.core import InvalidInputError
from assay.lab.identity import digest
from helpers.lab_demo import Settings

PROGRAM = """
import torch
from assay.lab.identity import digest
print(digest({"seed": 3, "x": (torch.arange(6.0).reshape(2, 3), "name", None, 0.1)}))
"""


def test_the_digest_is_the_same_in_every_process() -> None:
    here = digest({"x": (torch.arange(6.0).reshape(2, 3), "name", None, 0.1), "seed": 3})
    there = subprocess.run([sys.executable, "-c", PROGRAM], check=True, capture_output=True, text=True).stdout
    assert here == there.strip()


def test_different_values_have_different_digests() -> None:
    values = [
        0, 0.0, False, None, "0", [], [0], [[0]], {}, {"a": 0}, {"a": 1}, {"b": 0},
        ["ab", "c"], ["a", "bc"], "a;str:'b'", ["a", "b"],
        torch.zeros(2), torch.zeros(2, dtype=torch.float64), torch.zeros(2, 1), np.zeros(2), np.zeros(2, np.float32),
        Settings(), Settings(seeds=4), torch.float32, torch.device("cpu"),
    ]  # fmt: skip
    assert len({digest(value) for value in values}) == len(values)


def test_equal_values_have_equal_digests() -> None:
    assert digest((1, 2)) == digest([1, 2])
    assert digest(torch.arange(6.0).reshape(2, 3).T) == digest(torch.arange(6.0).reshape(2, 3).T.contiguous())
    assert digest(torch.tensor(1.5, dtype=torch.bfloat16)) == digest(torch.tensor(1.5, dtype=torch.bfloat16))


@pytest.mark.parametrize("value", [object(), lambda: 0, torch.nn.Linear(1, 1), {1, 2}, Settings])
def test_what_has_no_stable_content_is_refused(value: object) -> None:
    with pytest.raises(InvalidInputError, match="no stable digest"):
        digest(value)
