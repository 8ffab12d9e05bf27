"""Unlearning at inference: the logits of an assistant that knows only what is to be forgotten are subtracted."""

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from assay.core import InvalidInputError, check_fraction, preserved
from assay.privacy.unlearning.decoding import AssistantProcessor
from assay.privacy.unlearning.documents import read_logits


def relative_top_mask(logits: Float[Tensor, "*n v"], ratio: float) -> Bool[Tensor, "*n v"]:
    r"""Return which tokens are likely enough, beside the likeliest, for another model's opinion to count.

    Token v is kept if $\log p_v \ge \min(\max_u \log p_u + \log r,\ \log p_{(k)})$, where $p_{(k)}$ is the k-th largest
    probability of the V and $k = \max(1, \lfloor r V \rfloor)$: it has at least the share r of the largest, or is among
    the k largest.

    Args:
        logits: Scores of V tokens.
        ratio: r, in (0, 1). Paper: 0.01.

    Source: Li et al., "Contrastive Decoding" (2023), as Ji et al. (2024) use it.

    >>> relative_top_mask(torch.tensor([0.5, 0.49, 0.009, 0.001]).log(), 0.01)
    tensor([ True,  True,  True, False])
    """
    check_fraction(ratio, "ratio")
    log_p = F.log_softmax(logits, dim=-1)
    rank = max(1, int(ratio * logits.shape[-1]))
    floor = log_p.topk(rank, dim=-1).values[..., -1:]
    return log_p >= torch.minimum(log_p.amax(-1, keepdim=True) + math.log(ratio), floor)


def logit_difference(
    target_logits: Float[Tensor, "*n v"],
    assistant_logits: Float[Tensor, "*m w"],
    *,
    alpha: float,
    top_filter: float | None = None,
) -> Float[Tensor, "*n v"]:
    r"""Subtract what the assistant knows: $\ell_v - \alpha \log(V p^a_v)$.

    The softmax is proportional to $p_v \, (p^a_v)^{-\alpha}$. An assistant that is uniform changes nothing.

    Args:
        target_logits: $\ell$, of the model that knows too much.
        assistant_logits: Those of the assistant; $p^a$ is their softmax.
        alpha: How much of it is subtracted. Paper: 0.8 on TOFU, 0.5 on Harry Potter.
        top_filter: Leave the logits of tokens outside `relative_top_mask` as they are. Paper: 0.01. Without it, tokens
            that both models find very unlikely may come out on top.

    Raises:
        InvalidInputError: The two have different vocabularies, or `top_filter` is not in (0, 1).

    Source: Ji et al. (2024), equation 2, which subtracts raw logits. Here the assistant's are taken relative to the
    uniform distribution, which is the same without a filter, and gives the 0 that stands for a filtered token its
    meaning: as if the assistant knew nothing.

    >>> logit_difference(torch.tensor([2.0, 1.0]), torch.tensor([7.0, 7.0]), alpha=1.0)
    tensor([2., 1.])
    """
    if target_logits.shape != assistant_logits.shape:
        raise InvalidInputError(
            f"target and assistant give logits of shapes {tuple(target_logits.shape)} and "
            f"{tuple(assistant_logits.shape)}; both must score the same tokens of one vocabulary"
        )
    return target_logits - alpha * counted_knowledge(target_logits, assistant_logits, top_filter)


def counted_knowledge(
    target_logits: Float[Tensor, "*n v"], assistant_logits: Float[Tensor, "*n v"], top_filter: float | None
) -> Float[Tensor, "*n v"]:
    r"""Return $\log(V p^a)$, with 0 for the tokens that the filter leaves alone."""
    knowledge = F.log_softmax(assistant_logits, dim=-1) + math.log(assistant_logits.shape[-1])
    if top_filter is None:
        return knowledge
    return knowledge.where(relative_top_mask(target_logits, top_filter), 0.0)


