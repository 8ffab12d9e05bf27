"""Where gradients are masked, on networks made to mask them."""

import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from assay.adversarial import APGD, FGSM, MALT, PGD, Lp, TargetedAPGD, robust_accuracy, run_attack
from assay.adversarial.attacks import GradientMasking, standard_attacks
from assay.core import predict, seeded
from helpers.adversarial_networks import linear, points, random_mlp

THREAT = Lp(math.inf, 0.1, (-9.0, 9.0))
FEW = standard_attacks(THREAT, 2, n_iter=20, n_queries=20)
WEIGHTS = torch.tensor([[1.0, -1.0], [-1.0, 1.0]], dtype=torch.float64)


class Then(nn.Module):
    """A function before or after a layer."""

    def __init__(self, layer, before=None, after=None):
        super().__init__()
        self.layer, self.before, self.after = layer, before, after

    def forward(self, x):
        scores = self.layer(x if self.before is None else self.before(x))
        return scores if self.after is None else self.after(scores)


def quantised(x):
    return (8 * x).round() / 8


def with_undefined_gradient(x):
    return x + (x - x).abs().sqrt()


def samples():
    """Points whose margin no attack within the threat overcomes."""
    return torch.tensor([[2.0, -1.0], [1.0, -2.0], [-3.0, 1.0]], dtype=torch.float64), torch.tensor([0, 0, 1])


@pytest.mark.parametrize(
    ("before", "kind", "says"),
    [
        (quantised, "vanishing", "it vanishes at 3"),
        (with_undefined_gradient, "undefined", "it is NaN or infinite at 3"),
    ],
)
def test_a_gradient_that_vanishes_or_is_undefined_is_reported_with_the_result(before, kind, says):
    model, (x, y) = Then(linear(WEIGHTS), before), samples()
    for report in (
        robust_accuracy(model, x, y, threat=THREAT, attacks=FEW),
        run_attack(model, x, y, attack=FGSM(THREAT)),
    ):
        assert getattr(report.masking, kind).all()
        assert report.masking.masked.sum() == 3
        assert f"masked at 3 samples that no attack changed ({says})" in str(report)
    plain = robust_accuracy(linear(WEIGHTS), x, y, threat=THREAT, attacks=FEW)
    assert not plain.masking.masked.any()
    assert "masked" not in str(plain)


def test_only_samples_that_stay_correct_are_tested():
    model = Then(linear(WEIGHTS), quantised)
    x, _ = samples()
    report = run_attack(model, x, torch.tensor([0, 1, 1]), attack=FGSM(THREAT))
    assert report.success.tolist() == [False, True, False]
    assert report.masking.vanishing.tolist() == [True, False, True]


def test_a_saturated_softmax_is_reported_where_every_attack_climbs_the_cross_entropy():
    model, (x, y) = Then(linear(WEIGHTS), after=lambda scores: 40 * scores), samples()
    assert (predict(model, x).softmax(1).amax(1) == 1).all()
    climbers = {"PGD": PGD(THREAT, n_iter=3), "APGD": APGD(THREAT, n_iter=3)}
    report = robust_accuracy(model, x, y, threat=THREAT, attacks=climbers)
    assert report.masking.saturated.all()
    assert "the softmax is saturated at 3" in str(report)
    others = climbers | {"MALT": MALT(TargetedAPGD(THREAT, n_iter=3, loss="ce"))}
    assert not robust_accuracy(model, x, y, threat=THREAT, attacks=others).masking.masked.any()


def test_a_radius_that_moves_scores_by_less_than_their_rounding_is_reported():
    # Scores of 2^20 in float32 are multiples of 1/8; a step of 1/64 in every entry changes them by 1/32 at most.
    model = linear(WEIGHTS.float(), torch.tensor([2.0**20, 2.0**20]))
    x, y = (part[:1] for part in samples())
    for eps, masked in ((1 / 64, True), (1.0, False)):
        threat = replace(THREAT, eps=eps)
        report = run_attack(model, x.float(), y, attack=FGSM(threat))
        assert report.masking.vanishing.tolist() == [masked], eps


def test_ordinary_networks_are_not_masked():
    source = seeded(3)
    model, x = random_mlp([6, 40, 40, 5], source), points(50, 6, source)
    y = predict(model, x).argmax(1)
    for norm in (2, math.inf):
        threat = Lp(norm, 1e-6, (-99.0, 99.0))
        attacks = standard_attacks(threat, 5, n_iter=20, n_queries=20)
        report = robust_accuracy(model, x, y, threat=threat, attacks=attacks)
        assert report.robust.all()
        assert not report.masking.masked.any()


def test_the_sentence_counts_each_kind():
    masks = torch.eye(3, dtype=torch.bool)
    assert "masked at 3 samples" in str(GradientMasking(*masks))
    one = GradientMasking(masks[0], *torch.zeros(2, 3, dtype=torch.bool))
    assert "masked at 1 sample that" in str(one)
    assert "none of the samples" in str(GradientMasking(*torch.zeros(3, 3, dtype=torch.bool)))
