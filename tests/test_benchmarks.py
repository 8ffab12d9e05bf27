import importlib
import json
from functools import partial
from pathlib import Path

import pytest
import torch

from assay.core import seeded
from assay.nets import mlp
from assay.reconstruction import KKTReconstructor
from assay.studies.reconstruction.shared.victims import Trained

FOLDER = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def benchmark(monkeypatch):
    if not FOLDER.exists():
        pytest.skip("benchmarks/ is not shipped")
    monkeypatch.syspath_prepend(str(FOLDER))
    return importlib.import_module("reconstruction")


def test_the_published_search_takes_the_steps_of_its_equations(benchmark):
    """Follow three steps with every sample's parameter gradient written out."""
    x = torch.rand(4, 1, 3, 3, generator=seeded(0))
    network = mlp((9, 7, 1), bias="first")
    options = benchmark.Published(steps=3, every=3, init_scale=2.0, lr_multipliers=0.05)
    ((_, found),) = benchmark.search_as_published(Trained(network, x, torch.tensor([0, 1, 0, 1]), x), options)

    weight, bias, last = (parameter.detach() for parameter in network.parameters())
    source = seeded(0)
    x, multipliers = options.init_scale * torch.randn(8, 9, generator=source), torch.rand(8, generator=source)
    signs = torch.tensor([-1.0, 1.0]).repeat(4)
    speeds = [torch.zeros_like(x), torch.zeros_like(multipliers)]
    for _ in range(3):
        x, multipliers = x.detach().requires_grad_(), multipliers.detach().requires_grad_()
        z = x @ weight.T + bias
        gates = torch.sigmoid(options.relu_alpha * z)
        # The unit's value is a ReLU, but its derivative is the gate wherever one is taken.
        units = gates.detach() * z + (z.relu() - gates * z).detach()
        share = multipliers * signs / 8
        gap = (last[0] - sum(share[i] * units[i] for i in range(8))).square().sum()
        gap = gap + (bias - sum(share[i] * gates[i] * last[0] for i in range(8))).square().sum()
        outer = sum(share[i] * torch.outer(gates[i] * last[0], x[i]) for i in range(8))
        gap = gap + (weight - outer).square().sum()
        floor = 5 * (options.lambda_min - multipliers).clamp_min(0).square().sum()
        box = (x - 1).clamp_min(0).square().sum() + (-1 - x).clamp_min(0).square().sum()
        slopes = torch.autograd.grad(gap + floor + box, (x, multipliers))
        speeds = [options.momentum * speed + slope for speed, slope in zip(speeds, slopes, strict=True)]
        x, multipliers = x - options.lr_x * speeds[0], multipliers - options.lr_multipliers * speeds[1]
    torch.testing.assert_close(found, x, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("repeat", "restarts"), [(False, 2), (True, 1)])
def test_ours_alone_is_repeated_when_asked(benchmark, monkeypatch, tmp_path, repeat, restarts):
    monkeypatch.setattr(benchmark, "KKTReconstructor", partial(KKTReconstructor, n_candidates=4, n_iter=2))
    x = torch.rand(4, 1, 3, 3, generator=seeded(0))
    trained = Trained(mlp((9, 7, 1), bias="first"), x, torch.tensor([0, 1, 0, 1]), x.flip(0))
    published = {"seconds": 1e-6, "n75": 3}
    unseen = [-1.0] * 4
    ours = {"seconds": 0.0, "best": unseen, "held out": unseen, "random": unseen, "history": [[0.0, 0, 0, 0, 0]]}
    path = tmp_path / "network.json"
    path.write_text(json.dumps({"published": published, "ours": ours}))

    record = benchmark.attack_with_both(path, trained, benchmark.Published(), full=False, repeat=repeat)
    assert record == json.loads(path.read_text())
    assert record["published"] == published
    assert len(record["ours"]["history"]) == restarts
