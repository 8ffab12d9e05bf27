"""Choice of causes by a test of their effects over samples (Ahmad et al., 2023)."""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from scipy import stats
from torch import Tensor

from assay.attribution.causal_paths.effects import PathEffect
from assay.core import check_choice, check_fraction

Test = Literal["welch", "paired"]
Sign = Literal["positive", "both"]
Correction = Literal["none", "holm"]

_ONE_SAMPLE = 0.05  # least relative effect where a single sample allows no test
_SMALL = 0.001  # least mean relative effect where no cause passes the test
_SHARE = 0.05  # of the causes, where no effect is even that large


@dataclass(frozen=True, eq=False)
class CauseSelection:
    """Chosen causes.

    Attributes:
        places: Rows of the effect that were chosen.
        p_values: One a row; 1 where a single sample allows no test.
        rule: What decided: the test, a threshold of the relative effect, or a share of the strongest effects.
    """

    places: tuple[int, ...]
    p_values: Float[Tensor, " j"]
    rule: Literal["test", "threshold", "share"]


def select_causes(
    effect: PathEffect,
    *,
    alpha: float = 0.05,
    test: Test = "welch",
    sign: Sign = "positive",
    correction: Correction = "none",
) -> CauseSelection:
    r"""Choose the causes whose removal lowers the class logit.

    A cause passes where $\bar Y_j < \mu_0 - z_{1-\alpha} \sqrt{(s_j^2 + s_0^2) / N}$. Where none passes, those with a
    mean relative effect below -0.001 are taken; where there are none, those in the lowest 5%, if they lower the logit
    at all. With one sample, those with a relative effect below -0.05.

    Args:
        effect: Effects of all causes.
        alpha: Level of the test.
        test: "welch" compares the logits with and without intervention as two samples, as the paper does; "paired" is
            Student's test of their differences, which the samples share and which finds smaller effects.
        sign: "both" also takes causes whose removal raises the logit, by a two-sided test.
        correction: "holm" bounds the chance of any false cause by alpha.

    Raises:
        InvalidInputError: An option is unknown or out of range.

    Source: Ahmad et al., "Causal Analysis for Robust Interpretability of Neural Networks" (2023), abstract; test and
    fallback are those of a published implementation. Deviations: the exact quantile of `alpha` in the place of 1.65;
    fallbacks never take causes without an effect.

    >>> total = torch.tensor([[-2.0, -2.2, -1.9], [0.0, 0.0, 0.0]])
    >>> observed = torch.tensor([3.0, 3.1, 2.9])
    >>> select_causes(PathEffect(total, total / observed, total.abs(), observed)).places
    (0,)
    """
    check_fraction(alpha, "alpha")
    check_choice(test, ("welch", "paired"), "test")
    check_choice(sign, ("positive", "both"), "sign")
    check_choice(correction, ("none", "holm"), "correction")
    relative = effect.relative.double().mean(1)
    strength = relative.abs() if sign == "both" else -relative
    p = _p_values(effect, test, sign).to(relative.device)
    if effect.total.shape[1] == 1:
        chosen, rule = strength > _ONE_SAMPLE, "threshold"
    else:
        chosen, rule = (_holm(p, alpha) if correction == "holm" else p < alpha), "test"
        if not chosen.any():
            chosen, rule = strength > _SMALL, "threshold"
    if not chosen.any():
        chosen, rule = (strength >= strength.quantile(1 - _SHARE)) & (strength > 0), "share"
    return CauseSelection(tuple(chosen.nonzero()[:, 0].tolist()), p.to(effect.total.dtype), rule)


def _p_values(effect: PathEffect, test: Test, sign: Sign) -> Float[Tensor, " j"]:
    total, observed = effect.total.double(), effect.observed.double()
    n = len(observed)
    if n == 1:
        return torch.ones(len(total), dtype=torch.float64)
    spread = total.std(1) if test == "paired" else ((total + observed).var(1) + observed.var()).sqrt()
    mean = total.mean(1)
    # Equal samples without any spread: no effect is no evidence, any effect is all.
    statistic = torch.where(mean == 0, 0.0, mean * math.sqrt(n) / spread).cpu().numpy()
    law = stats.t(n - 1) if test == "paired" else stats.norm()
    below = law.cdf(statistic)
    return torch.as_tensor(below if sign == "positive" else 2 * law.cdf(-abs(statistic)), dtype=torch.float64)


def _holm(p: Float[Tensor, " j"], alpha: float) -> Tensor:
    ordered, order = p.sort()
    passes = (ordered < alpha / torch.arange(len(p), 0, -1, device=p.device)).long().cumprod(0).bool()
    return torch.zeros_like(passes).scatter_(0, order, passes)
