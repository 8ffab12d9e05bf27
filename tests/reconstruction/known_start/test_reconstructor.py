from types import SimpleNamespace

import pytest
import torch
from sklearn.base import clone
from torch import nn

from assay.core import InvalidInputError, binary_cross_entropy
from assay.data import load
from assay.reconstruction import KnownStartReconstructor, normalized_correlation

N, WIDTH = 8, 100


def build(seed, outputs=1):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, WIDTH), nn.ReLU(), nn.Linear(WIDTH, outputs))


def train(model, x, y, *, weight_decay=0.0, adam=False, n_iter=400):
    kind = torch.optim.Adam if adam else torch.optim.SGD
    optimizer = kind(model.parameters(), lr=0.01 if adam else 0.1, weight_decay=weight_decay)
    for _ in range(n_iter):
        optimizer.zero_grad()
        binary_cross_entropy(model(x), y).mean().backward()
        optimizer.step()
    return model.eval()


@pytest.fixture(scope="module")
def digits():
    """Eight digits with their labels and other digits, normalised by mean and standard deviation."""
    data = load("digits")
    mean, deviation = data.x_train.mean(), data.x_train.std()
    x, others = [(part.flatten(1) - mean) / deviation for part in (data.x_train[:N], data.x_test)]
    return x, data.y_train[:N] % 2, others


pytestmark = pytest.mark.usefixtures("as_users_run_it")  # a search takes six times as long under the shape checks


def strict(candidates, x, mean):
    """Count samples with a candidate of correlation above 0.9, the mean sample taken out of both."""
    if not len(candidates):
        return 0
    return int((normalized_correlation(x - mean, candidates - mean).amax(1) > 0.9).sum())


@pytest.mark.parametrize("weight_decay", [0.0, 2e-3])
def test_the_samples_of_a_network_that_was_trained_plainly_are_recovered(digits, weight_decay):
    x, y, others = digits
    model = train(build(3), x, y, weight_decay=weight_decay)
    found = KnownStartReconstructor(build(3).state_dict(), population=others).fit(model)
    assert found.rank_ == N
    assert (found.init_share_ == 1) == (weight_decay == 0)
    assert found.init_share_ == pytest.approx((1 - 0.1 * weight_decay) ** 400, abs=1e-4)
    assert found.n_exact_ == N
    assert float(torch.cdist(x, found.reconstructions_).amin(1).max()) < 0.01 * float(x.norm(dim=1).mean())
    assert strict(found.reconstructions_, x, others.mean(0)) == N
    assert float(found.votes_.min()) > 0.9
    assert found.verdict_.outcome == "found"
    assert "trained on 8 samples" in str(found.verdict_)
    assert found.pool_.shape == (3 * 2 * N, 64)
    best = normalized_correlation(x - others.mean(0), found.pool_ - others.mean(0)).argmax(1)
    scale = (found.pool_[best] * x).sum(1) / x.square().sum(1)
    assert 0.8 < float(scale.median()) < 1.25  # of the samples' own sign and scale, which without biases is open


def test_a_wrong_seed_recovers_nothing_and_says_so(digits):
    x, y, others = digits
    model = train(build(3), x, y)
    found = KnownStartReconstructor(build(4).state_dict(), population=others).fit(model)
    assert found.verdict_.outcome == "nothing found"
    assert len(found.reconstructions_) == len(found.pool_) == strict(found.reconstructions_, x, others.mean(0)) == 0
    assert "wrong start" in str(found.verdict_)
    assert not found.verdict_.is_start


def test_adams_steps_are_told_from_those_of_gradient_descent(digits):
    x, y, others = digits
    found = KnownStartReconstructor(build(3).state_dict(), population=others).fit(train(build(3), x, y, adam=True))
    assert found.verdict_.outcome == "nothing found"
    assert found.verdict_.is_start
    assert found.verdict_.n_samples is None
    assert "Adam" in str(found.verdict_)
    assert len(found.reconstructions_) == 0


def test_samples_are_recovered_without_any_other_inputs(digits):
    x, y, others = digits
    found = KnownStartReconstructor(build(3).state_dict()).fit(train(build(3), x, y))
    assert strict(found.pool_, x, others.mean(0)) >= 6


