import math
from dataclasses import dataclass, replace

import pytest
import torch
from torch import Tensor, nn

from assay.adversarial import MALT, Lp, TargetedAPGD, malt_targets, run_attack
from assay.adversarial.attacks import naive_targets
from assay.core import InvalidInputError, seeded
from helpers.adversarial_networks import UNBOUNDED, linear, points, random_mlp


def deceptive_problem() -> tuple[nn.Module, Tensor, Tensor]:
    """The runner-up by score is far away, the least likely class is near: class 1 at distance 5, class 2 at 1."""
    weight = torch.tensor([[0.0, 0.0], [0.2, 0.0], [0.0, 2.0]], dtype=torch.float64)
    model = linear(weight, torch.tensor([1.0, 0.0, -1.0], dtype=torch.float64))
    return model, torch.zeros(1, 2, dtype=torch.float64), torch.tensor([0])


def mlp_problem(n: int = 40) -> tuple[nn.Module, Tensor, Tensor]:
    source = seeded(0)
    model, x = random_mlp([8, 20, 20, 12], source), points(n, 8, source)
    y = model(x).argmax(1)
    y[: n // 10] = (y[: n // 10] + 1) % 20  # a tenth is misclassified
    return model, x, y


def targeted(norm: float = 2, eps: float = 0.25, **options) -> TargetedAPGD:
    return TargetedAPGD(Lp(norm=norm, eps=eps, input_range=UNBOUNDED), **({"n_iter": 10} | options))


@pytest.mark.parametrize("norm", [2, math.inf])
def test_the_nearest_class_is_not_the_likeliest(norm):
    model, x, y = deceptive_problem()
    attack = targeted(norm, 1.1, loss="ce", random_state=None)  # a random start can be across a boundary
    near, naive = MALT(attack, k=1).run(model, x, y), MALT(attack, k=1, ranking="naive").run(model, x, y)
    assert (near.success.tolist(), near.target.tolist(), near.n_targets.tolist()) == ([True], [2], [1])
    assert (naive.success.tolist(), naive.target.tolist(), naive.n_targets.tolist()) == ([False], [-1], [1])
    both = MALT(attack, k=2, ranking="naive").run(model, x, y)
    assert (both.target.tolist(), both.n_targets.tolist()) == ([2], [2])


@pytest.mark.parametrize("ranking", ["malt", "naive"])
def test_the_loop_is_one_attack_a_target_until_one_succeeds(ranking):
    model, x, y = mlp_problem(20)
    attack = targeted(n_iter=5)
    result = MALT(attack, k=4, ranking=ranking).run(model, x, y)
    rank = {"malt": lambda: malt_targets(model, x, y, k=4, norm=2), "naive": lambda: naive_targets(model, x, y, k=4)}
    targets, clean = rank[ranking](), model(x).argmax(1)
    assert len(set(result.n_targets.tolist())) > 2, "the test must see early and late successes"
    for row in range(len(x)):
        one = slice(row, row + 1)
        expected = (x[row], clean[row] != y[row], -1, 0)
        if clean[row] == y[row]:
            expected = (x[row], False, -1, 4)
            for tried, aim in enumerate(targets[row], start=1):
                x_adv = attack(model, x[one], aim[None])
                if model(x_adv).argmax() != y[row]:
                    expected = (x_adv[0], True, int(aim), tried)
                    break
        torch.testing.assert_close(result.x_adv[row], expected[0], rtol=0, atol=1e-9)
        assert (bool(result.success[row]), int(result.target[row]), int(result.n_targets[row])) == (
            bool(expected[1]),
            *expected[2:],
        )


def test_the_reported_success_and_distance_are_true():
    model, x, y = mlp_problem()
    result = MALT(targeted(), k=4).run(model, x, y, batch_size=17)
    assert torch.equal(model(result.x_adv).argmax(1) != y, result.success)
    torch.testing.assert_close(result.distance, (result.x_adv - x).norm(dim=1))
    assert result.distance.max() <= 0.25 * (1 + 1e-12)
    assert result.robust_accuracy == pytest.approx(1 - result.success.double().mean().item())
    assert f"{result.robust_accuracy:.1%} stay correct" in str(result)
    tried = result.n_targets[result.target >= 0].double().mean()
    assert f"took {tried:.2f} targets on average" in str(result)


def test_the_general_call_agrees_with_the_methods_own():
    model, x, y = mlp_problem(20)
    attack = MALT(targeted(), k=3)
    own, general = attack.run(model, x, y), run_attack(model, x, y, attack=attack)
    assert torch.equal(own.success, general.success)
    torch.testing.assert_close(own.x_adv, general.x_adv)
    assert torch.equal(own.x_adv, attack(model, x, y))


def test_misclassified_samples_are_never_attacked():
    model, x, y = mlp_problem()
    attacked: list[Tensor] = []

    @dataclass(frozen=True)
    class Watching:
        threat: Lp
        targeted: bool = True

        def __call__(self, model: nn.Module, x: Tensor, target: Tensor) -> Tensor:
            attacked.append(x)
            return x

    result = MALT(Watching(targeted().threat), k=2).run(model, x, y)
    wrong = model(x).argmax(1) != y
    assert torch.equal(result.success, wrong)
    assert (result.n_targets == torch.where(wrong, 0, 2)).all()
    assert [len(seen) for seen in attacked] == [int((~wrong).sum())] * 2


def test_only_misclassified_samples_need_no_attack():
    model, x, y = mlp_problem()
    wrong = model(x).argmax(1) != y
    result = MALT(targeted()).run(model, x[wrong], y[wrong])
    assert result.success.all()
    assert result.n_backward == 0


def test_strict_success_is_the_target_itself():
    model, x, y = mlp_problem()
    strict = MALT(targeted(eps=0.4, strict_target=True), k=3, strict_target=True).run(model, x, y)
    hit = strict.target >= 0
    assert hit.any()
    assert torch.equal(model(strict.x_adv[hit]).argmax(1), strict.target[hit])
    with pytest.raises(InvalidInputError, match="TargetedAPGD does not say that it does: build it with strict_target"):
        MALT(targeted(), strict_target=True)


def test_an_attack_that_is_silent_on_strict_targets_does_not_count_as_strict():
    @dataclass(frozen=True)
    class Silent:
        threat: Lp
        targeted: bool = True

        def __call__(self, model: nn.Module, x: Tensor, target: Tensor) -> Tensor:
            return x

    with pytest.raises(InvalidInputError, match="Silent does not say"):
        MALT(Silent(targeted().threat), strict_target=True)


def test_masked_gradients_are_reported_and_still_attacked():
    model = linear(torch.zeros(4, 3, dtype=torch.float64), torch.tensor([4.0, 1.0, 3.0, 2.0], dtype=torch.float64))
    result = MALT(targeted()).run(model, torch.zeros(2, 3, dtype=torch.float64), torch.tensor([0, 0]))
    assert result.masking.vanishing.tolist() == [True, True]
    assert "masked at 2 samples" in str(result)
    assert result.n_targets.tolist() == [3, 3]
    assert not result.success.any()


@pytest.mark.usefixtures("as_users_run_it")
@pytest.mark.parametrize("options", [{"k": 0}, {"candidates": -1}, {"ranking": "random"}])
def test_impossible_options_are_refused(options):
    with pytest.raises(InvalidInputError, match=f"{next(iter(options))} must be"):
        replace(MALT(targeted()), **options)
