import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from assay.adversarial import APGD, Lp, TargetedAPGD
from assay.adversarial.attacks.apgd import TARGETED, UNTARGETED
from assay.adversarial.attacks.ascent import checkpoints
from assay.adversarial.attacks.threat import dual_norms
from assay.core import InvalidInputError, predict, seeded
from helpers.adversarial_networks import UNBOUNDED, points, random_linear, random_mlp

NORMS = (2, math.inf)


def two_class_problem(norm: float) -> tuple[nn.Module, Tensor, Tensor, Tensor]:
    """A linear two-class model with the exact distance of each point to the other class."""
    source = seeded(0)
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
        one = slice(row, row + 1)
        towards = TargetedAPGD(threat, n_iter=10, loss="ce")(model, x[one], target[one])
        away = APGD(threat, n_iter=10)(model, x[one], 1 - target[one])
        for x_adv in (towards, away):
            assert (model(x_adv).argmax(1) == target[row]).item() is breaks


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("input_range", [UNBOUNDED, (-2.0, 2.0)])
def test_the_best_point_on_a_linear_model_is_the_closed_form_optimum(norm, input_range):
    model, x, target, _ = two_class_problem(norm)
    x = x.clamp(*input_range)
    x, target = x[target == 1], target[target == 1]
    gradient = (model.weight[1] - model.weight[0]).detach()
    threat = Lp(norm=norm, eps=0.01, input_range=input_range)
    x_adv = TargetedAPGD(threat, n_iter=20, loss="ce", strict_target=True, random_state=None)(model, x, target)
    standing = model(x_adv).argmax(1) == 0
    assert standing.sum() > 10
    direction = gradient.sign() if norm == math.inf else gradient / gradient.norm()
    if norm == math.inf or input_range == UNBOUNDED:
        optimum = (x + 0.01 * direction).clamp(*input_range)
        torch.testing.assert_close(x_adv[standing], optimum[standing], rtol=0, atol=1e-12)


def reference_apgd(
    model: nn.Module,
    x: Tensor,
    labels: Tensor,
    attack: APGD | TargetedAPGD,
    objective: Callable[[Tensor, Tensor], Tensor],
    ended: Callable[[int], bool],
) -> Tensor:
    """Algorithm 1 of Croce and Hein for one sample, line by line."""
    threat, n_iter = attack.threat, attack.n_iter

    def look(point: Tensor) -> tuple[float, Tensor, int]:
        point = point.detach().requires_grad_()
        logits = model(point[None])
        value = objective(logits, labels)
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
        if ended(predicted):
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


def nonlinear_problem(norm: float) -> tuple[nn.Module, Tensor, Lp]:
    source = seeded(1)
    model, x = random_mlp([6, 20, 20, 5], source), points(12, 6, source).clamp(-1.5, 1.5)
    return model, x, Lp(norm=norm, eps=0.15 if norm == math.inf else 0.3, input_range=(-1.5, 1.5))


# Once the ascent has converged, rounding decides whether a step counts as a rise: hence not 1e-12.
TOLERANCE = {"rtol": 0, "atol": 1e-6}


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("loss", ["dlr", "ce"])
@pytest.mark.parametrize("strict", [False, True])
def test_the_targeted_batch_does_what_the_algorithm_does_to_each_sample(norm, loss, strict):
    model, x, threat = nonlinear_problem(norm)
    target = torch.randint(5, (12,), generator=seeded(2))
    attack = TargetedAPGD(threat, n_iter=25, loss=loss, strict_target=strict, random_state=None)
    x_adv, clean = attack(model, x, target), model(x).argmax(1)
    assert 0 < (model(x_adv).argmax(1) != clean).sum() < 12, "the test must see both outcomes"
    for row, (source, aim) in enumerate(zip(clean.tolist(), target.tolist(), strict=True)):

        def ended(predicted: int, source=source, aim=aim) -> bool:
            return predicted == aim if strict else predicted != source

        expected = reference_apgd(model, x[row], torch.tensor([[source, aim]]), attack, TARGETED[loss], ended)
        torch.testing.assert_close(x_adv[row], x[row] if source == aim else expected, **TOLERANCE)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("loss", ["dlr", "ce"])
def test_the_untargeted_batch_does_what_the_algorithm_does_to_each_sample(norm, loss):
    model, x, threat = nonlinear_problem(norm)
    y = model(x).argmax(1)
    y[0] = (y[0] + 1) % 5  # already misclassified
    attack = APGD(threat, n_iter=25, loss=loss, random_state=None)
    x_adv = attack(model, x, y)
    assert torch.equal(x_adv[0], x[0])
    assert 1 < (model(x_adv).argmax(1) != y).sum() < 12, "the test must see both outcomes"
    for row in range(1, 12):
        label = int(y[row])
        expected = reference_apgd(
            model, x[row], y[row : row + 1], attack, UNTARGETED[loss], lambda k, label=label: k != label
        )
        torch.testing.assert_close(x_adv[row], expected, **TOLERANCE)


