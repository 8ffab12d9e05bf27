"""Seeds are found on networks that plain scripts trained, and their starts returned bit for bit."""

import copy
import warnings
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from assay.core import InvalidInputError, isolated_rng, seeded
from assay.reconstruction import InitialState, guess_initial_state
from assay.reconstruction.known_start import INITIALIZERS

SEEDS = range(50)


def mlp():
    return nn.Sequential(nn.Flatten(), nn.Linear(40, 30), nn.ReLU(), nn.Linear(30, 3))


def convolution():
    return nn.Sequential(
        nn.Conv2d(1, 6, 3),
        nn.BatchNorm2d(6),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(6 * 3 * 6, 8),
        nn.ReLU(),
        nn.Linear(8, 3),
    )


def start_of(build, seed, before=lambda: None):
    with isolated_rng(seed):
        before()
        return build()


SGD = partial(torch.optim.SGD, lr=0.1)
TRAININGS = {
    "SGD": SGD,
    "momentum": partial(torch.optim.SGD, lr=0.05, momentum=0.9),
    "decay": partial(torch.optim.SGD, lr=0.1, weight_decay=1e-2),
    "Adam": partial(torch.optim.Adam, lr=1e-3),
    "AdamW": partial(torch.optim.AdamW, lr=1e-3, weight_decay=0.1),
}


def trained(network, optimizer=SGD, *, n_iter=60, batch_size=12):
    """Train as a tutorial does, on random samples of 5 x 8 pixels."""
    network = copy.deepcopy(network)
    source = seeded(5)
    weight = next(network.parameters())
    x = torch.rand(12, 1, 5, 8, generator=source).to(weight)
    y = torch.arange(12) % 3
    steps = optimizer([value for value in network.parameters() if value.requires_grad])
    for _ in range(n_iter):
        for part in torch.randperm(12, generator=source).split(batch_size):
            steps.zero_grad()
            F.cross_entropy(network(x[part]), y[part]).backward()
            steps.step()
    return network.eval()


def assert_start(found, start, seed):
    assert found.found, str(found)
    assert found.seed == seed
    assert found.state.keys() == start.state_dict().keys()
    for name, value in start.state_dict().items():
        assert torch.equal(found.state[name], value), name


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


# --- A start that is given ------------------------------------------------------------------------------------------


def test_a_checkpoint_is_the_start_of_what_was_fine_tuned_from_it():
    base = trained(start_of(mlp, 1))
    source = seeded(0)
    tuned = trained(base, TRAININGS["decay"])
    found = InitialState.from_checkpoint(tuned, base.state_dict())
    assert found.found
    assert found.seed is None
    assert found.unchanged == ()
    assert found.share == pytest.approx((1 - 1e-3) ** 60, abs=2e-3)
    head = copy.deepcopy(base)
    head[1].requires_grad_(False)
    found = InitialState.from_checkpoint(trained(head), {f"module.{n}": v for n, v in base.state_dict().items()})
    assert found.found
    assert found.unchanged == ("1.weight", "1.bias")
    adapted = copy.deepcopy(base)
    with torch.no_grad():
        adapted[1].weight += 0.1 * torch.randn(30, 2, generator=source) @ torch.randn(2, 40, generator=source)
    found = InitialState.from_checkpoint(adapted, base.state_dict())
    assert found.found
    assert found.unchanged == ("1.bias", "3.weight", "3.bias")
    assert found.shares["1.weight"] == 1.0


def test_another_checkpoint_is_not_the_start():
    found = InitialState.from_checkpoint(trained(start_of(mlp, 1)), start_of(mlp, 2).state_dict())
    assert not found.found
    assert "do not come from the checkpoint" in str(found)


def test_a_checkpoint_of_another_network_is_refused():
    state = mlp().state_dict()
    with pytest.raises(InvalidInputError, match=r"lacks parameters .*3\.weight.*head"):
        InitialState.from_checkpoint(mlp(), {name: value for name, value in state.items() if name != "3.weight"})
    with pytest.raises(InvalidInputError, match="another shape"):
        InitialState.from_checkpoint(mlp(), state | {"3.weight": torch.ones(2, 30)})


# --- Bad input ------------------------------------------------------------------------------------------------------


def other():
    return nn.Sequential(nn.Flatten(), nn.Linear(40, 20), nn.ReLU(), nn.Linear(20, 3))


def reseeds():
    torch.manual_seed(0)
    return mlp()


def breaks():
    raise RuntimeError("no such file.\nSee above")


COUNTER = iter(range(10**6))


def counts():
    network = mlp()
    nn.init.constant_(network[3].bias, next(COUNTER))
    return network


REFUSED = {
    "another architecture": (
        {"build": other},
        r"another architecture .*1\.weight is \(20, 40\) in place of \(30, 40\)",
    ),
    "fewer layers": ({"build": lambda: mlp()[:2]}, "lacks 3.weight, 3.bias"),
    "raises": ({"build": breaks}, r"build raised RuntimeError \(no such file\); pass"),
    "no module": ({"build": lambda: None}, "build must return"),
    "a network": ({"build": 3}, "build must be a function"),
    "sets its own seed": ({"build": reseeds}, "does not vary with the seed"),
    "depends on more than the seed": ({"build": counts}, "other weights at a second call"),
    "no seeds": ({"seeds": []}, "no seed"),
    "no integer": ({"seeds": [0.5]}, "every seed must be a whole number"),
    "no skip": ({"skips": ()}, "must not be empty"),
    "skip backwards": ({"skips": (-1,)}, "every skip"),
    "unknown initialiser": ({"initializers": ["he"]}, "initializers must be one of"),
    "initialisers of a factory": ({"build": mlp, "initializers": ["default"]}, "without build only"),
    "unknown device": ({"devices": ("abacus",)}, "cannot be used here"),
    "level": ({"level": 0.0}, "level"),
}


@pytest.mark.usefixtures("as_users_run_it")
@pytest.mark.parametrize("case", REFUSED)
def test_bad_input_is_refused_with_its_mend(case):
    options, says = REFUSED[case]
    with pytest.raises(InvalidInputError, match=says):
        guess_initial_state(mlp(), **({"seeds": range(3)} | options))


def test_layers_without_a_rule_of_their_own_need_the_factory():
    attention = nn.MultiheadAttention(8, 2)
    with pytest.raises(InvalidInputError, match=r"in_proj_weight.*pass build"):
        guess_initial_state(attention, seeds=range(3))
    start = start_of(lambda: nn.MultiheadAttention(8, 2), 2)
    assert guess_initial_state(start, lambda: nn.MultiheadAttention(8, 2), seeds=range(5)).seed == 2
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        normed = nn.Sequential(nn.Flatten(), nn.utils.weight_norm(nn.Linear(40, 30)), nn.Linear(30, 3))
    with pytest.raises(InvalidInputError, match=r"weight_g.*pass build"):
        guess_initial_state(normed, seeds=range(3))
    with pytest.raises(InvalidInputError, match="not initialised"):
        guess_initial_state(nn.Sequential(nn.LazyLinear(3)), seeds=range(3))
