"""Difficulty of samples: when training learns each of them (Chatterjee and Zielinski, 2022)."""

from dataclasses import dataclass

import torch
from jaxtyping import Int64, Shaped
from torch import Tensor

from assay.core import InvalidInputError


@dataclass(frozen=True, eq=False)
class LearningTimes:
    """When training learned each sample, in rows of the record.

    Attributes:
        first: First time at which it was correct; the number of times where it never was.
        last: First time from which on it stayed correct; the number of times where it was wrong at the end.
        n_times: Times in the record.
    """

    first: Int64[Tensor, " n"]
    last: Int64[Tensor, " n"]
    n_times: int

    def __str__(self) -> str:
        learned = self.last < self.n_times
        return (
            f"Of {len(self.last)} samples, {int(learned.sum())} are learned and stay so; half are first correct by "
            f"time {int(self.first.sort().values[(len(self.first) - 1) // 2])} of {self.n_times}."
        )


def learning_times(correct: Shaped[Tensor, "t n"]) -> LearningTimes:
    """Return when each sample is first correct, and from when on it stays correct.

    Args:
        correct: Whether each sample (column) was classified correctly at each time (row), such as after each epoch.

    Returns:
        The times, counted from 0.

    Raises:
        InvalidInputError: `correct` is not a Boolean matrix, or empty.

    Cost: O(t n).

    Source: Chatterjee and Zielinski, On the Generalization Mystery in Deep Learning (2022), arXiv 2203.10036, the
    section on easy and hard examples.

    >>> times = learning_times(torch.tensor([[False, True], [True, False], [True, True]]))
    >>> times.first.tolist(), times.last.tolist()
    ([1, 0], [1, 2])
    """
    if correct.dtype != torch.bool or correct.ndim != 2 or not correct.numel():
        raise InvalidInputError(
            f"correct must be a Boolean matrix with a row for each time and a column for each sample, got "
            f"{correct.dtype} of shape {tuple(correct.shape)}"
        )
    n_times = len(correct)
    times = torch.arange(n_times, device=correct.device)[:, None]
    first = torch.where(correct, times, n_times).amin(0)
    last = torch.where(correct, 0, times + 1).amax(0)
    return LearningTimes(first, last, n_times)
