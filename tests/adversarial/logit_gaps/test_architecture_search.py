import math

import pytest
import torch
from torch import nn

from assay.adversarial import search_architectures
from assay.core import InvalidInputError, NumericalError, seeded

SPACE = {"width": (1, 2, 3), "bias": (False, True)}


def build(architecture):
    return nn.utils.skip_init(nn.Linear, 1, architecture["width"], bias=architecture["bias"])


def width(model):
    return model.out_features / 3


def test_random_search_draws_uniformly_and_returns_the_best():
    search = search_architectures(SPACE, build, width, n_trials=600, generator=seeded(0))
    drawn = [(trial.architecture["width"], trial.architecture["bias"]) for trial in search.trials]
    counts = torch.tensor([drawn.count((w, b)) for w in SPACE["width"] for b in SPACE["bias"]])
    # Six cells of 100 expected each: chi-squared with 5 degrees of freedom is below 20.5 in 99.9% of draws.
    assert (((counts - 100) ** 2) / 100).sum() < 20.5
    assert search.best.architecture["width"] == 3
    assert all(trial.reward == width(trial.model) for trial in search.trials)
    assert search.probabilities["width"].tolist() == pytest.approx([1 / 3] * 3)
    assert str(search).startswith("Best of 600")


def test_the_controller_takes_the_gradient_step_of_the_log_probability():
    search = search_architectures(SPACE, build, width, n_trials=3, strategy="reinforce", generator=seeded(1))
    logits = {name: torch.zeros(len(options), dtype=torch.float64) for name, options in SPACE.items()}
    for number, trial in enumerate(search.trials[1:], 1):
        baseline = sum(earlier.reward for earlier in search.trials[:number]) / number
        for name, theta in logits.items():
            theta.requires_grad_()
            chosen = SPACE[name].index(trial.architecture[name])
            (gradient,) = torch.autograd.grad(theta.log_softmax(0)[chosen], theta)
            logits[name] = (theta + 0.5 * (trial.reward - baseline) * gradient).detach()
    for name, theta in logits.items():
        torch.testing.assert_close(search.probabilities[name], theta.softmax(0))


def test_the_controller_comes_to_prefer_what_is_rewarded():
    search = search_architectures(SPACE, build, width, n_trials=200, strategy="reinforce", generator=seeded(2))
    assert search.probabilities["width"].argmax() == 2
    assert search.probabilities["width"][2] > 0.8


def test_the_draws_are_the_generators():
    runs = [search_architectures(SPACE, build, width, n_trials=9, generator=seeded(seed)) for seed in (3, 3, 4)]
    first, again, other = ([trial.architecture for trial in run.trials] for run in runs)
    assert first == again != other


def test_bad_input_is_named():
    for space in ({}, {"width": ()}):
        with pytest.raises(InvalidInputError, match="at least one option"):
            search_architectures(space, build, width, n_trials=1)
    with pytest.raises(InvalidInputError, match="n_trials"):
        search_architectures(SPACE, build, width, n_trials=0)
    with pytest.raises(InvalidInputError, match="lr"):
        search_architectures(SPACE, build, width, n_trials=1, lr=0.0)
    with pytest.raises(NumericalError, match="reward of"):
        search_architectures(SPACE, build, lambda model: math.nan, n_trials=1)
