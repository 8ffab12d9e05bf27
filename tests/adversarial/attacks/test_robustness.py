import gzip
import math
import os
from pathlib import Path

import matplotlib
import pytest
import torch
from torch import Tensor, nn

from assay.adversarial import FGSM, PGD, Lp, robust_accuracy, run_attack
from assay.adversarial.attacks import check_attackable, standard_attacks
from assay.core import InvalidInputError, inspect_model, predict, proportion_interval, seeded
from assay.nets import load_pretrained
from helpers.adversarial_networks import UNBOUNDED, certified, points, random_linear, random_mlp

NORMS = (2, math.inf)


def linear_problem(n_classes: int, *, low: float = -1e6, high: float = 1e6) -> tuple[nn.Linear, Tensor, Tensor]:
    source = seeded(n_classes)
    model, x = random_linear(10, n_classes, source), points(200, 10, source).clamp(low, high)
    y = model(x).argmax(1)
    y[:20] = (y[:20] + 1) % n_classes
    return model, x, y


def best_gap(model: nn.Linear, x: Tensor, y: Tensor, threat: Lp) -> Tensor:
    """The closed form: the largest lead that some other class can get over the true one within the threat."""
    planes = (model.weight[None] - model.weight[y][:, None]).detach()
    gaps = (model(x) - model(x).gather(1, y[:, None])).detach()
    if threat.norm == 2:
        gain = threat.eps * planes.norm(dim=2)
    else:
        low, high = threat.input_range
        up, down = (x + threat.eps).clamp(max=high) - x, x - (x - threat.eps).clamp(min=low)
        gain = (planes.relu() * up[:, None] + (-planes).relu() * down[:, None]).sum(2)
    return (gaps + gain).scatter(1, y[:, None], -math.inf).amax(1)


@pytest.mark.parametrize("n_classes", [2, 3, 6])
@pytest.mark.parametrize(("norm", "input_range"), [(2, UNBOUNDED), (math.inf, UNBOUNDED), (math.inf, (-1.0, 1.0))])
def test_on_a_linear_model_it_is_the_closed_form(n_classes, norm, input_range):
    model, x, y = linear_problem(n_classes, low=input_range[0], high=input_range[1])
    threat = Lp(norm=norm, eps=0.3 if norm == 2 else 0.12, input_range=input_range)
    report = robust_accuracy(
        model, x, y, threat=threat, attacks=standard_attacks(threat, n_classes, n_iter=25, n_queries=20)
    )
    lead = best_gap(model, x, y, threat)
    assert lead.abs().min() > 1e-4, "no sample may lie on the edge"
    expected = (predict(model, x).argmax(1) == y) & (lead < 0)
    assert 20 < expected.sum() < 160
    assert torch.equal(report.robust, expected)
    assert report.robust_accuracy == proportion_interval(int(expected.sum()), 200)
    assert report.accuracy.mean == 0.9


@pytest.mark.parametrize("norm", NORMS)
def test_the_ensemble_is_the_worst_case_over_attacks_run_on_everything(norm):
    source = seeded(0)
    model, x = random_mlp([8, 30, 30, 6], source), points(60, 8, source)
    y = model(x).argmax(1)
    y[:6] = (y[:6] + 1) % 6
    threat = Lp(norm=norm, eps=0.4 if norm == 2 else 0.15, input_range=UNBOUNDED)
    attacks = {
        "FGSM": FGSM(threat),
        "PGD": PGD(threat, n_iter=10),
        **standard_attacks(threat, 6, n_iter=10, n_queries=30),
    }
    report = robust_accuracy(model, x, y, threat=threat, attacks=attacks)
    alone = torch.stack([run_attack(model, x, y, attack=attack).success for attack in attacks.values()], 1)
    correct = model(x).argmax(1) == y
    assert torch.equal(report.correct, correct)
    assert torch.equal(report.robust, ~alone.any(1))
    first = torch.where(correct & alone.any(1), alone.int().argmax(1), -1)
    assert torch.equal(report.broken_by, first)
    assert (first == 0).any()
    assert (first > 0).any()
    assert [tally.broken for tally in report.tallies] == [int((first == number).sum()) for number in range(6)]
    assert report.tallies[0].tried == 54
    assert all(b.tried == a.tried - a.broken for a, b in zip(report.tallies, report.tallies[1:], strict=False))
    assert torch.equal(model(report.x_adv).argmax(1) == y, report.robust)
    torch.testing.assert_close(report.distance, threat.distance(report.x_adv, x))
    assert report.distance.max() <= threat.eps * (1 + 1e-12)


def test_every_pass_is_counted():
    source = seeded(1)
    model, x = random_mlp([6, 12, 5], source), points(10, 6, source)
    y = model(x).argmax(1)
    seen: list[int] = []
    model.register_forward_hook(lambda module, inputs, output: seen.append(len(output)))
    threat = Lp(norm=math.inf, eps=1e-9, input_range=UNBOUNDED)  # nothing breaks: every sample pays for everything
    inspect_model(model, x[:3])
    check_attackable(model, x, y)
    looks = sum(seen)
    report = robust_accuracy(
        model, x, y, threat=threat, attacks=standard_attacks(threat, 5, n_iter=7, n_queries=9), batch_size=4
    )
    assert [tally.n_backward for tally in report.tallies] == [70, 70, 10 * 4 + 4 * 70, 0]
    # Beside what the attacks cost: two looks, three samples whose outputs may be probabilities, each sample once for
    # its plain prediction, once for masking, and twice for whether intervals know the network.
    assert sum(seen) - 2 * looks == sum(tally.n_forward for tally in report.tallies) + 3 + 10 + 10 + 20


