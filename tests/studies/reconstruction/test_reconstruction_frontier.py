from functools import partial

import numpy as np
import pytest
import torch
from torch.func import functional_call, jvp

from assay.core import cross_entropy, fit, flatten, named_parameters, seeded, signs
from assay.lab import Grid
from assay.studies.reconstruction.reconstruction_frontier import study
from assay.studies.reconstruction.reconstruction_frontier.equal_time import train_few_steps
from assay.studies.reconstruction.reconstruction_frontier.known_start import NETWORKS, train_known_start, unexplained
from assay.studies.reconstruction.reconstruction_frontier.settings import Settings
from assay.studies.reconstruction.reconstruction_frontier.shadow_models import train_heads

SETTINGS = Settings(source="fashion", n=6, steps=500, lr=3e-3)


@pytest.fixture(scope="module")
def run(smoke_run):
    return smoke_run("reconstruction-frontier")


def test_every_claim_is_measured_and_what_is_not_says_why(run):
    assert {entry.claim for entry in run.evidence if entry.values} == set(study.STUDY.claims)
    assert [entry.reason for entry in run.evidence if not entry.values] == [study.NO_RESNET]
    assert [figure["name"] for figure in run.figures] == ["known-start", "simulated", "noise"]


def test_the_tables_have_every_network_and_every_variant(run):
    tables = {table["name"]: [row[0] for row in table["rows"]] for table in run.tables}
    assert tables["known-start"] == list(NETWORKS)
    assert tables["simulated"] == ["dense", "convolution"]
    assert tables["shadows"] == list(study.STUDY.settings("smoke").noises)
    assert tables["ablation"] == list(study.VARIANTS)


def test_the_linear_limit_is_where_gradient_descent_on_the_linearised_network_ends():
    victim = train_known_start(SETTINGS, 30, 0, linear=True)
    start, targets = named_parameters(victim.start), signs(victim.y).double()
    moved = {name: torch.zeros_like(value) for name, value in start.items()}

    def linearised(*moves):
        outputs = partial(functional_call, victim.start)
        tangents = dict(zip(start, moves, strict=True))
        value, change = jvp(lambda weights: outputs(weights, (victim.inputs,)), (start,), (tangents,))
        return (value + change).squeeze(1)

    velocity = {name: torch.zeros_like(value) for name, value in start.items()}
    for _ in range(1000):
        moves = [value.requires_grad_() for value in moved.values()]
        loss = (linearised(*moves) - targets).square().mean()
        for name, slope in zip(moved, torch.autograd.grad(loss, moves), strict=True):
            velocity[name] = 0.9 * velocity[name] + slope
            moved[name] = moved[name].detach() - 0.03 * velocity[name]
    assert loss < 1e-10
    assert victim.loss < 1e-20
    ends = {name: value + moved[name].detach() for name, value in start.items()}
    torch.testing.assert_close(flatten(named_parameters(victim.end)), flatten(ends), rtol=0, atol=1e-5)
    assert unexplained(victim)["initial"] < 1e-6


def test_the_displacement_is_explained_better_the_wider_the_network():
    left = [[unexplained(train_known_start(SETTINGS, width, seed)) for seed in (0, 1)] for width in (20, 100, 1000)]
    for kernel in ("initial", "both"):
        narrow, middle, wide = (np.mean([net[kernel] for net in row]) for row in left)
        assert narrow > middle > wide
    for net in (net for row in left for net in row):
        assert net["both"] <= min(net["initial"], net["final"])


def test_few_steps_are_those_of_gradient_descent():
    x, y, others, start, end = train_few_steps(Settings(digits=4, digit_steps=3, digit_lr=0.5), "dense", 0)
    fit(start, x, y, loss=cross_entropy, optimizer=partial(torch.optim.SGD, lr=0.5), n_iter=3)
    assert torch.equal(flatten(named_parameters(start)), flatten(named_parameters(end)))
    assert (torch.cdist(x, others) > 0).all()


@pytest.mark.parametrize("noise", [0.0, 2.0])
def test_heads_are_trained_on_clipped_gradients(noise):
    pools = [torch.rand(3, 64, generator=seeded(k)) for k in (1, 2)]
    weights, images, drawn = train_heads(Settings(head_steps=2, head_lr=0.5), noise, pools, 2, seed=3)
    source = seeded(3)
    torch.testing.assert_close(drawn, torch.stack([torch.randint(3, (2,), generator=source) for _ in pools], 1))
    start = 0.01 * torch.randn(2, 2, 65, generator=source)
    noises = [noise * torch.randn(2, 2, 65, generator=source) for _ in range(2)]
    for head in range(2):
        weight = start[head]
        for step in range(2):
            total = noises[step][head].clone()
            for label in range(2):
                leaf = weight.clone().requires_grad_()
                x = torch.cat([images[head, label], torch.ones(1)])
                torch.nn.functional.cross_entropy((leaf @ x)[None], torch.tensor([label])).backward()
                total += leaf.grad / leaf.grad.norm().clamp_min(1.0)
            weight = weight - 0.5 * total / 2
        torch.testing.assert_close(weights[head], weight.flatten(), rtol=1e-4, atol=1e-5)


def test_the_price_is_paid_at_the_least_noise_that_stops_the_attack():
    told, accuracy = ([0.5, 0.5], [0.04, 0.5], [0.0, 0.5]), ([0.9, 0.9], [0.8, 0.8], [0.6, 0.6])
    cells = [
        {"members told": rate, "accuracy": share}
        for rates, shares in zip(told, accuracy, strict=True)
        for rate, share in zip(rates, shares, strict=True)
    ]
    shadows = Grid({"noise": (0.0, 1.0, 2.0), "seed": (0, 1)}, tuple(cells))
    np.testing.assert_allclose(study.price(shadows), [0.1, 0.3])
