import copy

import pytest
import torch
from torch import nn

from assay.core import InvalidInputError, binary_cross_entropy
from assay.data import load
from assay.nets import mlp, small_conv
from assay.reconstruction import KKTReconstructor, normalized_correlation, score_reconstructions, train_in_span
from assay.reconstruction.kkt import noise_rank

QUICK = {"n_candidates": 8, "n_restarts": 2, "n_iter": 20}
CONV = {"input_shape": (1, 8, 8)}


@pytest.fixture(scope="module")
def clothes():
    data = load("fashion")
    odd = data.y_train % 2
    chosen = torch.cat([(odd == parity).nonzero()[:5, 0] for parity in (0, 1)])
    others = torch.cat([(odd == parity).nonzero()[5:10, 0] for parity in (0, 1)])
    return data.x_train[chosen], odd[chosen], data.x_train[others]


@pytest.fixture(scope="module")
def trained(clothes):
    x, y, _ = clothes
    model = mlp((784, 200, 1), bias="first", generator=torch.Generator().manual_seed(0))
    options = {"loss": binary_cross_entropy, "weight_decay": 1e-3, "lr": 0.4, "n_iter": 600}
    train_in_span(model, (x - x.mean(0)).flatten(1), y, **options)
    return model


def network(outputs=1):
    return mlp((12, 9, outputs), generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def plain():
    return KKTReconstructor(**QUICK).fit(network())


def test_training_images_come_back_from_the_weights(trained, clothes):
    x, _, others = clothes
    found = KKTReconstructor(n_restarts=4, n_iter=300).fit(trained)
    options = {"mean": x.mean(0), "basis": found.basis_, "first_layer": trained[0].weight, "held_out_x": others}
    score = score_reconstructions(found.pool_, x, **options)
    nulls = score.nulls()
    assert score.n75 >= 7
    assert nulls["held out"] <= 1
    assert score.n75 >= max(nulls["rows"], nulls["random"]) + 3
    chosen = score_reconstructions(found.reconstructions_[:10], x, **options)
    assert chosen.n75 >= 4
    assert chosen.nulls()["random"] == chosen.nulls()["held out"] == 0


def test_the_same_seed_gives_the_same_answer_and_more_restarts_only_add(plain):
    assert torch.equal(KKTReconstructor(**QUICK).fit(network()).pool_, plain.pool_)
    more = KKTReconstructor(**{**QUICK, "n_restarts": 3}).fit(network())
    torch.testing.assert_close(more.pool_[:16], plain.pool_)
    assert not torch.equal(KKTReconstructor(**QUICK, random_state=1).fit(network()).pool_, plain.pool_)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda net: net,
        lambda net: nn.Sequential(nn.Flatten(), *net),
        lambda net: nn.Sequential(nn.Flatten(), nn.Sequential(*net[:2]), net[2]),
        lambda net: net.double(),
        lambda net: nn.Sequential(*net[:2], nn.Dropout(0.5), net[2]).eval(),
    ],
    ids=["plain", "flatten", "nested", "float64", "dropout-off"],
)
def test_the_same_network_in_other_clothes_gives_the_same_answer(wrap, plain):
    other = KKTReconstructor(**QUICK, input_shape=(1, 3, 4)).fit(wrap(network()))
    assert other.pool_.shape == (16, 1, 3, 4)
    torch.testing.assert_close(other.pool_.flatten(1), plain.pool_, rtol=1e-3, atol=1e-4)


