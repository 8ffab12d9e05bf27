"""Fidelity of explanations by group, and its gaps (Balagopalan et al., 2022; Mhasawade et al., 2024)."""

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Shaped
from sklearn.metrics import roc_auc_score
from torch import Tensor

from assay.attribution.disparities.probabilities import as_array
from assay.core import InvalidInputError, check_count

METRICS = ("accuracy", "auroc", "residual")
BETTER = {"accuracy": 1, "auroc": 1, "residual": -1}
"""Whether more of a metric is more faithful."""


@dataclass(frozen=True)
class DisparityReport:
    """Fidelity of the explanations of each group, and the gaps between groups.

    Attributes:
        groups: The groups.
        counts: Samples of each.
        accuracy: Share of the samples of each group for which model and surrogate give the same label.
        auroc: AUROC of the surrogate's value for the model's label; NaN where the group has one label alone.
        residual: Mean $|p_f - p_e|$ of each group.
        overall: Each metric over all samples.
        max_gap: By metric, how much less faithful the worst group is than all samples together.
        mean_gap: By metric, the mean absolute difference over all pairs of groups.
        n_undefined: Groups without an AUROC, which the gaps of that metric leave out; a gap of fewer than two is NaN.
    """

    groups: tuple[Any, ...]
    counts: tuple[int, ...]
    accuracy: tuple[float, ...]
    auroc: tuple[float, ...]
    residual: tuple[float, ...]
    overall: Mapping[str, float]
    max_gap: Mapping[str, float]
    mean_gap: Mapping[str, float]
    n_undefined: int

    def rows(self) -> list[dict[str, Any]]:
        """Return one dict a group, as of a table."""
        columns = zip(self.groups, self.counts, self.accuracy, self.auroc, self.residual, strict=True)
        return [dict(zip(("group", "count", *METRICS), row, strict=True)) for row in columns]

    def __str__(self) -> str:
        worst = int(np.argmax(self.residual))
        text = (
            f"{len(self.groups)} groups of {sum(self.counts)} samples: mean gap of the residual "
            f"{self.mean_gap['residual']:.3g}, of the accuracy {self.mean_gap['accuracy']:.3g}; group "
            f"{self.groups[worst]} has the largest residual, {self.residual[worst]:.3g} against "
            f"{self.overall['residual']:.3g} overall"
        )
        undefined = f"; {self.n_undefined} groups have one predicted class and no AUROC" if self.n_undefined else ""
        return f"{text}{undefined}. Compare a gap with that of shuffled groups: `bootstrap_gap`."


def explanation_disparity(
    p_model: Float[Tensor, " n"] | Any,
    p_explanation: Float[Tensor, " n"] | Any,
    groups: Shaped[Tensor, " n"] | Any,
    *,
    threshold: float = 0.5,
    clip: bool = False,
) -> DisparityReport:
    r"""Measure how faithful explanations are for each group, and how much groups differ.

    With $\hat f = 1[p_f \ge t]$ and $\hat e = 1[p_e \ge t]$: accuracy $\mathrm{mean}\,1[\hat e = \hat f]$; AUROC of
    $p_e$ for $\hat f$; residual $\mathrm{mean}\,|p_f - p_e|$. The maximum gap is $\max_g (F_{all} - F_g)$, with the
    opposite sign for the residual; the mean gap is the mean of $|F_g - F_{g'}|$ over pairs of groups.

    The residual takes probabilities: with labels in their place it would be one minus the accuracy. A surrogate's value
    may leave [0, 1], which `clip` mends for the residual alone. The mean gap is above zero by noise alone; compare it
    with shuffled groups by `bootstrap_gap`.

    Cost: time O(n log n + g^2), memory O(n).

    Args:
        p_model: Probability of the explained class, by the model.
        p_explanation: The surrogate's value.
        groups: Group of each sample: whole numbers or names.
        threshold: t, of both labels.
        clip: Bring surrogate values into [0, 1] for the residual.

    Returns:
        The metrics of each group, and their gaps.

    Raises:
        InvalidInputError: The arguments are not of one length, not finite, or `p_model` holds no probabilities.

    Source: Mhasawade et al., Understanding Disparities in Post Hoc Machine Learning Explanation (2024), abstract and
    the released script, the fidelity metrics; the gaps are those of Balagopalan et al., The Road to
    Explainability is Paved with Bias (2022).

    >>> report = explanation_disparity([0.9, 0.2, 0.8, 0.4], [0.8, 0.1, 0.3, 0.4], ["a", "a", "b", "b"])
    >>> report.accuracy, report.mean_gap["accuracy"], report.max_gap["accuracy"]
    ((1.0, 0.5), 0.5, 0.25)
    """
    p_model, p_explanation, which, names = check_explanations(p_model, p_explanation, groups)
    if not 0 <= threshold <= 1:
        raise InvalidInputError(f"threshold must be a probability, got {threshold!r}")
    members = [which == place for place in range(len(names))]
    everyone = np.ones(len(which), dtype=bool)
    found = [
        [_metric(metric, p_model[kept], p_explanation[kept], threshold, clip) for kept in (everyone, *members)]
        for metric in METRICS
    ]
    by_metric = dict(zip(METRICS, found, strict=True))
    return DisparityReport(
        groups=names,
        counts=tuple(int(kept.sum()) for kept in members),
        accuracy=tuple(by_metric["accuracy"][1:]),
        auroc=tuple(by_metric["auroc"][1:]),
        residual=tuple(by_metric["residual"][1:]),
        overall={metric: values[0] for metric, values in by_metric.items()},
        max_gap={metric: max_gap(values[1:], values[0], metric) for metric, values in by_metric.items()},
        mean_gap={metric: mean_gap(values[1:]) for metric, values in by_metric.items()},
        n_undefined=sum(math.isnan(value) for value in by_metric["auroc"][1:]),
    )


