"""Tensors of a checkpoint brought to a model's names: every rename is checked by the outputs or the values."""

from functools import partial

import pytest
import torch
from safetensors.torch import load_file, save_model
from torch import nn

from assay.audit.weights import load_weights, match_state
from assay.core import InvalidInputError


def net(*, width=6, dtype=torch.float32):
    return nn.Sequential(nn.Linear(4, width), nn.BatchNorm1d(width), nn.ReLU(), nn.Linear(width, 3)).to(dtype)


class Holder(nn.Module):
    """A training module that holds the network and other things."""

    def __init__(self, **parts):
        super().__init__()
        for name, part in parts.items():
            self.add_module(name, part)


class Tied(nn.Module):
    def __init__(self, *, tie=True):
        super().__init__()
        self.a, self.b = nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False)
        if tie:
            self.b.weight = self.a.weight

    def forward(self, x):
        return self.b(self.a(x).relu())


def loaded(model, state):
    return load_weights(model, state, name="factory")


def same(model, other):
    x = torch.rand(5, 4)
    return torch.equal(model.eval()(x), other.eval()(x))


def checked(source, state, model=None):
    """Return the notes after a check that the loaded model computes what the source does."""
    fresh = model or net()
    notes = match_state(fresh, state, name="factory").notes
    assert same(source, loaded(fresh, state))
    return notes


@pytest.mark.parametrize(
    "prefix", ["module.", "_orig_mod.", "model.", "net.", "model.module._orig_mod.", "a.b.c.", "ema_model.module."]
)
def test_a_prefix_that_all_names_share_is_taken_off_and_said(prefix):
    source = net()
    notes = checked(source, {prefix + name: value for name, value in source.state_dict().items()})
    assert notes == (f"names of the weights are understood: {prefix}0.weight is read as 0.weight",)


def test_names_without_a_prefix_need_no_note():
    source = net()
    assert checked(source, source.state_dict()) == ()


@pytest.mark.parametrize(
    "wrap", [nn.DataParallel, partial(torch.compile, backend="eager"), lambda model: Holder(net=model)]
)
def test_a_factory_of_wrapped_networks_takes_the_weights_of_the_network(wrap):
    source, fresh = net(), wrap(net())
    (note,) = match_state(fresh, source.state_dict(), name="factory").notes
    assert note.endswith(f"0.weight is read as {next(iter(fresh.state_dict()))}")
    loaded(fresh, source.state_dict())
    values = zip(fresh.state_dict().values(), source.state_dict().values(), strict=True)
    assert all(torch.equal(ours, theirs) for ours, theirs in values)


def test_wrappers_within_a_network_are_understood():
    source = net()
    wrapped = {name.replace("3.", "3.module._orig_mod."): value for name, value in source.state_dict().items()}
    assert checked(source, wrapped) == (
        "names of the weights are understood: 3.module._orig_mod.weight is read as 3.weight",
    )


def test_what_a_training_module_holds_beside_the_network_is_left_out_and_named():
    source = net()
    holder = Holder(model=source, criterion=nn.Linear(2, 2))
    assert checked(source, holder.state_dict()) == (
        "weights outside 'model' are left out: criterion.weight, criterion.bias",
        "names of the weights are understood: model.0.weight is read as 0.weight",
    )


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (Holder(model=net(), model_ema=net()).state_dict(), "several sets .* fit factory.*: model, model_ema; choose"),
        (Holder(q=net(), k=net()).state_dict(), "by the prefix of their names: q, k; .*--weights-key k"),
        ({**net().state_dict(), **Holder(ema=net()).state_dict()}, "by the prefix of their names: no prefix, ema"),
        (Holder(backbone=net(), head=nn.Linear(3, 2)).state_dict(), r"lie outside \(head\.weight, head\.bias\)"),
        (Holder(model=net(), ema_extra=nn.Linear(3, 2)).state_dict(), r"lie outside \(ema_extra\.weight"),
        ({"fc.weight": torch.ones(2), "module.fc.weight": torch.ones(2)}, "hold both fc.weight and module.fc.weight"),
    ],
)  # fmt: skip
def test_of_several_sets_none_is_chosen_in_silence(state, message):
    with pytest.raises(InvalidInputError, match=message):
        match_state(net(), state, name="factory")


def test_an_average_says_of_how_many_updates():
    source = net()
    average = torch.optim.swa_utils.AveragedModel(source)
    for _ in range(3):
        average.update_parameters(source)
    notes = checked(source, average.state_dict())
    assert notes[0] == "weights are an average (SWA or EMA) of 3 updates"


def test_tied_weights_may_appear_once(tmp_path):
    source = Tied()
    save_model(source, str(tmp_path / "w.safetensors"))
    state = load_file(tmp_path / "w.safetensors")
    assert len(state) == 1
    (note,) = checked(source, state, Tied())
    assert "is tied to" in note
    (note, _) = checked(source, {f"module.{name}": value for name, value in state.items()}, Tied())
    assert note.startswith("names of the weights")


