"""The redundancy probe on networks whose copies are known."""

from dataclasses import replace

import pytest
import torch

from assay.audit import Context, SkipProbe
from assay.core import seeded
from assay.nets import mlp
from assay.representation import compare_networks, match_units, unit_statistics
from helpers.probe_calls import ask
from helpers.stand_ins import small_network, small_subject


def subject_with(n=120, **changes):
    x = torch.rand(n, 1, 4, 4, generator=seeded(3))
    return small_subject(test=(x, torch.arange(n) % 3), **changes)


def copies(n_copies):
    """Return the small network with the first unit repeated."""
    model = small_network()
    with torch.no_grad():
        model[1].bias[0] += 2.0  # it must not be dead
        model[1].weight[1 : 1 + n_copies] = model[1].weight[0]
        model[1].bias[1 : 1 + n_copies] = model[1].bias[0]
    return model


def test_copies_are_counted_and_judged(context):
    finding = ask("redundancy", subject_with(model=copies(5)), context)
    assert finding.severity == "low"
    assert finding.measures["repeated units"] >= 5
    assert finding.measures["units"] == 8
    assert "could be left out" in finding.headline
    few = ask("redundancy", subject_with(n=9, model=copies(5)), context)
    assert few.severity == "info"  # nine rows prove nothing
    assert "rest on 9 samples" in few.limits


def test_a_network_without_copies_is_no_finding(context):
    model = mlp((16, 8, 3), generator=seeded(1))
    with torch.no_grad():
        model[0].weight.copy_(torch.eye(16)[:8])
        model[0].bias.zero_()
    subject = small_subject(
        model=model.eval(),
        test=(torch.randn(400, 16, generator=seeded(2)), torch.arange(400) % 3),
        train=None,
        input_range=(-9.0, 9.0),
    )
    finding = ask("redundancy", subject, context)
    assert finding.severity == "info"
    assert finding.measures["dead units"] == finding.measures["repeated units"] == 0
    assert "give the subject a second_model" in finding.limits


def test_a_second_network_is_matched_layer_by_layer(context):
    subject = subject_with(second_model=small_network(seed=5))
    finding = ask("redundancy", subject, context)
    x = context.sample(subject.test, 1000)[0]
    aligned = match_units(unit_statistics(subject.model, subject.second_model, x, "2").live().between).mean
    assert finding.measures["matched correlation with the second network"] == pytest.approx(aligned)
    cka = float(compare_networks(subject.model, subject.second_model, x, ["2"], ["2"]).values)
    assert finding.tables[1].rows[0][3] == f"{cka:.2f}"
    assert len(finding.figures) == 2


def test_without_hidden_layers_or_samples_it_is_skipped(context):
    linear = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 3)).eval()
    assert ask("redundancy", subject_with(model=linear), context).measures["units"] == 16
    with pytest.raises(SkipProbe, match="samples"):
        ask("redundancy", replace(subject_with(), train=None, test=None), Context())
