"""Small networks with known answers, shared by the tests of this room."""

from itertools import pairwise

import torch
from torch import Tensor, nn

UNBOUNDED = (-1e6, 1e6)


def linear(weight: Tensor, bias: Tensor | None = None) -> nn.Linear:
    layer = nn.Linear(weight.shape[1], weight.shape[0], dtype=weight.dtype)
    layer.weight.data.copy_(weight)
    layer.bias.data.copy_(torch.zeros(len(weight)) if bias is None else bias)
    return layer


def random_linear(n_features: int, n_classes: int, generator: torch.Generator) -> nn.Linear:
    weight = torch.randn(n_classes, n_features, generator=generator, dtype=torch.float64)
    return linear(weight, torch.randn(n_classes, generator=generator, dtype=torch.float64))


def random_mlp(widths: list[int], generator: torch.Generator) -> nn.Sequential:
    layers: list[nn.Module] = []
    for n_in, n_out in pairwise(widths):
        layers += [linear(torch.randn(n_out, n_in, generator=generator, dtype=torch.float64) / n_in**0.5), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def points(n: int, n_features: int, generator: torch.Generator) -> Tensor:
    return torch.randn(n, n_features, generator=generator, dtype=torch.float64)


def certified(model: nn.Sequential, x: Tensor, y: Tensor, eps: float) -> Tensor:
    r"""Tell which samples in [0, 1] no change within the infinity norm can break: Wong and Kolter's dual bound (2018).

    A ReLU whose input lies in [l, u] with l < 0 < u is held between the lines $\frac{u}{u-l} z$ and
    $\frac{u}{u-l}(z-l)$, which makes every later layer's lower bound a sum over the layers before it.
    """
    with torch.no_grad():
        worst = [_Certifier(model, *part, eps).worst_margin() for part in zip(x.split(5), y.split(5), strict=True)]
    return torch.cat(worst) > 1e-4  # more than float32 can lose


class _Certifier:
    def __init__(self, model: nn.Sequential, x: Tensor, y: Tensor, eps: float) -> None:
        self.model, self.y = model, y
        self.low, self.high = (x - eps).clamp(min=0).flatten(1), (x + eps).clamp(max=1).flatten(1)
        self.shapes, self.bounds = [x.shape[1:]], {}
        for layer in model:
            self.shapes.append(layer(torch.zeros(1, *self.shapes[-1])).shape[1:])

    def worst_margin(self) -> Tensor:
        for index, layer in enumerate(self.model):
            if isinstance(layer, nn.ReLU):
                each = torch.eye(self.shapes[index].numel()).view(1, -1, *self.shapes[index])
                self.bounds[index] = [side.view(-1, *self.shapes[index]) for side in self.range_of(each, index)]
        unit = torch.eye(self.shapes[-1].numel())
        margins = self.range_of(unit[self.y][:, None] - unit, len(self.model))[0]
        return margins.scatter(1, self.y[:, None], torch.inf).amin(1)

    def range_of(self, rows: Tensor, depth: int) -> tuple[Tensor, Tensor]:
        """Bound the products (n, k) of rows (n or 1, k, ...) with what the first `depth` modules give."""
        least = most = torch.zeros(())
        for index in reversed(range(depth)):
            if isinstance(self.model[index], nn.ReLU):
                low, high = self.bounds[index]
                slope = high.relu() / (high.relu() + (-low).relu()).clamp_min(1e-30)
                lift = rows * (slope * (-low).relu())[:, None]
                least, most = least + lift.clamp(max=0).flatten(2).sum(2), most + lift.relu().flatten(2).sum(2)
                rows = rows * slope[:, None]
            else:
                flat = rows.flatten(0, 1)
                bias, transposed = torch.func.vjp(self.model[index], torch.zeros(len(flat), *self.shapes[index]))
                constant = (flat * bias).flatten(1).sum(1).view(rows.shape[:2])
                least, most = least + constant, most + constant
                rows = transposed(flat)[0].view(*rows.shape[:2], *self.shapes[index])
        middle, half = (self.low + self.high)[:, :, None] / 2, (self.high - self.low)[:, :, None] / 2
        centre, reach = (rows.flatten(2) @ middle).squeeze(2), (rows.flatten(2).abs() @ half).squeeze(2)
        return least + centre - reach, most + centre + reach
