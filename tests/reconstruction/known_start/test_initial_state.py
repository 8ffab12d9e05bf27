"""Seeds are found on networks that plain scripts trained, and their starts returned bit for bit."""

import copy
from functools import partial

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

from assay.core import InvalidInputError, isolated_rng
from assay.reconstruction import guess_initial_state
from assay.reconstruction.known_start import INITIALIZERS
from helpers.trained_networks import SEEDS, TRAININGS, assert_start, convolution, mlp, start_of, trained


@pytest.mark.parametrize("batch_size", [12, 4])
@pytest.mark.parametrize("optimizer", TRAININGS.values(), ids=TRAININGS)
@pytest.mark.parametrize("seed", [0, 7, 42])
def test_the_seed_is_found_however_the_network_was_trained(seed, optimizer, batch_size):
    start = start_of(mlp, seed)
    model = trained(start, optimizer, batch_size=batch_size)
    for build in (mlp, None):
        found = guess_initial_state(model, build, seeds=SEEDS)
        assert_start(found, start, seed)
        assert found.initializer == ("default" if build is None else "build")
        assert found.runner_up_z < found.threshold
        assert f"seed {seed}" in str(found)


@pytest.mark.parametrize("build", [mlp, None])
def test_no_listed_seed_is_none_of_these(build):
    found = guess_initial_state(trained(start_of(mlp, 1000)), build, seeds=SEEDS)
    assert (found.found, found.seed, found.state, found.share) == (False, None, {}, 0.0)
    assert found.n_tried == len(SEEDS) * (1 if build else 3)
    assert found.runner_up_z <= found.z < found.threshold
    assert str(found).startswith(f"None of the {found.n_tried} starts")


def test_ten_thousand_wrong_seeds_raise_no_alarm():
    with isolated_rng(10**6):
        model = nn.Linear(16, 8)
    found = guess_initial_state(model, seeds=range(10_000), initializers=["default"])
    assert not found.found
    low, high = (float(stats.norm.ppf(p ** (1 / 10_000))) for p in (1e-3, 1 - 1e-3))  # of the largest of so many
    assert low < found.runner_up_z <= found.z < high < found.threshold


def test_a_scale_that_no_initialiser_has_is_said():
    def double(layer):
        if isinstance(layer, nn.Linear):
            nn.init.kaiming_uniform_(layer.weight)
            layer.weight.data.mul_(2)

    start = start_of(lambda: mlp().apply(double), 9)
    found = guess_initial_state(trained(start), seeds=SEEDS, initializers=["kaiming_uniform"])
    assert found.seed == 9
    assert found.share == pytest.approx(2, rel=1e-3)
    assert "at another scale" in str(found)


def test_the_share_left_by_decay_is_that_of_the_training():
    model = trained(start_of(mlp, 3), partial(torch.optim.SGD, lr=0.1, weight_decay=1e-2), n_iter=100)
    found = guess_initial_state(model, mlp, seeds=SEEDS)
    assert found.shares["1.weight"] == pytest.approx((1 - 0.1 * 1e-2) ** 100, abs=1e-3)
    assert guess_initial_state(trained(start_of(mlp, 3)), mlp, seeds=SEEDS).share == 1.0


def test_convolutions_batch_norm_and_statistics_are_those_of_the_start():
    start = start_of(convolution, 4)
    for build in (convolution, None):
        assert_start(guess_initial_state(trained(start), build, seeds=SEEDS), start, 4)


@pytest.mark.parametrize("bias", ["as drawn", "zeros"])
@pytest.mark.parametrize("name", INITIALIZERS)
def test_initialisers_by_name_are_told_apart(name, bias):
    def drawn_again(module):
        if isinstance(module, nn.Linear):
            INITIALIZERS[name][1](module.weight)
            if bias == "zeros":
                nn.init.zeros_(module.bias)

    start = start_of(lambda: mlp().apply(drawn_again), 9)
    found = guess_initial_state(trained(start, n_iter=20), seeds=SEEDS)
    assert found.initializer == name
    assert_start(found, start, 9)
    assert not guess_initial_state(trained(start), seeds=SEEDS, initializers=["default"]).found


