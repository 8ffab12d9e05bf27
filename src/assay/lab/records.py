"""Records: what a study measured at ``small``, as files that are committed."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import assay
from assay.core import InvalidInputError, write_bytes
from assay.lab.evidence import evidence_from_json, evidence_to_json, judge
from assay.lab.files import read_json, write_json
from assay.lab.runner import Run
from assay.lab.sources import study_sources
from assay.lab.store import settings_to_json
from assay.lab.study import Study

_FROM_LOG = ("scale", "seed", "settings", "versions", "machine", "device", "timings", "peak_memory_mb")

_KEYS = {"slug", "paper", "claims", "methods", "evidence", "figures", "tables", "data", "source", *_FROM_LOG}


def record(run: Run, records_dir: str | Path) -> Path:
    """Write a finished ``small`` run as ``<slug>.json`` and its figures as ``<slug>-<name>.svg`` (or ``.png``).

    Args:
        run: The run.
        records_dir: The folder of all records.

    Returns:
        The record's path.

    Raises:
        InvalidInputError: The run is of another scale.
    """
    if run.log["scale"] != "small":
        raise InvalidInputError(f"a {run.log['scale']!r} run makes no record; run the study with --scale small.")
    folder, slug = Path(records_dir), run.study.slug
    path = folder / f"{slug}.json"
    earlier = {figure["file"] for figure in read_json(path)["figures"]} if path.exists() else set()
    figures = [{**figure, "file": f"{slug}-{figure['file']}"} for figure in run.figures]
    for source, target in zip(run.figures, figures, strict=True):
        write_bytes(folder / target["file"], (run.folder / "figures" / source["file"]).read_bytes())
    write_json(path, contents(run, figures))
    for stale in earlier - {figure["file"] for figure in figures}:
        (folder / stale).unlink(missing_ok=True)
    return path


def find_records() -> Path:
    """Return the folder of records to show where none is named: ``records`` here, or those that come with the package.

    Raises:
        InvalidInputError: There is neither.
    """
    package = Path(assay.__file__).parent
    places = (Path("records"), package / "records", package.parents[1] / "records")  # here, in a wheel, in a checkout
    for folder in places:
        if any(folder.glob("*.json")):
            return folder
    raise InvalidInputError(
        "there are no records to show: run `assay study SLUG` beside a folder records/, or name one with --records."
    )


def read_records(records_dir: str | Path) -> list[dict[str, Any]]:
    """Read all records of a folder.

    Args:
        records_dir: The folder.

    Returns:
        The records, by the year and title of their papers.

    Raises:
        InvalidInputError: No such folder, no record in it, or a file that is not a record.
    """
    folder = Path(records_dir)
    paths = sorted(folder.glob("*.json"))
    if not paths:
        raise InvalidInputError(f"{folder} holds no records; run `assay study SLUG --scale small` to make one.")
    records = [read_json(path) for path in paths]
    for path, entry in zip(paths, records, strict=True):
        if not isinstance(entry, dict) or not set(entry) >= _KEYS:
            raise InvalidInputError(f"{path} is not a record; move it out of {folder}.")
    return sorted(records, key=lambda entry: (entry["paper"]["year"], entry["paper"]["title"]))


def rejudge(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return a record with the intervals and verdicts that today's rule gives its stored values; nothing is measured.

    Args:
        record: A record, from `read_records`.

    Returns:
        The record; the same where the rule has not changed since it was made.
    """
    evidence = [evidence_from_json(entry) for entry in record["evidence"]]
    claims = [
        {**claim, "verdict": judge(entry for entry in evidence if entry.claim == claim["id"])}
        for claim in record["claims"]
    ]
    return {**record, "evidence": [evidence_to_json(entry) for entry in evidence], "claims": claims}


def rewrite(records_dir: str | Path, slugs: Iterable[str] = ()) -> dict[Path, list[str]]:
    """Write the records of a folder that today's rule judges otherwise than they say.

    Args:
        records_dir: The folder.
        slugs: The studies whose records to judge; empty for all.

    Returns:
        A sentence for each claim with another verdict, by the record's path.

    Raises:
        InvalidInputError: No record of one of the studies.
    """
    folder, wanted = Path(records_dir), set(slugs)
    records = {entry["slug"]: entry for entry in read_records(folder)}
    missing = sorted(wanted - set(records))
    if missing:
        raise InvalidInputError(
            f"{folder} holds no record of {', '.join(missing)}; run `assay study SLUG` to make one."
        )
    changed: dict[Path, list[str]] = {}
    for slug in sorted(wanted or records):
        judged = rejudge(records[slug])
        if judged != records[slug]:
            path = folder / f"{slug}.json"
            write_json(path, judged)
            pairs = zip(records[slug]["claims"], judged["claims"], strict=True)
            changed[path] = [
                f"{now['id']}: {before['verdict']} -> {now['verdict']}"
                for before, now in pairs
                if before["verdict"] != now["verdict"]
            ]
    return changed


def stale(record: Mapping[str, Any], study: Study) -> str | None:
    """Say whether a record is of another study than the code's: other settings, other claims, or another source.

    Args:
        record: A record, from `read_records`.
        study: The study of the same slug.

    Returns:
        A sentence that says what differs and how to mend it; None where nothing does.
    """
    settings = study.scales.get(record["scale"])
    claims = [{key: claim[key] for key in claim if key != "verdict"} for claim in record["claims"]]
    differing = []
    if settings is None or record["settings"] != settings_to_json(settings):
        differing.append("settings")
    if claims != [{"id": name, **asdict(claim)} for name, claim in study.claims.items()]:
        differing.append("claims")
    if record["source"]["study"] != study_sources(study)["study"]:
        differing.append("source")
    if not differing:
        return None
    return (
        f"The study's {' and '.join(differing)} changed after this record was made: "
        f"re-run `assay study {study.slug} --scale {record['scale']}` with --records."
    )


def older_methods(record: Mapping[str, Any], study: Study) -> bool:
    """Return whether a record agrees with its study's code but was measured with other versions of the methods.

    Args:
        record: A record, from `read_records`.
        study: The study of the same slug.

    Returns:
        True where only the digest of the methods differs.
    """
    return stale(record, study) is None and record["source"]["methods"] != study_sources(study)["methods"]


def note(record: Mapping[str, Any], study: Study) -> str | None:
    """Return a sentence where a record is stale or was measured with an earlier version of the methods.

    Args:
        record: A record, from `read_records`.
        study: The study of the same slug.

    Returns:
        A sentence; None where the record is current.
    """
    if older_methods(record, study):
        return "Measured with an earlier version of the methods."
    return stale(record, study)


def contents(run: Run, figures: list[dict[str, str]]) -> dict[str, Any]:
    """Return what a record of a run holds.

    Args:
        run: A finished run, of any scale.
        figures: Name, file and caption of each figure, the files relative to the record's folder.

    Returns:
        JSON values.
    """
    return {
        "slug": run.study.slug,
        "paper": asdict(run.study.paper),
        "claims": [
            {"id": name, **asdict(claim), "verdict": run.verdicts[name]} for name, claim in run.study.claims.items()
        ],
        "methods": list(run.study.methods),
        "evidence": [evidence_to_json(entry) for entry in run.evidence],
        "figures": figures,
        "tables": list(run.tables),
        **({"looks": {"taken": list(run.looks), "planned": list(run.planned.seeds)}} if run.planned else {}),
        "data": run.log["data"],
        "source": {kind: run.log["source"][kind] for kind in ("study", "methods")},
        **{key: run.log[key] for key in _FROM_LOG},
    }
