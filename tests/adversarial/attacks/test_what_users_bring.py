"""Labels, networks and attacks as users bring them: the right answer, or one sentence."""

from functools import partial

import pytest
import torch
from torch import nn

from assay.adversarial import (
    FGSM,
    MALT,
    PGD,
    TargetedAPGD,
    adversarial_error_curve,
    malt_scores,
    malt_targets,
    robust_accuracy,
    run_attack,
)
from assay.adversarial.attacks import PassCounter, check_attackable, naive_targets
from assay.core import InvalidInputError, LogProbabilities, predict, seeded
from helpers.adversarial_networks import linear, points, random_linear, random_mlp
from helpers.attacks import ATTACKS, TARGETED, THREAT, UNTARGETED, problem


def figures(result):
    return (result.x_adv, result.success) if hasattr(result, "success") else (result,)


CALLS = {name: lambda model, x, y, build=build: build(THREAT)(model, x, y) for name, build in ATTACKS.items()} | {
    "run_attack": lambda model, x, y: figures(run_attack(model, x, y, attack=FGSM(THREAT))),
    "robust_accuracy": lambda model, x, y: (
        robust_accuracy(model, x, y, threat=THREAT, attacks={"PGD": PGD(THREAT)}).x_adv
    ),
    "malt_scores": malt_scores,
    "malt_targets": malt_targets,
    "naive_targets": naive_targets,
}
each_call = pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)


@each_call
def test_labels_of_any_integer_type_or_in_a_column_are_the_same_labels(call):
    model, x, y = problem()
    expected = call(model, x, y)
    for labels in (y.to(torch.uint8), y.to(torch.int8), y.int(), y[:, None]):
        torch.testing.assert_close(call(model, x, labels), expected, rtol=0, atol=0)


@pytest.mark.usefixtures("as_users_run_it")
@each_call
@pytest.mark.parametrize(
    ("labels", "says"),
    [
        (lambda y: nn.functional.one_hot(y, 4), r"y\.argmax\(1\)"),
        (lambda y: y.double(), r"y\.long\(\)"),
        (lambda y: y + 4, "labels"),
        (lambda y: y[:1], "one target for each of the 8 samples"),
    ],
)
def test_labels_that_mean_something_else_are_refused(call, labels, says):
    model, x, y = problem()
    with pytest.raises(InvalidInputError, match=says):
        call(model, x, labels(y))


@each_call
@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_the_callers_autograd_state_changes_nothing(call, mode):
    model, x, y = problem()
    expected = call(model, x, y)
    with mode():
        found = call(model, x.clone(), y.clone())
    torch.testing.assert_close(found, expected, rtol=0, atol=0)
    found = call(model, x.clone().requires_grad_(), y)
    for part in found if isinstance(found, tuple) else (found,):
        assert not part.requires_grad
        assert not part.is_inference()


@each_call
def test_a_look_is_taken_once_and_its_refusals_reach_the_user(call):
    class Noisy(nn.Module):
        def __init__(self, model):
            super().__init__()
            self.model = model

        def forward(self, x):
            return self.model(nn.functional.dropout(x, 0.5))

    model, x, y = problem()
    if call is not CALLS["robust_accuracy"]:  # which takes the mean over draws, and the logarithm, itself
        with pytest.raises(InvalidInputError, match=r"pass training=self\.training to F\.dropout"):
            call(Noisy(model), x, y)
        with pytest.raises(InvalidInputError, match="take the softmax off"):
            call(nn.Sequential(model, nn.Softmax(1)), x, y)
    with pytest.raises(InvalidInputError, match="meta device"):
        call(random_mlp([6, 20, 4], seeded(5)).to("meta"), x, y)
    logarithm = nn.Sequential(model, nn.Softmax(1), LogProbabilities())
    torch.testing.assert_close(call(logarithm, x, y), call(nn.Sequential(model, nn.LogSoftmax(1)), x, y))


def test_scores_that_sum_to_one_at_some_inputs_only_are_no_probabilities():
    model = linear(torch.eye(2, dtype=torch.float64))
    x = torch.tensor([[0.6, 0.4], [0.9, 0.1], [0.3, 0.7]], dtype=torch.float64)
    assert check_attackable(model, x)[1].tolist() == [0, 0, 1]
    with pytest.raises(InvalidInputError, match="probabilities"):
        check_attackable(nn.Sequential(model, nn.Softmax(1)), x)


