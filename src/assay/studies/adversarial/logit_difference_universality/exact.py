"""Where the law of the gaps is known, and what first order predicts of a network's decisions."""

import torch
from torch import Tensor, nn

from assay.adversarial import (
    MALT,
    Lp,
    TargetedStep,
    linear_response_radius,
    logit_differences,
)
from assay.adversarial.logit_gaps import (
    gap_exponent,
)
from assay.core import predict, seeded
from assay.lab import Lab


def exact_cases(cell: tuple[int, int]) -> dict[str, float]:
    """Read the exponents off independent scores, and compare prediction and measurement on a linear network."""
    n, seed = cell
    source = seeded(seed)
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


def measure_exact(lab: Lab, cells: list[dict[str, float]]) -> None:
    """C1 and C2 where nothing is left to the network."""
    what = "independent scores of three laws: worst error of the exponent of ranks 2 to 4"
    lab.measure("C1", [cell["exponents"] for cell in cells], at_most=0.25, what=what)
    what = "linear network: share of points whose predicted flip is the measured one, at five sizes"
    lab.measure("C2", [cell["agreement"] for cell in cells], at_least=1.0, what=what)
