"""A memory of condensed samples for learning one task after the other."""

from typing import Any, final

import torch
from jaxtyping import Float, Int
from sklearn.base import clone
from torch import Tensor

from assay.core import InvalidInputError, check_pairs
from assay.privacy.condensation.condenser import DatasetCondenser


@final
class CondensedReplay:
    """Keep a few condensed samples of each class that was seen, to train on beside those of the next task.

    A task's classes are condensed when it is observed, against each other only; its samples are then no longer needed.

    Args:
        condenser: How; it is copied for each task.

    Source: Lee et al., "Dataset Condensation with Contrastive Signals" (2022).

    >>> from assay.nets import mlp
    >>> x, y = torch.randn(8, 4, generator=torch.Generator().manual_seed(0)), torch.arange(8) % 4
    >>> build = lambda source: mlp((4, 5, 4), generator=source)
    >>> replay = CondensedReplay(DatasetCondenser(1, model_fn=build, outer_steps=1))
    >>> for task in (y < 2, y >= 2):
    ...     _ = replay.observe(x[task], y[task])
    >>> replay.memory[1].sort().values
    tensor([0, 1, 2, 3])
    """

    def __init__(self, condenser: DatasetCondenser) -> None:
        self.condenser = condenser
        self._parts: list[tuple[Tensor, Tensor]] = []

    def observe(self, x: Float[Tensor, "n *d"], y: Int[Tensor, " n"]) -> "CondensedReplay":
        """Condense a task's samples and keep the result.

        Raises:
            InvalidInputError: A class was observed before, or the condenser refuses the samples.
        """
        check_pairs(x, y)
        known = {int(label) for _, targets in self._parts for label in targets.unique()}
        again = sorted(known & set(y.unique().tolist()))
        if again:
            raise InvalidInputError(f"classes {again} were observed before; give each task its own classes")
        condenser: Any = clone(self.condenser)
        condensed = condenser.fit(x, y)
        self._parts.append((condensed.data_, condensed.targets_))
        return self

    @property
    def memory(self) -> tuple[Float[Tensor, "m *d"], Int[Tensor, " m"]]:
        """Condensed samples of all tasks so far, and their classes.

        Raises:
            InvalidInputError: No task was observed.
        """
        if not self._parts:
            raise InvalidInputError("the memory is empty; observe a task first")
        return torch.cat([x for x, _ in self._parts]), torch.cat([y for _, y in self._parts])
