"""Files of weights as trainers write them: the set that was meant is read, or the choice is refused."""

import argparse
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from assay.audit.checkpoints import load_state
from assay.core import InvalidInputError, MissingDataError

RAW = nn.Linear(4, 3).state_dict()
AVERAGED = {name: value / 2 for name, value in RAW.items()}


def saved(path, content):
    torch.save(content, path)
    return path


def is_(state, expected):
    return state.keys() == expected.keys() and all(torch.equal(state[name], expected[name]) for name in expected)


def optimizer():
    model = nn.Linear(4, 3)
    made = torch.optim.Adam(model.parameters())
    model(torch.ones(1, 4)).sum().backward()
    made.step()
    return made.state_dict()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (RAW, ()),
        ({"state_dict": RAW}, ("weights are read from 'state_dict' of w.pt",)),
        ({"weights": RAW, "ema": None}, ("weights are read from 'weights' of w.pt; left out: ema",)),
        (
            {"epoch": 3, "model_state_dict": RAW, "optimizer_state_dict": optimizer(), "loss": 0.5},
            ("weights are read from 'model_state_dict' of w.pt; left out: epoch, optimizer_state_dict, loss",),
        ),
        (
            {"state": {"net": RAW, "step": 3}, "rng": {"torch": torch.get_rng_state()}, "mean": torch.ones(3)},
            ("weights are read from 'state.net' of w.pt; left out: rng, mean",),
        ),
        ({**RAW, "epoch": 3}, ("weights are read from the tensors of w.pt; left out: epoch",)),
        (
            {"model": RAW, "scaler": {"scale": torch.tensor(2.0)}},
            ("weights are read from 'model' of w.pt; left out: scaler",),
        ),
        ({"state_dict_ema": RAW, "epoch": 3}, ("weights are read from 'state_dict_ema' of w.pt; left out: epoch",)),
    ],
)
def test_the_only_set_of_weights_is_read_wherever_it_lies_and_that_is_said(tmp_path, content, said):
    state = load_state(saved(tmp_path / "w.pt", content))
    assert is_(state, RAW)
    assert state.notes == said


@pytest.mark.parametrize(
    ("content", "places"),
    [
        ({"state_dict": RAW, "state_dict_ema": AVERAGED}, "state_dict, state_dict_ema"),
        ({"model": RAW, "model_ema": AVERAGED, "epoch": 3}, "model, model_ema"),
        ({"state_dict": RAW, "ema": {"decay": 0.9, "shadow_params": list(AVERAGED.values())}}, "state_dict, ema"),
        ({"state_dict": RAW, "callbacks": {"EMA": {"ema_weights": [*AVERAGED.values()]}}}, "state_dict, callbacks.EMA"),
        ({"state_dict": AVERAGED, "current_model_state": RAW}, "state_dict, current_model_state"),
        ({"teacher": RAW, "student": AVERAGED}, "teacher, student"),
        ({"a": {"g": RAW, "d": AVERAGED}}, r"a\.g, a\.d"),
        ({"models": [RAW, AVERAGED]}, r"models\.0, models\.1"),
        ({"model": RAW, "optimizer_states": [{"ema": [torch.ones(3)]}]}, r"model, optimizer_states\.0\.ema"),
    ],
)
def test_of_several_sets_none_is_chosen_in_silence(tmp_path, content, places):
    with pytest.raises(InvalidInputError, match=f"several sets of weights: {places}; choose one with --weights-key"):
        load_state(saved(tmp_path / "w.pt", content))


