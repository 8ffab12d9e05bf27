"""Many small networks in one batched computation, with their weights at chosen epochs."""

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor, nn

from assay.core import NumericalError, seeded
from assay.nets import mlp


class CentredSoftplus(nn.Module):
    """Compute log(1 + exp(x)) - log 2, which is 0 at 0."""

    def forward(self, x: Tensor) -> Tensor:
        """Return the activations."""
        return F.softplus(x) - F.softplus(torch.zeros_like(x))


ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "tanh": nn.Tanh,
    "relu": nn.ReLU,
    "elu": nn.ELU,
    "softplus": nn.Softplus,
    "centred softplus": CentredSoftplus,
    "swish": nn.SiLU,
    "linear": nn.Identity,
}

Layers = list[tuple[Float[Tensor, "m _ _"], Float[Tensor, "m _ _"]]]
"""Weights and biases of each layer of m networks."""


def network_of(widths: Sequence[int], activation: str) -> nn.Sequential:
    """Build a network of one architecture; its weights are written over."""
    network = mlp(widths)
    for place, layer in enumerate(network):
        if isinstance(layer, nn.ReLU):
            network[place] = ACTIVATIONS[activation]()
    return network


def toy_task(generator: torch.Generator) -> tuple[Float[Tensor, "n d"], Int64[Tensor, " n"]]:
    """Return all inputs of twelve signs, and a balanced label that is a threshold of a random network."""
    x = torch.cartesian_prod(*12 * [torch.tensor([-1.0, 1.0])])
    hidden, outer, linear = (torch.randn(*shape, generator=generator) for shape in ((12, 8), (8,), (12,)))
    score = torch.tanh(x @ hidden) @ outer + 0.5 * x @ linear
    return x, (score > score.median()).long()


def train_many(
    x: Float[Tensor, "m n d"],
    y: Int64[Tensor, "m n"],
    widths: Sequence[int],
    activation: str,
    *,
    penalty: float,
    epochs: Sequence[int],
    lr: float,
    batch_size: int,
    generator: torch.Generator,
) -> list[Layers]:
    """Train m networks, each on its own samples, and return the weights of all at the given epochs.

    The sum of the networks' losses is minimised by Adam, which moves each as if it were alone.
    """
    layers = initial(len(x), widths, generator)
    optimizer = torch.optim.Adam([part for layer in layers for part in layer], lr=lr, fused=True)
    act, rows = ACTIVATIONS[activation](), torch.arange(len(x))[:, None]
    kept = []
    for epoch in range(max(epochs) + 1):
        if epoch in epochs:
            kept.append([(weight.detach().clone(), bias.detach().clone()) for weight, bias in layers])
        if epoch == max(epochs):
            break
        order, loss = torch.rand(x.shape[:2], generator=generator).argsort(1), torch.zeros(())
        for index in order.split(batch_size, 1):
            scores = forward(layers, act, x[rows, index])
            loss = F.cross_entropy(scores.flatten(0, 1), y[rows, index].flatten(), reduction="sum") / index.shape[1]
            loss = loss + penalty * sum((weight.square().sum() for weight, _ in layers[:-1]), torch.zeros(()))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        if not loss.isfinite():
            raise NumericalError(f"training of {activation} networks diverged in epoch {epoch}")
    return kept


def initial(m: int, widths: Sequence[int], generator: torch.Generator) -> Layers:
    """Draw weights from a normal of standard deviation 1 / sqrt(fan-in), cut at two; biases are 0."""
    layers = []
    for a, b in pairwise(widths):
        weight = torch.empty(m, a, b)
        nn.init.trunc_normal_(weight, std=a**-0.5, a=-2 * a**-0.5, b=2 * a**-0.5, generator=generator)
        layers.append((weight.requires_grad_(), torch.zeros(m, 1, b, requires_grad=True)))
    return layers


def forward(layers: Layers, act: nn.Module, x: Float[Tensor, "m n d"]) -> Float[Tensor, "m n c"]:
    """Return the scores of each network on its own batch."""
    for place, (weight, bias) in enumerate(layers):
        x = torch.baddbmm(bias, x, weight)
        if place < len(layers) - 1:
            x = act(x)
    return x


def state_of(layers: Layers, model: int) -> dict[str, Tensor]:
    """Return the weights of one network as the state dict of `network_of`."""
    state = {}
    for place, (weight, bias) in enumerate(layers):
        state[f"{2 * place}.weight"], state[f"{2 * place}.bias"] = weight[model].T.clone(), bias[model, 0].clone()
    return state


def accuracies(
    layers: Layers, activation: str, x: Float[Tensor, "m n d"], y: Int64[Tensor, "m n"]
) -> Float[Tensor, " m"]:
    """Return the accuracy of each network on its own samples."""
    with torch.no_grad():
        return (forward(layers, ACTIVATIONS[activation](), x).argmax(2) == y).double().mean(1)


def splits(n: int, m: int, share: float, seed: int) -> tuple[Int64[Tensor, "m a"], Int64[Tensor, "m b"]]:
    """Return a random training set for each network, and what is left of the inputs."""
    order = torch.rand(m, n, generator=seeded(seed)).argsort(1)
    size = round(share * n)
    return order[:, :size], order[:, size:]
