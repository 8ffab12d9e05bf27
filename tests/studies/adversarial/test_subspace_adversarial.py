import pytest
import torch

from assay.adversarial import SubspaceBasis
from assay.core import margins, seeded
from assay.nets import TwoLayerReLU
from assay.studies.adversarial.subspace_adversarial import cells, images
from assay.studies.adversarial.subspace_adversarial.settings import Points


@pytest.fixture(scope="module")
def run(smoke_run):
    return smoke_run("subspace-adversarial")


def test_what_is_exact_holds_at_any_scale(run):
    exact = [e for e in run.evidence if "change of a weight" in e.what or "(1 - lr decay)^steps" in e.what]
    assert [e.verdict for e in exact] == ["holds", "holds"]


def test_every_claim_is_measured(run):
    assert {e.claim for e in run.evidence if e.values} == {"C1", "C2", "C3", "C4"}
    assert {figure["name"] for figure in run.figures} == {"law", "radii", "flipped-images"}


def test_training_leaves_weights_off_the_subspace_alone_in_any_dimension():
    found = cells.follow_law(Points(dim=7, codim=3, width=20, n=5, n_iter=10), 0)
    assert found["drift"] == 0
    assert found["decay error"] < 1e-12


def test_the_blank_half_is_what_the_basis_leaves_out():
    x = torch.rand(3, 1, 4, 4, generator=seeded(0))
    wide, basis = images.blank_beside(x)
    assert torch.equal(basis.project_off(wide), torch.zeros_like(wide))
    assert torch.equal(wide.view(3, 4, 8)[:, :, :4], x[:, 0])
    noise = torch.rand(3, 32, generator=seeded(1))
    off = basis.project_off(noise).view(3, 4, 8)
    torch.testing.assert_close(off[:, :, 4:], noise.view(3, 4, 8)[:, :, 4:])
    assert off[:, :, :4].abs().max() == 0


def test_the_ladder_stops_at_the_first_rung_that_flips():
    model, basis = TwoLayerReLU(6, 40, generator=seeded(2)), SubspaceBasis(torch.eye(6, 2))
    x = torch.zeros(8, 6)
    x[:, :2] = torch.randn(8, 2, generator=seeded(3))
    y = (model(x).detach() > 0).long()
    radius, x_adv = images.climb_ladder(model, x, y, basis)
    assert set(radius.tolist()) <= set(torch.tensor(images.LADDER).tolist())
    flipped = radius < images.LADDER[-1]
    assert flipped.any()
    assert (margins(model(x_adv).detach(), y)[flipped] <= 0).all()
    assert ((x_adv - x).norm(dim=1)[flipped] <= radius[flipped] * (1 + 1e-5)).all()
