import math
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn

from assay.adversarial import Lp, TargetedAPGD, run_attack
from assay.core import InvalidInputError, NumericalError, seeded
from helpers.adversarial_networks import UNBOUNDED, linear, points, random_mlp


@dataclass(frozen=True)
class Fixed:
    """An attack that says whatever it is told to say."""

    threat: Lp
    answer: Tensor
    targeted: bool = False

    def __call__(self, model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        return self.answer.expand_as(x) if self.answer.ndim == 0 else self.answer[: len(x)]


def test_an_attack_is_never_believed():
    model = linear(torch.eye(2, dtype=torch.float64))
    x = torch.tensor([[0.6, 0.4], [0.9, 0.1], [0.2, 0.8]], dtype=torch.float64)
    y = torch.tensor([0, 0, 0])
    threat = Lp(norm=math.inf, eps=0.2, input_range=(0.0, 1.0))
    claimed = torch.tensor([[-50.0, 50.0], [-50.0, 50.0]], dtype=torch.float64)
    result = run_attack(model, x, y, attack=Fixed(threat, claimed))
    assert result.success.tolist() == [True, False, True]
    torch.testing.assert_close(result.x_adv[0], torch.tensor([0.4, 0.6], dtype=torch.float64))
    assert torch.equal(result.x_adv[1:], x[1:])
    torch.testing.assert_close(result.distance, torch.tensor([0.2, 0.0, 0.0], dtype=torch.float64))
    assert result.robust_accuracy == pytest.approx(1 / 3)
    assert "33.3%" in str(result)
    assert (result.n_forward, result.n_backward) == (5, 0)


def test_batches_do_not_change_the_result():
    source = seeded(4)
    model, x = random_mlp([4, 8, 4], source), points(7, 4, source)
    y = model(x).argmax(1)

    @dataclass(frozen=True)
    class TowardsFixed:
        attack: TargetedAPGD
        targeted: bool = False

        @property
        def threat(self) -> Lp:
            return self.attack.threat

        def __call__(self, model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
            return self.attack(model, x, (y + 1) % 4)

    attack = TowardsFixed(TargetedAPGD(Lp(norm=2, eps=0.3, input_range=UNBOUNDED), n_iter=5))
    whole, parts = run_attack(model, x, y, attack=attack), run_attack(model, x, y, attack=attack, batch_size=2)
    torch.testing.assert_close(whole.x_adv, parts.x_adv)
    assert torch.equal(whole.success, parts.success)
    assert whole.n_backward == parts.n_backward


@pytest.mark.parametrize(
    ("answer", "error"), [(torch.tensor(math.nan), NumericalError), (torch.zeros(2, 5), InvalidInputError)]
)
def test_a_broken_attack_is_an_error(answer, error):
    model = linear(torch.eye(2, dtype=torch.float64))
    x = torch.tensor([[0.6, 0.4], [0.9, 0.1]], dtype=torch.float64)
    attack = Fixed(Lp(norm=2, eps=0.2, input_range=(0.0, 1.0)), answer)
    with pytest.raises(error, match="the attack"):
        run_attack(model, x, torch.zeros(2, dtype=torch.long), attack=attack)


def bad_inputs():
    model, x, y = linear(torch.eye(2)), torch.full((2, 2), 0.5), torch.tensor([0, 1])
    yield model, x + 2, y, "x spans"
    yield model, x[:0], y[:0], "non-empty batch"
    yield model, x * math.nan, y, "NaN"
    yield model, x, y[:1], "one target for each"
    yield model, x, y + 5, "holds labels from 5 to 6"
    yield linear(torch.ones(1, 2)), x, y, "one output"
    yield linear(torch.eye(2) * math.nan), x, y, "weights of the model are NaN"
    yield linear(torch.eye(3)), x, y, "does not accept a sample"


@pytest.mark.usefixtures("as_users_run_it")
@pytest.mark.parametrize(("model", "x", "y", "says"), list(bad_inputs()))
def test_bad_input_is_refused_at_the_door(model, x, y, says):
    attack = Fixed(Lp(norm=2, eps=0.1, input_range=(0.0, 1.0)), torch.tensor(0.0))
    with pytest.raises(InvalidInputError, match=says):
        run_attack(model, x, y, attack=attack)
