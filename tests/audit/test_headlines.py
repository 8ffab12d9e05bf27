"""Headlines fit two lines of a telephone, whatever the figures in them."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from assay.adversarial import Lp, RobustnessReport
from assay.adversarial.attacks import GradientMasking
from assay.attribution.disparities import GapTest
from assay.audit.group_comparisons import Comparison
from assay.audit.matches import Matches, match_headline
from assay.audit.membership_figures import PLAIN, headline
from assay.audit.perturbations import Perturbed
from assay.audit.probes import (
    coherence,
    curvature,
    explanation_gap,
    latent_variables,
    layer_information,
    learning_rate,
    logit_gaps,
    membership,
    off_subspace,
    opposing,
    reconstruction,
    redundancy,
    robustness,
    saliency,
    subgroups,
)
from assay.core import ROC, Interval
from assay.landscape.opposing import Contrast, OpposingGroups
from assay.privacy import MembershipReport
from assay.reconstruction import ReconstructionScore
from assay.reconstruction.kkt import ReconstructionVerdict
from assay.representation.diffusion_entropy import RepresentationTrace
from assay.representation.matching import LayerRedundancy
from helpers.stand_ins import small_subject

MOST = 160  # characters
FEATURES = Perturbed(nn.Identity(), torch.zeros(1, 2), 1 / 80, (0.0, 1.0), False, "cross_entropy")

LONG = ("c" * 25, "d" * 24, "e" * 24)
WORST = Comparison(123_456_789, 1, Interval(0.0012, 0.0012, 0.0012))
CHANCE = Comparison(123_456_789, 1, Interval(0.0012, -0.0012, 0.0012))


def attacked(commonest):
    everywhere, nowhere = torch.ones(200, dtype=torch.bool), torch.zeros(200, dtype=torch.bool)
    masking = GradientMasking(everywhere, nowhere, nowhere)
    nothing = (torch.zeros(200, 2), everywhere, torch.full((200,), -1), torch.zeros(200))
    return RobustnessReport(Lp(math.inf, 0.1, input_range=(0.0, 1.0)), (), *nothing, masking, commonest)


def members(low):
    rates = {0.01: Interval(0.999, low, 1.0), 0.001: Interval(0.999, low, 1.0)}
    roc = ROC(np.array([0.0, 1.0]), np.array([0.0, 1.0]), 0.5)
    return MembershipReport(Interval(0.999, 0.998, 1.0), 0.9, rates, roc, 1, 10_000, 10_000)


def gap_test(p):
    return GapTest(0.0123, 0.0123, 0.0123, 0.0123, p, 20 * (0.0123,), 20 * (123_456_789,))


def explained(outcome):
    return ReconstructionVerdict(outcome, 12.34, 12.34, 12.34, None, 0, 0, None)


def matched(kind, severity, outcome):
    ncc = torch.ones(2000)
    matches = [Matches("ours", 2000, ncc), Matches("null", 2000, ncc, is_null=True)]
    index, samples = torch.zeros(2000, dtype=torch.long), torch.zeros(2000, 1)
    score = ReconstructionScore(samples, samples, index, ncc, ncc, samples[0], ncc, None, None, None, None, None)
    return match_headline(matches, score, kind, severity, outcome)


def not_learnt():
    learnt, labels = {"subject": 1.0, "shadow models": 1.0}, torch.zeros(9)
    return f"No answer: {membership._doubts(learnt, {'subject': labels, 'shadow models': labels})}."


def opposed(strength):
    nobody = torch.arange(20)
    pair = Contrast(nobody, nobody, 1.0, -1.0, 1234.5, -1.0, strength, 1.0)
    control = Contrast(nobody, nobody, 1.0, -1.0, 1.0, -1.0, 0.5, 1.0)
    shown = (torch.zeros(1, 2), torch.zeros(1, 2))
    return OpposingGroups(pair, pair, control, control, torch.ones(40), None, 1.0, None, 1.0, 1.0, 1.0, 1.0, shown)


def traced(name):
    low = torch.tensor([-1.2e-30, -1.2e-30])
    return RepresentationTrace((name, "last"), low, low, low, low, "median", 500)


LONGEST = {
    "coherence": lambda: coherence._headline(-1.2e-30, 1000, 1_234_567, 0.12),
    "curvature": lambda: curvature._headline(-1.2e-30, 1_234_567, 12_345_678_901),
    "curvature that did not converge": lambda: curvature._unresolved_headline(
        curvature._Ends(-1.2e-30, 1.2e30, -1.2e30, 320)
    ),
    "latent variables": lambda: latent_variables._headline(1234, 1234, 1234, 0.999),
    "layers": lambda: layer_information._headline(traced("layer" * 9), 1_234_567),
    "learning rates": lambda: learning_rate._headline(1.2e-30, 64, 1.2e-30, 1000),
    "gaps": lambda: logit_gaps._headline(FEATURES.phrase(1), 0.0012, 0.0012),
    "subspace": lambda: off_subspace._headline(torch.tensor([1.2e30]), torch.tensor([1.2e-30]), 1.2e30, "4095 of 4096"),
    "membership": lambda: headline(members(0.998), PLAIN, "high"),
    "membership by pairs": lambda: headline(members(0.0), PLAIN, "medium"),
    "membership by chance": lambda: headline(members(0.0), PLAIN, "info"),
    "membership without basis": not_learnt,
    "reconstruction": lambda: matched("features", "high", "found"),
    "reconstruction of samples": lambda: matched("samples", "high", "found"),
    "reconstruction by chance": lambda: matched("features", "info", "nothing found"),
    "patterns": lambda: reconstruction._blind_headline(12_345, 10, explained("found")),
    "no patterns": lambda: reconstruction._blind_headline(12_345, 10, explained("nothing found")),
    "opposing": lambda: opposing._headline(opposed(1.0), 2 * ["a class of a name that is far too long"]),
    "no opposing": lambda: opposing._headline(opposed(0.0), ["", ""]),
    "redundancy": lambda: redundancy._headline(
        tuple(LayerRedundancy(str(place), 999_999, 99_999, 99_999, torch.ones(9), 9.0, 9) for place in range(150))
    ),
    "robustness": lambda: robustness._headline(FEATURES, attacked(0.1), "200 held-out samples", 1.0),
    "explanation gap": lambda: explanation_gap._headline(gap_test(0.001), 0.0123),
    "no explanation gap": lambda: explanation_gap._headline(gap_test(0.5), 0.0123),
    "saliency": lambda: saliency._headline(-0.1234, False, -0.1234),
    "subgroups": lambda: subgroups._headline(small_subject(class_names=LONG), WORST, 50),
    "subgroups by chance": lambda: subgroups._headline(small_subject(), CHANCE, 50),
    "subgroups without a class in common": lambda: subgroups._headline(small_subject(), None, 50),
    "robustness at chance": lambda: robustness._headline(FEATURES, attacked(1.0), "200 training samples", 1.0),
}


@pytest.mark.parametrize("longest", LONGEST.values(), ids=LONGEST.keys())
def test_the_longest_headline_is_short(longest):
    said = longest()
    assert len(said) <= MOST
    assert said.endswith(".")


def test_the_headlines_of_an_audit_are_short(digits_audit):
    headlines = [answer.finding.headline for answer in digits_audit.answers if answer.finding is not None]
    assert [said for said in headlines if len(said) > MOST] == []
