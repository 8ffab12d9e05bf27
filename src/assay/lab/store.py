"""Run store: the folder of one run with its cells, figures and evidence, written atomically."""

import dataclasses
import shutil
import warnings
from pathlib import Path
from typing import Any

import assay
from assay.core import InvalidInputError, write_bytes
from assay.lab.files import Encoded, Value, decode, plain, read_json, write_json
from assay.lab.identity import digest
from assay.lab.study import Study, check_name

_FOLDERS = ("cells", "artifacts", "figures")


def run_name(study: Study, *, scale: str, seed: int, device: str = "cpu") -> str:
    """Name a run's folder: ``<slug>-<scale>-<hash>``.

    The hash is over the slug, the scale, the settings, the seed, the kind of device and assay's major.minor
    version. Where any of these differs, the run has a folder of its own. The code does not count: it is in the keys of
    the cells.

    Args:
        study: The study.
        scale: One of its scales.
        seed: The run's seed.
        device: A torch device; its index does not count.

    Returns:
        The name.

    Raises:
        InvalidInputError: The settings hold something that JSON cannot.
    """
    identity = {
        "slug": study.slug,
        "scale": scale,
        "settings": settings_to_json(study.settings(scale)),
        "seed": seed,
        "device": device.partition(":")[0],
        "version": assay.__version__.split(".")[:2],
    }
    return f"{study.slug}-{scale}-{digest(identity)}"


def settings_to_json(settings: Any) -> dict[str, Any]:
    """Return a settings dataclass as JSON values, in the form in which they are read back.

    Args:
        settings: An instance of a dataclass.

    Returns:
        Its fields by name; tuples become lists.

    Raises:
        InvalidInputError: A field holds something that JSON cannot.
    """
    try:
        return plain(dataclasses.asdict(settings))
    except InvalidInputError as error:
        raise InvalidInputError(f"the settings {settings!r} cannot be stored: {error}") from error


class Store:
    """Keep one run's folder.

    Layout: ``run.json`` (what was run, where, how long, how it ended), ``evidence.json`` (evidence, tables and
    the list of figures), ``cells/`` (results of `Lab.map`), ``artifacts/`` (of `Lab.cached`), ``figures/``.

    Args:
        folder: The run's folder; it is made if it is missing.

    Raises:
        InvalidInputError: The folder cannot be made or written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            for name in _FOLDERS:
                (folder / name).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InvalidInputError(
                f"the run folder {folder} cannot be written ({error.strerror}); give another --out."
            ) from error

    def clear(self) -> None:
        """Remove all that the folder holds except its lock."""
        for name in ("run.json", "evidence.json"):
            (self.folder / name).unlink(missing_ok=True)
        for name in _FOLDERS:
            shutil.rmtree(self.folder / name)
            (self.folder / name).mkdir()

    def sweep(self) -> None:
        """Remove the temporary files that a killed process left. The caller holds the lock."""
        for path in self.folder.rglob(".*.tmp"):
            path.unlink()

    def cell(self, name: str, item: Any, code: str) -> Path:
        """Return where the result of one item of a map is kept, without the suffix.

        The item's place does not count: where more seeds are asked for, those of the first look are found.

        Args:
            name: The map's name.
            item: The item; its content is hashed.
            code: The digest of the code that computes it.

        Returns:
            A path in ``cells/``.
        """
        return self.folder / "cells" / f"{name}-{digest(item)}-{code}"

    def artifact(self, name: str, code: str) -> Path:
        """Return where a cached value is kept, without the suffix.

        Args:
            name: The value's name.
            code: The digest of the code that computes it.

        Returns:
            A path in ``artifacts/``.
        """
        check_name(name, "the name of a cached value")
        return self.folder / "artifacts" / f"{name}-{code}"

    def keep(self, stem: Path, encoded: Encoded) -> Value:
        """Write a value beside its stem and return it as it will be read back.

        Args:
            stem: A path from `cell` or `artifact`.
            encoded: The value, from `assay.lab.files.encode`.

        Returns:
            The value in the form that `find` returns.
        """
        write_bytes(stem.with_name(stem.name + encoded.suffix), encoded.content)
        return decode(encoded)

    def find(self, stem: Path) -> tuple[Value] | None:
        """Read the value kept under a stem.

        A corrupt file counts as absent, with a warning: its value will be computed again.

        Args:
            stem: A path from `cell` or `artifact`.

        Returns:
            The value in a tuple of one (None is a value too), or None where there is none.
        """
        for suffix in (".json", ".safetensors"):
            path = stem.with_name(stem.name + suffix)
            if not path.exists():
                continue
            try:
                return (decode(Encoded(suffix, path.read_bytes())),)
            except InvalidInputError:
                warnings.warn(f"{path} is corrupt and is computed again", RuntimeWarning, stacklevel=2)
                path.unlink()
        return None

    def write(self, name: str, value: dict[str, Any]) -> None:
        """Write ``<name>.json`` in the run's folder."""
        write_json(self.folder / f"{name}.json", value)

    def read(self, name: str) -> dict[str, Any]:
        """Read ``<name>.json``; an absent file reads as empty, a corrupt one too, with a warning."""
        path = self.folder / f"{name}.json"
        if not path.exists():
            return {}
        try:
            return read_json(path)
        except InvalidInputError as error:
            warnings.warn(f"{error} It is written again.", RuntimeWarning, stacklevel=2)
            return {}
