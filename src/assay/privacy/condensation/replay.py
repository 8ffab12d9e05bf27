"""Replay memory of condensed samples for continual learning (Lee et al., 2022)."""

import copy
from typing import final

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from assay.core import InvalidInputError, check_pairs
from assay.privacy.condensation.condenser import DatasetCondenser


@final
class CondensedReplay:
    """Keep condensed samples of the classes of past tasks, for training beside the samples of the next task.

    The classes of a task are condensed together when the task is observed; its samples are then no longer needed.

    Cost: time of one condensation a task, memory O(`n_per_class`) samples a class.

    Args:
        condenser: Condenser with its options; each task fits a copy.

    Source: Lee et al., "Dataset Condensation with Contrastive Signals" (2022), section on continual learning.

    >>> from assay.nets import mlp
    >>> x, y = torch.randn(8, 4, generator=torch.Generator().manual_seed(0)), torch.arange(8) % 4
    >>> build = lambda source: mlp((4, 5, 4), generator=source)
    >>> replay = CondensedReplay(DatasetCondenser(1, model_fn=build, n_outer_iter=1))
    >>> for task in (y < 2, y >= 2):
    ...     _ = replay.observe(x[task], y[task])
    >>> replay.memory[1].sort().values
    tensor([0, 1, 2, 3])
    """

    def __init__(self, condenser: DatasetCondenser) -> None:
        self.condenser = condenser
        self._parts: list[tuple[Tensor, Tensor]] = []

    def observe(self, x: Float[Tensor, "n *d"], y: Shaped[Tensor, "n *one"]) -> "CondensedReplay":
        """Condense a task's samples and keep the result.

        Args:
            x: Samples of the task.
            y: Classes of the samples.

        Raises:
            InvalidInputError: A class was observed before, or the condenser refuses the samples.
        """
        x, y = check_pairs(x, y)
        known = {int(label) for _, targets in self._parts for label in targets.unique()}
        again = sorted(known & set(y.unique().tolist()))
        if again:
            raise InvalidInputError(f"classes {again} were observed before; give each task its own classes")
        condensed = copy.copy(self.condenser).fit(x, y)  # a deep copy would copy the networks that `model_fn` holds
        self._parts.append((condensed.data_, condensed.targets_))
        return self

    @property
    def memory(self) -> tuple[Float[Tensor, "m *d"], Int[Tensor, " m"]]:
        """Condensed samples of all observed tasks, and their classes.

        Raises:
            InvalidInputError: No task was observed.
        """
        if not self._parts:
            raise InvalidInputError("the memory is empty; observe a task first")
        return torch.cat([x for x, _ in self._parts]), torch.cat([y for _, y in self._parts])
