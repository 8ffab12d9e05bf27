"""Looks: how many seeds a study begins with, and how many it may ask for in all.

Cells are keyed by this file where settings plan looks, so that it holds the plan alone.
"""

import dataclasses

from assay.core import InvalidInputError


@dataclasses.dataclass(frozen=True)
class Looks:
    """Plan a study's looks at its seeds; stands in the settings where a fixed number of seeds would.

    The run begins with the first number of seeds, and takes those of the next look as long as a claim is undecided that
    more seeds can decide. `assay.lab.evidence.level` says how the error is spent over the looks.

    Args:
        seeds: Numbers of seeds at each look, the maximum last.

    Raises:
        InvalidInputError: Fewer than two looks, or numbers that do not grow from 2 on.

    >>> Looks((5, 8, 12, 20)).at(1)
    8
    """

    seeds: tuple[int, ...]

    def __post_init__(self) -> None:
        if len(self.seeds) < 2 or list(self.seeds) != sorted(set(self.seeds)) or self.seeds[0] < 2:
            raise InvalidInputError(
                f"the looks are at {self.seeds} seeds; give two or more growing numbers from 2 on, the maximum last, "
                "such as Looks((5, 8, 12, 20)), or a plain number of seeds."
            )

    def at(self, look: int) -> int:
        """Return the number of seeds at a look, counted from 0."""
        return self.seeds[look]
