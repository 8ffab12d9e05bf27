"""Runner: run a study, resume it, or read a finished run back."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import torch

from assay.core import InvalidInputError, find_device
from assay.lab.cells import Cells
from assay.lab.environment import machine, versions
from assay.lab.evidence import Evidence, Verdict, evidence_from_json, judge
from assay.lab.figures import house_style
from assay.lab.lab import Lab
from assay.lab.lock import locked
from assay.lab.log import RunLog
from assay.lab.looks import Looks
from assay.lab.modules import pinned_sources
from assay.lab.notebook import Notebook
from assay.lab.sequential import asks_for_more, find_looks, refuse_unplanned
from assay.lab.sources import code_digest, figures_source, study_sources
from assay.lab.store import Store, run_name, settings_to_json
from assay.lab.study import Study, require_experiment
from assay.lab.workers import Workers


@dataclass(frozen=True)
class Run:
    """Hold a finished run of a study.

    Args:
        study: The study.
        folder: The run's folder.
        log: ``run.json``: scale, seed, settings, versions, machine, timings, peak memory, status.
        evidence: What was measured, in the order of measuring.
        figures: Name, file and caption of each figure.
        tables: Name, caption, columns and rows of each table.
        looks: The numbers of seeds at the looks that were taken; empty where the settings plan none.
        resumed: Whether the run had been finished before and nothing was computed.
    """

    study: Study
    folder: Path
    log: Mapping[str, Any]
    evidence: tuple[Evidence, ...]
    figures: tuple[Mapping[str, str], ...]
    tables: tuple[Mapping[str, Any], ...]
    looks: tuple[int, ...] = ()
    resumed: bool = False

    @property
    def verdicts(self) -> dict[str, Verdict]:
        """Each claim's verdict, in the study's order: the worst of its evidence that has a bar."""
        return {claim: judge(entry for entry in self.evidence if entry.claim == claim) for claim in self.study.claims}

    @property
    def planned(self) -> Looks | None:
        """The looks that the settings plan."""
        return find_looks(self.study.settings(self.log["scale"]))


def run_study(
    study: Study,
    *,
    scale: str = "small",
    seed: int = 0,
    out: str | Path = "runs",
    jobs: int = 1,
    backend: str = "loky",
    address: str | None = None,
    device: str = "cpu",
    progress: bool = False,
    fresh: bool = False,
) -> Run:
    """Run a study at one scale, resuming what an earlier, interrupted run has finished.

    Where the settings plan `Looks`, the experiment runs with the seeds of the first look, then with more, on the cells
    that are there, until its claims are decided or no look is left.

    A finished run is read back and judged by today's rule, unless the code that it stands on has changed since: then
    the experiment runs again, reads the cells whose own code is the same, and computes the others.

    Args:
        study: The study.
        scale: One of its scales.
        seed: The run's seed.
        out: The folder of all runs.
        jobs: How many processes compute cells.
        backend: ``"loky"`` (this machine), ``"dask"`` or ``"ray"``.
        address: A running cluster; None starts one on this machine where the backend needs it.
        device: A torch device, e.g. ``"cuda"``.
        progress: Draw progress bars on standard error.
        fresh: Forget what an earlier run has computed.

    Returns:
        The finished run.

    Raises:
        InvalidInputError: An unknown scale, device or backend, or a folder that cannot be written.
        AssayError: Another process writes the same run, or the study has no experiment.
    """
    experiment = require_experiment(study)
    target = find_device(device)
    workers = Workers(backend, jobs=jobs, address=address)
    _draw_off_screen()
    store = Store(Path(out) / run_name(study, scale=scale, seed=seed, device=device))
    with locked(store.folder), pinned_sources():
        header = {**_identity(study, scale, seed, target), "backend": backend, "jobs": jobs}
        store.sweep()
        if fresh:
            store.clear()
        elif _is_finished(store, header["source"]):
            return _read(study, store, resumed=True)
        log, looks = RunLog(store, header), find_looks(study.settings(scale))
        cells = Cells(store, log, workers, progress=progress)
        options = {"scale": scale, "seed": seed, "device": target, "progress": progress, "looks": looks}
        before: tuple[Evidence, ...] = ()
        with log.recording(), workers.open(), house_style():
            for look in range(len(looks.seeds) if looks else 1):
                notebook = Notebook(store, looks=looks.seeds[: look + 1] if looks else ())
                experiment(study.settings(scale), Lab(study, notebook, cells, log, look=look, **options))
                notebook.close(study.claims)
                refuse_unplanned(before, notebook.evidence)
                if not asks_for_more(notebook.evidence):
                    break
                before = notebook.evidence
        return _read(study, store, resumed=False)


def _identity(study: Study, scale: str, seed: int, device: torch.device) -> dict[str, Any]:
    return {
        "study": study.slug,
        "scale": scale,
        "seed": seed,
        "settings": settings_to_json(study.settings(scale)),
        "versions": versions(),
        "machine": machine(device),
        "device": device.type,
        "source": {**study_sources(study), "figures": figures_source(study), "carried": _carried(study)},
    }


def _carried(study: Study) -> str | None:
    """Return the digest of what the experiment carries, such as a closure's values; None without a stable one."""
    try:
        return code_digest(require_experiment(study))
    except InvalidInputError:
        return None


def _draw_off_screen() -> None:
    if "matplotlib.pyplot" not in sys.modules:  # a caller who draws already keeps the backend
        mpl.use("agg")


def _is_finished(store: Store, source: dict[str, str | None]) -> bool:
    log = store.read("run")
    if source["carried"] is None:  # what the experiment carries may have changed
        return False
    return log.get("source") == source and log.get("status") == "complete" and "evidence" in store.read("evidence")


def _read(study: Study, store: Store, *, resumed: bool) -> Run:
    notes = store.read("evidence")
    return Run(
        study,
        store.folder,
        store.read("run"),
        tuple(evidence_from_json(entry) for entry in notes["evidence"]),
        tuple(notes["figures"]),
        tuple(notes["tables"]),
        tuple(notes.get("looks", ())),
        resumed,
    )
