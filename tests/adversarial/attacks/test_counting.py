import math

import torch
from torch import nn
from torch.func import vjp, vmap

from assay.adversarial import MALT, Lp, TargetedAPGD
from assay.adversarial.attacks import PassCounter, check_attackable
from assay.core import seeded
from helpers.adversarial_networks import UNBOUNDED, points, random_mlp


def test_batched_cotangents_are_counted_one_by_one_and_change_nothing():
    source = seeded(0)
    model = random_mlp([4, 6, 3], source)
    x, cotangents = points(5, 4, source), torch.randn(7, 5, 3, generator=source, dtype=torch.float64)
    counted = PassCounter(model)
    pull_back = vjp(counted, x)[1]
    gradients = vmap(lambda u: pull_back(u)[0], chunk_size=3)(cotangents)
    assert (counted.n_forward, counted.n_backward) == (5, 35)
    plain = vjp(model, x)[1]
    for row, cotangent in zip(gradients, cotangents, strict=True):
        torch.testing.assert_close(row, plain(cotangent)[0])


def test_an_unsuccessful_run_costs_what_the_algorithm_says():
    """Nothing breaks at a vanishing radius, so every sample pays for every candidate, target and iteration."""
    source = seeded(1)
    model, x = random_mlp([4, 16, 6], source), points(8, 4, source)
    y = model(x).argmax(1)
    seen: list[int] = []
    model.register_forward_hook(lambda module, inputs, output: seen.append(len(output)))
    attack = TargetedAPGD(Lp(norm=math.inf, eps=1e-9, input_range=UNBOUNDED), n_iter=10)
    check_attackable(model, x, y)
    look = sum(seen)
    result = MALT(attack, k=3, candidates=4).run(model, x, y)
    assert not result.success.any()
    assert result.n_backward == 8 * 4 + 3 * 10 * 8
    assert result.n_forward == sum(seen) - 2 * look - 8  # beside them one look, and each gradient's test for masking


def test_the_wrapper_is_a_module_like_the_wrapped():
    model = nn.Linear(2, 3)
    assert [p is q for p, q in zip(PassCounter(model).parameters(), model.parameters(), strict=True)] == [True, True]
