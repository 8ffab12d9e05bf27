"""Metrics of the TOFU benchmark: truth ratio, forget quality and model utility (Maini et al., 2024)."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import comb
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy.stats import hmean, ks_2samp
from torch import Tensor

from assay.core import InvalidInputError, check_finite


@dataclass(frozen=True)
class ForgetQuality:
    """Similarity of an unlearned model to one that never saw the forget set.

    Attributes:
        p_value: p-value of the Kolmogorov-Smirnov test that both models' truth ratios have one distribution; near 1 is
            good.
        statistic: Largest distance between the two empirical distribution functions.
        smallest: Smallest p-value that so few ratios can give, where the two samples do not overlap at all.
        before: p-value of the model before unlearning; None where its ratios were not given.
    """

    p_value: float
    statistic: float
    smallest: float
    before: float | None = None

    def __str__(self) -> str:
        text = f"forget quality {self.p_value:.3g} (KS distance {self.statistic:.3g})"
        if self.smallest > 0.05:
            text += f"; with so few questions no two models get less than {self.smallest:.2g}, which tells nothing"
        if self.before is None:
            return f"{text}; not compared with the model before unlearning, which may pass as well"
        text += f", {self.before:.3g} before unlearning"
        return text if self.before < 0.05 else f"{text}: the model did not know the forget set, nothing was unlearned"


def truth_ratio(paraphrase_nll: Float[Tensor, " n"], perturbed_nll: Float[Tensor, "n m"]) -> Float[Tensor, " n"]:
    r"""Compute $R = \exp\big(\frac1m \sum_i \mathrm{NLL}(\text{wrong}_i) - \mathrm{NLL}(\text{right})\big)$.

    Args:
        paraphrase_nll: Loss per token (`answer_nll`) of a paraphrase of each right answer.
        perturbed_nll: Loss per token of m wrong answers to each question.

    Returns:
        One ratio a question: large where the model prefers the right answer, 1 where it has no preference.

    Raises:
        InvalidInputError: There is not one right answer and at least one wrong answer a question.
        NumericalError: A ratio is not finite.

    Source: Maini et al., "TOFU: A Task of Fictitious Unlearning for LLMs" (2024), section on evaluation metrics, quoted
    in Ji et al. (2024), appendix B.3. The orientation and the geometric mean over wrong answers are those of the
    released code; the paper's own ratio is the inverse, of an arithmetic mean.

    >>> import torch
    >>> truth_ratio(torch.tensor([0.5, 0.5]).log().neg(), torch.tensor([[0.25], [0.5]]).log().neg())
    tensor([2., 1.])
    """
    if paraphrase_nll.ndim != 1 or perturbed_nll.ndim != 2 or len(paraphrase_nll) != len(perturbed_nll):
        raise InvalidInputError(
            f"paraphrase_nll has shape {tuple(paraphrase_nll.shape)}, perturbed_nll {tuple(perturbed_nll.shape)}; give "
            "(n,) and (n, m), one row for each question"
        )
    if perturbed_nll.numel() == 0:
        raise InvalidInputError("there is no wrong answer to compare with; give at least one a question")
    ratio = (perturbed_nll.mean(1) - paraphrase_nll).exp()
    check_finite(ratio, "a truth ratio")
    return ratio


def truth_ratio_score(ratio: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
    r"""Compute $\max(0, 1 - 1/R)$, the score of a truth ratio R in `tofu_model_utility`.

    Source: Maini et al. (2024), section on evaluation metrics, with R as in `truth_ratio`.

    >>> import torch
    >>> truth_ratio_score(torch.tensor([4.0, 0.5]))
    tensor([0.7500, 0.0000])
    """
    return (1 - 1 / ratio).clamp(min=0)


def forget_quality(
    unlearned: Float[Tensor, " n"], retain: Float[Tensor, " m"], *, before: Float[Tensor, " _"] | None = None
) -> ForgetQuality:
    """Test whether two models' truth ratios on the forget set have one distribution.

    Args:
        unlearned: Truth ratios of the unlearned model.
        retain: Truth ratios of a model trained on the retain set only.
        before: Truth ratios of the model before unlearning: where it passes the test too, there was nothing to unlearn.

    Raises:
        InvalidInputError: One of them is empty, or has several axes.
        NumericalError: A ratio is not finite.

    Source: Maini et al. (2024), section on evaluation metrics, quoted in Ji et al. (2024), appendix B.3; the test is
    `scipy.stats.ks_2samp`.

    >>> import torch
    >>> forget_quality(torch.arange(5.0), torch.arange(5.0)).p_value
    1.0
    """
    kept, tested = _ratios(retain, "retain"), _ratios(unlearned, "unlearned")
    test: Any = ks_2samp(tested, kept)
    earlier: Any = None if before is None else ks_2samp(_ratios(before, "before"), kept)
    return ForgetQuality(
        p_value=float(test.pvalue),
        statistic=float(test.statistic),
        smallest=2 / comb(len(tested) + len(kept), len(kept)),
        before=None if earlier is None else float(earlier.pvalue),
    )


def _ratios(ratios: Tensor, name: str) -> np.ndarray:
    if ratios.ndim != 1 or len(ratios) == 0:
        raise InvalidInputError(f"{name} holds no truth ratio in shape {tuple(ratios.shape)}; pass (n,), at least one")
    check_finite(ratios, f"a truth ratio of {name}")
    return ratios.detach().double().cpu().numpy()


def tofu_model_utility(scores: Sequence[float]) -> float:
    """Return a model's utility, the harmonic mean of its scores on retained knowledge: 0 if any score is 0.

    Args:
        scores: Scores in [0, 1]. TOFU takes nine: probability, ROUGE-L recall and truth-ratio score, each on the
            retain set, on real authors and on world facts.

    Raises:
        InvalidInputError: There is no score, or one is outside [0, 1].

    Source: Maini et al. (2024), section on evaluation metrics, quoted in Ji et al. (2024), appendix B.3.

    >>> round(tofu_model_utility([1.0, 0.5]), 4)
    0.6667
    """
    if not scores or not all(0 <= score <= 1 for score in scores):
        raise InvalidInputError(f"model utility is the mean of at least one score in [0, 1], got {list(scores)}")
    return float(hmean(scores))
