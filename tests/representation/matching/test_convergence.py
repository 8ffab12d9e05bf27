import matplotlib.pyplot as plt
import pytest
import torch

from assay.core import InvalidInputError, seeded
from assay.nets import mlp
from assay.representation.matching import convergent_learning, match_units, unit_statistics


def test_the_report_holds_the_alignments_of_every_pair():
    models = [mlp((6, 12, 3), generator=seeded(seed)).double() for seed in range(3)]
    x = torch.randn(200, 6, generator=seeded(9), dtype=torch.float64)
    report = convergent_learning(models, x, "1", penalties=(0.0, 0.05), n_clusters=4)
    assert [pair.networks for pair in report.pairs] == [(0, 1), (0, 2), (1, 2)]
    pair = report.pairs[1]
    direct = match_units(unit_statistics(models[0], models[2], x, "1").live().between)
    assert torch.equal(pair.bipartite.permutation, direct.permutation)
    assert pair.one_to_one_error == pytest.approx(1 - float(direct.scores.square().mean()))
    assert pair.prediction.errors.shape == (2, 12)
    assert pair.shuffled.mean < pair.bipartite.mean
    assert len(pair.clusters.sizes) == 4
    assert "3 pairs of networks" in str(report)
    axes = report.plot()
    assert len(axes.lines) == 9
    plt.close(axes.figure)


def test_one_network_is_refused():
    with pytest.raises(InvalidInputError, match="two or more"):
        convergent_learning([mlp((2, 3, 2))], torch.randn(9, 2), "1")
