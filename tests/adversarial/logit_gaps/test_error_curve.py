import math

import pytest
import torch

from assay.adversarial import FGSM, PGD, Lp, adversarial_error_curve, run_attack
from assay.core import InvalidInputError, accuracy, seeded
from helpers.adversarial_networks import linear, points, random_mlp

EPS = torch.tensor([0.01, 0.02, 0.05, 0.1, 0.2], dtype=torch.float64)


@pytest.mark.parametrize("attack", [FGSM, lambda threat: PGD(threat, n_iter=9)])
def test_each_size_counts_the_changed_predictions(attack):
    source = seeded(0)
    model, x = random_mlp([6, 16, 4], source), points(200, 6, source)
    before = model(x).argmax(1)
    curve = adversarial_error_curve(model, x, eps=EPS, attack=attack, batch_size=64)
    for size, error in zip(EPS.tolist(), curve.error, strict=True):
        x_adv = attack(Lp(math.inf, size, (-math.inf, math.inf)))(model, x, before)
        assert error == (model(x_adv).argmax(1) != before).double().mean()
    assert curve.n == 200


def test_the_law_of_a_line_is_known():
    # One feature, uniform on (0, 1), and a boundary at zero: exactly the points below eps change, A = eps.
    model = linear(torch.tensor([[1.0], [-1.0]], dtype=torch.float64))
    x = ((torch.arange(1000, dtype=torch.float64) + 0.5) / 1000)[:, None]
    eps = torch.tensor([0.004, 0.02, 0.1, 0.2, 0.5], dtype=torch.float64)
    curve = adversarial_error_curve(model, x, eps=eps, attack=FGSM)
    torch.testing.assert_close(curve.error, eps)
    assert curve.fit is not None
    assert curve.fit.n_points == 3, "4 counts are too few and half of the samples too many"
    assert curve.fit.exponent == pytest.approx(1.0)
    assert curve.fit.prefactor == pytest.approx(1.0)
    assert curve.fit.interval.low < 1 < curve.fit.interval.high
    assert "50.0% of 1000 decisions change at size 0.5" in str(curve)
    assert curve.plot().get_xlabel() == "size of the perturbation"
    assert curve.excess is None
    few = adversarial_error_curve(model, x, eps=eps[:2], attack=FGSM)
    assert few.fit is None
    assert "too few changes" in str(few)


def test_only_right_decisions_make_excess_error():
    # As above, and the nearest tenth is labelled with the class that the attack brings it to: E(eps) - E(0) = eps - 0.1
    model = linear(torch.tensor([[1.0], [-1.0]], dtype=torch.float64))
    x = ((torch.arange(1000, dtype=torch.float64) + 0.5) / 1000)[:, None]
    eps = torch.tensor([0.02, 0.1, 0.2, 0.5], dtype=torch.float64)
    curve = adversarial_error_curve(model, x, (x[:, 0] < 0.1).long(), eps=eps, attack=FGSM)
    torch.testing.assert_close(curve.error, eps)
    torch.testing.assert_close(curve.excess, (eps - 0.1).clamp_min(0))


def test_excess_error_is_the_misclassification_rate_less_the_clean_one():
    source = seeded(2)
    model, x = random_mlp([6, 16, 4], source), points(200, 6, source)
    y = torch.randint(4, (200,), generator=source)
    excess = adversarial_error_curve(model, x, y, eps=EPS, attack=FGSM).excess
    assert excess is not None
    clean = 1 - accuracy(model(x), y)
    for size, value in zip(EPS.tolist(), excess.tolist(), strict=True):
        attack = FGSM(Lp(math.inf, size, (-math.inf, math.inf)))
        assert 1 - run_attack(model, x, y, attack=attack).robust_accuracy - clean == pytest.approx(value, abs=1e-12)
    assert excess[-1] > 0


@pytest.mark.usefixtures("as_users_run_it")
@pytest.mark.parametrize(("y", "match"), [([0] * 4, "one target for each"), ([4] * 5, "labels from 4 to 4")])
def test_labels_must_fit_the_samples_and_the_network(y, match):
    model, x = random_mlp([6, 16, 4], seeded(1)), points(5, 6, seeded(1))
    with pytest.raises(InvalidInputError, match=match):
        adversarial_error_curve(model, x, torch.tensor(y), eps=EPS, attack=FGSM)


def test_clipping_to_a_range_is_the_callers_choice():
    model = linear(torch.tensor([[-1.0], [1.0]], dtype=torch.float64), torch.tensor([0.5, -0.5], dtype=torch.float64))
    x = torch.full((20, 1), 0.9, dtype=torch.float64)
    model.bias.data = torch.tensor([1.02, -1.02], dtype=torch.float64)  # flips above 1.02, out of [0, 1]
    eps = torch.tensor([0.05, 0.2], dtype=torch.float64)
    assert adversarial_error_curve(model, x, eps=eps, attack=FGSM).error.tolist() == [0.0, 1.0]
    within = adversarial_error_curve(model, x, eps=eps, attack=FGSM, input_range=(0.0, 1.0))
    assert within.error.tolist() == [0.0, 0.0]


@pytest.mark.parametrize("eps", [[], [0.0, 0.1], [0.2, 0.1]])
def test_sizes_must_ascend(eps):
    model, x = random_mlp([6, 16, 4], seeded(1)), points(5, 6, seeded(1))
    with pytest.raises(InvalidInputError, match="ascending"):
        adversarial_error_curve(model, x, eps=torch.tensor(eps), attack=FGSM)
