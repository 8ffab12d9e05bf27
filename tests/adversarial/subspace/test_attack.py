import math

import pytest
import torch
from torch import nn

from assay.adversarial import OffSubspaceAttack, SubspaceBasis, off_subspace_radius
from assay.adversarial.subspace import orthogonal_complement, universal_off_subspace_direction
from assay.core import InvalidInputError, margins, seeded
from assay.nets import TwoLayerReLU
from helpers.adversarial_networks import linear, points, random_linear, random_mlp


def line(seed):
    """A random affine score, a random subspace, and points with their own signs: every distance is known."""
    source = seeded(seed)
    model, x, basis = random_linear(6, 1, source), points(20, 6, source), orthogonal_complement(points(2, 6, source))
    score = model(x).detach()[:, 0]
    return model, x, (score > 0).long(), basis, score.abs() / (model.weight.detach()[0] @ basis.off).norm()


def test_the_radius_of_an_affine_score_is_its_distance_off_the_subspace():
    model, x, y, basis, exact = line(0)
    precision = {"rtol": 0, "atol": 1.0 / 64 / 2**20}  # of a radius below one
    radius = off_subspace_radius(model, x, y, basis=basis, max_norm=100.0)
    torch.testing.assert_close(radius / 100, exact / 100, **precision)
    within = off_subspace_radius(model, x, y, basis=basis.complement, max_norm=1000.0)
    on = (model.weight.detach()[0] @ basis.on).norm()
    torch.testing.assert_close(within / 1000, model(x).detach()[:, 0].abs() / on / 1000, **precision)


def test_the_radius_says_where_nothing_flips_and_where_nothing_has_to():
    model, x, y, basis, exact = line(1)
    limit = exact.median().item() * 1.001
    radius = off_subspace_radius(model, x, y, basis=basis, max_norm=limit)
    assert torch.equal(radius.isinf(), exact > limit)
    assert (off_subspace_radius(model, x, 1 - y, basis=basis, max_norm=limit) == 0).all()
    blind = linear(torch.eye(6, dtype=torch.float64)[:1])
    axis = SubspaceBasis(torch.eye(6, 1, dtype=torch.float64))
    flat = off_subspace_radius(blind, x, (x[:, 0] > 0).long(), basis=axis, max_norm=9.0)
    assert flat.isinf().all(), "a score that ignores what is off the subspace cannot be flipped there"


@pytest.mark.parametrize("outputs", [1, 3])
def test_the_radius_is_that_of_a_fine_scan(outputs):
    source = seeded(2)
    model, x = random_mlp([5, 30, outputs], source), points(12, 5, source)
    scores = model(x).detach()
    y = (scores[:, 0] > 0).long() if outputs == 1 else scores.argmax(1)
    basis = orthogonal_complement(points(2, 5, source))
    radius = off_subspace_radius(model, x, y, basis=basis, max_norm=20.0, batch_size=5)
    for index in range(len(x)):

        def margin(sample, index=index):
            return margins(model(sample[None]), y[index : index + 1])[0]

        way = -basis.project_off(torch.func.grad(margin)(x[index])[None])[0]
        scan = torch.linspace(0, 20, 20001, dtype=torch.float64)
        flipped = margins(model(x[index] + scan[:, None] * way / way.norm()), y[index].expand(len(scan))) <= 0
        expected = scan[flipped.long().argmax()].item() if flipped.any() else math.inf
        assert radius[index].item() == pytest.approx(expected, abs=1e-3)
    assert radius.isfinite().any()


@pytest.mark.parametrize("share", [0.99, 1.01])
def test_the_attack_flips_exactly_what_lies_within_its_ball(share):
    model, x, y, basis, exact = line(3)
    limit = exact.median().item()
    keep = (exact / limit - 1).abs() > 0.02  # all but the median itself, which the two shares bracket
    x_adv = OffSubspaceAttack(basis, max_norm=limit * share)(model, x, y)
    broken = margins(model(x_adv).detach(), y) <= 0
    assert torch.equal(broken[keep], (exact < limit)[keep])
    assert broken[~keep].all() == (share > 1)
    change = x_adv - x
    torch.testing.assert_close(change @ basis.on, torch.zeros(20, 2, dtype=torch.float64))
    assert change.norm(dim=1).max() <= limit * share * (1 + 1e-12)


def universal_case():
    model = TwoLayerReLU(12, 300, generator=seeded(5)).double()
    basis = SubspaceBasis(torch.eye(12, 4, dtype=torch.float64))
    x = torch.zeros(10, 12, dtype=torch.float64)
    x[:, :4] = points(10, 4, seeded(6))
    return model, x, 2 * (model(x).detach() > 0).long() - 1, basis


def test_the_universal_direction_is_the_sum_over_units():
    model, x, y, basis = universal_case()
    total = torch.zeros(12, dtype=torch.float64)
    for row, u in zip(model.weight.detach(), model.output, strict=True):
        total[4:] += row[4:] if u > 0 else -row[4:]
    z = universal_off_subspace_direction(model, basis=basis)
    torch.testing.assert_close(z, total / total.norm())
    radius = off_subspace_radius(model, x, y, basis=basis, max_norm=30.0, direction="universal")
    assert radius.isfinite().all()
    for sample, label, found in zip(x, y, radius, strict=True):
        scan = torch.linspace(0, 30, 30001, dtype=torch.float64)
        wrong = label * model(sample - scan[:, None] * label * z) <= 0
        assert found.item() == pytest.approx(scan[wrong.long().argmax()].item(), abs=2e-3)
    attack = OffSubspaceAttack(basis, max_norm=radius.max().item() * 1.001, n_iter=200, direction="universal")
    x_adv = attack(model, x, y)
    assert (y * model(x_adv).detach() <= 0).all()
    torch.testing.assert_close(x_adv[:, :4], x[:, :4])


def test_bad_input_is_named():
    model, x, y, basis = universal_case()
    other = nn.Linear(12, 1).double()
    with pytest.raises(InvalidInputError, match=r"TwoLayerReLU, got Linear"):
        off_subspace_radius(other, x, y, basis=basis, max_norm=1.0, direction="universal")
    with pytest.raises(InvalidInputError, match="binary labels"):
        OffSubspaceAttack(basis, max_norm=1.0)(model, x, y + 5)
    with pytest.raises(InvalidInputError, match="max_norm"):
        OffSubspaceAttack(basis, max_norm=-1.0)
    with pytest.raises(InvalidInputError, match="n_iter"):
        OffSubspaceAttack(basis, max_norm=1.0, n_iter=0)
    with torch.no_grad():
        model.weight[:, 4:] = 0
    with pytest.raises(InvalidInputError, match="no part off the subspace"):
        universal_off_subspace_direction(model, basis=basis)