def test_probabilities_are_attacked_through_their_logarithm_and_that_is_said():
    model, x, y = linear_problem(3)
    threat = Lp(norm=2, eps=0.3, input_range=UNBOUNDED)
    options = {"threat": threat, "batch_size": 50, "attacks": standard_attacks(threat, 3, n_iter=20, n_queries=20)}
    expected = robust_accuracy(nn.Sequential(model, nn.LogSoftmax(1)), x, y, **options)
    report = robust_accuracy(nn.Sequential(model, nn.Softmax(1)), x, y, **options)
    torch.testing.assert_close(report.x_adv, expected.x_adv)
    assert report.outputs == "probabilities"
    assert "take their logarithm" in " ".join(report.caveats)
    assert expected.outputs == "scores"
    assert expected.caveats == ()


def test_a_sigmoid_for_each_class_is_said():
    model, x, y = linear_problem(3)
    threat = Lp(norm=2, eps=0.3, input_range=UNBOUNDED)
    attacks = standard_attacks(threat, 3, n_iter=3, n_queries=3)
    report = robust_accuracy(nn.Sequential(model, nn.Sigmoid()), x, y, threat=threat, attacks=attacks)
    assert report.outputs == "sigmoids"
    assert "take the sigmoid off" in " ".join(report.caveats)


def test_out_of_time_the_report_covers_the_first_batches():
    model, x, y = linear_problem(3)
    threat = Lp(norm=2, eps=0.3, input_range=UNBOUNDED)
    options = {"threat": threat, "attacks": standard_attacks(threat, 3, n_iter=3, n_queries=3), "batch_size": 50}
    report = robust_accuracy(model, x, y, time_limit=0.0, **options)
    whole = robust_accuracy(model, x, y, **options)
    assert len(report.x_adv) == 50
    assert torch.equal(report.robust, whole.robust[:50])
    assert "Of 50 samples" in str(report)


def test_the_report_says_and_draws_what_was_left():
    matplotlib.use("agg")
    model, x, y = linear_problem(6)
    threat = Lp(norm=2, eps=0.3, input_range=UNBOUNDED)
    report = robust_accuracy(model, x, y, threat=threat, attacks=standard_attacks(threat, 6, n_iter=5, n_queries=5))
    assert f"{report.robust_accuracy.mean:.1%}" in str(report)
    assert f"APGD-CE broke {report.tallies[0].broken} of 180" in str(report)
    axes = report.plot()
    heights = [bar.get_height() for bar in axes.patches]
    assert heights[0] == 0.9
    assert heights[-1] == report.robust_accuracy.mean
    assert [label.get_text() for label in axes.get_xticklabels()] == [
        "no attack",
        "+ APGD-CE",
        "+ APGD-DLR",
        "+ MALT",
        "+ Square",
    ]
    matplotlib.pyplot.close(axes.figure)


def test_a_model_that_is_always_wrong_needs_no_attack():
    model, x, _ = linear_problem(2)
    wrong = 1 - predict(model, x).argmax(1)
    report = robust_accuracy(model, x, wrong, threat=Lp(norm=2, eps=0.3, input_range=UNBOUNDED))
    assert (report.accuracy.mean, report.robust_accuracy.mean) == (0, 0)
    assert [(tally.tried, tally.n_forward) for tally in report.tallies] == [(0, 0)] * 3


def test_attacks_of_another_threat_or_none_are_refused():
    model, x, y = linear_problem(3)
    threat = Lp(norm=2, eps=0.3, input_range=UNBOUNDED)
    for attacks in ({}, {"stronger": FGSM(Lp(norm=2, eps=0.4, input_range=UNBOUNDED))}):
        with pytest.raises(InvalidInputError, match="all with threat"):
            robust_accuracy(model, x, y, threat=threat, attacks=attacks)
    with pytest.raises(InvalidInputError, match="n_iter"):
        standard_attacks(threat, 3, n_iter=0)


def first_test_images(folder: Path, n: int) -> tuple[Tensor, Tensor]:
    """Read the head of the test files: a whole set would take seconds."""
    with (
        gzip.open(folder / "t10k-images-idx3-ubyte.gz") as images,
        gzip.open(folder / "t10k-labels-idx1-ubyte.gz") as y,
    ):
        pixels, labels = images.read(16 + 784 * n)[16:], y.read(8 + n)[8:]
    return torch.tensor(list(pixels)).view(n, 1, 28, 28) / 255, torch.tensor(list(labels))


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
def test_no_certified_sample_is_broken(name):
    root = Path(os.environ.get("ASSAY_DATA", "nowhere"))
    folder = root / name.replace("-", "_")
    if not (root / "weights").is_dir() or not folder.is_dir():
        pytest.skip("needs ASSAY_DATA with published weights")
    model, (x, y) = load_pretrained(f"{name}-provable"), first_test_images(folder, 3)
    # On 200 samples the certificate agrees with the published certified error; here it is what no attack may break.
    safe = certified(model, x, y, eps=0.1)
    within, beyond = (Lp(math.inf, eps, (0.0, 1.0)) for eps in (0.1, 0.4))
    report = robust_accuracy(model, x, y, threat=within, attacks=standard_attacks(within, 10, n_iter=10, n_queries=20))
    assert safe.sum() >= 2
    assert report.robust[safe].all()
    far = robust_accuracy(
        model, x[safe], y[safe], threat=beyond, attacks=standard_attacks(beyond, 10, n_iter=10, n_queries=20)
    )
    assert far.robust_accuracy.mean < 0.5, "attacks that break nothing would pass this test"
