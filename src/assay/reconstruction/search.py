"""The search for samples whose weighted gradients add up to the weights, many starts at a time."""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.func import functional_call, vmap

from assay.core import NumericalError, margins, named_parameters, track
from assay.reconstruction.surrogate import SurrogateReLU, set_sharpness


class StationarityGap:
    r"""Compute $\lVert\theta - \sum_i \lambda_i \nabla_\theta m(\theta; x_i, y_i)\rVert^2 / \lVert\theta\rVert^2$.

    Several sets of candidates, the restarts, are measured at once: each gets its own copy of the parameters, a view,
    so that one backward pass gives every set its sum of gradients. A chain of dense layers runs as batched matrix
    products; any other network through `torch.func.vmap`.

    Args:
        model: Network with `SurrogateReLU` gates; its weights are the target and stay fixed.
        y: Labels of one set's candidates.
    """

    def __init__(self, model: nn.Module, y: Int[Tensor, " m"]) -> None:
        self.model = model
        self.y = y
        self.weights = named_parameters(model)
        self.energy = float(sum(value.square().sum() for value in self.weights.values()))
        self.is_chain = isinstance(model, nn.Sequential) and all(
            isinstance(layer, (nn.Linear, SurrogateReLU)) for layer in model
        )

    def __call__(self, x: Float[Tensor, "r m ..."], multipliers: Float[Tensor, "r m"]) -> Float[Tensor, " r"]:
        """Return each set's gap, differentiable in `x` and `multipliers`."""
        copies = {
            name: value.expand(len(x), *value.shape).detach().requires_grad_() for name, value in self.weights.items()
        }
        outputs = self._chain(copies, x) if self.is_chain else vmap(self._call)(copies, x)
        scores = margins(outputs.flatten(0, 1), self.y.repeat(len(x)))
        total = (multipliers.flatten() * scores).sum()
        explained = torch.autograd.grad(total, list(copies.values()), create_graph=True)
        rest = [
            (part - weight).square().flatten(1).sum(1)
            for part, weight in zip(explained, self.weights.values(), strict=True)
        ]
        return torch.stack(rest).sum(0) / self.energy

    def _call(self, params: dict[str, Tensor], x: Tensor) -> Tensor:
        return functional_call(self.model, params, (x,))

    def _chain(self, params: dict[str, Tensor], x: Tensor) -> Tensor:
        for name, layer in self.model.named_children():
            if isinstance(layer, SurrogateReLU):
                x = layer(x)
                continue
            weight, bias = params[f"{name}.weight"].mT, params.get(f"{name}.bias")
            x = x @ weight if bias is None else torch.baddbmm(bias.unsqueeze(1), x, weight)
        return x


def search(
    gap: StationarityGap,
    x: Float[Tensor, "r m ..."],
    *,
    lr_x: float,
    lr_multipliers: float,
    max_iter: int,
    relu_alpha: tuple[float, float],
    progress: bool = False,
) -> tuple[Float[Tensor, "r m ..."], Float[Tensor, "r m"], Float[Tensor, " r"], list[float]]:
    """Minimise the gap over candidates and multipliers with Adam, sharpening the gates on the way.

    Multipliers are a softplus, positive by construction; the learning rates fall to zero along a cosine, the gates'
    sharpness grows geometrically.

    Args:
        gap: What is minimised.
        x: Starting points of each restart.
        lr_x: Learning rate of the candidates.
        lr_multipliers: Learning rate of the multipliers, before the softplus.
        max_iter: Steps.
        relu_alpha: Sharpness of the gates at the start and at the end.
        progress: Draw a bar on standard error.

    Returns:
        Candidates, multipliers, the final gap of each restart, and the mean gap at 101 moments or fewer.

    Raises:
        NumericalError: The gap came out NaN or infinite.
    """
    scale = 0.1 * math.sqrt(gap.energy / x.shape[1])
    x = x.clone().requires_grad_()
    raw = torch.full(x.shape[:2], -1.0, dtype=x.dtype, device=x.device, requires_grad=True)
    optimizer = torch.optim.Adam([{"params": [x], "lr": lr_x}, {"params": [raw], "lr": lr_multipliers}])
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max_iter)
    history = []
    low, high = relu_alpha
    for step in track(range(max_iter), "searching", enabled=progress):
        set_sharpness(gap.model, low * (high / low) ** (step / max_iter))
        gaps = gap(x, scale * nn.functional.softplus(raw))
        x.grad, raw.grad = torch.autograd.grad(gaps.sum(), (x, raw))
        optimizer.step()
        schedule.step()
        if step % max(1, max_iter // 100) == 0:
            history.append(gaps.mean().item())
    set_sharpness(gap.model, high)
    multipliers = scale * nn.functional.softplus(raw.detach())
    final = gap(x.detach(), multipliers).detach()
    if not torch.isfinite(final).all():
        raise NumericalError("the search diverged: the stationarity gap is NaN or infinite; lower lr_x")
    return x.detach(), multipliers, final, [*history, final.mean().item()]
