"""Lab: what an experiment uses to compute, measure, draw and keep."""

import itertools
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, SupportsFloat, TypeVar

import torch
from matplotlib.figure import Figure

from assay.core import InvalidInputError, spawn_seeds, track
from assay.data import available
from assay.lab.cells import Cells
from assay.lab.evidence import Evidence, Test, not_tested, read_bar, read_values, weigh
from assay.lab.files import Value
from assay.lab.grid import Grid, expand_factors
from assay.lab.log import RunLog
from assay.lab.looks import Looks
from assay.lab.notebook import Notebook
from assay.lab.study import Study, check_name
from assay.lab.tables import table_rows

T = TypeVar("T")

_LEANING = ("the same", "its ", "their ", "of these", "over that")
"""How a measurement begins that cannot be read without the one before it."""


class Lab:
    """Give an experiment its verbs, and the seed, scale and device of its run.

    - ``data(name)``: the named data set, or an embedded one where its files are missing; the record says so
    - ``cached(name, make)``: ``make()``, computed once and kept
    - ``map(function, items, name=...)``: ``function(item)`` for each item, in parallel, kept cell by cell
    - ``grid(function, settings, seed=5, kind=KINDS)``: ``function(settings, seed, kind)`` over all combinations
    - ``measure(claim, values, at_least=..., what=...)``: evidence: values over seeds, paired differences or counts
      against a bar
    - ``seeds(settings.seeds)``: as many seeds as the settings say, or as this look has, where they plan `Looks`
    - ``table(name, rows_or_grid)``: a table; of a grid, means with intervals over seeds
    - ``figure(name, figure)``: a figure; `assay.lab.plots` draws the usual ones
    - ``progress(iterable, description)``: a progress bar

    A lab hands out no generator, for its state would depend on which stages a resumed run skips: derive one from
    ``lab.seed`` (``assay.core.seeded``, ``assay.core.spawn_seeds``) where it is used.

    Args:
        study: The study that runs.
        notebook: Where evidence, figures and tables are kept.
        cells: What computes cells and finds those that are kept.
        log: The run's log, which says what data were used.
        scale: The scale that runs.
        seed: The run's seed.
        device: The device that the experiment computes on.
        progress: Whether bars are drawn.
        looks: The looks that the study's settings plan; None where its numbers of seeds are fixed.
        look: The place of this look among them.
    """

    def __init__(
        self,
        study: Study,
        notebook: Notebook,
        cells: Cells,
        log: RunLog,
        *,
        scale: str,
        seed: int,
        device: torch.device,
        progress: bool,
        looks: Looks | None = None,
        look: int = 0,
    ) -> None:
        self._study, self._notebook, self._cells, self._log = study, notebook, cells, log
        self._scale, self._seed, self._device, self._progress = scale, seed, device, progress
        self._looks, self._look = looks, look
        self._names: set[tuple[str, str]] = set()
        self._measured: set[tuple[str, str]] = set()

    @property
    def scale(self) -> str:
        """The scale that runs: ``"smoke"``, ``"small"`` or ``"paper"``."""
        return self._scale

    @property
    def seed(self) -> int:
        """The run's seed."""
        return self._seed

    @property
    def device(self) -> torch.device:
        """The device that the experiment computes on."""
        return self._device

    def seeds(self, n: int | Looks) -> tuple[int, ...]:
        """Return independent seeds that are derived from the run's; those of fewer are the first of those of more.

        Args:
            n: How many; of planned looks, as many as this look has.

        Returns:
            The seeds.
        """
        return tuple(spawn_seeds(self._seed, n.at(self._look) if isinstance(n, Looks) else n))

    def data(self, name: str, *, instead: str | None = "fashion") -> str | None:
        """Return the name of a data set, or of one to take instead where its files are not on this machine.

        It is decided once a run: a resumed run keeps the data that it began with. The record says what was used.

        Args:
            name: The wanted set, one of `assay.data.names`.
            instead: The set to take where the wanted one is missing; None to be told that it is.

        Returns:
            The set to load; None where the wanted one is missing and ``instead`` is None.

        Raises:
            InvalidInputError: The name is unknown, or a file is damaged.
        """
        return self._log.use_data(name, instead, lambda wanted: available(wanted, "") == wanted)

    def cached(self, name: str, make: Callable[[], Value]) -> Value:
        """Return ``make()``, computed once for this run: a resumed run reads it from disk.

        It is computed again where the code of ``make`` has changed, or what it carries (a partial's arguments).

        Args:
            name: The value's name, used once in an experiment.
            make: Computes the value: tensors, arrays, numbers, strings, and lists and dicts of these.

        Returns:
            The value as it is stored, fresh or not: tensors on the CPU, tuples as lists.

        Raises:
            InvalidInputError: The name was used before, the value cannot be stored, or ``make`` carries something
                without a stable digest.
        """
        self._take_name("cached", name)
        return self._cells.one(name, make)

    def map(self, function: Callable[[Any], Value], items: Iterable[Any], *, name: str) -> list[Value]:
        """Return ``[function(item) for item in items]``, computed in parallel and kept cell by cell.

        A cell is kept as long as its item and the code of the function are the same: the file that defines it and
        what that imports, and the classes of dataclasses in the items (see `assay.lab.sources.code_digest`). A cell's
        randomness comes from its item (give it a seed). Each worker computes on one torch thread. A cell that raises is
        computed once more; its traceback is in ``run.json``.

        Args:
            function: A module's function (or a closure of plain values) that returns what `cached` can keep.
            items: Numbers, strings, tensors, or tuples, dicts or dataclasses of these.
            name: The map's name, used once in an experiment.

        Returns:
            The values in the order of the items, as they are stored.

        Raises:
            InvalidInputError: The name was used before, or an item or what the function carries has no stable digest.
            CellsFailedError: Cells failed twice; all others are kept.
        """
        self._take_name("map", name)
        return self._cells.all(name, function, items)

    def grid(
        self,
        function: Callable[..., Value],
        settings: Any,
        /,
        *,
        name: str | None = None,
        after: Grid | None = None,
        **factors: Any,
    ) -> Grid:
        """Return the values of ``function(settings, *levels)`` over all combinations of the factors' levels.

        The levels come in the order of the factors. Each cell is computed and kept as those of `map` are. With
        ``after=``, the factors are those of another grid, and the function is called with the value of that grid's
        cell last: ``function(settings, *levels, previous)``.

        Args:
            function: A module's function that returns what `cached` can keep; a dict of numbers and tensors by name,
                if its entries will be taken as arrays.
            settings: Its first argument, the same for all cells.
            name: The grid's name, used once in an experiment; that of the function, with dashes, where it is None.
            after: The grid whose cells are handed on.
            **factors: A sequence of levels each: strings, numbers, tuples or frozen dataclasses. ``seed=n`` stands for
                n seeds that are derived from the run's, ``seed=Looks(...)`` for those of this look.

        Returns:
            The grid of values, as they are stored.

        Raises:
            InvalidInputError: A name that was used before, no factor or factors beside ``after``, or a level that has
                no stable digest.
            CellsFailedError: Cells failed twice; all others are kept.
        """
        if name is None:
            name = str(getattr(function, "__name__", "")).replace("_", "-")
        self._take_name("map", name)
        if after is not None and factors:
            raise InvalidInputError(f"{name} has its factors from after=; leave out {', '.join(factors)}.")
        if isinstance(factors.get("seed"), int | Looks):
            factors["seed"] = self.seeds(factors["seed"])
        levels = expand_factors(factors) if after is None else dict(after.factors)
        items = [(settings, *combination) for combination in itertools.product(*levels.values())]
        if after is not None:
            items = [(*item, previous) for item, previous in zip(items, after, strict=True)]
        return Grid(levels, tuple(self._cells.all(name, function, items, spread=True)))

    def measure(
        self,
        claim: str,
        values: SupportsFloat | Iterable[SupportsFloat] | None = None,
        *,
        what: str = "",
        at_least: float | None = None,
        at_most: float | None = None,
        test: Test = "student",
        of: SupportsFloat | Iterable[SupportsFloat] | None = None,
        untested: str | None = None,
    ) -> Evidence:
        """Bring evidence for a claim: values against a bar, a number to report, or why it was not tested.

        Evidence without a bar never decides: a claim's verdict is the worst of its evidence that has one. Where the
        settings plan looks, one value for each seed of this look is judged look by look (`assay.lab.evidence.weigh`).

        Args:
            claim: One of the study's claims.
            values: One value, or one for each seed in their order.
            what: One line that can be read alone: what was measured, on what, against what.
            at_least: The bar that the values must reach; of counts, as a share.
            at_most: The bar that the values must not exceed. Without a bar the number is only reported.
            test: What the interval inverts: ``"student"`` of the mean; of paired differences of which few or extreme
                ones would make the mean, ``"wilcoxon"`` (signed ranks) or ``"sign"``.
            of: Where values count successes, as of rare events: of how many trials, the same for all seeds or one
                number a seed. The interval is then exact for the share of all trials.
            untested: Why this scale cannot test the claim; then no values are given.

        Returns:
            The evidence, with its verdict.

        Raises:
            InvalidInputError: A claim that the study does not make, two bars, both values and ``untested``, counts
                that are none, or a ``what`` that repeats an earlier one of the claim or leans on it ("the same ...",
                "its ...").
            NumericalError: A value is not finite.
        """
        if claim not in self._study.claims:
            raise InvalidInputError(
                f"study {self._study.slug!r} makes no claim {claim!r}; it makes {', '.join(self._study.claims)}."
            )
        self._check_reads_alone(claim, what)
        if untested is not None and values is None:
            evidence = not_tested(claim, untested, what=what, bar=read_bar(claim, at_least, at_most))
        elif values is not None and untested is None:
            found = read_values(values)
            plan = self._looks.seeds if self._looks and self._looks.at(self._look) == len(found) else ()
            evidence = weigh(claim, found, what=what, at_least=at_least, at_most=at_most, test=test, of=of, looks=plan)
        else:
            raise InvalidInputError(f"claim {claim!r} needs either values or untested='why', not both or none.")
        self._notebook.add_evidence(evidence)
        return evidence

    def figure(self, name: str, figure: Figure, *, caption: str = "") -> None:
        """Keep a figure as SVG, or as PNG where the SVG is large.

        Args:
            name: The figure's name, used once in an experiment.
            figure: A matplotlib figure, drawn in the experiment, where the house's style is set; it is closed.
            caption: What it shows, in a sentence; its titles and labels are taken where this is empty.

        Raises:
            InvalidInputError: The name was used before.
        """
        self._take_name("figure", name)
        self._notebook.add_figure(name, figure, caption)
        if "matplotlib.pyplot" in sys.modules:  # or a study of many figures would keep them all open
            sys.modules["matplotlib.pyplot"].close(figure)

    def table(
        self,
        name: str,
        rows: Sequence[Mapping[str, Any]] | Grid,
        *,
        columns: Sequence[str] | None = None,
        caption: str = "",
    ) -> None:
        """Keep a table.

        Args:
            name: The table's name, used once in an experiment.
            rows: Dicts with the same keys, holding JSON values. Or a grid: its table has one row a combination of the
                factors other than ``seed``, with means and 95% intervals over seeds, such as ``0.71 [0.69, 0.73]``.
            columns: The entries to show, in this order; None for all, of a grid for all single numbers.
            caption: What it shows; the name is taken where this is empty.

        Raises:
            InvalidInputError: The name was used before, there is no row, the rows have different keys, or an entry is
                missing or, in a grid, is not one number a cell.
        """
        self._take_name("table", name)
        self._notebook.add_table(name, table_rows(rows, columns), caption)

    def progress(self, iterable: Iterable[T], description: str) -> Iterator[T]:
        """Yield from an iterable, with a bar where the user asked for progress.

        Args:
            iterable: What to go through.
            description: What the bar says.

        Yields:
            Its items.
        """
        return track(iterable, description, enabled=self._progress)

    def _check_reads_alone(self, claim: str, what: str) -> None:
        if what.lower().startswith(_LEANING):
            raise InvalidInputError(
                f"claim {claim!r} is measured by {what!r}, which cannot be read alone; say in full what was "
                "measured, on what, against what."
            )
        if what and (claim, what) in self._measured:
            raise InvalidInputError(
                f"claim {claim!r} is measured by {what!r} twice; say in each how the two measurements differ."
            )
        self._measured.add((claim, what))

    def _take_name(self, kind: str, name: str) -> None:
        check_name(name, f"the name of a {kind}")
        if (kind, name) in self._names:
            raise InvalidInputError(f"the {kind} name {name!r} is used twice; give each its own, or one hides another.")
        self._names.add((kind, name))
