"""A network whose causal graph is known: half of the units of each layer carry the class."""

import torch
from torch import Tensor, nn

from assay.attribution import find_causal_graph
from assay.core import seeded
from assay.nets import mlp

WIDTH = 12


def planted_network(seed: int) -> tuple[nn.Module, Tensor, tuple[set[int], set[int]]]:
    """Return a network, samples of its class 0, and the units of the two hidden layers that carry the class.

    All other units have zero weight to the class, or to the units that carry it, and random weights to the rest.
    """
    source = seeded(seed)
    model = mlp((8, WIDTH, WIDTH, 3), bias="none", generator=source).double()
    chosen = [torch.randperm(WIDTH, generator=source)[: WIDTH // 2] for _ in range(2)]

    def weights(*shape: int) -> Tensor:
        return 0.5 + torch.rand(shape, generator=source, dtype=torch.float64)

    with torch.no_grad():
        first, second, last = model.parameters()
        first[chosen[0]] = weights(WIDTH // 2, 8)
        second[chosen[1]] = 0.0
        second[chosen[1][:, None], chosen[0]] = weights(WIDTH // 2, WIDTH // 2)
        last[0] = 0.0
        last[0, chosen[1]] = weights(WIDTH // 2)
    return model, weights(100, 8), (set(chosen[0].tolist()), set(chosen[1].tolist()))


def planted_errors(seed: int) -> dict[str, float]:
    """Count the units that are missed, and those that are chosen without being causes."""
    model, x, planted = planted_network(seed)
    found = find_causal_graph(model, x, 0).causes[1:]
    missed = sum(len(truth - set(causes)) for truth, causes in zip(planted, found, strict=True))
    false = sum(len(set(causes) - truth) for truth, causes in zip(planted, found, strict=True))
    return {"missed": missed, "false": false}
