"""Logits processor of transformers that subtracts an assistant during generation."""

import inspect
from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from assay.privacy.unlearning.examples import read_logits


class AssistantLogitsProcessor:
    """Combine the target's scores of the next token with an assistant's scores of the same sequences.

    The assistant keeps a cache as long as the sequences grow by one token a call. Otherwise, as when beams change
    places, it reads the sequences from their start.

    Args:
        assistant: A model of transformers, or any other that maps tokens to logits, which then has no cache.
        combine: `combine(target_scores, assistant_logits)` gives the new scores.
        attention_mask: 0 on the padding of the prompts.
        use_cache: Let the assistant keep a cache.
    """

    def __init__(
        self,
        assistant: nn.Module,
        combine: Callable[[Tensor, Tensor], Tensor],
        attention_mask: Tensor | None,
        *,
        use_cache: bool,
    ) -> None:
        accepted = inspect.signature(assistant.forward).parameters
        self._assistant, self._combine, self._mask = assistant, combine, attention_mask
        self._use_cache = use_cache and "past_key_values" in accepted
        self._takes_positions = "position_ids" in accepted
        self._cache: Any = None
        self._read: Tensor | None = None

    def __call__(self, input_ids: Int[Tensor, "n t"], scores: Float[Tensor, "n v"]) -> Float[Tensor, "n v"]:
        """Return the combined scores of the next token."""
        return self._combine(scores, self._next_logits(input_ids).to(scores))

    def _next_logits(self, tokens: Tensor) -> Tensor:
        options = self._options(tokens)
        if not self._use_cache:
            return read_logits(self._assistant(tokens, **options))[:, -1]
        grew_by_one = self._read is not None and torch.equal(tokens[:, :-1], self._read)
        self._cache = self._cache if grew_by_one else None
        fed = tokens[:, -1:] if grew_by_one else tokens
        if "position_ids" in options:
            options["position_ids"] = options["position_ids"][:, -fed.shape[1] :]
        output = self._assistant(fed, past_key_values=self._cache, use_cache=True, **options)
        self._cache, self._read = output.past_key_values, tokens
        return read_logits(output)[:, -1]

    def _options(self, tokens: Tensor) -> dict[str, Tensor]:
        """Return the mask of prompts and added tokens, and each token's place, counted from the first unmasked one."""
        if self._mask is None:
            return {}
        # Beams and several answers a prompt repeat its row.
        prompts = self._mask.repeat_interleave(len(tokens) // len(self._mask), dim=0)
        added = prompts.new_ones(len(tokens), tokens.shape[1] - prompts.shape[1])
        mask = torch.cat([prompts, added], dim=1)
        places = {"position_ids": (mask.long().cumsum(1) - 1).clamp(min=0)} if self._takes_positions else {}
        return {"attention_mask": mask, **places}
