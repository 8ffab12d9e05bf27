import pytest
import torch
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
