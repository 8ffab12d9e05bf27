"""Whether a model has forgotten, by the metrics of the TOFU benchmark."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from jaxtyping import Float
from scipy.stats import hmean, ks_2samp
from torch import Tensor

from assay.core import InvalidInputError, check_finite


@dataclass(frozen=True)
class ForgetQuality:
    """How hard an unlearned model is to tell from one that never saw the forget set.

    Attributes:
        p_value: Of the Kolmogorov-Smirnov test that both give truth ratios of one distribution; near 1 is good.
        statistic: The largest distance between the two empirical distribution functions.
    """

    p_value: float
    statistic: float

    def __str__(self) -> str:
        return f"forget quality {self.p_value:.3g} (KS distance {self.statistic:.3g})"


def truth_ratio(paraphrase_nll: Float[Tensor, " n"], perturbed_nll: Float[Tensor, "n m"]) -> Float[Tensor, " n"]:
    r"""Compute $R = \exp\big(\frac1m \sum_i \mathrm{NLL}(\text{wrong}_i) - \mathrm{NLL}(\text{right})\big)$.

    Args:
        paraphrase_nll: Of a paraphrase of each right answer, a token (`answer_nll`).
        perturbed_nll: Of m wrong answers to the same question.

    Returns:
        One ratio a question: large where the model prefers the right answer, 1 where it does not care.

    Raises:
        NumericalError: A ratio is not finite.

    Source: Maini et al., "TOFU: A Task of Fictitious Unlearning for LLMs" (2024). The orientation and the geometric
    mean over wrong answers are those of the released code; the paper's own ratio is the inverse, of arithmetic means.

    >>> import torch
    >>> truth_ratio(torch.tensor([0.5, 0.5]).log().neg(), torch.tensor([[0.25], [0.5]]).log().neg())
    tensor([2., 1.])
    """
    ratio = (perturbed_nll.mean(1) - paraphrase_nll).exp()
    check_finite(ratio, "a truth ratio")
    return ratio


def truth_ratio_score(ratio: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
    r"""Compute $\max(0, 1 - 1/R)$, what a truth ratio counts for in a model's utility.

    >>> import torch
    >>> truth_ratio_score(torch.tensor([4.0, 0.5]))
    tensor([0.7500, 0.0000])
    """
    return (1 - 1 / ratio).clamp(min=0)


def forget_quality(unlearned: Float[Tensor, " n"], retain: Float[Tensor, " m"]) -> ForgetQuality:
    """Test whether truth ratios on the forget set are distributed as those of a model that never saw it.

    Args:
        unlearned: Truth ratios of the unlearned model.
        retain: Truth ratios of a model that was trained on the retain set only.

    Raises:
        InvalidInputError: Either is empty.
        NumericalError: A ratio is not finite.

    Source: Maini et al., "TOFU" (2024); the test is `scipy.stats.ks_2samp`.

    >>> import torch
    >>> forget_quality(torch.arange(5.0), torch.arange(5.0)).p_value
    1.0
    """
    for ratios, name in ((unlearned, "unlearned"), (retain, "retain")):
        if len(ratios) == 0:
            raise InvalidInputError(f"{name} holds no truth ratio; pass at least one")
        check_finite(ratios, f"a truth ratio of {name}")
    test: Any = ks_2samp(unlearned.detach().cpu().numpy(), retain.detach().cpu().numpy())
    return ForgetQuality(float(test.pvalue), float(test.statistic))


def model_utility(parts: Sequence[float]) -> float:
    """Return the harmonic mean of what a model can still do: 0 if it lost any of it.

    Args:
        parts: Figures in [0, 1]. TOFU takes nine: probability, ROUGE-L recall and truth-ratio score, each on what is
            retained, on real authors and on facts of the world.

    Raises:
        InvalidInputError: There is no part, or one is outside [0, 1].

    Source: Maini et al., "TOFU" (2024).

    >>> round(model_utility([1.0, 0.5]), 4)
    0.6667
    """
    if not parts or not all(0 <= part <= 1 for part in parts):
        raise InvalidInputError(f"a model's utility is made of figures in [0, 1], got {list(parts)}")
    return float(hmean(parts))
