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
    search = search_architectures(SPACE, build, width, n_children=600, generator=seeded(0))
    drawn = [(child.architecture["width"], child.architecture["bias"]) for child in search.children]
    counts = torch.tensor([drawn.count((w, b)) for w in SPACE["width"] for b in SPACE["bias"]])
    # Six cells of 100 expected each: chi-squared with 5 degrees of freedom is below 20.5 in 99.9% of draws.
    assert (((counts - 100) ** 2) / 100).sum() < 20.5
    assert search.best.architecture["width"] == 3
    assert all(child.reward == width(child.model) for child in search.children)
    assert search.probabilities["width"].tolist() == pytest.approx([1 / 3] * 3)
    assert str(search).startswith("Best of 600")


def test_the_controller_takes_the_gradient_step_of_the_log_probability():
    search = search_architectures(SPACE, build, width, n_children=3, strategy="reinforce", generator=seeded(1))
    logits = {name: torch.zeros(len(options), dtype=torch.float64) for name, options in SPACE.items()}
    for number, child in enumerate(search.children[1:], 1):
        baseline = sum(earlier.reward for earlier in search.children[:number]) / number
        for name, theta in logits.items():
            theta.requires_grad_()
            chosen = SPACE[name].index(child.architecture[name])
            (gradient,) = torch.autograd.grad(theta.log_softmax(0)[chosen], theta)
            logits[name] = (theta + 0.5 * (child.reward - baseline) * gradient).detach()
    for name, theta in logits.items():
        torch.testing.assert_close(search.probabilities[name], theta.softmax(0))


def test_the_controller_comes_to_prefer_what_is_rewarded():
    search = search_architectures(SPACE, build, width, n_children=200, strategy="reinforce", generator=seeded(2))
    assert search.probabilities["width"].argmax() == 2
    assert search.probabilities["width"][2] > 0.8


def test_the_draws_are_the_generators():
    runs = [search_architectures(SPACE, build, width, n_children=9, generator=seeded(seed)) for seed in (3, 3, 4)]
    first, again, other = ([child.architecture for child in run.children] for run in runs)
    assert first == again != other


def test_bad_input_is_named():
    for space in ({}, {"width": ()}):
        with pytest.raises(InvalidInputError, match="at least one option"):
            search_architectures(space, build, width, n_children=1)
    with pytest.raises(InvalidInputError, match="n_children"):
        search_architectures(SPACE, build, width, n_children=0)
    with pytest.raises(InvalidInputError, match="learning_rate"):
        search_architectures(SPACE, build, width, n_children=1, learning_rate=0.0)
    with pytest.raises(NumericalError, match="reward of"):
        search_architectures(SPACE, build, lambda model: math.nan, n_children=1)
