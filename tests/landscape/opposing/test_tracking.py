from functools import partial

import pytest
import torch
from torch import nn

from assay.core import InvalidInputError, cross_entropy, fit, seeded, squared_error
from assay.landscape.opposing import OpposingTrace, make_opposing_outliers, track_opposing
from assay.nets import mlp

SGD = partial(torch.optim.SGD, lr=0.05)


def test_losses_are_those_of_the_same_training():
    data = make_opposing_outliers(30, d=4, n_outliers=2, generator=seeded(0))
    model = mlp((4, 6, 1), generator=seeded(0)).double()
    trace = track_opposing(model, data.x, data.y, loss=squared_error, optimizer=SGD, n_iter=5)
    expected = [(model(data.x)[:, 0] - data.y).square().detach()]
    other = mlp((4, 6, 1), generator=seeded(0)).double()
    for _ in range(5):
        fit(other, data.x, data.y, loss=squared_error, optimizer=SGD, n_iter=1)
        expected.append((other(data.x)[:, 0] - data.y).square().detach())
    torch.testing.assert_close(trace.losses, torch.stack(expected))
    torch.testing.assert_close(trace.model(data.x), other(data.x))
    assert not trace.diverged


def test_groups_come_from_the_largest_rise():
    data = make_opposing_outliers(200, n_outliers=8, generator=seeded(0))
    model = mlp((20, 32, 1), generator=seeded(0)).double()
    large = partial(torch.optim.SGD, lr=0.08)
    trace = track_opposing(model, data.x, data.y, loss=squared_error, optimizer=large, n_iter=60)
    assert trace.rises.any()
    change = trace.losses.diff(dim=0)
    worst = change[change.mean(1).argmax()]
    assert (worst[trace.rising] > 0).all()
    assert (worst[trace.falling] < 0).all()
    assert trace.hit_share(data.outliers) > 0.5


def test_measurements_follow_given_groups():
    data = make_opposing_outliers(40, d=4, n_outliers=3, generator=seeded(0))
    model = nn.Linear(4, 1).double()
    pair = data.positive, data.negative
    options = {"loss": squared_error, "optimizer": SGD, "groups": pair}
    trace = track_opposing(model, data.x, data.y, n_iter=6, measure_every=3, **options)
    assert trace.measured_at.tolist() == [3, 6]
    design = torch.cat([data.x, torch.ones(40, 1)], 1)
    sharpness = torch.linalg.eigvalsh(2 * design.T @ design / 40)[-1]
    torch.testing.assert_close(trace.sharpness, sharpness.expand(2))
    residual = trace.model(data.x)[:, 0].detach() - data.y
    g, h = (design[group].T @ residual[group] for group in pair)
    torch.testing.assert_close(trace.gradient_cosine[1], g @ h / g.norm() / h.norm())


def test_a_trace_is_described_by_its_losses():
    losses = torch.tensor([[1.0, 1.0, 0.0], [4.0, 0.0, 0.0], [0.0, 3.0, 0.0], [1.0, 2.5, 1.2], [0.0, 0.0, 0.0]])
    nothing = torch.zeros(0)
    pair = torch.tensor([0]), torch.tensor([1])
    trace = OpposingTrace(losses, *pair, nothing.long(), nothing, nothing, False, nn.Identity())
    torch.testing.assert_close(trace.total, torch.tensor([2.0, 4.0, 3.0, 4.7, 0.0]) / 3)
    assert trace.rises.tolist() == [True, False, True, False]
    assert trace.opposite_share == 1.0  # +3 and -1, then +1 and -0.5
    assert trace.flip_share == 0.5  # both turn after the first rise; after the second B goes on to fall
    assert trace.hit_share(torch.tensor([0])) == 0.5  # the largest change at the first rise, not at the second
    assert trace.hit_share(torch.tensor([0, 2])) == 0.75
    assert trace.outsize(torch.tensor([0])) == pytest.approx((3 / (4 / 3) + 1 / (2.7 / 3)) / 2)
    assert "rises in 2 of 4 steps" in str(trace)
    with pytest.raises(InvalidInputError, match="between 1 and 3"):
        trace.hit_share(torch.tensor([]).long())


def test_a_diverging_run_keeps_what_it_had():
    x = torch.tensor([[10.0], [-10.0]], dtype=torch.float64)
    wild = partial(torch.optim.SGD, lr=1e60)
    trace = track_opposing(nn.Linear(1, 1).double(), x, x, loss=squared_error, optimizer=wild, n_iter=50)
    assert trace.diverged
    assert 2 <= len(trace.losses) < 51
    assert torch.isfinite(trace.losses).all()
    assert "diverged" in str(trace)


def test_the_network_handed_over_is_not_trained():
    model = mlp((4, 5, 3), generator=seeded(0))
    before = [parameter.clone() for parameter in model.parameters()]
    x, y = torch.randn(12, 4, generator=seeded(1)), torch.arange(12) % 3
    trace = track_opposing(model, x, y, loss=cross_entropy, optimizer=SGD, n_iter=2, batch_size=4)
    assert all(torch.equal(one, other) for one, other in zip(before, model.parameters(), strict=True))
    axes = trace.plot()
    assert [line.get_label() for line in axes.get_lines()] == ["group A", "group B", "all"]


def test_unusable_groups_are_refused():
    x = torch.ones(4, 1)
    options = {"loss": squared_error, "optimizer": SGD, "n_iter": 1}
    with pytest.raises(InvalidInputError, match="between 0 and 3"):
        track_opposing(nn.Linear(1, 1), x, x, groups=(torch.tensor([0]), torch.tensor([4])), **options)
    with pytest.raises(InvalidInputError, match="given groups"):
        track_opposing(nn.Linear(1, 1), x, x, measure_every=1, **options)
