import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import prune

from assay.adversarial import PGD, Lp, interval_certificate, robust_accuracy, run_attack
from assay.adversarial.attacks import interval_bounds
from assay.core import InvalidInputError, predict, seeded
from assay.nets import Normalize
from helpers.adversarial_networks import UNBOUNDED, certified, points, random_linear, random_mlp


def deep_problem() -> tuple[nn.Module, Tensor]:
    """Every layer that has a rule of its own, with statistics of batch normalisation away from their start."""
    source = seeded(0)
    model = nn.Sequential(
        Normalize((0.4, 0.5), (0.3, 0.2)),
        nn.Conv2d(2, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.LeakyReLU(0.1),
        nn.MaxPool2d(2),
        nn.Sequential(nn.Conv2d(4, 3, 2, bias=False), nn.Tanh(), nn.AvgPool2d(2), nn.Dropout(0.5)),
        nn.Flatten(),
        nn.Linear(3 * 1 * 1, 8),
        nn.ReLU(),
        nn.Linear(8, 3),
    ).double()
    for tensor in (*model.parameters(), model[2].running_mean):
        tensor.data = torch.randn(tensor.shape, generator=source, dtype=torch.float64)
    return model.eval(), torch.rand(9, 2, 6, 6, generator=source, dtype=torch.float64)


def test_no_sampled_perturbation_leaves_the_bounds():
    model, x = deep_problem()
    low, high = interval_bounds(model, x - 0.02, x + 0.02)
    signs = torch.randn(300, *x.shape, generator=seeded(1), dtype=x.dtype).sign()
    scores = predict(model, (x + 0.02 * signs).flatten(0, 1), batch_size=2700).view(300, *low.shape)
    assert ((scores >= low - 1e-12) & (scores <= high + 1e-12)).all()
    assert (scores.amax(0) > predict(model, x)).all(), "the perturbations must do something"


def test_a_point_is_bounded_by_its_own_scores():
    model, x = deep_problem()
    for bound in interval_bounds(model, x, x):
        torch.testing.assert_close(bound, predict(model, x))


@pytest.mark.parametrize("input_range", [UNBOUNDED, (-1.0, 1.0)])
def test_the_certificate_of_a_linear_model_is_exact(input_range):
    source = seeded(2)
    model, x = random_linear(6, 4, source), points(50, 6, source).clamp(*input_range)
    y, threat = predict(model, x).argmax(1), Lp(norm=math.inf, eps=0.1, input_range=input_range)
    apart = (model.weight[y][:, None] - model.weight).detach()
    low, high = (x - 0.1).clamp(*input_range) - x, (x + 0.1).clamp(*input_range) - x
    worst = (apart.relu() * low[:, None] - (-apart).relu() * high[:, None]).sum(2)
    margins = predict(model, x).gather(1, y[:, None]) - predict(model, x) + worst
    expected = margins.scatter(1, y[:, None], math.inf).amin(1)
    torch.testing.assert_close(interval_certificate(model, x, y, threat=threat).margin, expected)


def test_no_certified_sample_is_broken_and_no_tighter_bound_disagrees():
    source = seeded(3)
    model, x = random_mlp([6, 12, 12, 3], source), torch.rand(80, 6, generator=source, dtype=torch.float64)
    y, threat = predict(model, x).argmax(1), Lp(norm=math.inf, eps=0.02, input_range=(0.0, 1.0))
    certificate = interval_certificate(model, x, y, threat=threat, batch_size=7)
    assert 5 < certificate.certified.sum() < 80
    assert not run_attack(model, x, y, attack=PGD(threat)).success[certificate.certified].any()
    dual = certified(model.float(), x.float(), y, eps=0.02)
    assert dual[certificate.certified].all(), "Wong and Kolter's bound is the tighter one on these networks"
    assert f"{certificate.certified_accuracy.mean:.1%}" in str(certificate)


def test_robust_accuracy_reports_the_certified_share_beside_the_empirical_one():
    source = seeded(4)
    model, x = random_mlp([6, 12, 3], source), torch.rand(40, 6, generator=source, dtype=torch.float64)
    y, threat = predict(model, x).argmax(1), Lp(norm=math.inf, eps=0.03, input_range=(0.0, 1.0))
    y[:4] = (y[:4] + 1) % 3
    report = robust_accuracy(model, x, y, threat=threat, attacks={"PGD": PGD(threat, n_iter=5)})
    assert torch.equal(report.certified, interval_certificate(model, x, y, threat=threat).certified)
    assert report.certified.sum() > 0
    assert report.robust[report.certified].all()
    assert f"Interval bounds certify {report.certified_accuracy.mean:.1%}" in str(report)
    other = Lp(norm=2, eps=0.03, input_range=(0.0, 1.0))
    assert robust_accuracy(model, x, y, threat=other, attacks={"PGD": PGD(other, n_iter=5)}).certified is None


def test_unknown_layers_and_norms_are_refused():
    x, y = torch.rand(2, 4, generator=seeded(5)), torch.tensor([0, 1])
    threat = Lp(norm=math.inf, eps=0.1, input_range=(0.0, 1.0))
    with pytest.raises(InvalidInputError, match="GELU is none of these"):
        interval_certificate(nn.Sequential(nn.Linear(4, 3), nn.GELU()), x, y, threat=threat)
    with pytest.raises(InvalidInputError, match="norm 2"):
        interval_certificate(nn.Linear(4, 3), x, y, threat=Lp(norm=2, eps=0.1, input_range=(0.0, 1.0)))
    with pytest.raises(InvalidInputError, match="nowhere exceed high"):
        interval_bounds(nn.Linear(4, 3), x, x - 0.1)


def test_hooks_that_watch_are_left_alone_and_hooks_that_change_something_refused():
    model, x = random_mlp([6, 12, 3], seeded(6)), torch.rand(5, 6, generator=seeded(7), dtype=torch.float64)
    y, threat = predict(model, x).argmax(1), Lp(norm=math.inf, eps=0.02, input_range=(0.0, 1.0))
    expected, seen = interval_certificate(model, x, y, threat=threat).margin, []
    watching = model[0].register_forward_hook(lambda layer, given, outputs: seen.append(outputs))
    assert torch.equal(interval_certificate(model, x, y, threat=threat).margin, expected)
    watching.remove()
    model[0].register_forward_hook(lambda layer, given, outputs: outputs + 0.1 * (given[0] == x[-1]).all(1)[:, None])
    with pytest.raises(InvalidInputError, match="a hook changes"):
        interval_certificate(model, x, y, threat=threat)
    assert robust_accuracy(model, x, y, threat=threat, attacks={"PGD": PGD(threat, n_iter=2)}).certified is None


def test_weights_that_hooks_compute_and_statistics_of_a_batch_are_unknown():
    x = torch.rand(4, 3, generator=seeded(8))
    pruned = nn.Linear(3, 3)
    prune.l1_unstructured(pruned, "weight", 0.5)
    for layer in (pruned, nn.utils.parametrizations.spectral_norm(nn.Linear(3, 3))):
        with pytest.raises(InvalidInputError, match="Linear is none of these"):
            interval_bounds(layer, x, x + 0.1)
    with pytest.raises(InvalidInputError, match="BatchNorm1d is none of these"):
        interval_bounds(nn.BatchNorm1d(3, track_running_stats=False), x, x + 0.1)
