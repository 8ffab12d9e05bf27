"""LoRA: low-rank adapters of dense layers (Hu et al., 2022)."""

import math
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from assay.core import InvalidInputError, as_generator, check_count, check_positive


class LowRankAdapter(nn.Module):
    r"""Add a trainable low-rank map to a dense layer: $y = f(x) + \frac{\alpha}{r} B A x$.

    The layer $f$ is frozen in place. $A$ is drawn as `nn.Linear` draws its weight and $B$ is zero, so that the
    adapter changes nothing before it is trained.

    Cost: time O(n r (d + k)) beside the layer's own, memory O(r (d + k)) weights, for d inputs and k outputs.

    Args:
        layer: An `nn.Linear`, or a `Conv1D` of transformers.
        rank: r, rows of $A$.
        alpha: Scale $\alpha$ of the low-rank map.
        generator: Source of $A$; a fixed seed by default.

    Raises:
        InvalidInputError: The layer is not dense or not initialised, `rank` is below one, or `alpha` is not positive.

    Source: Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models" (2022), section 4.1, equation 3. The paper
    draws $A$ from a normal distribution.

    >>> adapter = LowRankAdapter(nn.Linear(4, 3), 2)
    >>> [name for name, value in adapter.named_parameters() if value.requires_grad]
    ['down', 'up']
    """

    def __init__(
        self, layer: nn.Module, rank: int, *, alpha: float = 1.0, generator: torch.Generator | None = None
    ) -> None:
        super().__init__()
        if not is_dense(layer):
            raise InvalidInputError(f"only nn.Linear and transformers' Conv1D take an adapter, got {type(layer)}")
        check_count(rank, "rank")
        check_positive(alpha, "alpha")
        source = as_generator(generator)
        weight: Any = layer.weight
        if is_lazy(weight):
            raise InvalidInputError("the layer's weight is not initialised; pass one batch through the network first")
        n_out, n_in = weight.shape if isinstance(layer, nn.Linear) else weight.shape[::-1]
        bound = 1 / math.sqrt(n_in)
        drawn = torch.empty(rank, n_in, device=source.device).uniform_(-bound, bound, generator=source)
        self.layer, self.scale = layer.requires_grad_(False), alpha / rank
        self.down = nn.Parameter(drawn.to(weight))
        self.up = nn.Parameter(weight.new_zeros(n_out, rank))

    def forward(self, x: Float[Tensor, "*n d"]) -> Float[Tensor, "*n k"]:
        """Apply the layer and the adapter."""
        return self.layer(x) + self.scale * (x @ self.down.T @ self.up.T)


def add_low_rank_adapters(
    model: nn.Module, rank: int, *, alpha: float = 1.0, generator: torch.Generator | None = None
) -> list[LowRankAdapter]:
    """Replace every dense layer inside a model, in place, by itself with a `LowRankAdapter`.

    A layer that stands in several places gets one adapter, in all of them. Frozen are the dense layers only, and with
    them weights that they share with others, such as an embedding's. The projections of `nn.MultiheadAttention` stay as
    they are, since it reads their weights without calling them.

    Args:
        model: Any module that holds dense layers.
        rank: r, of each adapter.
        alpha: Scale of each adapter.
        generator: Source of the adapters' first weights; a fixed seed by default.

    Returns:
        The adapters, in the order of `model.modules()`.

    Raises:
        InvalidInputError: The model holds no dense layer, or a `nn.TransformerEncoderLayer`, whose fast path reads
            weights without calling the layers.

    Source: Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models" (2022), section 4.1.

    >>> model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    >>> len(add_low_rank_adapters(model, 1))
    2
    """
    if any(isinstance(module, nn.TransformerEncoderLayer) for module in model.modules()):
        raise InvalidInputError(
            "nn.TransformerEncoderLayer reads its dense layers' weights past any adapter when it is not trained; "
            "build the model of layers that are called"
        )
    dense = [
        (parent, name, child)
        for parent in model.modules()
        if not isinstance(parent, nn.MultiheadAttention)
        for name, child in parent.named_modules(remove_duplicate=False)  # named_children leaves out second places
        if name and "." not in name and is_dense(child)
    ]
    if not dense:
        raise InvalidInputError("the model holds no dense layer to adapt; wrap a single layer in LowRankAdapter")
    source = as_generator(generator)
    layers = dict.fromkeys(child for _, _, child in dense)
    adapters = {layer: LowRankAdapter(layer, rank, alpha=alpha, generator=source) for layer in layers}
    for parent, name, child in dense:
        setattr(parent, name, adapters[child])
    return list(adapters.values())


def is_dense(layer: nn.Module) -> bool:
    """Return whether a layer is an `nn.Linear` or transformers' `Conv1D`, which is not imported for this."""
    return isinstance(layer, nn.Linear) or type(layer).__name__ == "Conv1D"
