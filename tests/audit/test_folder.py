"""The output folder: one for each audit, also when several start at once, and none left where nothing was written."""

import errno
import fcntl
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

import assay
from assay.audit.folder import check_writable, reserved, whole_folder
from assay.core import InvalidInputError


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def contents(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_audits_that_start_at_once_each_get_their_own_folder(place):
    start, end = Barrier(8), Barrier(8)

    def audit(_):
        start.wait()
        with reserved(None, "net") as folder:
            end.wait()
            with whole_folder(folder) as staged:
                (staged / "page").write_text("done")
        return folder.as_posix()

    with ThreadPoolExecutor(8) as pool:
        folders = list(pool.map(audit, range(8)))
    assert sorted(folders) == [f"assay-audit/net-{n}" for n in range(1, 9)]
    assert contents(place) == sorted(["assay-audit", *folders, *(f"{folder}/page" for folder in folders)])


def test_a_folder_that_another_audit_writes_is_refused(place):
    with reserved("out", ""):
        refused = pytest.raises(InvalidInputError, match="out is being written by another audit; name another folder")
        with refused, reserved("out", ""):
            pass
        assert contents(place) == ["out"]
    assert contents(place) == []


@pytest.mark.parametrize("out", ["deep/er/out", None])
def test_a_folder_in_which_nothing_was_written_goes_again(place, out):
    with reserved(out, "net") as folder:
        assert folder.is_dir()
    assert contents(place) == []


def test_the_users_own_empty_folder_stays(place):
    (place / "out").mkdir()
    with reserved("out", ""):
        pass
    assert contents(place) == ["out"]


def test_an_empty_folder_of_a_killed_audit_is_used_and_this_is_said(place, capsys):
    program = (
        "import os\nfrom assay.audit.folder import reserved\n"
        "with reserved('out', ''), reserved(None, 'net'): os.kill(os.getpid(), 9)"
    )
    environment = os.environ | {"PYTHONPATH": str(Path(assay.__file__).parents[1])}
    subprocess.run([sys.executable, "-c", program], check=False, env=environment)
    assert contents(place) == ["assay-audit", "assay-audit/net-1", "out"]
    for out, name in [("out", "out"), (None, "assay-audit/net-1")]:
        with reserved(out, "net") as folder:
            assert folder.as_posix() == name
        said = f"{name} is there and empty, as a killed audit leaves it; this audit uses it\n"
        assert capsys.readouterr().err == said


def test_what_an_audit_left_that_was_killed_while_it_wrote_is_no_part_of_the_next(place):
    (place / ".out.partial").mkdir()
    (place / ".out.partial" / "half").write_text("a pa")
    with reserved("out", "") as folder, whole_folder(folder) as staged:
        (staged / "page").write_text("done")
    assert contents(place) == ["out", "out/page"]


def test_a_file_system_without_locks_will_do(place, monkeypatch):
    def no_locks(descriptor, operation):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    with reserved("out", "") as folder, whole_folder(folder) as staged:
        (staged / "page").write_text("done")
    with reserved(None, "net") as folder:
        assert folder.is_dir()


def test_a_folder_that_a_failing_audit_takes_away_at_this_moment_is_made_again(place, monkeypatch):
    usual, calls = os.open, []

    def vanishing(path, *given, **options):
        if Path(path) == Path("out") and not calls:
            calls.append(path)
            Path(path).rmdir()
        return usual(path, *given, **options)

    monkeypatch.setattr(os, "open", vanishing)
    with reserved("out", ""):
        assert contents(place) == ["out"]
    assert calls


@pytest.mark.parametrize("out", ["file", "file/out", "full", "/proc/nowhere/out"])
def test_a_place_that_cannot_be_had_is_refused(place, out):
    (place / "file").write_text("taken")
    (place / "full").mkdir()
    (place / "full" / "thing").write_text("taken")
    with pytest.raises(InvalidInputError, match="--out"), reserved(out, ""):
        pass


def test_a_working_folder_that_cannot_be_written_is_refused_before_a_subject_is_loaded(place):
    check_writable()
    assert contents(place) == []
    (place / "assay-audit").write_text("a file")
    with pytest.raises(InvalidInputError, match="cannot write assay-audit"):
        check_writable()


def test_no_descriptor_is_left_open():
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        with reserved("out", ""), pytest.raises(InvalidInputError), reserved("out", ""):
            pass
    assert len(os.listdir("/proc/self/fd")) == before
