"""Exact prior over functions, by enumeration of all weights (Buzaglo, Harel et al., 2024)."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int, Int64, Shaped
from torch import Tensor

from assay.core import InvalidInputError, check_count, check_samples, signs
from assay.generalization.interpolators.quantized import QuantizedMLP

MOST_POINTS = 62
"""Bits of a signed integer that stay positive."""

MOST_SETTINGS = 10**8


@dataclass(frozen=True)
class FunctionPrior:
    """The functions that a network can express on a finite domain, and how many weights express each.

    Attributes:
        signs: Labels of each function on the domain, -1 or 1.
        counts: Settings of the weights that give each function.
    """

    signs: Int64[Tensor, "f n"]
    counts: Int64[Tensor, " f"]

    @property
    def probabilities(self) -> Float[Tensor, " f"]:
        """Prior probability of each function."""
        return self.counts.double() / self.counts.sum()

    def teacher_probability(self, teacher: Shaped[Tensor, " n"]) -> float:
        """Return the prior probability of the function with the given labels; 0 where no weights express it.

        Args:
            teacher: Labels on the whole domain.

        Raises:
            InvalidInputError: They are not binary, or not one a point.
        """
        same = (self.signs == self._on_domain(teacher)).all(1)
        return float(self.probabilities[same].sum())

    def posterior(self, index: Int[Tensor, " k"], y: Shaped[Tensor, " k"]) -> Float[Tensor, " f"]:
        """Return the probability of each function given labels at some points: the law of guess and check.

        Args:
            index: Places of the training points in the domain, with repetitions.
            y: Their labels.

        Raises:
            InvalidInputError: No function has these labels, or the labels are not binary and one a point.
        """
        labels = signs(y).to(self.signs)
        if index.ndim != 1 or len(index) != len(labels):
            raise InvalidInputError(f"{len(labels)} labels came with places of shape {tuple(index.shape)}")
        weight = self.probabilities * (self.signs[:, index] == labels).all(1)
        if not weight.any():
            raise InvalidInputError("no weights fit these labels; take labels that some function of the prior has")
        return weight / weight.sum()

    def risk(self, index: Int[Tensor, " k"], teacher: Shaped[Tensor, " n"]) -> float:
        r"""Return the mean error of guess and check on the domain: $\sum_f P(f \mid S)\,\mathrm{err}(f)$.

        Args:
            index: Places of the training points in the domain; the teacher labels them.
            teacher: Labels on the whole domain.

        Raises:
            InvalidInputError: No function agrees with the teacher there, or its labels are not binary and one a point.
        """
        labels = self._on_domain(teacher)
        return float(self.posterior(index, labels[index]) @ (self.signs != labels).double().mean(1))

    def _on_domain(self, teacher: Tensor) -> Tensor:
        labels = signs(teacher).to(self.signs)
        if len(labels) != self.signs.shape[1]:
            raise InvalidInputError(
                f"the teacher has {len(labels)} labels for {self.signs.shape[1]} points; label the whole domain"
            )
        return labels


def enumerate_functions(
    prior: QuantizedMLP, x_domain: Float[Tensor, "n d"], *, batch_size: int = 65_536
) -> FunctionPrior:
    r"""Count how many settings of the weights give each function on a finite domain.

    Cost: time O(q^p n width) for q levels and p weights; memory O(batch_size n width).

    Args:
        prior: The network and its levels, at most 1e8 settings in all.
        x_domain: All inputs that there are, at most 62.
        batch_size: Networks that are evaluated together.

    Returns:
        The functions, the most frequent first.

    Raises:
        InvalidInputError: There are too many settings or points, or the inputs do not belong to the network.

    Source: Buzaglo, Harel et al., How Uniform Random Weights Induce Non-uniform Bias (2024), abstract, the prior over
    functions that a flat prior over weights induces.

    >>> enumerate_functions(QuantizedMLP((1, 1)), torch.tensor([[-1.0], [1.0]])).counts.tolist()
    [4, 2, 2, 1]
    """
    check_count(batch_size, "batch_size")
    x = check_samples(x_domain, "x_domain")
    prior.check_inputs(x)
    base, p = len(prior.levels), prior.n_parameters
    if base**p > MOST_SETTINGS or len(x) > MOST_POINTS:
        raise InvalidInputError(
            f"{base}^{p} settings on {len(x)} points are too many to enumerate; at most {MOST_SETTINGS:.0e} settings "
            f"and {MOST_POINTS} points can be: take a narrower network, or sample with `guess_and_check`"
        )
    levels = torch.tensor(prior.levels, dtype=x.dtype, device=x.device)
    places = base ** torch.arange(p, device=x.device)
    bits = 2 ** torch.arange(len(x), device=x.device)
    counted: dict[int, int] = {}
    for start in range(0, base**p, batch_size):
        code = torch.arange(start, min(start + batch_size, base**p), device=x.device)
        outputs = prior.forward_batch(levels[code[:, None] // places % base], x)
        keys, counts = ((outputs > 0) * bits).sum(1).unique(return_counts=True)
        for key, count in zip(keys.tolist(), counts.tolist(), strict=True):
            counted[key] = counted.get(key, 0) + count
    ranked = sorted(counted.items(), key=lambda item: (-item[1], item[0]))
    keys, counts = torch.tensor(ranked, device=x.device).T
    return FunctionPrior(signs=2 * (keys[:, None] // bits % 2) - 1, counts=counts)
