"""What keeps a start from being guessed is refused with its mend."""

import warnings

import pytest
import torch
from torch import nn

from assay.core import InvalidInputError
from assay.reconstruction import guess_initial_state
from helpers.trained_networks import mlp, start_of


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
    "integers": ({"dtypes": [torch.int32]}, "every dtype"),
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
    normed = nn.Sequential(nn.Flatten(), nn.utils.parametrizations.spectral_norm(nn.Linear(40, 30)), nn.Linear(30, 3))
    with pytest.raises(InvalidInputError, match=r"original.*pass build"):
        guess_initial_state(normed.double(), seeds=range(3))
    with pytest.raises(InvalidInputError, match="not initialised"):
        guess_initial_state(nn.Sequential(nn.LazyLinear(3)), seeds=range(3))


def test_weights_of_one_value_have_no_start_to_compare():
    model = mlp()
    with torch.no_grad():
        for value in model.parameters():
            value.zero_()
    with pytest.raises(InvalidInputError, match="nothing to compare"):
        guess_initial_state(model, seeds=range(3))
