"""Scores whose gaps have a known law, and what first order predicts of a network's decisions."""

import torch
from torch import Tensor, nn

from assay.adversarial import MALT, Lp, TargetedStep, linear_response_radius, logit_differences
from assay.adversarial.logit_gaps import gap_exponent
from assay.core import predict, seeded
from assay.studies.adversarial.logit_difference_universality.settings import Settings


def exact_cases(settings: Settings, seed: int) -> dict[str, float]:
    """Read the exponents off independent scores, and compare prediction and measurement on a linear network."""
    n, source = settings.n_law, seeded(seed)
    uniform = torch.rand(n, 10, generator=source, dtype=torch.float64)
    laws = (torch.randn(n, 10, generator=source, dtype=torch.float64), uniform, -(-uniform.log()).log())
    gaps = [logit_differences(scores).T for scores in laws]
    errors = [abs(gap_exponent(gap).exponent - power) for gap_of in gaps for power, gap in enumerate(gap_of, 1)]
    model, x = nn.Linear(20, 10).double(), torch.randn(300, 20, generator=source, dtype=torch.float64)
    model.weight.data = torch.randn(10, 20, generator=source, dtype=torch.float64)
    model.bias.data = torch.randn(10, generator=source, dtype=torch.float64)
    radius, agreement = linear_response_radius(model, x), []
    for size in torch.logspace(-2, 0, 5).tolist():
        agreement.append((step_to_all(model, x, size) == (radius < size)).double().mean().item())
    return {"exponents": max(errors), "agreement": min(agreement)}


def step_to_all(model: nn.Module, x: Tensor, size: float) -> Tensor:
    """Return which decisions change when each class in turn is approached by its own best step."""
    threat = Lp(norm=torch.inf, eps=size, input_range=(-torch.inf, torch.inf))
    attack = MALT(TargetedStep(threat), k=9, ranking="naive")
    return attack.run(model, x, predict(model, x).argmax(1)).success


def first_order_errors(model: nn.Module, x: Tensor, sizes: Tensor) -> list[float]:
    """Return the relative error of the predicted share of flips at each size that flips ten decisions at least."""
    radius, off = linear_response_radius(model, x, batch_size=1000), []
    for size in sizes.tolist():
        measured, foreseen = int(step_to_all(model, x, size).sum()), int((radius < size).sum())
        if measured >= 10:  # fewer make a relative error of ten percent by one sample
            off.append(abs(foreseen / measured - 1))
    return off
