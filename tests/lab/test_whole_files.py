import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save

from assay.core import InvalidInputError, seeded
from assay.lab.files import Encoded, decode, encode, read_json, write_json

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


SHAPES = st.lists(st.integers(0, 3), max_size=3)
TENSORS = st.builds(
    lambda shape, dtype, seed: (torch.rand(shape, generator=seeded(seed)) * 9).to(dtype),
    SHAPES,
    st.sampled_from([torch.float32, torch.float64, torch.bfloat16, torch.int64, torch.bool]),
    st.integers(0, 99),
)
MIXED = st.recursive(
    JSON | TENSORS | TENSORS.filter(lambda tensor: tensor.dtype != torch.bfloat16).map(lambda tensor: tensor.numpy()),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(st.text(), inner, max_size=3)
    ),
    max_leaves=8,
)


def holds_tensors(value: object) -> bool:
    if isinstance(value, dict | list | tuple):
        return any(holds_tensors(entry) for entry in (value.values() if isinstance(value, dict) else value))
    return isinstance(value, torch.Tensor | np.ndarray)


def check_same(back: object, value: object) -> None:
    if isinstance(value, torch.Tensor | np.ndarray):
        expected = torch.as_tensor(value)
        assert isinstance(back, torch.Tensor)
        assert (back.dtype, back.shape) == (expected.dtype, expected.shape)
        assert torch.equal(back, expected)
    elif isinstance(value, dict):
        assert isinstance(back, dict)
        assert list(back) == list(value)
        for key, entry in value.items():
            check_same(back[key], entry)
    elif isinstance(value, list | tuple):
        assert isinstance(back, list)
        for one, other in zip(back, value, strict=True):
            check_same(one, other)
    else:
        assert type(back) is type(value)
        assert back == value


@given(MIXED)
def test_mixed_values_come_back_as_they_were(value: object) -> None:
    encoded = encode(value)
    assert encoded.suffix == (".safetensors" if holds_tensors(value) else ".json")
    assert encode(value) == encoded
    check_same(decode(encoded), value)


@pytest.mark.parametrize(
    ("scalar", "number"),
    [(np.float64(0.5), 0.5), (np.float32(0.5), 0.5), (np.int64(3), 3), (np.bool_(True), True), (np.str_("a"), "a")],
)
def test_numpy_scalars_come_back_as_numbers(scalar: object, number: object) -> None:
    back = decode(encode({"a": [scalar]}))["a"][0]
    assert type(back) is type(number)
    assert back == number


@pytest.mark.parametrize("array", [np.arange(6.0)[::-2], np.arange(3, dtype=">i4"), np.array(2.0)])
def test_arrays_of_any_layout_come_back_as_tensors(array: np.ndarray) -> None:
    back = decode(encode(array))
    assert back.shape == array.shape
    assert back.tolist() == array.tolist()


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


def test_tensors_come_back_in_their_order() -> None:
    encoded = encode({name: torch.zeros(1) for name in "fdbace"})
    assert {tuple(decode(encoded)) for _ in range(20)} == {tuple("fdbace")}


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({1: 2}, "string keys"),
        ([1.0, math.nan], r"\[1\] is nan"),
        ({"a": [math.inf]}, r"\['a'\]\[0\] is inf"),
        ({"a": np.float64("nan")}, "is nan"),
        ({"a": [torch.ones(2).to_sparse()]}, r"\['a'\]\[0\] is of a kind"),
        (torch.ones(2, dtype=torch.complex128), "complex128"),
        (np.ones(2, dtype=np.complex128), "complex128"),
        (np.array([None]), "numpy.object_"),
        (np.datetime64("2024-01-01"), "date"),
        (object(), "object"),
        (np.ma.masked_array([1.0, 2.0], [False, True]), "masked array"),
    ],
)
def test_what_cannot_be_kept_is_refused(value: object, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        encode(value)


@pytest.mark.parametrize("value", [{"a": torch.ones(100)}, {"a": [1, 2, 3]}, [torch.ones(9), "b"]])
def test_half_a_value_is_never_read_as_whole(value: object) -> None:
    suffix, content = encode(value)
    for length in range(0, len(content), 5):
        with pytest.raises(InvalidInputError, match="corrupt"):
            decode(Encoded(suffix, content[:length]))


@pytest.mark.parametrize("name", ['["absent", 0]', "[5]", '[["list"]]', '{"a": 1}', "no json"])
def test_a_tensor_without_a_place_is_corrupt(name: str) -> None:
    content = save({name: torch.ones(2)}, {"value": '{"weights": null}'})
    with pytest.raises(InvalidInputError, match="corrupt"):
        decode(Encoded(".safetensors", content))


def test_json_files_are_stable_and_strict(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"b": 1, "a": "≥"})
    write_json(tmp_path / "b.json", {"a": "≥", "b": 1})
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json(tmp_path / "c.json", {"a": math.nan})
    (tmp_path / "d.json").write_text('{"a": ')
    with pytest.raises(InvalidInputError, match=r"d\.json is not a JSON file"):
        read_json(tmp_path / "d.json")
