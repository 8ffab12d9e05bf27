import math
from copy import deepcopy
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from assay.core import (
    InvalidInputError,
    NumericalError,
    accuracy,
    fit,
    flatten,
    named_parameters,
    parameter_distance,
    predict,
    seeded,
)
from assay.nets import mlp
from assay.privacy import SmoothedWatermark, TriggerSet
from assay.privacy.watermark import (
    Pruning,
    Quantisation,
    RandomShift,
    RemovalAttack,
    Retraining,
    TriggerAscent,
    smoothed_trigger_accuracy,
)

METHODS = ("fine_tuning", "hard_distillation", "soft_distillation", "trigger_unlearning")


@pytest.fixture(scope="module")
def model():
    return mlp((4, 12, 3), generator=seeded(1)).double()


@pytest.fixture(scope="module")
def triggers():
    return TriggerSet(torch.randn(5, 4, generator=seeded(2), dtype=torch.float64), label=1)


@pytest.fixture(scope="module")
def data():
    return torch.randn(20, 4, generator=seeded(3), dtype=torch.float64), torch.arange(20) % 3


def attack(model, triggers, data, removal, seed=0, **options):
    options = {"test": (data[0][:9], data[1][:9]), "sigma": 0.2, "n_draws": 30} | options
    return removal.run(model, *data, triggers=triggers, generator=seeded(seed), **options)


class Far(RemovalAttack):
    """Move every parameter by one, twice."""

    def stages(self, model, task):
        for _ in range(2):
            with torch.no_grad():
                for parameter in model.parameters():
                    parameter += 1
            yield


class Broken(RemovalAttack):
    def stages(self, model, task):
        with torch.no_grad():
            next(model.parameters()).fill_(math.nan)
        yield


def test_the_base_measures_every_stage_again(model, triggers, data):
    report = attack(model, triggers, data, Far())
    p = len(flatten(named_parameters(model)))
    assert [stage.distance for stage in report.history] == pytest.approx([0, math.sqrt(p), 2 * math.sqrt(p)])
    moved = deepcopy(model)
    for parameter in moved.parameters():
        parameter.data += 2
    assert parameter_distance(report.model, moved) < 1e-12
    for network, stage in ((model, report.start), (moved, report.end)):
        assert stage.test_accuracy == accuracy(predict(network, data[0][:9]), data[1][:9])
        assert stage.trigger_accuracy == accuracy(predict(network, triggers.x), triggers.y)
    assert report.norm == pytest.approx(flatten(named_parameters(model)).norm().item())
    assert f"{2 * math.sqrt(p):.3g}" in str(report)
    assert ("no watermark to remove" in str(report)) is (report.start.trigger_accuracy < 0.5)


def test_the_noise_of_each_stage_is_the_same_and_of_the_stated_size(model, triggers, data):
    still = attack(model, triggers, data, Quantisation(bits=52), n_draws=2000)
    assert still.start.smoothed_mean == still.end.smoothed_mean
    other = smoothed_trigger_accuracy(model, triggers, sigma=0.2, n=2000, generator=seeded(99))
    # Two means of 2000 draws of values in [0, 1], within six standard errors at their largest.
    assert abs(still.start.smoothed_mean - other.mean().item()) < 6 * 0.5 * math.sqrt(2 / 2000)
    assert still.start.smoothed_median == pytest.approx(other.median().item(), abs=0.21)


def test_the_base_brings_every_attack_back_into_the_budget(model, triggers, data):
    free, held = (attack(model, triggers, data, Far(budget)) for budget in (None, 0.5))
    assert [stage.distance for stage in held.history] == pytest.approx([0, 0.5, 0.5])
    start = flatten(named_parameters(model))
    directions = [flatten(named_parameters(report.model)) - start for report in (free, held)]
    assert F.cosine_similarity(*directions, dim=0) == pytest.approx(1)


@pytest.mark.parametrize(
    "removal",
    [
        *(Retraining(0.3, method, epochs=3, lr=0.1) for method in METHODS),
        *(RandomShift(0.3), TriggerAscent(0.3), TriggerAscent(0.3, sigma=0.2, n_iter=4)),
        *(Pruning(0.3, share=0.9), Quantisation(0.3, bits=2)),
    ],
    ids=str,
)
def test_attacks_keep_the_budget_change_a_copy_and_repeat(model, triggers, data, removal):
    before = flatten(named_parameters(model)).clone()
    report = attack(model, triggers, data, removal)
    assert report.end.distance <= 0.3 + 1e-12
    assert report.end.distance == pytest.approx(parameter_distance(report.model, model))
    assert torch.equal(flatten(named_parameters(model)), before)
    again = attack(model, triggers, data, removal)
    assert again.history == report.history
    assert parameter_distance(again.model, report.model) == 0


def test_random_shifts_go_all_the_way_and_each_elsewhere(model, triggers, data):
    start = flatten(named_parameters(model))
    one, two = (
        flatten(named_parameters(attack(model, triggers, data, RandomShift(2.0), seed).model)) - start
        for seed in (0, 1)
    )
    assert one.norm() == pytest.approx(2.0)
    assert abs(F.cosine_similarity(one, two, dim=0)) < 0.5


