"""What the study of MALT holds its networks against: closed forms, and distances found by bisection."""

import math
from dataclasses import replace
from functools import partial
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from assay.adversarial import (
    MALT,
    Lp,
    TargetedAPGD,
    almost_linearity,
    malt_scores,
)
from assay.adversarial.attacks import (
    expected_gradient_change,
)
from assay.core import predict, seeded
from assay.nets import mlp

RandomNetworks = tuple[int, tuple[int, ...], tuple[float, ...], int]
"""Hidden units, input dimensions, radii and the seed."""


def exact_cases(seed: int) -> dict[str, float]:
    """Compare scores with exact distances on a linear network, and set a trap for the naive ranking."""
    source = seeded(seed)
    draw = partial(torch.randn, generator=source, dtype=torch.float64)
    model, x = nn.Linear(20, 12).double(), draw(200, 20)
    model.weight.data, model.bias.data = draw(12, 20), draw(12)
    y = predict(model, x).argmax(1)
    errors, agreement = [], []
    for norm, dual in ((math.inf, 1), (2.0, 2)):
        planes = model.weight.data[y][:, None] - model.weight.data[None]
        gaps = (planes @ x[:, :, None]).squeeze(2) + model.bias.data[y][:, None] - model.bias.data
        exact = (gaps / planes.norm(p=dual, dim=2)).scatter(1, y[:, None], math.inf)
        scores, other = malt_scores(model, x, y, norm=norm), torch.arange(12) != y[:, None]
        errors.append((scores[other] / exact[other] - 1).abs().max().item())
        agreement.append((scores.argsort(1) == exact.argsort(1)).all(1).double().mean().item())
    return {"error": max(errors), "agreement": min(agreement), **{name: trap(name) for name in ("malt", "naive")}}


def trap(ranking: Literal["malt", "naive"]) -> float:
    """Attack one target of a network whose runner-up is far away and whose least likely class is near."""
    model = nn.Linear(2, 3).double()
    model.weight.data = torch.tensor([[0.0, 0.0], [0.2, 0.0], [0.0, 2.0]], dtype=torch.float64)
    model.bias.data = torch.tensor([1.0, 0.0, -1.0], dtype=torch.float64)
    attack = TargetedAPGD(Lp(norm=math.inf, eps=1.1, input_range=(-10.0, 10.0)), n_iter=20, loss="ce")
    result = MALT(attack, k=1, ranking=ranking).run(model, torch.zeros(1, 2).double(), torch.tensor([0]))
    return result.success.double().item()


def random_networks(cell: RandomNetworks) -> dict[str, Any]:
    """Measure the gradient's change in random two-layer networks, along a random direction and along the gradient."""
    width, dimensions, radii, seed = cell
    source = seeded(seed)
    rows = []
    for n_features in dimensions:
        model = mlp((n_features, width, 2), bias="none", generator=source)
        model[0].weight.data = torch.randn(width, n_features, generator=source) / n_features**0.5
        signs = torch.randint(2, (width,), generator=source) * 2.0 - 1
        model[2].weight.data = torch.stack([torch.zeros(width), signs / width**0.5])
        x, random = torch.randn(2, 10, n_features, generator=source)
        x = F.normalize(x) * n_features**0.5
        gradient = ((model[0](x) > 0) * signs) @ model[0].weight.data
        pairs = torch.tensor([[1, 0]]).expand(10, 2)
        for direction, name in ((random, "random"), (gradient, "gradient")):
            curve = almost_linearity(model, x, F.normalize(direction), torch.tensor(radii), pairs)
            for radius, change in zip(radii, curve.gradient_change.mean(0), strict=True):
                expected = expected_gradient_change(radius, n_features)
                rows.append({"d": n_features, "R": radius, "along": name, "change": change.item(), "formula": expected})
    return {"rows": rows}


def distances_to(model: nn.Module, x: Tensor, target: Tensor, attack: TargetedAPGD) -> Tensor:
    """Bisect the smallest of 64 radii, each 7.5% above the last, at which an attack reaches the target itself."""
    ladder = 0.005 * 1.075 ** torch.arange(64)
    low, high = torch.zeros_like(target), torch.full_like(target, 64)  # 64: out of reach
    while (low < high).any():
        middle = (low + high) // 2
        for level in middle[low < high].unique():
            rows = ((middle == level) & (low < high)).nonzero().squeeze(1)
            threat = replace(attack.threat, eps=ladder[level].item())
            strict = replace(attack, threat=threat, loss="ce", strict_target=True)
            reached = predict(model, strict(model, x[rows], target[rows])).argmax(1) == target[rows]
            high[rows] = torch.where(reached, level, high[rows])
            low[rows] = torch.where(reached, low[rows], level + 1)
    return low.double()
