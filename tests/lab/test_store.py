import dataclasses
import os
from pathlib import Path
from typing import Any

import pytest
import torch

import assay
from assay.core import AssayError, InvalidInputError
from assay.lab.files import encode
from assay.lab.lock import locked
from assay.lab.store import Store, run_name
from assay.lab.study import Study
from helpers.lab_demo import Settings, make_study


def name(study: Study | None = None, **changes: Any) -> str:
    return run_name(study or make_study(), **{"scale": "small", "seed": 0, "device": "cpu", **changes})


def test_the_run_name_is_pinned(monkeypatch: pytest.MonkeyPatch) -> None:
    # Computed once and kept: a change here orphans every run that users have.
    monkeypatch.setattr(assay, "__version__", "0.1.0")
    assert name() == "demo-small-4a0807256c67"
    assert name(device="cuda:0") == name(device="cuda:1")


def test_each_of_slug_scale_seed_settings_device_and_minor_version_is_another_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    names = [
        name(),
        name(seed=1),
        name(scale="smoke"),
        name(device="cuda"),
        name(make_study(slug="other")),
        name(make_study(rate=0.2)),
        name(make_study(widths=(4, 9))),
    ]
    version = assay.__version__
    monkeypatch.setattr(assay, "__version__", version + "7")  # a patch release
    assert name() == names[0]
    monkeypatch.setattr(assay, "__version__", "99.0.0")
    names.append(name())
    assert len(set(names)) == len(names)


def test_settings_that_json_cannot_hold_are_refused() -> None:
    @dataclasses.dataclass(frozen=True)
    class Loose:
        rate: object = torch.ones(1)

    study = dataclasses.replace(make_study(), scales={"small": Loose()})
    with pytest.raises(InvalidInputError, match="cannot be stored"):
        name(study)


@pytest.mark.parametrize("value", [None, 1, {"a": [1, None]}, {"a": torch.arange(3)}])
def test_a_kept_value_is_found(tmp_path: Path, value: object) -> None:
    store = Store(tmp_path)
    stem = store.cell("map", Settings(), "code")
    assert store.find(stem) is None
    fresh = store.keep(stem, encode(value))
    found = store.find(stem)
    assert found is not None
    assert repr(found[0]) == repr(fresh) == repr(value)
    assert store.find(store.cell("map", Settings(), "other code")) is None
    assert store.find(store.cell("map", Settings(seeds=9), "code")) is None


@pytest.mark.parametrize("value", [{"a": [1, 2]}, {"a": torch.arange(30)}])
def test_a_corrupt_value_counts_as_absent_with_a_warning(tmp_path: Path, value: object) -> None:
    store = Store(tmp_path)
    stem = store.artifact("it", "code")
    store.keep(stem, encode(value))
    (path,) = (tmp_path / "artifacts").iterdir()
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.warns(RuntimeWarning, match="corrupt"):
        assert store.find(stem) is None
    assert store.find(stem) is None


def test_a_killed_writers_temporary_files_are_swept(tmp_path: Path) -> None:
    store = Store(tmp_path)
    (tmp_path / "cells" / ".abc.tmp").write_text("{")
    (tmp_path / "cells" / "kept.json").write_text("1")
    store.sweep()
    assert os.listdir(tmp_path / "cells") == ["kept.json"]


def test_an_unwritable_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(InvalidInputError, match="give another --out"):
        Store(tmp_path / "file" / "run")


@pytest.mark.parametrize("text", ["../up", "", "a b", "-dash"])
def test_names_that_are_no_file_names_are_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(InvalidInputError, match="letters, digits"):
        Store(tmp_path).artifact(text, "code")


def test_the_lock_names_its_holder_and_ends_with_it(tmp_path: Path) -> None:
    (tmp_path / "lock").write_text("999999")  # of a process that was killed
    held = pytest.raises(AssayError, match=f"process {os.getpid()} is writing")
    with locked(tmp_path), held, locked(tmp_path):
        pass
    with locked(tmp_path):
        pass