def test_draws_before_the_network_are_skipped():
    for skip in (17, lambda: torch.randperm(100)):
        start = start_of(mlp, 5, before=skip if callable(skip) else lambda: torch.rand(17))
        assert not guess_initial_state(trained(start), mlp, seeds=SEEDS).found
        found = guess_initial_state(trained(start), mlp, seeds=SEEDS, skips=(0, skip))
        assert_start(found, start, 5)
        assert found.skip is skip


def test_networks_built_in_float64_and_those_converted_to_it_are_told_apart():
    def double():
        torch.set_default_dtype(torch.float64)
        try:
            return mlp()
        finally:
            torch.set_default_dtype(torch.float32)

    for build, dtype in ((double, torch.float64), (lambda: mlp().double(), torch.float32)):
        start = start_of(build, 6)
        for factory in (mlp, None):
            found = guess_initial_state(trained(start), factory, seeds=SEEDS)
            assert_start(found, start, 6)
            assert found.dtype == dtype


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_weights_saved_in_half_precision(dtype):
    start = start_of(mlp, 8)
    found = guess_initial_state(trained(start).to(dtype), mlp, seeds=SEEDS)
    assert_start(found, copy.deepcopy(start).to(dtype), 8)


def test_a_factory_that_draws_from_numpy():
    def build():
        network = mlp()
        with torch.no_grad():
            network[1].weight.copy_(torch.from_numpy(np.random.uniform(-0.2, 0.2, (30, 40))))  # noqa: NPY002
        return network

    state = np.random.get_state()  # noqa: NPY002
    try:
        np.random.seed(11)  # noqa: NPY002
        start = start_of(build, 11)
    finally:
        np.random.set_state(state)  # noqa: NPY002
    assert_start(guess_initial_state(trained(start), build, seeds=SEEDS), start, 11)


def test_tied_weights_and_wrappers():
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second, self.last = nn.Linear(40, 40), nn.Linear(40, 40), nn.Linear(40, 3)
            self.second.weight = self.first.weight

        def forward(self, x):
            return self.last(torch.relu(self.second(torch.relu(self.first(x.flatten(1))))))

    start = start_of(Tied, 2)
    for build in (Tied, None, lambda: nn.DataParallel(Tied())):
        assert_start(guess_initial_state(nn.DataParallel(trained(start)), build, seeds=SEEDS), start, 2)


def test_frozen_layers_alone_do_not_decide():
    start = start_of(mlp, 1)
    start[1].requires_grad_(False)
    model = trained(start)
    found = guess_initial_state(model, mlp, seeds=SEEDS)
    assert_start(found, start, 1)
    assert found.unchanged == ("1.weight", "1.bias")
    assert "Unchanged since the start: 1.weight, 1.bias" in str(found)
    assert found.shares["1.weight"] == 1.0
    model[3].reset_parameters()  # a head from elsewhere
    found = guess_initial_state(model, mlp, seeds=SEEDS)
    assert (found.found, found.seed) == (False, 1)
    assert "only unchanged weights agree with seed 1" in str(found)


def test_an_untrained_network_is_said_to_be_its_start():
    found = guess_initial_state(start_of(mlp, 1), mlp, seeds=SEEDS)
    assert found.found
    assert "the network was not trained" in str(found)


def test_one_seed_has_no_runner_up_and_repeated_seeds_are_one():
    found = guess_initial_state(trained(start_of(mlp, 1)), mlp, seeds=[1, 1])
    assert (found.seed, found.runner_up_z, found.n_tried) == (1, None, 1)


def test_random_states_and_default_type_are_left_alone():
    before = torch.get_rng_state(), [str(part) for part in np.random.get_state()]  # noqa: NPY002
    model = trained(start_of(mlp, 1)).double()
    guess_initial_state(model, mlp, seeds=range(3), skips=(2,))
    with pytest.raises(InvalidInputError, match="raised"):
        guess_initial_state(model, lambda: 1 / 0, seeds=range(3))
    assert torch.equal(before[0], torch.get_rng_state())
    assert before[1] == [str(part) for part in np.random.get_state()]  # noqa: NPY002
    assert torch.get_default_dtype() == torch.float32


@pytest.mark.gpu
def test_a_network_drawn_on_cuda():
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")

    def build():
        with torch.device("cuda"):
            return mlp()

    start = start_of(build, 3)
    for factory in (build, mlp, None):
        found = guess_initial_state(trained(start), factory, seeds=SEEDS, devices=("cpu", "cuda"))
        assert_start(found, start, 3)
