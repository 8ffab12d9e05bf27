"""The assistant: the first blocks of a language model, frozen, with low-rank adapters that alone are trained."""

import copy
import math
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from assay.core import InvalidInputError, as_generator, check_positive


class LowRankAdapter(nn.Module):
    r"""Add a trainable low-rank map to a frozen dense layer: $y = f(x) + \frac{\alpha}{r} B A x$.

    $A$ is drawn as `nn.Linear` draws its weight and $B$ is zero, so that at first nothing changes.

    Args:
        layer: An `nn.Linear` or transformers' `Conv1D`.
        rank: Rows of $A$.
        scale: $\alpha$.
        generator: Source of $A$.

    Source: Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models" (2022).
    """

    def __init__(self, layer: nn.Module, rank: int, scale: float, generator: torch.Generator) -> None:
        super().__init__()
        weight = layer.get_parameter("weight")
        n_out, n_in = weight.shape if isinstance(layer, nn.Linear) else weight.shape[::-1]
        bound = 1 / math.sqrt(n_in)
        drawn = torch.empty(rank, n_in).uniform_(-bound, bound, generator=generator)
        self.layer, self.factor = layer, scale / rank
        self.down = nn.Parameter(drawn.to(weight))
        self.up = nn.Parameter(weight.new_zeros(n_out, rank))

    def forward(self, x: Float[Tensor, "*n d"]) -> Float[Tensor, "*n k"]:
        """Apply the layer and the adapter."""
        return self.layer(x) + self.factor * (x @ self.down.T @ self.up.T)


def build_assistant(
    model: nn.Module,
    n_layers: int,
    *,
    lora_rank: int = 32,
    lora_alpha: float = 32.0,
    blocks: str | None = None,
    generator: torch.Generator | None = None,
) -> nn.Module:
    r"""Copy a language model with its first blocks only, freeze it, and give its dense layers low-rank adapters.

    Embedding, final norm and head are copied as they are. The adapters, on every dense layer of the blocks that are
    kept, are all that requires a gradient. The model itself is not changed, and shares no memory with the copy.

    Memory is that of the parts that are kept; $r (d_{in} + d_{out})$ numbers a dense layer are trained.

    Args:
        model: A causal language model, of transformers or any other.
        n_layers: K, how many of its blocks are kept. Paper: 8 of 32.
        lora_rank: r. Paper: 32.
        lora_alpha: The adapters' scale $\alpha$. Paper: 32.
        blocks: Dotted name of the `nn.ModuleList` or `nn.Sequential` of blocks; by default the longest `nn.ModuleList`.
        generator: Source of the adapters' first weights; a fixed seed by default.

    Returns:
        The assistant, a model of the same class.

    Raises:
        InvalidInputError: There is no such stack of blocks, it has fewer, they hold no dense layer, or they are
            PyTorch's own encoder layers, which read their weights without a call.

    Source: Ji et al., "Reversing the Forget-Retain Objectives" (2024). The dense layers are those of class `nn.Linear`
    and transformers' `Conv1D`; the weights that `nn.MultiheadAttention` reads without a call stay as they are.

    >>> model = nn.Sequential(nn.Embedding(5, 4), nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4)), nn.Linear(4, 5))
    >>> assistant = build_assistant(model, 1, lora_rank=2, blocks="1")
    >>> [name for name, value in assistant.named_parameters() if value.requires_grad]
    ['1.0.down', '1.0.up']
    """
    check_positive(lora_rank, "lora_rank")
    check_positive(lora_alpha, "lora_alpha")
    stack = _find_blocks(model, blocks)
    if not 1 <= n_layers <= len(stack):
        raise InvalidInputError(f"n_layers must lie in 1..{len(stack)}, the model's blocks, got {n_layers}")
    # The copy of the whole finds the stack copied already, with the first blocks only: the others are never copied.
    copied: dict[int, object] = {}
    kept = copy.deepcopy(stack[:n_layers], copied)
    copied[id(stack)] = kept
    assistant = copy.deepcopy(model, copied)
    _shorten_config(assistant, n_layers)
    assistant.requires_grad_(False)
    source = as_generator(generator)
    _adapt(kept, lora_rank, lora_alpha, source)
    return assistant


def _find_blocks(model: nn.Module, name: str | None) -> nn.ModuleList | nn.Sequential:
    if name is not None:
        try:
            found = model.get_submodule(name)
        except AttributeError as error:
            raise InvalidInputError(f"the model has no submodule {name!r}; see model.named_modules()") from error
        if not isinstance(found, nn.ModuleList | nn.Sequential):
            raise InvalidInputError(f"{name!r} is a {type(found).__name__}; name an nn.ModuleList or nn.Sequential")
        return found
    stacks = [module for module in model.modules() if isinstance(module, nn.ModuleList)]
    if not stacks:
        raise InvalidInputError("the model has no nn.ModuleList of blocks; say with blocks= where its blocks are")
    return max(stacks, key=len)


def _shorten_config(model: nn.Module, n_layers: int) -> None:
    """Tell a model of transformers how many blocks it has: its forward pass and its cache ask the configuration."""
    config: Any = getattr(model, "config", None)
    if hasattr(config, "num_hidden_layers"):
        config.num_hidden_layers = n_layers
        if getattr(config, "layer_types", None):
            config.layer_types = config.layer_types[:n_layers]


def _adapt(blocks: nn.Module, rank: int, scale: float, source: torch.Generator) -> None:
    if any(isinstance(module, nn.TransformerEncoderLayer) for module in blocks.modules()):
        raise InvalidInputError(
            "nn.TransformerEncoderLayer reads its dense layers' weights past any adapter when it is not trained; "
            "build the blocks of layers that are called"
        )
    dense = [
        (parent, name, child)
        for parent in blocks.modules()
        if not isinstance(parent, nn.MultiheadAttention)
        for name, child in parent.named_children()
        if isinstance(child, nn.Linear) or type(child).__name__ == "Conv1D"
    ]
    if not dense:
        raise InvalidInputError("the blocks hold no dense layer to adapt; build them of nn.Linear")
    for parent, name, child in dense:
        setattr(parent, name, LowRankAdapter(child, rank, scale, source))
