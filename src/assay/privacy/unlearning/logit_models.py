"""Unlearning by logit subtraction at inference (Ji et al., 2024, section 2.2), and offset unlearning."""

import math
import sys
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from assay.core import InvalidInputError, NumericalError, check_count, check_finite, check_fraction, preserved
from assay.privacy.unlearning.decoding import AssistantLogitsProcessor
from assay.privacy.unlearning.examples import check_not_probabilities, next_logits


def relative_top_mask(logits: Float[Tensor, "*n v"], ratio: float) -> Bool[Tensor, "*n v"]:
    r"""Return a mask of the tokens whose probability is not far below the largest.

    Token v is kept if $\log p_v \ge \min(\max_u \log p_u + \log r,\ \log p_{(k)})$ with $p_{(k)}$ the k-th largest
    probability and $k = \max(2, \lfloor r V \rfloor)$: its probability is at least r times the largest, or among the k
    largest. With one token alone there would be no other to choose, whatever is subtracted from it.

    Args:
        logits: Scores of V tokens.
        ratio: r, in (0, 1). Paper: 0.01.

    Raises:
        InvalidInputError: `ratio` is not in (0, 1), the scores are probabilities, or there is one token only.

    Source: Li et al., "Contrastive Decoding: Open-ended Text Generation as Optimization" (2023), section on the
    adaptive plausibility constraint; the ratio of Ji et al. (2024), appendix B.5, and the rank floor of their code,
    which is 0 in vocabularies below 1/r tokens and 1 below 2/r.

    >>> relative_top_mask(torch.tensor([0.5, 0.49, 0.009, 0.001]).log(), 0.01)
    tensor([ True,  True,  True, False])
    """
    check_fraction(ratio, "ratio")
    check_not_probabilities(logits, "the model")
    log_p = F.log_softmax(logits, dim=-1)
    if logits.shape[-1] < 2:
        raise InvalidInputError(
            f"a filter of {logits.shape[-1]} token leaves no other to choose; score a vocabulary of at least two"
        )
    rank = max(2, int(ratio * logits.shape[-1]))
    floor = log_p.topk(rank, dim=-1).values[..., -1:]
    return log_p >= torch.minimum(log_p.amax(-1, keepdim=True) + math.log(ratio), floor)


def subtract_logits(
    target_logits: Float[Tensor, "*n v"],
    assistant_logits: Float[Tensor, "*m w"],
    *,
    alpha: float,
    top_filter: float | None = None,
) -> Float[Tensor, "*n v"]:
    r"""Subtract an assistant's logits from a target's: $\ell_v - \alpha \log(V p^a_v)$.

    The softmax of the result is proportional to $p_v \, (p^a_v)^{-\alpha}$. A uniform assistant changes nothing.

    Args:
        target_logits: $\ell$, of the model before unlearning; minus infinity for tokens that are ruled out.
        assistant_logits: Logits of the assistant; $p^a$ is their softmax.
        alpha: Strength of the subtraction. Paper: 0.75 on TOFU, 0.5 on Harry Potter.
        top_filter: Keep the tokens outside `relative_top_mask` as far below the likeliest as the target has them, so
            that none of them comes out on top. Paper: 0.01. Without it, tokens that both models find very unlikely may.

    Raises:
        InvalidInputError: The two have different vocabularies, one of them are probabilities, or `top_filter` is not in
            (0, 1).
        NumericalError: A logit of the target is NaN or plus infinity, or one of the assistant not finite.

    Deviation from the released code: there, the assistant's logits of filtered tokens are set to zero, so that in the
    forward pass, but not in generation, such a token can win where the others are pushed below it.

    Source: Ji et al. (2024), equation 2 and appendix B.5. The equation subtracts raw logits. Here the assistant's
    log-probabilities are taken relative to the uniform distribution, which changes no softmax.

    >>> subtract_logits(torch.tensor([2.0, 1.0]), torch.tensor([7.0, 7.0]), alpha=1.0)
    tensor([2., 1.])
    """
    scores = target_logits - alpha * log_ratio_to_uniform(target_logits, assistant_logits)
    if top_filter is None:
        return scores
    kept = relative_top_mask(target_logits, top_filter)
    likeliest = scores.masked_fill(~kept, -math.inf).amax(-1, keepdim=True)
    return scores.where(kept, likeliest + target_logits - target_logits.amax(-1, keepdim=True))