def test_tied_weights_that_differ_are_refused():
    with pytest.raises(InvalidInputError, match=r"a\.weight and b.weight are one tensor in the model, and differ"):
        match_state(Tied(), Tied(tie=False).state_dict(), name="factory")
    assert same(Tied(tie=False), Tied()) is False


def test_counters_may_be_missing_or_too_many():
    source = net()
    state = source.state_dict()
    fewer = {name: value for name, value in state.items() if not name.endswith("num_batches_tracked")}
    assert checked(source, fewer) == ()
    more = {**state, "total_ops": torch.ones(1), "0.total_ops": torch.ones(1), "0.total_params": torch.ones(1)}
    assert checked(source, more) == (
        "counters beside the weights are left out: total_ops, 0.total_ops, 0.total_params",
    )
    with pytest.raises(InvalidInputError, match=r"1\.running_mean is missing"):
        match_state(net(), {name: value for name, value in state.items() if "running_mean" not in name}, name="factory")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: net(width=7).state_dict(), r"factory: 0\.weight has shape \(7, 4\) but the model \(6, 4\), 1\."),
        (lambda state: {k: v for k, v in state.items() if k != "3.bias"}, r"factory: 3\.bias is missing; give the"),
        (lambda state: {**state, "4.weight": torch.ones(2)}, r"hold 4\.weight beside those of factory; drop it from"),
        (lambda state: {**state, "head.weight": torch.ones(2)}, r"hold head\.weight beside those of factory; drop it"),
        (lambda state: {"conv.weight": torch.ones(2)}, r"they are of conv\.weight, the model's of 0\.weight, 0\.bias"),
        (lambda state: {**state, "0.weight": state["0.weight"].long()}, r"holds torch\.int64 instead of float"),
        (lambda state: {**state, "0.weight": state["0.weight"].to(torch.float8_e4m3fn)}, "float8_e4m3fn instead of"),
    ],
)  # fmt: skip
def test_weights_of_another_network_are_refused_by_the_first_layers_that_differ(change, message):
    with pytest.raises(InvalidInputError, match=message):
        match_state(net(), change(net().state_dict()), name="factory")


def test_many_different_layers_are_counted():
    other = nn.Sequential(*(nn.Linear(4, 4) for _ in range(6)))
    with pytest.raises(InvalidInputError, match=r"but the model .*, and 3 layers more; give the factory"):
        match_state(net(), other.state_dict(), name="factory")


@pytest.mark.parametrize("stored", [torch.float16, torch.bfloat16])
def test_half_precision_weights_are_computed_with_in_float32(stored):
    half = net(dtype=stored)
    model = loaded(net(), half.state_dict())
    assert {value.dtype for value in model.parameters()} == {torch.float32}
    assert same(half.float(), model)
    (note,) = match_state(net(), net(dtype=stored).state_dict(), name="factory").notes
    assert note == f"weights stored as {stored} are computed with as torch.float32"


@pytest.mark.parametrize(
    ("factory", "stored", "expected"),
    [
        (torch.float16, torch.float16, torch.float16),  # a network made in half precision stays so
        (torch.float32, torch.float64, torch.float64),
        (torch.float64, torch.float32, torch.float32),
        (torch.float16, torch.float32, torch.float32),
    ],
)
def test_the_model_takes_the_precision_of_its_weights(factory, stored, expected):
    source = net(dtype=stored)
    model = loaded(net(dtype=factory), source.state_dict())
    assert {value.dtype for value in model.parameters()} == {expected}
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in source.state_dict().items())


def test_types_that_differ_by_layer_stay_as_the_factory_makes_them():
    def mixed():
        model = net()
        model[3].to(torch.float64)
        return model

    model = loaded(mixed(), mixed().state_dict())
    assert [value.dtype for value in (model[0].weight, model[3].weight)] == [torch.float32, torch.float64]


def test_weights_of_mixed_types_take_the_widest_and_lose_nothing():
    state = net().state_dict()
    state["0.weight"] = state["0.weight"].half()
    model = loaded(net(), state)
    assert {value.dtype for value in model.parameters()} == {torch.float32}
    assert torch.equal(model[3].weight, state["3.weight"])


def test_a_factory_on_the_meta_device_gets_the_weights():
    source = net()
    with torch.device("meta"):
        fresh = net()
    assert same(source, loaded(fresh, source.state_dict()))


def test_a_lazy_layer_takes_its_shape_from_the_weights():
    source = nn.Sequential(nn.Linear(4, 3))
    assert same(source, loaded(nn.Sequential(nn.LazyLinear(3)), source.state_dict()))
