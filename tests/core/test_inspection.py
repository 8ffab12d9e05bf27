import random
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from assay.core import InvalidInputError, inspect_model, require_inspected


class Hostile(nn.Module):
    """Everything that can be wrong with a model, at once."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(3, 3)
        self.second = nn.Linear(3, 3)
        self.second.weight = self.first.weight
        self.norm = nn.BatchNorm1d(3)
        self.drop = nn.Dropout(0.5)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(self.second(self.relu(self.drop(self.norm(self.first(x))))))


def test_every_problem_is_reported_at_once() -> None:
    problems = inspect_model(Hostile().train(), torch.full((2, 3), 2.0), input_range=(0.0, 1.0))
    assert {p.kind for p in problems} == {"dropout", "batch-norm", "in-place", "tied", "reused", "range"}
    with pytest.raises(InvalidInputError) as caught:
        require_inspected(Hostile().train(), torch.full((2, 3), 2.0), input_range=(0.0, 1.0))
    assert all(str(problem) in str(caught.value) for problem in problems)


def test_broken_weights_and_mismatched_types() -> None:
    layer = nn.Linear(2, 1)
    with torch.no_grad():
        layer.weight[0, 0] = float("nan")
    assert [p.kind for p in inspect_model(layer, torch.ones(1, 2).double())] == ["weights", "type"]


def test_a_healthy_model_passes_and_is_left_alone() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.BatchNorm1d(2), nn.Dropout(0.1)).eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    assert inspect_model(model, torch.rand(3, 2), input_range=(0.0, 1.0)) == []
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(not module._forward_pre_hooks for module in model.modules())


def test_only_the_kinds_asked_for_are_refused() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.1)).train()
    require_inspected(model, kinds=["weights"])
    with pytest.raises(InvalidInputError, match="eval"):
        require_inspected(model, kinds=["dropout"])


class Impure(nn.Module):
    """A linear layer, then a function; with layers of the given name that the function may call."""

    def __init__(self, function: Callable[["Impure", Tensor], Any], **layers: nn.Module) -> None:
        super().__init__()
        self.first, self.function = nn.Linear(3, 3), function
        for name, layer in layers.items():
            self.add_module(name, layer)

    def forward(self, x: Tensor) -> Any:
        return self.function(self, self.first(x))


@pytest.mark.parametrize(
    ("model", "kind", "where"),
    [
        (nn.Sequential(nn.Identity(), Impure(lambda m, z: F.dropout(z))), "noise", "1"),
        (Impure(lambda m, z: z + torch.randn_like(z)), "noise", "the network"),
        (Impure(lambda m, z: z + random.random()), "noise", "the network"),
        (Impure(lambda m, z: m.norm(z), norm=nn.BatchNorm1d(3, track_running_stats=False)), "batch-statistics", "norm"),
        (Impure(lambda m, z: z - z.mean(0)), "mixes-samples", "model"),
        (Impure(lambda m, z: m.rnn(z[:, None])[0][:, 0], rnn=nn.GRU(3, 3)), "sequence-first", "rnn"),
        (Impure(lambda m, z: {"logits": z}), "output", "model"),
        (Impure(lambda m, z: z / 0), "output", "model"),
        (nn.Sequential(nn.Flatten(), nn.Linear(4, 3)), "input", "model"),
        (nn.Linear(3, 3).to("meta"), "weights", "weight"),
        (nn.LazyLinear(3), "weights", "weight"),
    ],
)
def test_what_one_look_finds_is_named_with_its_place(model: nn.Module, kind: str, where: str) -> None:
    problem = inspect_model(model.eval(), torch.rand(5, 3))[0]
    assert (problem.kind, problem.where) == (kind, where)


def test_a_counter_is_named_and_a_write_into_the_input_comes_beside_other_problems() -> None:
    calls: list[int] = []
    model = Impure(lambda m, z: z * len(calls)).eval()
    model.register_forward_pre_hook(lambda m, inputs: calls.append(1))
    assert [p.kind for p in inspect_model(model, torch.rand(5, 3))] == ["state"]
    x = torch.rand(5, 3)
    before = x.clone()
    writing = nn.Sequential(nn.Hardtanh(0.2, 0.8, inplace=True), Impure(lambda m, z: z - z.mean(0))).eval()
    assert [p.kind for p in inspect_model(writing, x)] == ["in-place", "writes-input", "mixes-samples"]
    assert torch.equal(x, before)


def test_tokens_are_no_mismatch_of_types() -> None:
    tokens = torch.arange(20).reshape(5, 4)
    assert inspect_model(nn.Sequential(nn.Embedding(20, 3), nn.Flatten(), nn.Linear(12, 2)), tokens) == []