def test_another_activation_in_training_is_not_called_a_find(digits):
    """Every unit learns from every sample: the count is right, but no gradients of ReLU fit, and no unit tells."""
    x, y, others = digits
    bent = build(3)
    bent[2] = nn.LeakyReLU(-1.0)
    model = build(3)
    model.load_state_dict(train(bent, x, y).state_dict())
    found = KnownStartReconstructor(build(3).state_dict(), population=others, n_iter=300).fit(model)
    assert found.rank_ == N
    assert found.n_exact_ == 0
    assert found.verdict_.outcome == "nothing found"
    assert float(found.gap_.min()) > 0.3
    assert len(found.reconstructions_) == 0
    assert len(found.pool_) > 0


@pytest.mark.parametrize("slope", [0.01, 0.003])
def test_units_that_leak_a_little_are_not_taken_for_inactive_ones(digits, slope):
    x, y, others = digits
    leaky, model = build(3), build(3)
    leaky[2] = nn.LeakyReLU(slope)
    model.load_state_dict(train(leaky, x, y).state_dict())
    found = KnownStartReconstructor(build(3).state_dict(), population=others, n_iter=300).fit(model)
    assert found.n_exact_ <= strict(found.reconstructions_, x, others.mean(0))


def test_the_samples_are_exact_though_only_the_first_layers_start_is_right(digits):
    x, y, others = digits
    state = build(3).state_dict()
    torch.manual_seed(9)
    state["3.weight"] = 3 * torch.randn(1, WIDTH)
    found = KnownStartReconstructor(state, population=others, n_iter=300).fit(train(build(3), x, y))
    assert found.n_exact_ == found.rank_ == N
    assert found.verdict_.outcome == "found"
    assert float(torch.cdist(x, found.reconstructions_).amin(1).max()) < 0.01 * float(x.norm(dim=1).mean())


def test_layers_that_did_not_move_are_left_out(digits):
    x, y, others = digits
    model = build(3)
    model[3].requires_grad_(False)
    model = train(model, x, y)
    options = {"population": others, "input_shape": (1, 8, 8)}
    found = KnownStartReconstructor(build(3).state_dict(), **options).fit(model)
    assert found.verdict_.left_out == ("2.weight", "2.bias")
    assert found.reconstructions_.shape[1:] == (1, 8, 8)
    assert strict(found.reconstructions_.flatten(1), x, others.mean(0)) >= 6


def test_the_start_may_be_the_answer_of_a_search_for_it(digits):
    x, y, others = digits
    model = train(build(3), x, y, n_iter=50)
    state = build(3).state_dict()
    options = {"population": others.reshape(-1, 1, 8, 8), "n_iter": 5}
    given = [KnownStartReconstructor(one, **options).fit(model) for one in (state, SimpleNamespace(state=state))]
    torch.testing.assert_close(given[0].pool_, given[1].pool_, rtol=0, atol=0)
    assert given[0].displacement_.rank == given[0].rank_ == N


def test_several_outputs_have_multipliers_of_either_sign(digits):
    x, y, others = digits
    model, loss = build(3, outputs=2), nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    for _ in range(50):
        optimizer.zero_grad()
        loss(model(x), y).backward()
        optimizer.step()
    found = KnownStartReconstructor(build(3, outputs=2).state_dict(), population=others).fit(model.eval())
    assert found.rank_ == N
    assert strict(found.pool_, x, others.mean(0)) >= 6
    assert found.pool_multipliers_.shape == (48, 2)


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"init_state": 3}, "init_state"),
        ({"init_state": {}}, "init_state"),
        ({"lr": 0.0}, "lr"),
        ({"n_points": 0}, "n_points"),
        ({"whiten": 2.0}, "whiten"),
        ({"population": torch.ones(3, 5)}, "inputs of shape"),
        ({"dtype": torch.int64}, "dtype"),
        ({"init_share": -1.0}, "init_share"),
    ],
)
def test_bad_options_are_refused(digits, options, why):
    x, y, _ = digits
    options = {"init_state": build(3).state_dict()} | options
    with pytest.raises(InvalidInputError, match=why):
        KnownStartReconstructor(**options).fit(train(build(3), x, y, n_iter=3))


def test_a_clone_has_the_same_options():
    state = build(3).state_dict()
    twin = clone(KnownStartReconstructor(state, n_points=2))
    assert twin.n_points == 2
    assert twin.get_params()["init_state"].keys() == state.keys()
