"""Networks on which the answer is known in closed form: linear ones and random two-layer ones."""

import math
from functools import partial
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from assay.adversarial import MALT, Lp, TargetedAPGD, almost_linearity, malt_scores
from assay.adversarial.attacks import expected_gradient_change
from assay.core import predict, seeded
from assay.nets import mlp
from assay.studies.adversarial.malt.settings import Settings


def score_linear(settings: Settings, seed: int) -> dict[str, float]:
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
    return {"error": max(errors), "agreement": min(agreement), "malt": trap("malt"), "naive": trap("naive")}


def trap(ranking: Literal["malt", "naive"]) -> float:
    """Attack one target of a network whose runner-up is far away and whose least likely class is near."""
    model = nn.Linear(2, 3).double()
    model.weight.data = torch.tensor([[0.0, 0.0], [0.2, 0.0], [0.0, 2.0]], dtype=torch.float64)
    model.bias.data = torch.tensor([1.0, 0.0, -1.0], dtype=torch.float64)
    threat = Lp(norm=math.inf, eps=1.1, input_range=(-10.0, 10.0))
    attack = TargetedAPGD(threat, n_iter=20, loss="ce", random_state=None)  # a random start can be across a boundary
    result = MALT(attack, k=1, ranking=ranking).run(model, torch.zeros(1, 2).double(), torch.tensor([0]))
    return result.success.double().item()


def turn_gradients(settings: Settings, seed: int) -> dict[str, Tensor]:
    """Measure the gradient's change in random two-layer networks, along a random direction and along the gradient.

    Returns:
        Relative changes by direction, and by the formula, of shape (dimensions, radii).
    """
    width, source = settings.width, seeded(seed)
    changes: dict[str, list[Tensor]] = {"random": [], "gradient": []}
    for n_features in settings.features:
        model = mlp((n_features, width, 2), bias="none", generator=source)
        model[0].weight.data = torch.randn(width, n_features, generator=source) / n_features**0.5
        signs = torch.randint(2, (width,), generator=source) * 2.0 - 1
        model[2].weight.data = torch.stack([torch.zeros(width), signs / width**0.5])
        x, random = torch.randn(2, 10, n_features, generator=source)
        x = F.normalize(x) * n_features**0.5
        gradient = ((model[0](x) > 0) * signs) @ model[0].weight.data
        pairs = torch.tensor([[1, 0]]).expand(10, 2)
        for name, direction in (("random", random), ("gradient", gradient)):
            curve = almost_linearity(model, x, F.normalize(direction), torch.tensor(settings.radii), pairs)
            changes[name].append(curve.gradient_change.mean(0).double())
    expected = [[expected_gradient_change(radius, n) for radius in settings.radii] for n in settings.features]
    formula = torch.tensor(expected, dtype=torch.float64)
    return {**{name: torch.stack(found) for name, found in changes.items()}, "formula": formula}
