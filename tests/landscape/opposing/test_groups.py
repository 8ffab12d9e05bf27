from functools import partial

import pytest
import torch
from torch import nn

from assay.core import InvalidInputError, cross_entropy, fit, seeded, squared_error
from assay.landscape.opposing import find_opposing_groups, make_opposing_outliers
from assay.landscape.opposing.contrast import contrasts, mean_gradient_of
from assay.nets import mlp


def trained(n_outliers, n_iter=100):
    data = make_opposing_outliers(200, n_outliers=n_outliers, generator=seeded(0))
    model = mlp((20, 32, 1), generator=seeded(0)).double()
    fit(model, data.x, data.y, loss=squared_error, optimizer=partial(torch.optim.SGD, lr=0.02), n_iter=n_iter)
    return model, data


@pytest.fixture(scope="module")
def planted():
    model, data = trained(8)
    return model, data, find_opposing_groups(model, data.x, data.y, loss=squared_error, direction="eigenvector")


def test_planted_groups_are_found_and_their_effect_shows(planted):
    _, data, found = planted
    assert found.found
    assert torch.isin(found.pair.samples, data.outliers).double().mean() > 0.9
    assert found.class_shares == (1.0, 1.0)
    assert len(set(data.y[found.pair.rising].tolist()) | set(data.y[found.pair.falling].tolist())) == 2
    assert found.pair.gradient_cosine < -0.9
    assert found.pair.outsize > 2 * found.random.outsize
    assert found.input_norm > 2
    assert "show the same" in str(found)


def test_without_the_feature_there_is_no_pair():
    model, data = trained(0)
    for direction in ("gradient", "eigenvector"):
        found = find_opposing_groups(model, data.x, data.y, loss=squared_error, direction=direction)
        assert not found.found
        assert "no opposing groups" in str(found)


def test_a_step_is_the_formula_and_sharpness_that_of_the_dense_hessian():
    # Linear least squares: H = 2 X^T X / n, and the loss after a step is known.
    x = torch.randn(12, 3, generator=seeded(1), dtype=torch.float64)
    y = torch.randn(12, generator=seeded(2), dtype=torch.float64)
    model = nn.Linear(3, 1, bias=False).double()
    weight = model.weight.detach()[0]
    hessian = 2 * x.T @ x / 12
    values, vectors = torch.linalg.eigh(hessian)
    gradient = 2 * x.T @ (x @ weight - y) / 12

    def change(step):
        return (x @ (weight + step) - y).square() - (x @ weight - y).square()

    found = find_opposing_groups(model, x, y, loss=squared_error, k=3)
    assert found.sharpness == pytest.approx(values[-1].item())
    assert found.length == pytest.approx(2 / values[-1].item())
    torch.testing.assert_close(found.loss_change, change(-2 / values[-1] * gradient))
    along = find_opposing_groups(model, x, y, loss=squared_error, k=3, direction="eigenvector", lr=0.3)
    side = torch.sign(gradient @ vectors[:, -1])
    torch.testing.assert_close(along.loss_change, change(-0.3 * side * vectors[:, -1]))
    assert along.sign_flip is None
    # By default a step along the eigenvector adds a thousandth of the loss to second order.
    short = find_opposing_groups(model, x, y, loss=squared_error, k=3, direction="eigenvector").length
    assert values[-1].item() * short**2 / 2 == pytest.approx(1e-3 * (x @ weight - y).square().mean().item())


def test_the_sign_flip_compares_the_next_gradient_step():
    # Two samples on one axis, a step of three times the stable size: what rises falls at the next step.
    x = torch.tensor([[1.0], [1.0]], dtype=torch.float64)
    y = torch.tensor([2.0, -2.0], dtype=torch.float64)
    model = nn.Linear(1, 1, bias=False).double()
    nn.init.constant_(model.weight, 0.1)
    for lr, flips in ((0.75, True), (0.1, False)):  # the weight goes to -0.05 and 0.025, or to 0.08 and 0.064
        found = find_opposing_groups(model, x, y, loss=squared_error, k=1, lr=lr)
        assert found.pair.rising.tolist() == [0]
        assert found.pair.falling.tolist() == [1]
        assert found.sign_flip is flips


