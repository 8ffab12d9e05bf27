"""LoRA assistant on the first blocks of a language model (Ji et al., 2024, section 2.5)."""

import copy
import re
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor, nn

from assay.core import InvalidInputError, check_count, check_positive, copy_network, preserved, unwrapped
from assay.nets import add_low_rank_adapters
from assay.nets.adapters import is_dense
from assay.privacy.unlearning.examples import read_logits

_ATTENTION_TYPE = re.compile(r"attn|attention", re.IGNORECASE)
_ATTENTION_NAME = re.compile(r"attn|attention|qkv|quer(y|ies)|^(key|value)s?$|(^|_)w?[qkv](_|$)", re.IGNORECASE)


def build_assistant(
    model: nn.Module,
    n_layers: int,
    *,
    lora_rank: int = 32,
    lora_alpha: float = 32.0,
    blocks: str | None = None,
    input_ids: Int[Tensor, "n t"] | None = None,
    generator: torch.Generator | None = None,
) -> nn.Module:
    r"""Copy the first blocks of a language model, freeze them, and give their dense layers low-rank adapters.

    Embedding, final norm and head are copied too. Only the adapters require a gradient. The model itself is not
    changed, and shares no memory with the copy.

    Cost: memory of the copied parts, $r (d_{in} + d_{out})$ trained weights for each dense layer, and one forward pass
    of the assistant, which shows that the copied blocks run without the others.

    Args:
        model: A causal language model, of transformers or any other.
        n_layers: K, number of blocks to copy. Paper: 8 of 32.
        lora_rank: r of each `LowRankAdapter`. Paper: 32.
        lora_alpha: Scale $\alpha$ of each adapter. Paper: 32.
        blocks: Dotted name of the `nn.ModuleList` or `nn.Sequential` of blocks; by default the only outermost one whose
            members all hold attention, recognised by its name or type, and dense layers beside it.
        input_ids: Tokens for the forward pass; by default a sequence of two tokens 0.
        generator: Source of the adapters' first weights; a fixed seed by default.

    Returns:
        The assistant, a model of the same class, without wrappers such as `nn.DataParallel`.

    Raises:
        InvalidInputError: The model has no such stack of blocks, several of them, or fewer blocks, the blocks hold no
            dense layer or PyTorch's own encoder layers (`add_low_rank_adapters`), or the assistant does not run.

    Deviation from the released code: the adapters have no dropout, which there is 0.05.

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
    stack = _outermost_blocks(network) if blocks is None else _named_blocks(network, blocks)
    if not 1 <= n_layers <= len(stack):
        raise InvalidInputError(f"n_layers must lie in 1..{len(stack)}, the model's blocks, got {n_layers}")
    with torch.inference_mode(False):  # or the assistant's parameters could not be trained
        assistant, kept = _shortened_copy(network, stack, n_layers)
        _shorten_config(assistant, n_layers)
        assistant.requires_grad_(False)
        add_low_rank_adapters(kept, lora_rank, alpha=lora_alpha, generator=generator)
    _check_runs(assistant, input_ids)
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


def _named_blocks(model: nn.Module, name: str) -> nn.ModuleList | nn.Sequential:
    try:
        found = model.get_submodule(name)
    except AttributeError as error:
        raise InvalidInputError(f"the model has no submodule {name!r}; see model.named_modules()") from error
    if not isinstance(found, nn.ModuleList | nn.Sequential):
        raise InvalidInputError(f"{name!r} is a {type(found).__name__}; name an nn.ModuleList or nn.Sequential")
    return found


def _outermost_blocks(model: nn.Module) -> nn.ModuleList | nn.Sequential:
    """Return the only stack of transformer blocks that is inside no other."""
    stacks = {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, nn.ModuleList | nn.Sequential) and any(map(is_dense, module.modules()))
    }
    found: dict[str, nn.ModuleList | nn.Sequential] = {}
    for name, stack in stacks.items():  # outer ones come first
        if not any(stack in outer.modules() for outer in found.values()) and all(map(_is_block, stack)):
            found[name] = stack
    if len(found) == 1:
        return next(iter(found.values()))
    what = (
        "several stacks of transformer blocks" if found else "no stack of blocks that hold attention and dense layers"
    )
    names = ", ".join(repr(name) for name in found or stacks) or "none, for no nn.ModuleList or nn.Sequential is there"
    raise InvalidInputError(f"the model has {what}; say with blocks= where its blocks are, candidates: {names}")


def _is_block(member: nn.Module) -> bool:
    """Return whether a module holds attention, by name or type, and a dense layer outside of it."""
    inside = [(name, module) for name, module in member.named_modules() if name]
    attention = [
        f"{name}."
        for name, module in inside
        if _ATTENTION_NAME.search(name.rpartition(".")[2]) or _ATTENTION_TYPE.search(type(module).__name__)
    ]
    beside = [name for name, module in inside if is_dense(module) and not f"{name}.".startswith(tuple(attention))]
    return bool(attention and beside)


def _check_runs(assistant: nn.Module, input_ids: Tensor | None) -> None:
    """Require logits for tokens: a stack that was named wrongly leaves shapes that do not fit."""
    if input_ids is None:
        input_ids = torch.zeros(1, 2, dtype=torch.long, device=next(assistant.parameters()).device)
    try:
        with preserved(assistant), torch.no_grad():
            read_logits(assistant(input_ids))
    except (RuntimeError, TypeError, ValueError, LookupError, AttributeError) as error:
        raise InvalidInputError(
            f"the assistant does not run on tokens of shape {tuple(input_ids.shape)}: {error}; name the stack of whole "
            "blocks with blocks=, or pass tokens that the model reads with input_ids="
        ) from error


def _shorten_config(model: nn.Module, n_layers: int) -> None:
    """Tell a model of transformers how many blocks it has: its forward pass and its cache ask the configuration."""
    config: Any = getattr(model, "config", None)
    if hasattr(config, "num_hidden_layers"):
        config.num_hidden_layers = n_layers
        if getattr(config, "layer_types", None):
            config.layer_types = config.layer_types[:n_layers]
