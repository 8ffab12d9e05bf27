import math
from dataclasses import replace

import pytest
import torch
from adversarial_networks import UNBOUNDED, points, random_linear, random_mlp
from torch import Tensor, nn

from assay.adversarial import Lp, TargetedAPGD, targeted_apgd
from assay.adversarial.apgd import OBJECTIVES, checkpoints
from assay.adversarial.base import dual_norms
from assay.core import InvalidInputError, generator

NORMS = (2, math.inf)


def two_class_problem(norm: float) -> tuple[nn.Module, Tensor, Tensor, Tensor]:
    """A linear two-class model with the exact distance of each point to the other class."""
    source = generator(0)
    model, x = random_linear(10, 2, source), points(50, 10, source)
    logits = model(x).detach()
    target = logits.argmin(1)
    distance = (logits[:, 0] - logits[:, 1]).abs() / dual_norms(
        (model.weight[0] - model.weight[1]).detach()[None], norm
    )
    return model, x, target, distance


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize(("factor", "breaks"), [(0.999, False), (1.001, True)])
def test_a_linear_model_breaks_exactly_beyond_its_distance(norm, factor, breaks):
    model, x, target, distance = two_class_problem(norm)
    for row in range(len(x)):
        threat = Lp(norm=norm, eps=factor * distance[row].item(), input_range=UNBOUNDED)
        x_adv = targeted_apgd(model, x[row : row + 1], target[row : row + 1], threat=threat, n_iter=10, loss="ce")
        assert (model(x_adv).argmax(1) == target[row]).item() is breaks


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("input_range", [UNBOUNDED, (-2.0, 2.0)])
def test_the_best_point_on_a_linear_model_is_the_closed_form_optimum(norm, input_range):
    model, x, target, _ = two_class_problem(norm)
    x = x.clamp(*input_range)
    x, target = x[target == 1], target[target == 1]
    gradient = (model.weight[1] - model.weight[0]).detach()
    threat = Lp(norm=norm, eps=0.01, input_range=input_range)
    x_adv = targeted_apgd(model, x, target, threat=threat, n_iter=20, loss="ce", strict_target=True)
    standing = model(x_adv).argmax(1) == 0
    assert standing.sum() > 10
    direction = gradient.sign() if norm == math.inf else gradient / gradient.norm()
    if norm == math.inf or input_range == UNBOUNDED:
        optimum = (x + 0.01 * direction).clamp(*input_range)
        torch.testing.assert_close(x_adv[standing], optimum[standing], rtol=0, atol=1e-12)


def reference_apgd(model: nn.Module, x: Tensor, target: int, attack: TargetedAPGD) -> Tensor:
    """Algorithm 1 of Croce and Hein for one sample, line by line."""
    threat, n_iter = attack.threat, attack.n_iter
    source = int(model(x[None]).argmax())

    def look(point: Tensor) -> tuple[float, Tensor, int]:
        point = point.detach().requires_grad_()
        logits = model(point[None])
        value = OBJECTIVES[attack.loss](logits, torch.tensor([source]), torch.tensor([target]))
        return value.item(), torch.autograd.grad(value.sum(), point)[0], int(logits.argmax())

    def step(point: Tensor, change: Tensor) -> Tensor:
        return threat.project((point + change)[None], x[None])[0]

    eta, previous, point = 2 * threat.eps, x, x
    value, gradient, _ = look(x)
    best, best_value, best_gradient = x, value, gradient
    rises, halved, reviewed, last = 0, False, -math.inf, 0
    for k in range(1, n_iter + 1):
        ascended = step(point, eta * threat.steepest(gradient[None])[0])
        if k > 1:
            ascended = step(point, 0.75 * (ascended - point) + 0.25 * (point - previous))
        previous, point = point, ascended
        new_value, gradient, predicted = look(point)
        if predicted != source and (not attack.strict_target or predicted == target):
            return point
        rises, value = rises + (new_value > value), new_value
        if value > best_value:
            best, best_value, best_gradient = point, value, gradient
        if k in checkpoints(n_iter):
            halved = rises < 0.75 * (k - last) or (not halved and best_value == reviewed)
            if halved:
                eta, point, gradient, value = eta / 2, best, best_gradient, best_value
            rises, reviewed, last = 0, best_value, k
    return best


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("loss", ["dlr", "ce"])
@pytest.mark.parametrize("strict", [False, True])
def test_the_batch_does_what_the_algorithm_does_to_each_sample(norm, loss, strict):
    source = generator(1)
    model, x = random_mlp([6, 20, 20, 5], source), points(12, 6, source)
    target = torch.randint(5, (12,), generator=source)
    threat = Lp(norm=norm, eps=0.15 if norm == math.inf else 0.3, input_range=(-1.5, 1.5))
    x = x.clamp(-1.5, 1.5)
    attack = TargetedAPGD(threat, n_iter=25, loss=loss, strict_target=strict)
    x_adv = attack(model, x, target)
    predicted, clean = model(x_adv).argmax(1), model(x).argmax(1)
    assert 0 < (predicted != clean).sum() < 12, "the test must see both outcomes"
    for row in range(12):
        expected = x[row] if clean[row] == target[row] else reference_apgd(model, x[row], int(target[row]), attack)
        # Once the ascent has converged, rounding decides whether a step counts as a rise: hence not 1e-12.
        torch.testing.assert_close(x_adv[row], expected, rtol=0, atol=1e-6)