def test_contrast_is_the_formula_on_dense_gradients():
    model = mlp((3, 4, 2), generator=seeded(0)).double()
    x, y = torch.randn(10, 3, generator=seeded(1), dtype=torch.float64), torch.arange(10) % 2
    change = torch.linspace(-1, 2, 10, dtype=torch.float64)
    vector = torch.linspace(-1, 1, sum(p.numel() for p in model.parameters()), dtype=torch.float64)
    a, b = torch.tensor([7, 8, 9]), torch.tensor([0, 1])

    def gradient(index):
        slopes = torch.autograd.grad(cross_entropy(model(x[index]), y[index]), list(model.parameters()))
        return torch.cat([slope.flatten() for slope in slopes])

    g, h = gradient(a), gradient(b)
    means = mean_gradient_of(model, x, y, cross_entropy, params="trainable", batch_size=2)
    torch.testing.assert_close(means(a), g)
    found = contrasts(change, means, vector)(a, b)
    assert found.gradient_cosine == pytest.approx((g @ h / g.norm() / h.norm()).item())
    assert found.opposition == pytest.approx(max(0.0, -(g @ h).item()) ** 0.5)
    assert found.alignment == pytest.approx(abs((g - h) @ vector / (g - h).norm() / vector.norm()).item())
    assert found.outsize == pytest.approx((change[[7, 8, 9, 0, 1]].abs().mean() / change.abs().mean()).item())
    assert (found.rise, found.fall) == pytest.approx((change[a].mean().item(), change[b].mean().item()))
    nobody = contrasts(change, means, vector)(a, b[:0])
    assert (nobody.gradient_cosine, nobody.fall) == (0.0, 0.0)


def test_frozen_parameters_stay_where_they_are():
    model, data = trained(8, 20)
    model[0].requires_grad_(False)
    before = [parameter.clone() for parameter in model.parameters()]
    found = find_opposing_groups(model, data.x, data.y, loss=squared_error)
    # The last layer alone is linear in its parameters: H = 2 phi^T phi / n.
    features = torch.cat([model[:-1](data.x), torch.ones(200, 1)], 1).detach()
    assert found.sharpness == pytest.approx(torch.linalg.eigvalsh(2 * features.T @ features / 200)[-1].item())
    assert all(torch.equal(one, other) for one, other in zip(before, model.parameters(), strict=True))


def test_share_of_counts_given_samples_in_the_top_list(planted):
    _, data, found = planted
    top = set(found.loss_change.abs().topk(16).indices.tolist())
    assert found.share_of(data.outliers) == len(top & set(data.outliers.tolist())) / 16


def test_images_are_drawn_as_images_and_others_as_changes(planted):
    import matplotlib.pyplot as plt

    axes = planted[2].plot()
    assert len(axes.get_lines()) == 3
    x, y = torch.rand(20, 1, 4, 4, generator=seeded(0)), torch.arange(20) % 2
    model = nn.Sequential(nn.Flatten(), *mlp((16, 8, 2), generator=seeded(0)))
    shown = find_opposing_groups(model, x, y, loss=cross_entropy, direction="eigenvector").plot()
    assert shown.get_images()[0].get_array().shape[0] == 2 * 6
    plt.close("all")


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"k": 0}, "k must be"),
        ({"lr": -1.0}, "lr must be"),
        ({"distance": 0.0}, "distance must be"),
    ],
)
def test_unusable_options_are_refused(options, match):
    model, data = mlp((20, 4, 1)).double(), make_opposing_outliers(10, n_outliers=1)
    with pytest.raises(InvalidInputError, match=match):
        find_opposing_groups(model, data.x, data.y, loss=squared_error, **options)


def test_a_flat_loss_needs_a_learning_rate():
    model = nn.Linear(2, 1, bias=False).double()
    x = torch.zeros(4, 2, dtype=torch.float64)
    with pytest.raises(InvalidInputError, match="pass lr"):
        find_opposing_groups(model, x, torch.ones(4), loss=squared_error)
