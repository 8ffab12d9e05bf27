from functools import partial

import pytest
import torch
from torch import nn

from assay.core import InvalidInputError, seeded
from assay.nets import mlp
from assay.representation import DeepCCA, eckart_young_loss
from assay.representation.cca import (
    BarlowTwinsLoss,
    FullCCALoss,
    VICRegLoss,
    canonical_correlations,
    closed_form_cca,
    fit_deep_cca,
)


def views(n=300):
    source = seeded(0)
    angle = 6.28 * torch.rand(n, generator=source, dtype=torch.float64)
    left = torch.stack([angle.cos(), angle.sin()], 1) + 0.1 * torch.randn(n, 2, generator=source, dtype=torch.float64)
    right = torch.stack([(2 * angle).cos(), (2 * angle).sin(), angle.cos()], 1)
    return left, right + 0.1 * torch.randn(n, 3, generator=source, dtype=torch.float64)


def test_linear_encoders_reach_the_closed_form():
    data = views(100)
    model = DeepCCA([mlp((d, 2), bias="none", generator=seeded(1)).double() for d in (2, 3)])
    adam = partial(torch.optim.Adam, lr=0.05)
    found = fit_deep_cca(model, data, optimizer=adam, epochs=400, batch_size=100, generator=seeded(0))
    wanted = closed_form_cca(data, 2).eigenvalues
    assert found.loss == pytest.approx(-float(wanted.square().sum()), abs=1e-5)
    torch.testing.assert_close(canonical_correlations(*model.codes(data)), wanted, atol=1e-4, rtol=0)


def test_at_a_minimum_the_last_layer_is_cca_of_the_features_below_it():
    data = views(100)
    model = DeepCCA([mlp((d, 4, 2), generator=seeded(d)).double() for d in (2, 3)])
    search = torch.optim.LBFGS(model.parameters(), max_iter=1500, line_search_fn="strong_wolfe", tolerance_change=1e-14)

    def closure():
        search.zero_grad()
        value = eckart_young_loss(model(*data))
        value.backward()
        return value

    search.step(closure)
    with torch.no_grad():
        features = [encoder[:-1](view) for encoder, view in zip(model.encoders, data, strict=True)]
        codes = model(*data)
    wanted = canonical_correlations(*features)[:2]
    torch.testing.assert_close(canonical_correlations(*codes), wanted, atol=2e-3, rtol=0)


def test_mini_batches_beat_linear_cca_where_the_relation_is_not_linear():
    data = views(600)
    model = DeepCCA([mlp((d, 32, 2), generator=seeded(d)).double() for d in (2, 3)])
    adam = partial(torch.optim.Adam, lr=3e-3)
    fit_deep_cca(model, data, optimizer=adam, epochs=30, batch_size=50, generator=seeded(0))
    linear = float(closed_form_cca(data, 2).eigenvalues.sum())
    assert float(canonical_correlations(*model.codes(data)).sum()) > linear + 0.3


def test_images_are_views_and_a_shared_encoder_may_be_repeated():
    encoder = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(8, 2))
    x = torch.rand(20, 1, 4, 4, generator=seeded(0))
    model, before = DeepCCA([encoder, encoder]), encoder[2].weight.clone()
    adam = partial(torch.optim.Adam, lr=1e-3)
    fit_deep_cca(model, (x, x.flip(3)), optimizer=adam, epochs=1, batch_size=10, generator=seeded(0))
    assert not torch.equal(encoder[2].weight, before)
    assert [tuple(codes.shape) for codes in model.codes((x, x))] == [(20, 2), (20, 2)]


def test_the_full_objective_is_minus_the_sum_of_canonical_correlations():
    z1, z2 = views()
    wanted = -canonical_correlations(z1, z2[:, :2]).sum()
    torch.testing.assert_close(FullCCALoss(1e-12)(z1, z2[:, :2]), wanted)


def test_barlow_twins_is_written_out():
    z1, z2 = views()[0], views()[1][:, :2]
    c = torch.corrcoef(torch.cat([z1, z2], 1).mT)[:2, 2:]
    wanted = (1 - c[0, 0]) ** 2 + (1 - c[1, 1]) ** 2 + 0.3 * (c[0, 1] ** 2 + c[1, 0] ** 2)
    torch.testing.assert_close(BarlowTwinsLoss(0.3)(z1, z2), wanted)


def test_vicreg_is_written_out():
    z1, z2 = views()[0] / 2, views()[1][:, :2] / 3
    wanted = 5 * (z1 - z2).square().mean()
    for z in (z1, z2):
        v = torch.cov(z.mT)
        hinges = [max(0.0, 1 - float(v[k, k] + 1e-4) ** 0.5) for k in (0, 1)]
        wanted = wanted + 7 * sum(hinges) / 2 + 2 * 2 * v[0, 1] ** 2 / 2
    torch.testing.assert_close(VICRegLoss(invariance=5, variance=7, covariance=2)(z1, z2), wanted)


@pytest.mark.usefixtures("as_users_run_it")
def test_wrong_arguments_are_refused():
    layer, adam = nn.Linear(2, 1), partial(torch.optim.Adam, lr=1e-3)
    x = torch.ones(4, 2)
    with pytest.raises(InvalidInputError, match="two or more"):
        DeepCCA([layer])
    with pytest.raises(InvalidInputError, match="sequence"):
        DeepCCA(layer)
    with pytest.raises(InvalidInputError, match="one each"):
        DeepCCA([layer, layer])(x)
    with pytest.raises(InvalidInputError, match="as many columns"):
        DeepCCA([layer, nn.Linear(2, 3)])(x, x)
    with pytest.raises(InvalidInputError, match="one each"):
        fit_deep_cca(DeepCCA([layer, layer]), (x,), optimizer=adam, epochs=1, batch_size=4)
    with pytest.raises(InvalidInputError, match="one row"):
        fit_deep_cca(DeepCCA([layer, layer]), (x, x[:3]), optimizer=adam, epochs=1, batch_size=4)
    with pytest.raises(InvalidInputError, match="ridge"):
        FullCCALoss(0.0)
    with pytest.raises(InvalidInputError, match="off_diagonal"):
        BarlowTwinsLoss(0.0)
    with pytest.raises(InvalidInputError, match="negative"):
        VICRegLoss(variance=-1)
