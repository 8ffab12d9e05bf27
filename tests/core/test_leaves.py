"""Networks whose outputs do not follow their parameters, and those that do."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from assay.core import InvalidInputError, check_follows_parameters, functional, named_parameters, predict, seeded

X = torch.rand(5, 4, generator=seeded(0)) - 0.5


class Cosine(nn.Module):
    """A layer with rows of length 3, computed at each call, kept in evaluation mode, or kept in a list."""

    def __init__(self, keeps: str) -> None:
        super().__init__()
        self.keeps, self.kept, self.list = keeps, None, []
        self.weight = nn.Parameter(torch.randn(3, 4, generator=seeded(1)))

    def forward(self, x: Tensor) -> Tensor:
        if self.training or self.kept is None or self.keeps == "nothing":
            self.kept = 3 * F.normalize(self.weight, dim=1).detach()
        if self.keeps == "list" and not self.list:
            self.list.append(self.kept)
        return x @ (self.list[0] if self.keeps == "list" else self.kept).T


def called(keeps: str) -> Cosine:
    """A layer that was called in evaluation mode before."""
    layer = Cosine(keeps).eval()
    layer(X)
    return layer


@pytest.mark.parametrize("keeps", ["weight", "list"])
def test_a_weight_that_is_kept_is_refused_alone_and_behind_other_layers(keeps: str) -> None:
    for network in (called(keeps), nn.Sequential(nn.Linear(4, 4), nn.Tanh(), called(keeps))):
        moved = {name: value + 1 for name, value in named_parameters(network).items()}
        with pytest.raises(
            InvalidInputError, match=r"stay as they are .* compute it in forward at each call, or clear"
        ):
            check_follows_parameters(network, X)
        if isinstance(network, Cosine):  # and the refusal is right
            torch.testing.assert_close(functional(network)(moved, X), predict(network, X), rtol=0, atol=0)


def test_a_weight_that_is_not_kept_yet_is_computed_at_each_call() -> None:
    layer = Cosine("weight").eval()
    check_follows_parameters(layer, X)
    assert layer.kept is None


class Features(nn.Module):
    """Keeps features, a constant and unused parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head, self.unused = nn.Linear(4, 6), nn.Linear(6, 2), nn.Linear(6, 9)
        self.constant, self.seen = torch.arange(4.0), {}

    def forward(self, x: Tensor) -> Tensor:
        self.seen["body"] = self.body(x + self.constant).relu()
        return self.head(self.seen["body"])


class Guarded(nn.Linear):
    def forward(self, x: Tensor) -> Tensor:
        assert super().forward(x).abs().max() < 3
        return super().forward(x)


def reading(kind: Any, n: int) -> nn.Module:
    class Reading(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.memory, self.head = kind(2, n, batch_first=True), nn.Linear(n, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.memory(x.view(-1, 2, 2))[0][:, -1])

    return Reading()


@pytest.mark.filterwarnings("ignore:.*weight_norm.* is deprecated")
@pytest.mark.parametrize(
    "build",
    [
        lambda: called("nothing"),
        Features,
        lambda: Guarded(4, 3),
        lambda: nn.Sequential(nn.Linear(4, 3), nn.Softmax(1)),
        lambda: nn.Linear(4, 3).to(torch.float64).requires_grad_(False),
        lambda: nn.utils.weight_norm(nn.Linear(4, 3)),
        lambda: nn.utils.spectral_norm(nn.Linear(4, 3)),
        lambda: nn.utils.parametrizations.orthogonal(nn.Linear(4, 4)),
        lambda: reading(nn.LSTM, 5),
        lambda: nn.DataParallel(nn.Linear(4, 3)),
    ],
)
def test_networks_that_follow_their_parameters_pass_and_come_back(build: Any) -> None:
    torch.manual_seed(0)
    network = build().eval()
    x = X.double() if next(network.parameters()).dtype == torch.float64 else X
    before, state = predict(network, x), torch.get_rng_state()
    check_follows_parameters(network, x)
    assert torch.equal(predict(network, x), before)
    assert torch.equal(torch.get_rng_state(), state)


def test_inputs_of_zeros_without_a_bias_tell_nothing() -> None:
    check_follows_parameters(nn.Linear(4, 3, bias=False), torch.zeros(2, 4))
