import pytest
import torch

from assay.core import seeded
from assay.studies.landscape.decision_boundaries import cells, study

SMOKE = study.STUDY.scales["smoke"]


def test_every_claim_is_measured(smoke_run):
    run = smoke_run("decision-boundaries")
    measured = {evidence.claim for evidence in run.evidence if evidence.values}
    assert measured == {"C1", "C2", "C3", "C4", "C5", "C6"}
    assert run.figures[0]["name"] == "maps"


def test_the_share_of_each_class_that_is_flipped_is_exact():
    y = torch.arange(100) % 5
    noisy = cells.flipped(y, 0.2, 5, seeded(0))
    assert [int((noisy != y)[y == label].sum()) for label in range(5)] == [4] * 5
    assert set(noisy.tolist()) <= set(range(5))
    assert torch.equal(cells.flipped(y, 0.0, 5, seeded(0)), y)


@pytest.mark.parametrize("width", [5, 60])
def test_the_fit_is_the_pseudo_inverse(width):
    x, y = torch.randn(20, 6, generator=seeded(0), dtype=torch.float64), torch.arange(20) % 3
    model = cells.minimum_norm(x, y, 3, width, seeded(1))
    features = model[:2](x)
    expected = torch.linalg.pinv(features) @ (torch.nn.functional.one_hot(y, 3).double() - 1 / 3)
    torch.testing.assert_close(model[2].weight.T, expected, atol=1e-8, rtol=1e-6)


def test_without_noise_wide_features_interpolate():
    found = cells.random_features(SMOKE, 3, 0.0, 1000, 0)
    assert found["test accuracy"] > 0.9
    assert found["reproducibility"] > found["chance"]
