import copy
from functools import partial

import pytest
import torch
from torch import nn

from assay.core import InvalidInputError, cross_entropy, fit, squared_error
from assay.data import load
from assay.nets import mlp, small_conv
from assay.reconstruction import SimulatedDynamicsReconstructor, normalized_correlation, simulate_training


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def network(*widths):
    return mlp(widths or (6, 5, 3), generator=generator()).double()


@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_simulated_training_is_that_of_torch(momentum, recompute):
    x, y = torch.randn(4, 6, generator=generator(1)).double(), torch.tensor([0, 1, 2, 0])
    start, trained = network(), network()
    fit(trained, x, y, loss=cross_entropy, optimizer=partial(torch.optim.SGD, lr=0.3, momentum=momentum), n_iter=5)
    options = {"lr": 0.3, "epochs": 5, "momentum": momentum, "recompute": recompute}
    targets = nn.functional.one_hot(y).double()
    after = simulate_training(start, x, targets, loss=nn.functional.cross_entropy, **options)
    for name, value in trained.named_parameters():
        torch.testing.assert_close(after[name], value, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("recompute", [False, True])
def test_gradients_through_training_are_those_of_finite_differences(recompute):
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).double()
    options = {"loss": squared_error, "lr": 0.2, "epochs": 3, "momentum": 0.5, "recompute": recompute}
    x = torch.randn(2, 3, generator=generator(1)).double().requires_grad_()
    targets = torch.randn(2, 2, generator=generator(2)).double().requires_grad_()
    assert torch.autograd.gradcheck(
        lambda x, t: tuple(simulate_training(model, x, t, **options).values()), (x, targets), fast_mode=True
    )


def test_one_step_of_a_linear_model_tells_its_sample_exactly():
    # From zero weights the displacement is proportional to (x, 1), so its direction has x in it, scale and sign and
    # all. The sign of the target never changes in the search: a start on its wrong side would stay there.
    start, x = nn.Linear(5, 1).double(), torch.tensor([[0.5, -0.4, 0.3, 0.0, 0.2]]).double()
    with torch.no_grad():
        start.weight.zero_()
        start.bias.zero_()
    trained = copy.deepcopy(start)
    sgd = partial(torch.optim.SGD, lr=0.1)
    fit(trained, x, torch.tensor([-3.0]).double(), loss=squared_error, optimizer=sgd, n_iter=1)
    options = {"objective": "regression", "epochs": 1, "n_iter": 200, "lr_x": 0.2, "relu_alpha": None}
    found = SimulatedDynamicsReconstructor(start.state_dict(), n_samples=1, **options).fit(trained)
    assert found.targets_.item() < 0
    torch.testing.assert_close(found.reconstructions_, x, rtol=1e-3, atol=1e-3)
    assert found.similarity_ == pytest.approx(1, abs=1e-8)
    assert found.labels_ is None


@pytest.fixture(scope="module")
def digits():
    data = load("digits")
    chosen = torch.tensor([int((data.y_train == label).nonzero()[0, 0]) for label in range(4)])
    others = torch.tensor([int((data.y_train == label).nonzero()[1, 0]) for label in range(4)])
    return data.x_train[chosen].double(), data.x_train[others].double()


def trained_on(digits, **options):
    start = mlp((64, 40, 4), generator=generator(3)).double()
    trained = copy.deepcopy(start)
    sgd = partial(torch.optim.SGD, lr=0.5, **options)
    fit(trained, digits.flatten(1), torch.arange(4), loss=cross_entropy, optimizer=sgd, n_iter=4)
    return start, trained


def test_digits_come_back_from_four_steps_of_training(digits):
    x, others = (each.flatten(1) for each in digits)
    start, trained = trained_on(digits[0])
    options = {"n_samples": 4, "lr": 0.5, "epochs": 4, "lr_x": 0.1, "n_iter": 200}
    found = SimulatedDynamicsReconstructor(start.state_dict(), **options).fit(trained)
    best, match = normalized_correlation(x, found.reconstructions_).max(1)
    assert best.mean() > 0.9
    assert normalized_correlation(others, found.reconstructions_).amax(1).mean() < best.mean() - 0.1
    assert found.labels_[match].tolist() == [0, 1, 2, 3]
    assert found.similarity_ > 0.98


def test_the_learning_rate_is_found_on_a_grid(digits):
    start, trained = trained_on(digits[0])
    options = {"n_samples": 4, "epochs": 4, "n_iter": 60}
    found = SimulatedDynamicsReconstructor(start.state_dict(), lr=(0.5, 20.0), **options).fit(trained)
    assert found.lr_ == 0.5


def test_images_convolutions_and_one_output(digits):
    start = small_conv((1, 8, 8), 1, generator=generator())
    trained = copy.deepcopy(start)
    with torch.no_grad():
        for parameter in trained.parameters():
            parameter.add_(0.01)
    options = {"n_samples": 3, "epochs": 2, "n_iter": 3, "input_shape": (1, 8, 8), "lr": 0.1}
    found = SimulatedDynamicsReconstructor(start.state_dict(), **options).fit(trained)
    assert found.reconstructions_.shape == (3, 1, 8, 8)
    assert set(found.labels_.tolist()) <= {0, 1}
    smooth = SimulatedDynamicsReconstructor(start.state_dict(), total_variation=10.0, **{**options, "n_iter": 20})
    rough = SimulatedDynamicsReconstructor(start.state_dict(), total_variation=0.0, **{**options, "n_iter": 20})
    variation = [each.fit(trained).reconstructions_.diff(dim=-1).abs().mean() for each in (smooth, rough)]
    assert variation[0] < 0.5 * variation[1]


def moved(start):
    trained = copy.deepcopy(start)
    with torch.no_grad():
        trained[0].weight.add_(0.1)
    return trained


def test_unknown_objective():
    attack = SimulatedDynamicsReconstructor(network().state_dict(), n_samples=2).set_params(objective="contrastive")
    with pytest.raises(InvalidInputError, match="objective"):
        attack.fit(moved(network()))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_samples": 0}, "n_samples"),
        ({"lr": -1.0}, "lr must"),
        ({"lr": ()}, "lr must"),
        ({"momentum": 1.0}, "momentum"),
        ({"input_shape": (7,)}, "does not run on inputs"),
    ],
)
def test_bad_options(options, message):
    start = network()
    with pytest.raises(InvalidInputError, match=message):
        SimulatedDynamicsReconstructor(start.state_dict(), **{"n_samples": 2, "n_iter": 1} | options).fit(moved(start))


def test_bad_networks():
    start = network()
    with pytest.raises(InvalidInputError, match="equals the trained weights"):
        SimulatedDynamicsReconstructor(start.state_dict(), n_samples=2).fit(start)
    linear = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2))
    with pytest.raises(InvalidInputError, match="relu_alpha=None"):
        SimulatedDynamicsReconstructor(linear.state_dict(), n_samples=2).fit(moved(linear))


@pytest.mark.gpu
def test_the_device_follows_the_model():
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    start = network().cuda()
    options = {"n_samples": 2, "epochs": 2, "n_iter": 2}
    found = SimulatedDynamicsReconstructor(start.state_dict(), **options).fit(moved(start))
    assert found.reconstructions_.device.type == "cuda"