def test_the_review_schedule_is_the_papers():
    assert list(checkpoints(100)) == [22, 41, 57, 70, 80, 87, 93, 99]
    assert list(checkpoints(100).values()) == [0, 22, 41, 57, 70, 80, 87, 93]
    assert all(0 < step <= n for n in range(1, 60) for step in checkpoints(n))


def test_the_targeted_dlr_objective_from_its_formula():
    logits = torch.tensor([[4.0, 1.0, 3.0, 2.5, -1.0]], dtype=torch.float64)
    value = OBJECTIVES["dlr"](logits, torch.tensor([0]), torch.tensor([4]))
    assert value.item() == pytest.approx(-(4.0 - -1.0) / (4.0 - (2.5 + 1.0) / 2))


def test_strict_attacks_stop_only_at_the_target():
    source = generator(2)
    model, x = random_mlp([6, 20, 5], source), points(30, 6, source)
    target = torch.randint(5, (30,), generator=source)
    loose = TargetedAPGD(Lp(norm=2, eps=1.0, input_range=UNBOUNDED), n_iter=25)
    strict = replace(loose, strict_target=True)
    hit_loose = (model(loose(model, x, target)).argmax(1) == target).sum()
    hit_strict = (model(strict(model, x, target)).argmax(1) == target).sum()
    assert hit_strict > hit_loose


def test_random_starts_are_seeded_and_leave_global_state_alone():
    source = generator(3)
    model, x = random_mlp([6, 20, 5], source), points(5, 6, source)
    target = (model(x).argmax(1) + 1) % 5
    attack = TargetedAPGD(Lp(norm=2, eps=0.01, input_range=UNBOUNDED), n_iter=1, seed=7)
    before = torch.get_rng_state()
    once, again, other = attack(model, x, target), attack(model, x, target), replace(attack, seed=8)(model, x, target)
    assert torch.equal(before, torch.get_rng_state())
    assert torch.equal(once, again)
    assert not torch.equal(once, other)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_model_and_the_inputs_come_back_as_they_were(dtype):
    model = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Dropout(0.5), nn.ReLU(inplace=True), nn.Linear(6, 4))
    model = model.to(dtype).train()
    model[0].weight.requires_grad_(False)
    model[4].weight.grad = torch.ones_like(model[4].weight)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    x = points(5, 4, generator(4)).to(dtype)
    kept = x.clone()
    x_adv = targeted_apgd(
        model, x, torch.tensor([0, 1, 2, 3, 0]), threat=Lp(norm=2, eps=0.1, input_range=UNBOUNDED), n_iter=3
    )
    assert x_adv.dtype == dtype
    assert torch.equal(x, kept)
    assert not x_adv.requires_grad
    assert model.training
    assert model[1].training
    assert [p.requires_grad for p in model.parameters()] == [False] + [True] * 5
    assert torch.equal(model[4].weight.grad, torch.ones_like(model[4].weight))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_dlr_needs_four_classes_and_says_so():
    model, x = random_linear(3, 3, generator(5)), points(2, 3, generator(5))
    with pytest.raises(InvalidInputError, match="use loss='ce'"):
        targeted_apgd(model, x, torch.tensor([0, 1]), threat=Lp(norm=2, eps=0.1, input_range=UNBOUNDED))


@pytest.mark.usefixtures("as_users_run_it")
@pytest.mark.parametrize("options", [{"n_iter": 0}, {"loss": "hinge"}])
def test_impossible_options_are_refused(options):
    with pytest.raises(InvalidInputError, match=f"{next(iter(options))} must be"):
        TargetedAPGD(Lp(norm=2, eps=0.1, input_range=UNBOUNDED), **options)


def test_agrees_with_another_librarys_attack():
    torchattacks = pytest.importorskip("torchattacks")
    source = generator(6)
    model = nn.Sequential(nn.Flatten(), random_mlp([12, 30, 10], source)).float()
    x = torch.rand(200, 1, 3, 4, generator=source)  # their attacks take images only
    y = model(x).argmax(1)
    theirs = torchattacks.APGDT(model, norm="Linf", eps=0.05, steps=20, n_restarts=1, n_classes=10, seed=0)
    broken_theirs = model(theirs(x, y)).argmax(1) != y
    order = model(x).scatter(1, y[:, None], -math.inf).argsort(1, descending=True)
    attack = TargetedAPGD(Lp(norm=math.inf, eps=0.05, input_range=(0.0, 1.0)), n_iter=20)
    broken_ours = torch.stack([model(attack(model, x, order[:, k])).argmax(1) != y for k in range(9)]).any(0)
    assert broken_theirs.sum() > 20
    assert abs(broken_ours.sum().item() - broken_theirs.sum().item()) <= 2
