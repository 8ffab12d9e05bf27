"""Attention logits of a layer, computed again from its inputs on a few rows (Wortsman et al., 2023)."""

import inspect
from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from assay.core import InvalidInputError

EXCLUDED = -1e4
"""A floating-point mask at or below this excludes a position; above it is a bias."""

METHOD = "attention_logits"
"""Method by which an attention layer that PyTorch does not know gives its logits."""


def attention_layers(model: nn.Module) -> dict[str, nn.Module]:
    """Return the layers of a network whose attention logits can be computed, by name.

    Args:
        model: Any network.

    Raises:
        InvalidInputError: An `nn.MultiheadAttention` adds keys of its own.
    """
    found = {}
    for name, module in model.named_modules():
        if isinstance(module, nn.MultiheadAttention):
            if module.bias_k is not None or module.add_zero_attn:
                raise InvalidInputError(
                    f"{name or 'the model'} adds keys of its own (add_bias_kv or add_zero_attn), which are not "
                    f"followed; give it a method {METHOD}(...) that returns its logits"
                )
            found[name] = module
        elif callable(getattr(module, METHOD, None)):
            found[name] = module
    return found


@torch.no_grad()
def logit_figures(
    module: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any], n_rows: int
) -> tuple[float, float]:
    r"""Return the largest $|z|$ of a layer's attention logits and the mean entropy of its attention, in nats.

    Args:
        module: One of `attention_layers`.
        args: Arguments of its forward pass.
        kwargs: Its keyword arguments.
        n_rows: How many samples of the batch are taken.

    Returns:
        The largest size of a logit that is not masked, without additive masks; the mean over queries that see a key.
    """
    if isinstance(module, nn.MultiheadAttention):
        raw, masked = _multihead(module, inspect.signature(module.forward).bind(*args, **kwargs).arguments, n_rows)
    else:
        rows = [_first(value, n_rows) for value in args]
        raw = masked = getattr(module, METHOD)(*rows, **{name: _first(value, n_rows) for name, value in kwargs.items()})
    wide = torch.promote_types(raw.dtype, torch.float32)
    raw, masked = raw.to(wide), masked.to(wide)
    allowed = ~masked.isneginf()
    largest = raw.masked_fill(~allowed, 0).abs().amax()
    entropy = torch.special.entr(masked.softmax(-1)).sum(-1)[allowed.any(-1)].mean()
    return float(largest), float(entropy)


def _first(value: Any, n_rows: int) -> Any:
    return value[:n_rows] if isinstance(value, Tensor) and value.ndim > 2 else value


def _multihead(
    module: nn.MultiheadAttention, given: Mapping[str, Any], n_rows: int
) -> tuple[Float[Tensor, "n h t s"], Float[Tensor, "n h t s"]]:
    """Return the logits of `nn.MultiheadAttention`, without and with masks."""
    query, key = (_batch_first(given[name], module.batch_first)[:n_rows] for name in ("query", "key"))
    weights, biases = _projections(module)
    q, k = (F.linear(x, w, b) for x, w, b in zip((query, key), weights, biases, strict=True))
    q, k = (u.unflatten(-1, (module.num_heads, -1)).transpose(1, 2) for u in (q, k))
    raw = (q @ k.mT) * q.shape[-1] ** -0.5
    masked = raw
    padding, mask = given.get("key_padding_mask"), given.get("attn_mask")
    if padding is not None:
        masked = _masked(masked, padding.reshape(-1, 1, 1, padding.shape[-1])[:n_rows])
    if mask is not None:
        by_head = mask.reshape(-1, module.num_heads, *mask.shape[1:])[:n_rows] if mask.ndim == 3 else mask
        masked = _masked(masked, by_head)
    return raw, masked


def _projections(module: nn.MultiheadAttention) -> tuple[tuple[Tensor, Tensor], tuple[Tensor | None, Tensor | None]]:
    biases: tuple[Tensor | None, Tensor | None] = (None, None)
    if module.in_proj_bias is not None:
        q, k, _ = module.in_proj_bias.chunk(3)
        biases = q, k
    if module.in_proj_weight is not None:
        q, k, _ = module.in_proj_weight.chunk(3)
        return (q, k), biases
    return (module.get_parameter("q_proj_weight"), module.get_parameter("k_proj_weight")), biases


def _batch_first(x: Tensor, batch_first: bool) -> Tensor:
    if x.ndim == 2:  # one sample without a batch axis
        return x[None]
    return x if batch_first else x.transpose(0, 1)


def _masked(logits: Tensor, mask: Tensor) -> Tensor:
    """Apply a mask as PyTorch does: true excludes, a number is added."""
    if mask.dtype == torch.bool:
        return logits.masked_fill(mask, -torch.inf)
    return (logits + mask).masked_fill(mask <= EXCLUDED, -torch.inf)
