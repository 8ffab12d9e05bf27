"""Notebook, ``evidence.json``: the evidence, figures and tables of one run."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure

from assay.core import InvalidInputError, write_bytes
from assay.lab.evidence import NOT_REACHED, Evidence, evidence_to_json, not_tested
from assay.lab.figures import describe_figure, encode_figure
from assay.lab.files import plain
from assay.lab.store import Store


class Notebook:
    """Evidence, figures and tables of a run; ``evidence.json`` is written after each addition.

    Args:
        store: The run's folder.
        looks: The numbers of seeds at the looks so far; empty where none are planned.
    """

    def __init__(self, store: Store, *, looks: Sequence[int] = ()) -> None:
        self._store, self._looks = store, list(looks)
        self._evidence: list[Evidence] = []
        self._figures: list[dict[str, str]] = []
        self._tables: list[dict[str, Any]] = []

    @property
    def evidence(self) -> tuple[Evidence, ...]:
        """The evidence so far."""
        return tuple(self._evidence)

    def add_evidence(self, evidence: Evidence) -> None:
        """Add a piece of evidence."""
        self._evidence.append(evidence)
        self.write()

    def add_figure(self, name: str, figure: Figure, caption: str) -> None:
        """Save a figure, with its caption.

        Args:
            name: The figure's name.
            figure: A matplotlib figure.
            caption: What it shows; by default its titles and labels.
        """
        encoded = encode_figure(figure)
        file = name + encoded.suffix
        write_bytes(self._store.folder / "figures" / file, encoded.content)
        self._figures.append({"name": name, "file": file, "caption": caption or describe_figure(figure) or name})
        self.write()

    def add_table(self, name: str, rows: Sequence[Mapping[str, Any]], caption: str) -> None:
        """Add a table as its columns and rows.

        Args:
            name: The table's name.
            rows: Dicts with the same keys, holding JSON values.
            caption: What it shows; by default the name.

        Raises:
            InvalidInputError: There is no row, or the rows have different keys.
        """
        if not rows or any(list(row) != list(rows[0]) for row in rows):
            raise InvalidInputError(f"table {name!r} needs one or more rows with the same keys in the same order.")
        cells = plain([list(row.values()) for row in rows])
        caption = caption or name.replace("-", " ").capitalize()
        self._tables.append({"name": name, "caption": caption, "columns": list(rows[0]), "rows": cells})
        self.write()

    def close(self, claims: Iterable[str]) -> None:
        """Add evidence "not tested" for each claim that was never measured.

        Args:
            claims: The identifiers of the study's claims.
        """
        measured = {evidence.claim for evidence in self._evidence}
        self._evidence.extend(not_tested(claim, NOT_REACHED) for claim in claims if claim not in measured)
        self.write()

    def write(self) -> None:
        """Write ``evidence.json``."""
        evidence = [evidence_to_json(entry) for entry in self._evidence]
        state = {"evidence": evidence, "figures": self._figures, "tables": self._tables, "looks": self._looks}
        self._store.write("evidence", state)
