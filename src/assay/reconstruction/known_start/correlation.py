"""Correlation of trained weights with a start, as a z-score, and its threshold."""

import math
from collections.abc import Iterable

import torch
from torch import Tensor

from assay.core import Parameters, check_count, check_fraction

_ENOUGH = 2**16  # entries: at a correlation of 0.1 they give z = 26


class StartCorrelation:
    r"""Correlate starts with given weights: the z-score over tensors, $\sum_l (n_l - 1) r_l / \sqrt{\sum_l (n_l - 1)}$.

    $r_l$ is Pearson's correlation over the $n_l$ entries of a tensor. If these are drawn independently of the weights,
    $r_l$ has mean 0 and variance $1 / (n_l - 1)$, whatever the weights are, so that z has mean 0 and variance 1.

    Args:
        end: Trained weights by name. Tensors with one value throughout are left out: they correlate with nothing.

    >>> correlation = StartCorrelation({"w": torch.tensor([1.0, 2.0, 4.0, 3.0])})
    >>> round(correlation({"w": torch.tensor([2.0, 4.0, 8.0, 6.0])}), 4)
    1.7321
    """

    def __init__(self, end: Parameters) -> None:
        self._directions = {}
        for name, value in end.items():
            centred = _centred(value)
            norm = centred.norm() if centred.numel() else centred.sum()
            if norm > 0:
                self._directions[name] = centred / norm
        self.n_entries = sum(value.numel() - 1 for value in self._directions.values())

    def __call__(self, start: Parameters) -> float:
        """Return the z-score of a start, which may hold other tensors too; 0 where nothing is compared."""
        total = 0.0
        for name, direction in self._directions.items():
            drawn = start[name].detach()
            if drawn.device != direction.device or drawn.dtype != direction.dtype:
                direction = direction.to(drawn if drawn.dtype.itemsize > 2 else drawn.float())
                self._directions[name] = direction
            centred = _centred(drawn)
            norm = centred.norm()
            total += float(torch.dot(direction, centred) / norm) * (len(centred) - 1) if norm > 0 else 0.0
        return total / math.sqrt(max(self.n_entries, 1))


def _centred(value: Tensor) -> Tensor:
    flat = value.detach().flatten()
    flat = flat.float() if flat.dtype.itemsize < 4 else flat
    return flat - flat.mean() if flat.numel() else flat


def screened_tensors(names: Iterable[str], end: Parameters) -> list[str]:
    """Return the first tensors, in the given order, that have 65,536 entries together, or all of them."""
    chosen, n_entries = [], 0
    for name in names:
        if n_entries >= _ENOUGH:
            break
        if end[name].numel() > 1 and bool((end[name] != end[name].flatten()[0]).any()):
            chosen.append(name)
            n_entries += end[name].numel()
    return chosen


def z_threshold(level: float, n_tried: int) -> float:
    r"""Return the z-score that any of `n_tried` wrong starts exceeds with probability `level` at most.

    $\sqrt{2 \ln(m / \alpha)}$: the union bound over m starts with $P(z > t) \le e^{-t^2 / 2}$, the tail of sums of
    independent uniform or normal entries.

    Raises:
        InvalidInputError: `level` is not between 0 and 1, or `n_tried` is no count.

    >>> round(z_threshold(1e-6, 1000), 2)
    6.44
    """
    check_fraction(level, "level")
    check_count(n_tried, "n_tried")
    return math.sqrt(2 * math.log(n_tried / level))


def split_unchanged(start: Parameters, end: Parameters) -> tuple[list[str], list[str]]:
    """Return the names of those tensors that training changed, and of those that it left exactly as they were."""
    unchanged = [name for name, value in end.items() if torch.equal(start[name].to(value), value)]
    return [name for name in end if name not in unchanged], unchanged