@pytest.mark.parametrize("sigma", [0.0, 0.3])
def test_ascent_reaches_the_best_point_of_the_ball_of_a_linear_network(data, sigma):
    # With two classes and one trigger the gradient always points along (x, 1) for one class and against it for the
    # other, whatever the noise: the best shift of length eps is known.
    model = mlp((4, 2), generator=seeded(4)).double()
    x = torch.tensor([[1.0, -2.0, 0.5, 0.0]], dtype=torch.float64)
    triggers = TriggerSet(x, label=0)
    report = attack(model, triggers, (data[0], data[1] % 2), TriggerAscent(0.7, sigma=sigma, n_iter=10))
    along = torch.cat([x[0], torch.ones(1, dtype=torch.float64)])
    direction = torch.stack([-along, along]) / (math.sqrt(2) * along.norm())
    change = flatten(named_parameters(report.model)) - flatten(named_parameters(model))
    expected = 0.7 * torch.cat([direction[:, :4].flatten(), direction[:, 4]])
    torch.testing.assert_close(change, expected, rtol=0, atol=1e-9)


def test_ascent_moves_also_where_the_loss_underflows(data):
    model = mlp((4, 2)).double()
    with torch.no_grad():
        model[0].bias.copy_(torch.tensor([2000.0, 0.0]))
    triggers = TriggerSet(torch.zeros(1, 4, dtype=torch.float64), label=0)
    report = attack(model, triggers, (data[0], data[1] % 2), TriggerAscent(1.0, n_iter=1))
    assert report.end.distance == pytest.approx(1.0)


def test_fine_tuning_is_adam_on_the_attackers_samples(model, triggers, data):
    report = attack(model, triggers, data, Retraining(epochs=4, lr=0.01, batch_size=20))
    by_hand = deepcopy(model)
    adam = partial(torch.optim.Adam, lr=0.01)
    fit(by_hand, *data, loss=F.cross_entropy, optimizer=adam, epochs=4)
    assert parameter_distance(report.model, by_hand) < 1e-12
    assert len(report.history) == 5


def test_hard_distillation_is_fine_tuning_on_the_networks_own_decisions(model, triggers, data):
    x, _ = data
    own = model(x).argmax(1)
    distilled = attack(model, triggers, data, Retraining(method="hard_distillation", epochs=3))
    tuned = attack(model, triggers, (x, own), Retraining(epochs=3))
    assert parameter_distance(distilled.model, tuned.model) == 0


def test_soft_distillation_starts_at_its_own_optimum(model, triggers, data):
    # The cross-entropy of probabilities with themselves has no gradient but rounding, which Adam's first step keeps.
    report = attack(model, triggers, data, Retraining(method="soft_distillation", epochs=1, lr=1e-3))
    assert report.end.distance < 1e-9
    assert attack(model, triggers, data, Retraining(method="hard_distillation", epochs=1, lr=1e-3)).end.distance > 1e-3


def test_unlearning_without_limits_removes_the_watermark_and_keeps_the_task(triggers, data):
    model = mlp((4, 32, 3), generator=seeded(1)).double()
    adam = partial(torch.optim.Adam, lr=0.02)
    SmoothedWatermark(0.05, n_levels=2, n_noise=2).train(
        model, *data, triggers=triggers, optimizer=adam, epochs=60, generator=seeded(0)
    )
    report = attack(model, triggers, data, Retraining(method="trigger_unlearning", epochs=60, lr=0.05), n_draws=1)
    assert report.start.trigger_accuracy == 1
    assert report.end.trigger_accuracy == 0
    assert report.end.test_accuracy == 1


def test_pruning_zeroes_the_smallest_weights_of_all_layers_together(model, triggers, data):
    report = attack(model, triggers, data, Pruning(share=0.25))
    weights = [torch.cat([layer.weight.detach().flatten() for layer in (m[0], m[2])]) for m in (model, report.model)]
    cut = weights[0].abs().sort().values[21]  # 84 weights
    assert torch.equal(weights[1], torch.where(weights[0].abs() < cut, 0.0, weights[0]))
    assert (weights[1] == 0).sum() == 21
    assert torch.equal(report.model[0].bias, model[0].bias)


def test_quantisation_rounds_to_the_nearest_point_of_an_even_grid(model, triggers, data):
    report = attack(model, triggers, data, Quantisation(bits=4))
    for before, after in zip(model.parameters(), report.model.parameters(), strict=True):
        step = before.abs().max() / 7
        places = after / step
        torch.testing.assert_close(places, places.round(), rtol=0, atol=1e-9)
        assert (after - before).abs().max() <= step / 2 + 1e-12
    empty = deepcopy(model)
    nn.init.zeros_(empty[0].bias)
    assert (attack(empty, triggers, data, Quantisation(bits=4)).model[0].bias == 0).all()


def test_bad_options():
    for build in (
        lambda: Retraining(epochs=0),
        lambda: Retraining(lr=0.0),
        lambda: Retraining(batch_size=0),
        lambda: TriggerAscent(1.0, n_noise=0),
        lambda: Pruning(share=1.0),
        lambda: Quantisation(bits=1),
        lambda: TriggerAscent(1.0, sigma=-1.0),
        lambda: TriggerAscent(1.0, n_iter=0),
        lambda: RandomShift(-1.0),
    ):
        with pytest.raises(InvalidInputError):
            build()


def test_an_unknown_method_is_refused():
    with pytest.raises((InvalidInputError, TypeError), match="method"):
        Retraining(method="labels")


def test_bad_input(model, triggers, data):
    for removal in (RandomShift(), TriggerAscent()):
        with pytest.raises(InvalidInputError, match="give one"):
            attack(model, triggers, data, removal)
    with pytest.raises(InvalidInputError, match="labels from"):
        attack(model, triggers, (data[0], data[1] + 1), Far())
    with pytest.raises(InvalidInputError, match="sigma"):
        attack(model, triggers, data, Far(), sigma=0.0)
    with pytest.raises(InvalidInputError, match="labels from"):
        attack(model, triggers, data, Far(), test=(data[0], data[1] + 1))
    with pytest.raises(NumericalError, match="NaN"):
        attack(model, triggers, data, Broken())
