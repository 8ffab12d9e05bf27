import numpy as np
import pytest

from assay.core import InvalidInputError
from assay.data import load_npz


def save(path, **arrays):
    np.savez(path, **arrays)
    return path


def test_groups_come_with_their_part(tmp_path):
    x, y = np.random.default_rng(0).random((4, 3)), np.array([0, 1, 0, 1])
    one = load_npz(save(tmp_path / "a.npz", x=x, y=y, groups=np.array([3, 3, 5, 5], np.uint8)))
    assert one.groups_train.tolist() == [3, 3, 5, 5]
    assert one.groups_test is None
    parts = {"x_train": x, "y_train": y, "x_val": x[:2], "y_val": y[:2], "groups_val": np.array([True, False])}
    two = load_npz(save(tmp_path / "b.npz", **parts))
    assert two.groups_train is None
    assert two.groups_test.tolist() == [1, 0]
    assert not any("left out" in note for note in two.notes)
    for groups, problem in ((np.array(["a", "b", "a", "b"]), "whole number"), (np.arange(3), "3 groups for 4 samples")):
        with pytest.raises(InvalidInputError, match=problem):
            load_npz(save(tmp_path / "c.npz", x=x, y=y, groups=groups))
