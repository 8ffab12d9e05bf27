"""LoRA assistant on the first blocks of a language model (Ji et al., 2024, section 2.5)."""

import copy
from typing import Any

import torch
from torch import nn

from assay.core import InvalidInputError, check_count, check_positive, copy_network, unwrapped
from assay.nets import add_low_rank_adapters


def build_assistant(
    model: nn.Module,
    n_layers: int,
    *,
    lora_rank: int = 32,
    lora_alpha: float = 32.0,
    blocks: str | None = None,
    generator: torch.Generator | None = None,
) -> nn.Module:
    r"""Copy the first blocks of a language model, freeze them, and give their dense layers low-rank adapters.

    Embedding, final norm and head are copied too. Only the adapters require a gradient. The model itself is not
    changed, and shares no memory with the copy.

    Cost: memory of the copied parts, and $r (d_{in} + d_{out})$ trained weights for each dense layer.

    Args:
        model: A causal language model, of transformers or any other.
        n_layers: K, number of blocks to copy. Paper: 8 of 32.
        lora_rank: r of each `LowRankAdapter`. Paper: 32.
        lora_alpha: Scale $\alpha$ of each adapter. Paper: 32.
        blocks: Dotted name of the `nn.ModuleList` or `nn.Sequential` of blocks; by default the longest `nn.ModuleList`.
        generator: Source of the adapters' first weights; a fixed seed by default.

    Returns:
        The assistant, a model of the same class, without wrappers such as `nn.DataParallel`.

    Raises:
        InvalidInputError: The model has no such stack of blocks or fewer of them, or the blocks hold no dense layer
            or PyTorch's own encoder layers (`add_low_rank_adapters`).

    Source: Ji et al., "Reversing the Forget-Retain Objectives: An Efficient LLM Unlearning Framework from Logit
    Difference" (2024), section 2.5 and figure 2; the defaults are those of section 3.2.

    >>> model = nn.Sequential(nn.Embedding(5, 4), nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4)), nn.Linear(4, 5))
    >>> assistant = build_assistant(model, 1, lora_rank=2, blocks="1")
    >>> [name for name, value in assistant.named_parameters() if value.requires_grad]
    ['1.0.down', '1.0.up']
    """
    check_count(lora_rank, "lora_rank")
    check_positive(lora_alpha, "lora_alpha")
    network = unwrapped(model)
    stack = _find_blocks(network, blocks)
    if not 1 <= n_layers <= len(stack):
        raise InvalidInputError(f"n_layers must lie in 1..{len(stack)}, the model's blocks, got {n_layers}")
    with torch.inference_mode(False):  # or the assistant's parameters could not be trained
        assistant, kept = _shortened_copy(network, stack, n_layers)
        _shorten_config(assistant, n_layers)
        assistant.requires_grad_(False)
        add_low_rank_adapters(kept, lora_rank, alpha=lora_alpha, generator=generator)
    return assistant


def _shortened_copy(
    network: nn.Module, stack: nn.ModuleList | nn.Sequential, n_layers: int
) -> tuple[nn.Module, nn.ModuleList | nn.Sequential]:
    """Return a copy of a network with the first of its blocks only, and the copied blocks."""
    # The copy of the whole finds the stack copied already, with the first blocks only: the others are never copied.
    copied: dict[int, object] = {}
    try:
        kept: Any = copy.deepcopy(stack[:n_layers], copied)
        copied[id(stack)] = kept
        return copy.deepcopy(network, copied), kept
    except RuntimeError:  # computed weights, as weight_norm leaves them: all blocks are copied, and the last ones cut
        whole = copy_network(network)
    place = next(name for name, module in network.named_modules() if module is stack)
    parent, _, last = place.rpartition(".")
    blocks: Any = whole.get_submodule(place)
    kept = blocks[:n_layers]
    setattr(whole.get_submodule(parent), last, kept)
    return whole, kept


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
