import pytest
import torch
from torch import nn

from assay.core import InvalidInputError, copy_network
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


@pytest.mark.filterwarnings("ignore:.*weight_norm")
def test_networks_that_cannot_be_copied_deeply_serve_as_well():
    x, y = samples()
    layer = nn.utils.weight_norm(nn.Linear(6, 3, dtype=x.dtype))
    layer(x)  # leaves a weight with a graph on the layer
    replay = CondensedReplay(condense(model_fn=lambda source, kept=layer: copy_network(kept), n_outer_iter=1))
    assert replay.observe(x, y).memory[1].unique().tolist() == [0, 1, 2]


def test_the_given_condenser_is_left_alone():
    condenser, (x, y) = condense(), samples()
    CondensedReplay(condenser).observe(x, y)
    assert not hasattr(condenser, "data_")