def top_k_agreement(
    true_coef: Float[Tensor, " d"] | Any, coef: Float[Tensor, "n d"] | Any, k: int
) -> Float[np.ndarray, " n"]:
    r"""Return the share of the k largest true coefficients that each explanation has among its own k largest.

    $|\mathrm{top}_k(|w|) \cap \mathrm{top}_k(|a_i|)| / k$: the fidelity to a model whose coefficients are known. Of
    equal coefficients the first counts as larger.

    Cost: time O(n d log d), memory O(n d).

    Args:
        true_coef: Coefficients w of a linear model, in the units of the explanation (standardised columns).
        coef: Slopes of each explanation.
        k: How many count.

    Raises:
        InvalidInputError: The shapes do not fit, or k is not from 1 to d.

    Source: Mhasawade et al., Understanding Disparities in Post Hoc Machine Learning Explanation (2024), abstract and
    the released script, ground-truth fidelity of linear models.

    >>> top_k_agreement([3.0, -2.0, 0.1], [[1.0, 0.5, 0.0], [0.0, 1.0, 2.0]], 2).tolist()
    [1.0, 0.5]
    """
    truth, slopes = as_array(true_coef), as_array(coef)
    check_count(k, "k")
    if truth.ndim != 1 or slopes.ndim != 2 or slopes.shape[1] != len(truth) or len(slopes) == 0:
        raise InvalidInputError(f"coefficients (d,) and slopes (n, d) are needed, got {truth.shape} and {slopes.shape}")
    if k > len(truth) or not (np.isfinite(truth).all() and np.isfinite(slopes).all()):
        raise InvalidInputError(f"k must be at most {len(truth)}, got {k}, and coefficients finite")
    wanted = np.argsort(-np.abs(truth), kind="stable")[:k]
    largest = np.argsort(-np.abs(slopes), axis=1, kind="stable")[:, :k]
    return np.isin(largest, wanted).mean(1)


def check_explanations(
    p_model: Any, p_explanation: Any, groups: Any
) -> tuple[np.ndarray, np.ndarray, np.ndarray, tuple[Any, ...]]:
    """Return both predictions, the place of each sample's group, and the groups.

    Raises:
        InvalidInputError: They are not finite vectors of one length, or `p_model` leaves [0, 1].
    """
    p_model, p_explanation = as_array(p_model), as_array(p_explanation)
    labels = groups.detach().cpu().numpy() if isinstance(groups, Tensor) else np.asarray(groups)
    shapes = [values.shape for values in (p_model, p_explanation, labels)]
    if len(set(shapes)) > 1 or len(shapes[0]) != 1 or shapes[0][0] == 0:
        raise InvalidInputError(f"three vectors of one length are needed, got shapes {shapes}; align them")
    if not (np.isfinite(p_model).all() and np.isfinite(p_explanation).all()):
        raise InvalidInputError("predictions hold NaN or infinite values; leave these samples out")
    if p_model.min() < -1e-6 or p_model.max() > 1 + 1e-6:
        raise InvalidInputError("p_model must hold probabilities; take the sigmoid or softmax of logits first")
    if labels.dtype.kind == "f" and not np.isfinite(labels).all():
        raise InvalidInputError("groups hold NaN or infinite values; give every sample a group")
    names, which = np.unique(labels, return_inverse=True)
    return p_model, p_explanation, which, tuple(names.tolist())


def mean_gap(values: list[float]) -> float:
    """Return the mean absolute difference over pairs, NaN left out; 0 of one group, NaN where too few are defined."""
    if len(values) == 1:
        return 0.0 if math.isfinite(values[0]) else math.nan
    defined = [value for value in values if math.isfinite(value)]
    pairs = [abs(one - other) for one, other in itertools.combinations(defined, 2)]
    return float(np.mean(pairs)) if pairs else math.nan


def max_gap(values: list[float], overall: float, metric: str) -> float:
    """Return how much less faithful the worst group is than all samples together."""
    differences = [BETTER[metric] * (overall - value) for value in values if math.isfinite(value)]
    return max(differences) if differences and math.isfinite(overall) else math.nan


def _metric(metric: str, p_model: np.ndarray, p_explanation: np.ndarray, threshold: float, clip: bool) -> float:
    labels = p_model >= threshold
    if metric == "auroc":
        mixed = 0 < labels.sum() < len(labels)
        return float(roc_auc_score(labels, p_explanation)) if mixed else math.nan
    return float(agreement(metric, p_model, p_explanation, threshold, clip).mean())


def agreement(
    metric: str, p_model: np.ndarray, p_explanation: np.ndarray, threshold: float = 0.5, clip: bool = False
) -> np.ndarray:
    """Return the accuracy or the residual of each sample."""
    if metric == "accuracy":
        return ((p_model >= threshold) == (p_explanation >= threshold)).astype(float)
    return np.abs(p_model - (p_explanation.clip(0, 1) if clip else p_explanation))