def test_a_key_names_the_set_or_the_prefix(tmp_path):
    path = saved(
        tmp_path / "w.pt", {"state_dict": RAW, "state_dict_ema": AVERAGED, "a": {"b.c": RAW}, "parts": [RAW, AVERAGED]}
    )
    for key, expected in (("state_dict_ema", AVERAGED), ("state_dict", RAW), ("a.b.c", RAW), ("parts.1", AVERAGED)):
        state = load_state(path, key)
        assert is_(state, expected)
        assert state.notes == (f"weights are read from {key!r} of w.pt, as --weights-key says",)
    both = {
        f"{part}.{name}": value
        for part, state in (("net", RAW), ("ema.net", AVERAGED))
        for name, value in state.items()
    }
    path = saved(tmp_path / "v.pt", {"state_dict": both})
    assert is_(load_state(path, "state_dict.ema.net"), AVERAGED)
    assert is_(load_state(saved(tmp_path / "u.pt", both), "net"), RAW)
    with pytest.raises(InvalidInputError, match="holds no state dict at 'model'; it holds state_dict"):
        load_state(path, "model")
    with pytest.raises(InvalidInputError, match=r"no weights at 'state_dict\.model'; their names begin with net, ema"):
        load_state(path, "state_dict.model")


@pytest.mark.parametrize(
    "beside",
    [
        {"accuracy": np.float64(0.9), "loss": np.float32(0.1), "epoch": np.int64(3)},
        {"numpy": np.random.default_rng(0).random(3)},
        {"args": argparse.Namespace(lr=0.1)},
    ],
)
def test_numbers_of_numpy_and_options_beside_the_weights_do_no_harm(tmp_path, beside):
    assert is_(load_state(saved(tmp_path / "w.pt", {"model": RAW, **beside})), RAW)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (nn.Linear(4, 3), "holds a whole model"),
        ({"model": nn.Linear(4, 3)}, "holds a whole model"),
        ({"model": RAW, "where": Path("here")}, r"would run code when it is read, of pathlib\.\w+Path"),
        ({"epoch": 3}, "holds no state dict"),
        ([1, 2], "holds no state dict"),
        ({"model": {"weight": [1.0]}}, "holds no state dict"),
    ],
)
def test_a_file_without_readable_weights_is_refused_with_its_reason(tmp_path, content, reason):
    with pytest.raises(InvalidInputError, match=rf"w\.pt {reason}.*; convert it where it was made"):
        load_state(saved(tmp_path / "w.pt", content))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_files_of_other_kinds_are_named(tmp_path):
    torch.jit.script(nn.Linear(4, 3)).save(tmp_path / "w.pt")
    with pytest.raises(InvalidInputError, match="is a TorchScript archive"):
        load_state(tmp_path / "w.pt")
    np.savez(tmp_path / "w.npz", weight=RAW["weight"].numpy())
    with pytest.raises(InvalidInputError, match="is a NumPy archive"):
        load_state(tmp_path / "w.npz")
    with pytest.raises(InvalidInputError, match=r"is a folder \(w\.npz, w\.pt\); give the file"):
        load_state(tmp_path)


@pytest.mark.parametrize("suffix", ["safetensors", "bin"])
def test_weights_in_several_files_are_read_by_their_index(tmp_path, suffix):
    files = {name: f"model-0000{number}-of-00002.{suffix}" for number, name in enumerate(RAW, 1)}
    for name, file in files.items():
        (save_file if suffix == "safetensors" else torch.save)({name: RAW[name]}, tmp_path / file)
    index = tmp_path / f"model.{suffix}.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": files}))
    state = load_state(index)
    assert is_(state, RAW)
    assert state.notes == (f"weights are read from the files that {index.name} lists",)
    with pytest.raises(InvalidInputError, match=r"is one of 2 files of the weights; give their index"):
        load_state(tmp_path / files["bias"])
    (tmp_path / files["bias"]).unlink()
    with pytest.raises(MissingDataError, match=r"which model.* lists; put it beside the index"):
        load_state(index)


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"weight_map": {"weight": "../w-00001-of-00001.bin"}}'])
def test_an_index_that_lists_no_files_beside_it_is_refused(tmp_path, content):
    (tmp_path / "model.safetensors.index.json").write_text(content)
    with pytest.raises(InvalidInputError, match=r"lists (no files|'\.\./)"):
        load_state(tmp_path / "model.safetensors.index.json")