class LogitDifferenceModel(nn.Module):
    r"""Answer like the target, without what the assistant remembers: logits $\ell - \alpha \log(V p^a)$.

    The target is not touched: this suppresses knowledge at inference. Whoever holds the target's weights still has it.
    A large `alpha` also flips answers on which the assistant is not quite uniform: look at a held-out set, and see
    `calibrate_alpha`. A forward pass costs one of the target and one of the assistant.

    Args:
        target: Maps `input_ids` to logits, as a tensor or in the attribute `logits`, as transformers' models do.
        assistant: A model of the same vocabulary that remembers what is to be forgotten and nothing else.
        alpha: How much is subtracted. Paper: 0.8 on TOFU, 0.5 on Harry Potter.
        top_filter: See `logit_difference`. Paper: 0.01.

    Source: Ji et al., "Reversing the Forget-Retain Objectives: An Efficient LLM Unlearning Framework from Logit
    Difference" (2024). Its released forward pass hands one cache to both models; here each has its own.

    >>> uniform = nn.Embedding.from_pretrained(torch.zeros(3, 3))
    >>> target = nn.Embedding.from_pretrained(torch.eye(3))
    >>> LogitDifferenceModel(target, uniform)(torch.tensor([[0, 2]])).argmax(-1)
    tensor([[0, 2]])
    """

    def __init__(
        self, target: nn.Module, assistant: nn.Module, alpha: float = 0.8, top_filter: float | None = None
    ) -> None:
        super().__init__()
        check_strength(alpha, top_filter)
        self.target, self.assistant, self.alpha, self.top_filter = target, assistant, alpha, top_filter

    def forward(self, input_ids: Int[Tensor, "n t"], **batch: Tensor) -> Float[Tensor, "n t v"]:
        """Return the logits at each place; further tensors, as `attention_mask`, are given to both models."""
        target, assistant = (read_logits(model(input_ids, **batch)) for model in (self.target, self.assistant))
        return logit_difference(target, assistant, alpha=self.alpha, top_filter=self.top_filter)

    @torch.no_grad()
    def generate(
        self,
        input_ids: Int[Tensor, "n t"],
        *,
        max_new_tokens: int,
        attention_mask: Tensor | None = None,
        use_cache: bool = True,
        **options: Any,
    ) -> Int[Tensor, "n s"]:
        """Continue the sequences; tokens outside the filter are never chosen.

        A target of transformers generates by its own `generate`, so that sampling and beams are there; any other
        target chooses the likeliest token each time, without a cache.

        Args:
            input_ids: Prompts; shorter ones are padded on the left.
            max_new_tokens: Tokens to add at most.
            attention_mask: 0 on padding; for models of transformers.
            use_cache: Let each model of transformers keep a cache of its own.
            options: Of transformers' `generate`.

        Raises:
            InvalidInputError: Options or a mask were given for a target that is not of transformers.
        """
        with preserved(self):
            return self._generate(input_ids, max_new_tokens, attention_mask, use_cache, options)

    def _generate(
        self, input_ids: Tensor, max_new_tokens: int, attention_mask: Tensor | None, use_cache: bool, options: dict
    ) -> Tensor:
        if hasattr(self.target, "generate"):
            subtract = AssistantProcessor(self.assistant, self.next_log_p, attention_mask, use_cache=use_cache)
            masks = {} if attention_mask is None else {"attention_mask": attention_mask}
            generate: Callable[..., Tensor] = self.target.generate  # type: ignore[assignment]
            return generate(
                input_ids,
                max_new_tokens=max_new_tokens,
                use_cache=use_cache,
                logits_processor=[subtract],
                **masks,
                **options,
            )
        if options or attention_mask is not None:
            raise InvalidInputError("options and attention_mask are for models of transformers; the target is none")
        for _ in range(max_new_tokens):
            target, assistant = (read_logits(model(input_ids))[:, -1] for model in (self.target, self.assistant))
            chosen = self.next_log_p(target, assistant).argmax(-1, keepdim=True)
            input_ids = torch.cat([input_ids, chosen], dim=1)
        return input_ids

    def next_log_p(
        self, target_logits: Float[Tensor, "n v"], assistant_logits: Float[Tensor, "n v"]
    ) -> Float[Tensor, "n v"]:
        """Return the log-probabilities of the next token, minus infinity outside the filter."""
        logits = logit_difference(target_logits, assistant_logits, alpha=self.alpha, top_filter=self.top_filter)
        if self.top_filter is not None:
            logits = logits.masked_fill(~relative_top_mask(target_logits, self.top_filter), -math.inf)
        return F.log_softmax(logits, dim=-1)


class OffsetModel(nn.Module):
    r"""Answer with logits $\ell + w\,(\ell^a - \ell^{a_0})$: the offset that unlearning gave a small model.

    The assistant is trained with a conventional loss, such as `GradientAscentLoss`, from the state in which it is the
    reference.

    Args:
        target: The model that knows too much.
        assistant: The small model after unlearning.
        reference: The small model before.
        weight: w.

    Source: Huang et al., "Offset Unlearning for Large Language Models" (2024), a baseline of Ji et al. (2024).

    >>> target, small = nn.Embedding(3, 3), nn.Embedding(3, 3)
    >>> ids = torch.tensor([[0, 1]])
    >>> torch.equal(OffsetModel(target, small, small)(ids), target(ids))
    True
    """

    def __init__(self, target: nn.Module, assistant: nn.Module, reference: nn.Module, weight: float = 1.0) -> None:
        super().__init__()
        self.target, self.assistant, self.reference, self.weight = target, assistant, reference, weight

    def forward(self, input_ids: Int[Tensor, "n t"], **batch: Tensor) -> Float[Tensor, "n t v"]:
        """Return the logits at each place; further tensors, as `attention_mask`, are given to all models."""
        models = (self.target, self.assistant, self.reference)
        target, after, before = (read_logits(model(input_ids, **batch)) for model in models)
        return target + self.weight * (after - before)


def check_strength(alpha: float, top_filter: float | None) -> None:
    """Require an `alpha` that is not negative and a filter in (0, 1)."""
    if not (math.isfinite(alpha) and alpha >= 0):
        raise InvalidInputError(f"alpha must be zero or a positive number, got {alpha!r}")
    if top_filter is not None:
        check_fraction(top_filter, "top_filter")
