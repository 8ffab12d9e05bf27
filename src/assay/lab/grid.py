"""Grid: the values of cells over named factors, as arrays with one axis a factor."""

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from assay.core import InvalidInputError


@dataclass(frozen=True)
class Grid:
    """Hold the value of each cell of a grid over named factors.

    Args:
        factors: The levels of each factor; the first factor varies slowest.
        cells: One value a combination of levels, in that order.

    Raises:
        InvalidInputError: The number of cells is not the product of the numbers of levels.

    >>> grid = Grid({"kind": ("mlp", "conv"), "seed": (0, 1)}, ({"auc": 0.6}, {"auc": 0.7}, {"auc": 0.8}, {"auc": 0.9}))
    >>> grid.at(kind="conv")["auc"].tolist()
    [0.8, 0.9]
    """

    factors: Mapping[str, tuple[Any, ...]]
    cells: tuple[Any, ...]

    def __post_init__(self) -> None:
        expected = math.prod(len(levels) for levels in self.factors.values())
        if len(self.cells) != expected:
            raise InvalidInputError(f"a grid over {self._sizes()} has {expected} cells; {len(self.cells)} were given.")

    def __len__(self) -> int:
        return len(self.cells)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.cells)

    def __getitem__(self, key: str) -> np.ndarray:
        """Return one entry of all cells as an array of shape (levels of each factor, ..., shape of the entry).

        Args:
            key: An entry of each cell, which must be a dict; its values are numbers, tensors, or lists of numbers.

        Returns:
            The array; a factor's axis has its levels in their order.

        Raises:
            InvalidInputError: Cells lack the entry, or hold something that is no number, or their shapes differ.
        """
        self._refuse(f"have no {key!r}", [not isinstance(cell, dict) or key not in cell for cell in self.cells])
        entries = [_array(cell[key]) for cell in self.cells]
        self._refuse(f"hold something else than numbers in {key!r}", [entry is None for entry in entries])
        arrays = [entry for entry in entries if entry is not None]
        shape = arrays[0].shape
        self._refuse(f"have {key!r} in another shape than {shape}", [array.shape != shape for array in arrays])
        return np.stack(arrays).reshape((*(len(levels) for levels in self.factors.values()), *shape))

    def at(self, **levels: Any) -> "Grid":
        """Return the part of the grid where factors have the given levels; these factors are gone from it.

        Args:
            **levels: A level by factor.

        Returns:
            The smaller grid.

        Raises:
            InvalidInputError: No such factor or level.
        """
        for factor, level in levels.items():
            if level not in self._levels(factor):
                raise InvalidInputError(f"{factor} has no level {level!r}; it has {self._listed(factor)}.")
        cells = tuple(
            cell for place, cell in self.places() if all(place[name] == level for name, level in levels.items())
        )
        return Grid({name: found for name, found in self.factors.items() if name not in levels}, cells)

    def by(self, factor: str) -> dict[Any, "Grid"]:
        """Return the part of the grid at each level of a factor.

        Args:
            factor: One of the factors.

        Returns:
            Grids by level, in the order of the levels.

        Raises:
            InvalidInputError: No such factor.
        """
        return {level: self.at(**{factor: level}) for level in self._levels(factor)}

    def places(self) -> Iterator[tuple[dict[str, Any], Any]]:
        """Yield each cell with its level of each factor."""
        for levels, cell in zip(itertools.product(*self.factors.values()), self.cells, strict=True):
            yield dict(zip(self.factors, levels, strict=True)), cell

    def _levels(self, factor: str) -> tuple[Any, ...]:
        if factor not in self.factors:
            raise InvalidInputError(f"the grid has no factor {factor!r}; it has {', '.join(self.factors) or 'none'}.")
        return self.factors[factor]

    def _listed(self, factor: str) -> str:
        return ", ".join(repr(level) for level in self.factors[factor])

    def _sizes(self) -> str:
        return " x ".join(f"{len(levels)} of {name}" for name, levels in self.factors.items()) or "no factor"

    def _refuse(self, what: str, wrong: list[bool]) -> None:
        if not any(wrong):
            return
        places = [", ".join(f"{name}={level!r}" for name, level in place.items()) for place, _ in self.places()]
        listed = "; ".join(place or "the only one" for place, is_wrong in zip(places, wrong, strict=True) if is_wrong)
        keys = sorted({key for cell in self.cells if isinstance(cell, dict) for key in cell})
        raise InvalidInputError(
            f"cells {what}: {listed}. Let every cell return a dict with the same keys and shapes; they have the keys "
            f"{', '.join(keys) or 'of no dict'}."
        )


def expand_factors(factors: Mapping[str, Any]) -> dict[str, tuple[Any, ...]]:
    """Return the levels of each factor.

    Args:
        factors: A sequence of levels by factor.

    Returns:
        Levels by factor.

    Raises:
        InvalidInputError: No factor, or one without levels, with a level twice, or given as one level alone.

    >>> expand_factors({"kind": ["mlp", "conv"]})
    {'kind': ('mlp', 'conv')}
    """
    if not factors:
        raise InvalidInputError(
            "a grid needs a factor, such as seed=5 or kind=('mlp', 'conv'); `cached` keeps one value."
        )
    expanded: dict[str, tuple[Any, ...]] = {}
    for name, levels in factors.items():
        if isinstance(levels, str) or not hasattr(levels, "__iter__"):
            raise InvalidInputError(
                f"the factor {name} is {levels!r}; give a sequence of levels: {name}=({levels!r},)."
            )
        expanded[name] = tuple(levels)
        if not expanded[name] or any(level in expanded[name][:index] for index, level in enumerate(expanded[name])):
            raise InvalidInputError(f"the factor {name} has the levels {expanded[name]}; give one or more, each once.")
    return expanded


def _array(value: Any) -> np.ndarray | None:
    """Return numbers as an array; None for anything else."""
    if isinstance(value, Tensor):
        value = value.detach().cpu()
        value = (
            value.float() if value.dtype.itemsize < 4 and value.is_floating_point() else value
        )  # NumPy lacks bfloat16
    try:
        array = np.asarray(value)
    except ValueError:  # a list of lists of several lengths
        return None
    return array if array.dtype.kind in "biuf" else None