def log_ratio_to_uniform(
    target_logits: Float[Tensor, "*n v"], assistant_logits: Float[Tensor, "*m w"]
) -> Float[Tensor, "*n v"]:
    r"""Return the log-probabilities of an assistant that fits the target relative to uniform ones, $\log(V p^a)$."""
    if target_logits.shape != assistant_logits.shape:
        raise InvalidInputError(
            f"target and assistant give logits of shapes {tuple(target_logits.shape)} and "
            f"{tuple(assistant_logits.shape)}; both must score the same tokens of one vocabulary"
        )
    check_not_probabilities(target_logits, "the target")
    check_not_probabilities(assistant_logits, "the assistant")
    if not (target_logits < math.inf).all():  # NaN is not below either
        raise NumericalError("a logit of the target is NaN or infinite; check its weights, or run it in float32")
    check_finite(assistant_logits, "a logit of the assistant")
    return F.log_softmax(assistant_logits, dim=-1) + math.log(assistant_logits.shape[-1])


class LogitDifferenceModel(nn.Module):
    r"""Unlearn by subtracting an assistant's logits from a target's: $\ell - \alpha \log(V p^a)$.

    The target's weights do not change: its knowledge is suppressed at inference, and remains in the weights. A large
    `alpha` also flips answers on which the assistant is not quite uniform: check a held-out set, and see
    `calibrate_alpha`.

    Cost: time and memory of one forward pass of the target and one of the assistant.

    Args:
        target: Maps `input_ids` to logits, returned as a tensor or, by models of transformers, in the attribute
            `logits`.
        assistant: A model of the same vocabulary, trained on the forget set to remember it (`build_assistant`).
        alpha: Strength of the subtraction. Paper: 0.75 on TOFU, 0.5 on Harry Potter; its code: 0.8 on TOFU.
        top_filter: See `subtract_logits`. Paper: 0.01.

    Raises:
        InvalidInputError: `alpha` is negative, or `top_filter` is not in (0, 1).

    Source: Ji et al., "Reversing the Forget-Retain Objectives: An Efficient LLM Unlearning Framework from Logit
    Difference" (2024), section 2.2, equation 2. Its released forward pass hands one cache to both models; here each
    has its own.

    >>> uniform = nn.Embedding.from_pretrained(torch.zeros(3, 3))
    >>> target = nn.Embedding.from_pretrained(2 * torch.eye(3))
    >>> LogitDifferenceModel(target, uniform)(torch.tensor([[0, 2]])).argmax(-1)
    tensor([[0, 2]])
    """

    def __init__(
        self, target: nn.Module, assistant: nn.Module, alpha: float = 0.8, top_filter: float | None = None
    ) -> None:
        super().__init__()
        check_subtraction(alpha, top_filter)
        self.target, self.assistant, self.alpha, self.top_filter = target, assistant, alpha, top_filter

    def forward(self, input_ids: Int[Tensor, "n t"], **batch: Tensor) -> Float[Tensor, "n t v"]:
        """Return the logits at each place; both models get further tensors, such as `attention_mask`."""
        target, assistant = (next_logits(model, input_ids, **batch) for model in (self.target, self.assistant))
        return subtract_logits(target, assistant, alpha=self.alpha, top_filter=self.top_filter)

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

        A target of transformers (a `GenerationMixin`) generates by its own `generate`, with sampling and beams; any
        other target decodes greedily, without a cache, and a `generate` of its own is not called: it would not know of
        the assistant.

        Args:
            input_ids: Prompts; shorter ones are padded on the left.
            max_new_tokens: Largest number of added tokens.
            attention_mask: 0 on padding; for models of transformers.
            use_cache: Let each model of transformers keep its own cache.
            options: Further options of transformers' `generate`.

        Raises:
            InvalidInputError: Options or a mask are given, and the target is no model of transformers; or the count is
                negative.
        """
        check_count(max_new_tokens, "max_new_tokens", at_least=0)
        with preserved(self):
            return self._generate(input_ids, max_new_tokens, attention_mask, use_cache, options)

    def _generate(
        self, input_ids: Tensor, max_new_tokens: int, attention_mask: Tensor | None, use_cache: bool, options: dict
    ) -> Tensor:
        if _is_of_transformers(self.target):
            subtract = AssistantLogitsProcessor(self.assistant, self.next_log_p, attention_mask, use_cache=use_cache)
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
            raise InvalidInputError(
                f"options and attention_mask are for models of transformers, got {type(self.target).__name__}; "
                "leave them out"
            )
        for _ in range(max_new_tokens):
            target, assistant = (next_logits(model, input_ids)[:, -1] for model in (self.target, self.assistant))
            chosen = self.next_log_p(target, assistant).argmax(-1, keepdim=True)
            input_ids = torch.cat([input_ids, chosen], dim=1)
        return input_ids

    def next_log_p(
        self, target_logits: Float[Tensor, "n v"], assistant_logits: Float[Tensor, "n v"]
    ) -> Float[Tensor, "n v"]:
        """Return the log-probabilities of the next token, minus infinity outside the filter."""
        logits = subtract_logits(target_logits, assistant_logits, alpha=self.alpha, top_filter=self.top_filter)
        if self.top_filter is not None:
            logits = logits.masked_fill(~relative_top_mask(target_logits, self.top_filter), -math.inf)
        return F.log_softmax(logits, dim=-1)


def _is_of_transformers(model: nn.Module) -> bool:
    """Return whether transformers generates with a model; no such model exists where it was never imported."""
    library: Any = sys.modules.get("transformers")
    return library is not None and isinstance(model, library.GenerationMixin)


class OffsetModel(nn.Module):
    r"""Unlearn by a small model's change of logits under unlearning: $\ell + w\,(\ell^a - \ell^{a_0})$.

    The assistant starts as a copy of the reference and is trained with a conventional loss, such as
    `GradientAscentLoss`.

    Args:
        target: The large model before unlearning.
        assistant: The small model after unlearning.
        reference: The small model before unlearning.
        weight: w.

    Source: Huang et al., "Offset Unlearning for Large Language Models" (2024), in the form of Ji et al. (2024),
    appendix A.3, equation 11.

    >>> target, small = nn.Embedding(3, 3), nn.Embedding(3, 3)
    >>> ids = torch.tensor([[0, 1]])
    >>> torch.equal(OffsetModel(target, small, small)(ids), target(ids))
    True
    """

    def __init__(self, target: nn.Module, assistant: nn.Module, reference: nn.Module, weight: float = 1.0) -> None:
        super().__init__()
        self.target, self.assistant, self.reference, self.weight = target, assistant, reference, weight

    def forward(self, input_ids: Int[Tensor, "n t"], **batch: Tensor) -> Float[Tensor, "n t v"]:
        """Return the logits at each place; all models get further tensors, such as `attention_mask`."""
        models = (self.target, self.assistant, self.reference)
        target, after, before = (next_logits(model, input_ids, **batch) for model in models)
        if not target.shape == after.shape == before.shape:
            raise InvalidInputError(
                f"the models give logits of shapes {tuple(target.shape)}, {tuple(after.shape)} and "
                f"{tuple(before.shape)}; all three must score the same tokens of one vocabulary"
            )
        return target + self.weight * (after - before)


def check_subtraction(alpha: float, top_filter: float | None) -> None:
    """Require a non-negative `alpha` and a filter in (0, 1)."""
    if not (math.isfinite(alpha) and alpha >= 0):
        raise InvalidInputError(f"alpha must be zero or a positive number, got {alpha!r}")
    if top_filter is not None:
        check_fraction(top_filter, "top_filter")