def test_the_review_schedule_is_the_papers():
    assert list(checkpoints(100)) == [22, 41, 57, 70, 80, 87, 93, 99]
    assert list(checkpoints(100).values()) == [0, 22, 41, 57, 70, 80, 87, 93]
    assert all(0 < step <= n for n in range(1, 60) for step in checkpoints(n))


def test_the_targeted_dlr_objective_from_its_formula():
    logits = torch.tensor([[4.0, 1.0, 3.0, 2.5, -1.0]], dtype=torch.float64)
    value = TARGETED["dlr"](logits, torch.tensor([[0, 4]]))
    assert value.item() == pytest.approx(-(4.0 - -1.0) / (4.0 - (2.5 + 1.0) / 2))


@pytest.mark.parametrize(("y", "expected"), [(0, -(4.0 - 3.0) / (4.0 - 2.5)), (1, -(1.0 - 4.0) / (4.0 - 2.5))])
def test_the_untargeted_dlr_objective_from_its_formula(y, expected):
    logits = torch.tensor([[4.0, 1.0, 3.0, 2.5, -1.0]], dtype=torch.float64)
    assert UNTARGETED["dlr"](logits, torch.tensor([y])).item() == pytest.approx(expected)


def test_the_ce_objective_is_the_cross_entropy():
    logits, y = points(7, 4, seeded(9)), torch.arange(7) % 4
    torch.testing.assert_close(UNTARGETED["ce"](logits, y), nn.functional.cross_entropy(logits, y, reduction="none"))


def test_strict_attacks_stop_only_at_the_target():
    source = seeded(2)
    model, x = random_mlp([6, 20, 5], source), points(30, 6, source)
    target = torch.randint(5, (30,), generator=source)
    loose = TargetedAPGD(Lp(norm=2, eps=1.0, input_range=UNBOUNDED), n_iter=25)
    strict = replace(loose, strict_target=True)
    hit_loose = (model(loose(model, x, target)).argmax(1) == target).sum()
    hit_strict = (model(strict(model, x, target)).argmax(1) == target).sum()
    assert hit_strict > hit_loose


@pytest.mark.parametrize("targeted", [False, True])
def test_restarts_are_runs_from_other_starts_on_the_samples_left(targeted):
    model, x, threat = nonlinear_problem(math.inf)
    clean = model(x).argmax(1)
    labels = (clean + 1) % 5 if targeted else clean
    base = TargetedAPGD(threat, n_iter=3) if targeted else APGD(threat, n_iter=3)
    objective = TARGETED["dlr"] if targeted else UNTARGETED["ce"]
    paired = torch.stack([clean, labels], 1) if targeted else labels
    n_broken, values = [], []
    for n_restarts in (1, 2, 8):
        x_adv = replace(base, n_restarts=n_restarts)(model, x, labels)
        n_broken.append((predict(model, x_adv).argmax(1) != clean).tolist())
        values.append(objective(predict(model, x_adv), paired))
    assert all(more or not fewer for fewer, more in zip(n_broken[0], n_broken[-1], strict=True))
    assert sum(n_broken[-1]) > sum(n_broken[0])
    left = ~torch.tensor(n_broken[-1])
    assert (values[-1] >= values[0])[left].all()
    assert (values[-1] > values[0])[left].any()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_model_and_the_inputs_come_back_as_they_were(dtype):
    model = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Dropout(0.5), nn.ReLU(inplace=True), nn.Linear(6, 4))
    model = model.to(dtype).train()
    model[0].weight.requires_grad_(False)
    model[4].weight.grad = torch.ones_like(model[4].weight)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    x = points(5, 4, seeded(4)).to(dtype)
    kept = x.clone()
    attack = TargetedAPGD(Lp(norm=2, eps=0.1, input_range=UNBOUNDED), n_iter=3)
    x_adv = attack(model, x, torch.tensor([0, 1, 2, 3, 0]))
    assert x_adv.dtype == dtype
    assert torch.equal(x, kept)
    assert not x_adv.requires_grad
    assert model.training
    assert model[1].training
    assert [p.requires_grad for p in model.parameters()] == [False] + [True] * 5
    assert torch.equal(model[4].weight.grad, torch.ones_like(model[4].weight))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize(("attack", "n_classes"), [(TargetedAPGD, 3), (APGD, 2)])
def test_dlr_needs_some_classes_and_says_so(attack, n_classes):
    model, x = random_linear(3, n_classes, seeded(5)), points(2, 3, seeded(5))
    with pytest.raises(InvalidInputError, match=f"needs at least {n_classes + 1} classes.*use loss='ce'"):
        attack(Lp(norm=2, eps=0.1, input_range=UNBOUNDED), loss="dlr")(model, x, torch.tensor([0, 1]))


@pytest.mark.usefixtures("as_users_run_it")
@pytest.mark.parametrize("attack", [APGD, TargetedAPGD])
@pytest.mark.parametrize("options", [{"n_iter": 0}, {"loss": "hinge"}, {"n_restarts": 0}])
def test_impossible_options_are_refused(attack, options):
    with pytest.raises(InvalidInputError, match=f"{next(iter(options))} must be"):
        attack(Lp(norm=2, eps=0.1, input_range=UNBOUNDED), **options)
