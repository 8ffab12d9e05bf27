"""Checkpoints as the start of networks that were fine-tuned from them."""

import copy

import pytest
import torch

from assay.core import InvalidInputError, seeded
from assay.reconstruction import InitialState
from helpers.trained_networks import TRAININGS, mlp, start_of, trained


def test_a_checkpoint_is_the_start_of_what_was_fine_tuned_from_it():
    base = trained(start_of(mlp, 1))
    source = seeded(0)
    tuned = trained(base, TRAININGS["decay"])
    found = InitialState.from_checkpoint(tuned, base.state_dict())
    assert found.found
    assert found.seed is None
    assert found.unchanged == ()
    assert found.share == pytest.approx((1 - 1e-3) ** 60, abs=2e-3)
    head = copy.deepcopy(base)
    head[1].requires_grad_(False)
    found = InitialState.from_checkpoint(trained(head), {f"module.{n}": v for n, v in base.state_dict().items()})
    assert found.found
    assert found.unchanged == ("1.weight", "1.bias")
    adapted = copy.deepcopy(base)
    with torch.no_grad():
        adapted[1].weight += 0.1 * torch.randn(30, 2, generator=source) @ torch.randn(2, 40, generator=source)
    found = InitialState.from_checkpoint(adapted, base.state_dict())
    assert found.found
    assert found.unchanged == ("1.bias", "3.weight", "3.bias")
    assert found.shares["1.weight"] == 1.0


def test_another_checkpoint_is_not_the_start():
    found = InitialState.from_checkpoint(trained(start_of(mlp, 1)), start_of(mlp, 2).state_dict())
    assert not found.found
    assert "do not come from the checkpoint" in str(found)


def test_what_networks_of_the_same_data_have_in_common_is_no_start():
    source = seeded(0)
    common, one, other = (torch.randn(200, 300, generator=source) for _ in range(3))
    model = torch.nn.Linear(300, 200, bias=False)
    for part, is_start in ((0.05, False), (0.2, True)):  # of the variance, and so the correlation
        with torch.no_grad():
            model.weight.copy_(part**0.5 * common + (1 - part) ** 0.5 * one)
        found = InitialState.from_checkpoint(model, {"weight": part**0.5 * common + (1 - part) ** 0.5 * other})
        assert found.z == pytest.approx(part * 60000**0.5, abs=4)
        assert found.threshold == pytest.approx(0.1 * 59999**0.5)
        assert found.found == is_start


def test_a_checkpoint_of_another_network_is_refused():
    state = mlp().state_dict()
    with pytest.raises(InvalidInputError, match=r"lacks parameters .*3\.weight.*head"):
        InitialState.from_checkpoint(mlp(), {name: value for name, value in state.items() if name != "3.weight"})
    with pytest.raises(InvalidInputError, match="another shape"):
        InitialState.from_checkpoint(mlp(), state | {"3.weight": torch.ones(2, 30)})
    with pytest.raises(InvalidInputError, match=r"NaN or infinite weights \(1\.bias\)"):
        InitialState.from_checkpoint(mlp(), state | {"1.bias": torch.full((30,), torch.nan)})
