"""Progress bars."""

import pytest

from assay.core.progress import track


@pytest.mark.parametrize("terminal", [True, False])
def test_a_bar_leaves_nothing_behind(capsys, monkeypatch, terminal):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")
    if terminal:
        monkeypatch.setenv("FORCE_COLOR", "1")
    else:
        monkeypatch.delenv("FORCE_COLOR", raising=False)
    assert list(track(range(3), "counting", enabled=True)) == [0, 1, 2]
    out, err = capsys.readouterr()
    assert out == ""
    if terminal:
        shown, gone = err.split("\x1b[1A\x1b[2K")[0], err.split("\x1b[1A\x1b[2K")[-1]
        assert "counting" in shown
        assert gone.strip("\n") == ""
    else:
        assert err.strip() == ""


def test_a_bar_that_is_not_asked_for_writes_nothing(capsys):
    assert list(track(iter("ab"), "spelling", total=2)) == ["a", "b"]
    assert capsys.readouterr() == ("", "")