class Custom(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = network()[0], network()[2]

    def forward(self, x):
        return self.second(torch.relu(self.first(x)))


@pytest.mark.parametrize("model", [Custom(), small_conv((1, 8, 8), 1)], ids=["functional", "convolution"])
def test_other_networks_are_searched_in_input_space(model):
    shape = (12,) if isinstance(model, Custom) else (1, 8, 8)
    found = KKTReconstructor(**QUICK, subspace=None, input_shape=shape).fit(model)
    assert found.pool_.shape == (16, *shape)
    assert found.basis_ is None
    assert found.history_[-1] < found.history_[0]


def test_a_convolutional_network_is_searched_in_input_space_by_itself():
    model = small_conv((1, 8, 8), 3)
    found = KKTReconstructor("multiclass", n_restarts=1, n_iter=2, **CONV).fit(model)
    assert found.basis_ is None
    assert found.rank_ == noise_rank(model[5].weight)
    assert found.pool_.shape == (max(40, 4 * found.rank_), 1, 8, 8)


def planted_displacement(rounds, n=5):
    """Weights that moved by exactly the weighted gradients of some samples, at the new weights after many rounds."""
    start, source = mlp((20, 100, 1), generator=torch.Generator().manual_seed(0)).double(), torch.Generator()
    x = torch.randn(n, 20, generator=source.manual_seed(1), dtype=torch.float64)
    mu = 0.03 * torch.tensor([1, -1, 1, 1, -1], dtype=torch.float64)
    end, origin = copy.deepcopy(start), nn.utils.parameters_to_vector(start.parameters()).detach()
    for _ in range(rounds):
        pull = torch.autograd.grad(mu @ end(x).squeeze(1), list(end.parameters()))
        with torch.no_grad():
            nn.utils.vector_to_parameters(origin + torch.cat([part.flatten() for part in pull]), end.parameters())
    return start, end, x, mu


@pytest.mark.parametrize(("kernels", "rounds"), [("initial", 1), ("final", 60), ("both", 60)])
def test_samples_come_back_from_a_planted_displacement(kernels, rounds):
    start, end, x, mu = planted_displacement(rounds)
    options = {"init_state": start.state_dict(), "kernels": kernels, "n_restarts": 2, "n_iter": 400}
    found = KKTReconstructor("displacement", dtype=torch.float64, **options).fit(end)
    assert found.rank_ == 5
    assert found.labels_ is None
    assert found.pool_labels_ is None
    assert found.residual_.max() < 0.2
    match, which = normalized_correlation(x, found.reconstructions_).max(1)
    assert (match > 0.9).all()
    assert torch.equal(found.multipliers_[which].sign(), mu.sign())


@pytest.mark.parametrize(("objective", "outputs"), [("vector", 3), ("regression", 1), ("regression", 3)])
def test_other_objectives_return_multipliers_for_every_output(objective, outputs):
    found = KKTReconstructor(objective, **QUICK).fit(network(outputs))
    shape = (16,) if outputs == 1 else (16, outputs)
    assert found.pool_multipliers_.shape == shape
    assert found.multipliers_.shape == (len(found.reconstructions_), *shape[1:])
    assert (found.labels_ is None) == (objective == "regression")
    assert found.history_[-1] < found.history_[0]


@pytest.mark.parametrize(
    ("outputs", "known", "expected"), [(1, False, "binary"), (3, False, "vector"), (3, True, None)]
)
def test_the_outputs_choose_the_objective(outputs, known, expected):
    expected = expected or "displacement"
    start = {name: 0.9 * value for name, value in network(outputs).state_dict().items()} if known else None
    chosen = KKTReconstructor(**QUICK, init_state=start).fit(network(outputs))
    named = KKTReconstructor(expected, **QUICK, init_state=start).fit(network(outputs))
    assert chosen.objective_ == named.objective_ == expected
    assert chosen.objective == "auto"
    assert torch.equal(chosen.pool_, named.pool_)


@pytest.mark.parametrize("after", [nn.Identity(), nn.Tanh()], ids=["chain", "general"])
def test_what_is_done_to_inputs_before_the_first_layer_changes_nothing(after):
    class Normalize(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("mean", torch.rand(1, 3, 4, generator=torch.Generator().manual_seed(3)))

        def forward(self, x):
            return (x - self.mean) / 0.3

    plain = KKTReconstructor(**QUICK).fit(nn.Sequential(network(), after))
    model = nn.Sequential(Normalize(), nn.Flatten(), network(), after)
    other = KKTReconstructor(**QUICK, input_shape=(1, 3, 4)).fit(model)
    assert other.pool_.shape == (16, 1, 3, 4)
    torch.testing.assert_close(other.pool_.flatten(1), plain.pool_)


def test_functional_networks_have_a_subspace_too():
    found = KKTReconstructor(**QUICK, subspace=5).fit(Custom())
    assert found.basis_.shape == (5, 12)
    torch.testing.assert_close(found.pool_ @ found.basis_.T @ found.basis_, found.pool_)


def test_several_outputs_need_the_multiclass_objective():
    found = KKTReconstructor("multiclass", **QUICK).fit(network(3))
    assert sorted(found.pool_labels_.unique().tolist()) == [0, 1, 2]
    with pytest.raises(InvalidInputError, match="'multiclass'"):
        KKTReconstructor("binary", **QUICK).fit(network(3))
    with pytest.raises(InvalidInputError, match="'binary'"):
        KKTReconstructor("multiclass", **QUICK).fit(network())
    with pytest.raises(InvalidInputError, match="objective must be"):
        KKTReconstructor(**QUICK).set_params(objective="regressive").fit(network())
    with pytest.raises(InvalidInputError, match="kernels must be"):
        KKTReconstructor(**QUICK).set_params(kernels="middle").fit(network())


def test_what_is_kept_is_ordered_and_finite():
    found = KKTReconstructor(**{**QUICK, "n_restarts": 4}).fit(network())
    assert (found.support_ >= 2).all()
    k = len(found.reconstructions_)
    assert len(found.multipliers_) == len(found.labels_) == len(found.support_) == k
    assert torch.isfinite(found.pool_).all()
    assert found.residual_.shape == (4,)


def broken():
    model = network()
    with torch.no_grad():
        model[0].weight[0, 0] = float("nan")
    return model


@pytest.mark.parametrize(
    ("model", "options", "message"),
    [
        (nn.Sequential(nn.Linear(4, 3), nn.SELU(), nn.Linear(3, 1)), {}, "SELU"),
        (nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Dropout(0.5), nn.Linear(3, 1)).train(), {}, "(?i)dropout"),
        (broken(), {}, "NaN"),
        (small_conv((1, 8, 8), 1), {}, r"input_shape=\(channels"),
        (small_conv((1, 8, 8), 1), {"subspace": 3, "input_shape": (1, 8, 8)}, "not|dense"),
        (nn.Sequential(nn.Conv2d(1, 1, 8), nn.ReLU(), nn.Flatten()), CONV | {"n_candidates": "auto"}, "no dense layer"),
        (network(), {"batch_size": 0}, "batch_size"),
        (network(), {"objective": "displacement"}, "init_state"),
        (network(), {"objective": "displacement", "init_state": network(2).state_dict()}, "another shape"),
        (network(), {"objective": "displacement", "init_state": network().state_dict()}, "equals the trained"),
        (network(), {"subspace": 20}, "between 1 and 9"),
        (network(), {"n_restarts": 0}, "n_restarts"),
        (network(), {"lr_x": -1.0}, "lr_x"),
        (network(), {"subspace": None, "input_shape": (5,)}, "does not run on inputs"),
    ],
)
def test_bad_input(model, options, message):
    with pytest.raises(InvalidInputError, match=message):
        KKTReconstructor(**{**QUICK, **options}).fit(model)


@pytest.mark.gpu
def test_the_device_follows_the_model():
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    found = KKTReconstructor(**QUICK).fit(network().cuda())
    assert found.pool_.device.type == "cuda"