def test_one_output_is_refused_with_the_network_that_has_two():
    model, x = random_linear(6, 1, seeded(1)), points(5, 6, seeded(1))
    with pytest.raises(InvalidInputError, match=r"torch\.cat\(\[torch\.zeros_like\(f\), f\], 1\)"):
        FGSM(THREAT)(model, x, torch.zeros(5, dtype=torch.long))

    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.model = model

        def forward(self, x):
            f = self.model(x)
            return torch.cat([torch.zeros_like(f), f], 1)

    y = predict(model, x) > 0
    margin = predict(model, x).abs().flatten()
    broken = run_attack(Two(), x, y, attack=FGSM(THREAT)).success
    assert torch.equal(broken, margin < THREAT.eps * model.weight.detach().abs().sum())


@pytest.mark.usefixtures("as_users_run_it")
def test_an_attack_of_the_wrong_kind_is_refused():
    model, x, y = problem()
    for name, build in TARGETED.items():
        with pytest.raises(InvalidInputError, match=rf"wrap it: MALT\({name}\(threat\)\)"):
            run_attack(model, x, y, attack=build(THREAT))
        with pytest.raises(InvalidInputError, match=rf"MALT\({name}"):
            robust_accuracy(model, x, y, threat=THREAT, attacks={name: build(THREAT)})
    for build in UNTARGETED.values():
        with pytest.raises(InvalidInputError, match="give MALT a targeted attack"):
            MALT(build(THREAT))
    for given in (FGSM, lambda model, x, y: x, None):
        with pytest.raises(InvalidInputError, match=r"build it first, as in FGSM\(threat\)"):
            run_attack(model, x, y, attack=given)
    for attacks in ([FGSM(THREAT)], {}, {"FGSM": FGSM}):
        with pytest.raises(InvalidInputError, match="attack"):
            robust_accuracy(model, x, y, threat=THREAT, attacks=attacks)


@pytest.mark.usefixtures("as_users_run_it")
def test_an_attack_that_does_not_say_what_it_takes_is_refused():
    """A targeted attack of another library would else be given true labels, and break nothing."""

    class Foreign:
        threat = THREAT

        def __call__(self, model, x, y):
            return TargetedAPGD(THREAT)(model, x, y)

    model, x, y = problem()
    calls = {
        "run_attack": lambda: run_attack(model, x, y, attack=Foreign()),
        "robust_accuracy": lambda: robust_accuracy(model, x, y, threat=THREAT, attacks={"foreign": Foreign()}),
        "adversarial_error_curve": lambda: adversarial_error_curve(
            model, x, eps=torch.tensor([0.1, 0.2]), attack=lambda threat: Foreign()
        ),
        "MALT": lambda: MALT(Foreign()),
    }
    for call in calls.values():
        with pytest.raises(InvalidInputError, match="give it an attribute targeted"):
            call()


@pytest.mark.usefixtures("as_users_run_it")
@pytest.mark.parametrize("size", [0, -1, 2.5])
def test_a_batch_size_that_is_none_is_refused(size):
    model, x, y = problem()
    calls = (malt_scores, malt_targets, naive_targets, MALT(TargetedAPGD(THREAT)).run)
    calls += (partial(run_attack, attack=FGSM(THREAT)), partial(robust_accuracy, threat=THREAT))
    for call in calls:
        with pytest.raises(InvalidInputError, match="batch_size"):
            call(model, x, y, batch_size=size)


def test_a_counting_wrapper_counts_the_whole_attack_of_its_owner():
    model, x, y = problem()
    counted = PassCounter(model)
    found = PGD(THREAT, n_iter=5)(counted, x, y)
    assert torch.equal(found, PGD(THREAT, n_iter=5)(model, x, y))
    assert counted.n_backward == 5 * 8
    assert counted.n_forward > 5 * 8, "the look is part of the attack"


@pytest.mark.usefixtures("as_users_run_it")
def test_a_start_of_another_shape_is_refused():
    model, x, y = problem()
    with pytest.raises(InvalidInputError, match="start must have the shape of x"):
        PGD(THREAT)(model, x, y, start=x[:1])
