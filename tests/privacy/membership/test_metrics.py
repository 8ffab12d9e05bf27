import numpy as np
import pytest
import torch

from assay.core import (
    InvalidInputError,
    NumericalError,
    auc_interval,
    mean_interval,
    proportion_interval,
    seeded,
    tpr_at_fpr,
)
from assay.privacy import membership_metrics


def draw(*shape, seed=0):
    source = seeded(seed)
    members = torch.rand(shape, generator=source) < 0.5
    return members + torch.randn(shape, generator=source, dtype=torch.float64).round(decimals=1), members


def test_one_target_is_counted_by_hand():
    scores, members = draw(60)
    inside, outside = scores[members].tolist(), scores[~members].tolist()
    report = membership_metrics(scores, members, fpr=(0.1, 0.001))
    wins = np.mean([(a > b) + (a == b) / 2 for a in inside for b in outside])
    assert report.auc.mean == pytest.approx(wins, rel=1e-12)
    assert (report.auc.low, report.auc.high) == pytest.approx(
        (auc_interval(wins, len(inside), len(outside)).low, auc_interval(wins, len(inside), len(outside)).high)
    )
    best = max((np.mean(np.array(inside) >= t) + np.mean(np.array(outside) < t)) / 2 for t in [*inside, *outside])
    assert report.balanced_accuracy == pytest.approx(best, rel=1e-12)
    for rate, interval in report.tpr_at_fpr.items():
        assert interval.mean == pytest.approx(tpr_at_fpr(inside, outside, rate), rel=1e-12)
        assert interval == proportion_interval(round(interval.mean * len(inside)), len(inside))


def test_several_targets_share_one_threshold_and_give_the_interval():
    scores, members = draw(5, 80)
    report = membership_metrics(scores, members)
    alone = [membership_metrics(s, m).auc.mean for s, m in zip(scores, members, strict=True)]
    assert report.auc == mean_interval(alone)
    threshold = scores[~members].sort(descending=True).values[int(0.01 * int((~members).sum()))]
    shares = [float((s[m] > threshold).double().mean()) for s, m in zip(scores, members, strict=True)]
    expected = mean_interval(shares)
    assert report.tpr_at_fpr[0.01].mean == pytest.approx(expected.mean)
    assert report.tpr_at_fpr[0.01].low == pytest.approx(max(0, expected.low))
    assert (report.n_targets, report.n_members + report.n_nonmembers) == (5, 400)


def test_bad_input():
    scores, members = draw(10)
    with pytest.raises(InvalidInputError, match="needs members and non-members"):
        membership_metrics(scores, torch.ones_like(members))
    with pytest.raises(InvalidInputError, match="fpr"):
        membership_metrics(scores, members, fpr=(1.5,))
    with pytest.raises(NumericalError, match="NaN"):
        membership_metrics(scores / 0, members)
    with pytest.raises((InvalidInputError, TypeError)):
        membership_metrics(scores, members[:-1])


def test_one_paragraph_and_a_picture():
    report = membership_metrics(*draw(3, 40))
    assert "of 3 target model(s): AUC 0." in str(report)
    assert "\n" not in str(report)
    axes = report.plot()
    assert axes.get_xscale() == axes.get_yscale() == "log"
    assert len(axes.lines[0].get_xdata()) == len(report.roc.fpr)
