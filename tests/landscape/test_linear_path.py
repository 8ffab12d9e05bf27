import copy

import pytest
import torch
from torch import nn

from assay.core import InvalidInputError, cross_entropy, seeded, squared_error
from assay.landscape import linear_path


def line(slope):
    model = nn.Linear(1, 1, bias=False).double()
    nn.init.constant_(model.weight, slope)
    return model


class Product(nn.Module):
    """f(x) = a b x: its loss surface has the two separate minima (1, 1) and (-1, -1) for target x."""

    def __init__(self, a, b):
        super().__init__()
        self.a, self.b = (nn.Parameter(torch.tensor(value, dtype=torch.float64)) for value in (a, b))

    def forward(self, x):
        return self.a * self.b * x


ONE = torch.ones(1, 1, dtype=torch.float64)


def test_parabola_in_closed_form():
    # L(w) = (w - 1)^2 from w = 0 to w = 3.
    report = linear_path(line(0.0), line(3.0), ONE, ONE, loss=squared_error, n=7)
    expected = (3 * torch.linspace(0, 1, 7, dtype=torch.float64) - 1) ** 2
    torch.testing.assert_close(report.losses, expected)
    assert report.barrier == 0
    assert not report.monotone
    assert report.distance == pytest.approx(3.0)


def test_barrier_between_two_minima_in_closed_form():
    # Along a = b = 1 - 2t the loss is ((1 - 2t)^2 - 1)^2: zero at both ends, one in the middle.
    report = linear_path(Product(1.0, 1.0), Product(-1.0, -1.0), ONE, ONE, loss=squared_error)
    assert report.barrier == pytest.approx(1.0)
    assert report.losses.argmax() == 5
    assert "turns" in str(report)


@pytest.mark.parametrize(("start", "end"), [(3.0, 1.0), (1.0, 3.0)])
def test_monotone_either_way(start, end):
    report = linear_path(line(start), line(end), ONE, ONE, loss=squared_error)
    assert report.monotone
    assert "never turns" in str(report)


def test_batches_and_order_of_the_ends_change_nothing(net, data):
    x, y = data
    other = copy.deepcopy(net)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=seeded(4), dtype=torch.float64))
    forth = linear_path(net, other, x, y, loss=cross_entropy, batch_size=37)
    back = linear_path(other, net, x, y, loss=cross_entropy, batch_size=200)
    torch.testing.assert_close(forth.losses, back.losses.flip(0))
    assert forth.barrier == pytest.approx(back.barrier)


def test_models_come_back_as_they_were(net, data):
    before = copy.deepcopy(net.state_dict())
    other = copy.deepcopy(net)
    linear_path(net, other, *data, loss=cross_entropy, n=3)
    assert net.training
    assert other.training
    for name, value in net.state_dict().items():
        assert torch.equal(value, before[name])
        assert torch.equal(other.state_dict()[name], before[name])


def test_bad_input(net, data):
    with pytest.raises(InvalidInputError, match="same parameters"):
        linear_path(net, line(1.0), *data, loss=cross_entropy)
    with pytest.raises(InvalidInputError, match="at least 3"):
        linear_path(net, net, *data, loss=cross_entropy, n=2)
    with pytest.raises(InvalidInputError, match="non-empty"):
        linear_path(net, net, data[0][:0], data[1][:0], loss=cross_entropy)
    normed = nn.Sequential(nn.Linear(10, 2), nn.BatchNorm1d(2)).double()
    moved = copy.deepcopy(normed)
    moved[1].running_mean.add_(1.0)
    with pytest.raises(InvalidInputError, match="batch-norm statistics"):
        linear_path(normed, moved, *data, loss=cross_entropy)


def test_plot_draws_every_point():
    axes = linear_path(line(0.0), line(3.0), ONE, ONE, loss=squared_error).plot()
    assert len(axes.lines[0].get_xdata()) == 11


class Kept(Product):
    """Keeps the product of its first call in evaluation mode."""

    def forward(self, x):
        if not hasattr(self, "product"):
            self.product = (self.a * self.b).detach()
        return self.product * x


def test_a_product_kept_from_an_earlier_call_is_refused_and_one_that_is_not_yet_kept_is_followed():
    start, end = Kept(1.0, 1.0).eval(), Kept(-1.0, -1.0).eval()
    assert linear_path(start, end, ONE, ONE, loss=squared_error).barrier == pytest.approx(1.0)
    start(ONE)
    with pytest.raises(InvalidInputError, match="outputs stay as they are"):
        linear_path(start, end, ONE, ONE, loss=squared_error)
