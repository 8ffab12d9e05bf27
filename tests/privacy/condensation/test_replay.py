import pytest
import torch

from assay.core import InvalidInputError
from assay.privacy import CondensedReplay
from helpers.condensation import condense, samples


def test_memory_is_what_each_task_was_condensed_to():
    x, y = samples()
    replay = CondensedReplay(condense())
    for task in ([0, 2], [1]):
        kept = torch.isin(y, torch.tensor(task))
        replay.observe(x[kept], y[kept])
    first = condense().fit(x[y != 1], y[y != 1])
    second = condense().fit(x[y == 1], y[y == 1])
    assert torch.equal(replay.memory[0], torch.cat([first.data_, second.data_]))
    assert torch.equal(replay.memory[1], torch.cat([first.targets_, second.targets_]))
    with pytest.raises(InvalidInputError, match=r"classes \[2\] were observed"):
        replay.observe(x[y == 2], y[y == 2])
    with pytest.raises(InvalidInputError, match="empty"):
        _ = CondensedReplay(condense()).memory
