import math
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from assay.core import InvalidInputError
from assay.lab.files import Encoded, decode, encode, read_json, write_bytes, write_json

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(JSON)
def test_json_values_come_back_as_they_were(value: object) -> None:
    assert decode(encode(value)) == value


def test_tensors_come_back_bit_by_bit() -> None:
    base = torch.arange(12.0, dtype=torch.float64).reshape(3, 4)
    value = {
        "view": base.T,
        "shared": base[0],
        "half": torch.tensor([1.5, math.nan], dtype=torch.bfloat16),
        "flag": torch.tensor(True),
        "none": torch.empty(0, 3),
        "leaf": torch.ones(2, requires_grad=True),
    }
    encoded = encode(value)
    assert encoded.suffix == ".safetensors"
    back = decode(encoded)
    assert back.keys() == value.keys()
    for name, tensor in value.items():
        assert back[name].dtype == tensor.dtype
        torch.testing.assert_close(back[name], tensor.detach(), rtol=0, atol=0, equal_nan=True)


def test_tensors_come_back_in_one_order() -> None:
    encoded = encode({name: torch.zeros(1) for name in "fdbace"})
    assert {tuple(decode(encoded)) for _ in range(20)} == {tuple("abcdef")}


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({1: 2}, "string keys"),
        ([1.0, math.nan], r"\[1\] is nan"),
        ({"a": [math.inf]}, r"\['a'\]\[0\] is inf"),
        (torch.ones(2), "Tensor"),
        ({"a": torch.ones(2), "b": 1}, "Tensor"),
        ({"a": np.float64(1.0)}, "float64"),
        (object(), "object"),
    ],
)
def test_what_cannot_be_kept_is_refused(value: object, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        encode(value)


@pytest.mark.parametrize("value", [{"a": torch.ones(100)}, {"a": [1, 2, 3]}])
def test_half_a_value_is_never_read_as_whole(value: object) -> None:
    suffix, content = encode(value)
    for length in range(0, len(content), 5):
        with pytest.raises(InvalidInputError, match="corrupt"):
            decode(Encoded(suffix, content[:length]))


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "kept.json"
    write_json(path, {"whole": 1})

    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="disk full"):
        write_bytes(path, b"new")
    assert read_json(path) == {"whole": 1}
    assert os.listdir(tmp_path) == ["kept.json"]


def test_json_files_are_stable_and_strict(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"b": 1, "a": "≥"})
    write_json(tmp_path / "b.json", {"a": "≥", "b": 1})
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json(tmp_path / "c.json", {"a": math.nan})
    (tmp_path / "d.json").write_text('{"a": ')
    with pytest.raises(InvalidInputError, match=r"d\.json is not a JSON file"):
        read_json(tmp_path / "d.json")
