import matplotlib as mpl
import pytest
import torch
from torch import nn

from assay.core import InvalidInputError, seeded
from assay.nets import mlp, small_conv
from assay.representation import adaptive_information, kde_information, trace_information

mpl.use("Agg")


def checkpoints(network: nn.Module, n: int = 3) -> dict[int, dict[str, torch.Tensor]]:
    source, states = seeded(1), {}
    for epoch in range(n):
        state = network.state_dict()
        states[10 * epoch] = {k: v + epoch * torch.randn(v.shape, generator=source) for k, v in state.items()}
    return states


def test_each_layer_is_measured_at_each_epoch() -> None:
    network = mlp((3, 5, 4, 2), generator=seeded(0)).double()
    x = torch.randn(64, 3, generator=seeded(2), dtype=torch.float64)
    y, states = (x[:, 0] > 0).long(), checkpoints(network)
    found = trace_information(network, x, y, ["1", "3"], states)
    other = mlp((3, 5, 4, 2)).double()
    for column, epoch in enumerate(found.epochs):
        other.load_state_dict(states[epoch])
        hidden = other[:2](x).detach()
        for row, values in enumerate((hidden, other[2:4](hidden).detach())):
            expected = adaptive_information(values, y, lower=0.0)
            assert found.input_bits[row, column].item() == expected.input_bits
            assert found.label_bits[row, column].item() == expected.label_bits
    torch.testing.assert_close(found.compression, found.input_bits.max(1).values - found.input_bits[:, -1])
    assert (found.epochs, found.layers) == ((0, 10, 20), ("1", "3"))
    assert "At epoch 20" in str(found)
    assert len(found.plot().lines) == 4


def test_layers_of_images_and_other_estimators_are_taken() -> None:
    network, x = small_conv((1, 8, 8), 3, channels=(2, 3), hidden=4), torch.rand(10, 1, 8, 8, generator=seeded(0))
    names = [name for name, layer in network.named_modules() if isinstance(layer, nn.ReLU)]
    found = trace_information(
        network, x, torch.arange(10) % 3, names, {0: network.state_dict()}, estimator=kde_information
    )
    assert found.input_bits.shape == (len(names), 1)


def test_a_checkpoint_of_another_network_is_refused() -> None:
    network, x = mlp((3, 5, 2)), torch.ones(4, 3)
    with pytest.raises(InvalidInputError, match="epoch 7"):
        trace_information(network, x, torch.zeros(4).long(), ["1"], {7: mlp((3, 6, 2)).state_dict()})
    with pytest.raises(InvalidInputError, match="no layer"):
        trace_information(network, x, torch.zeros(4).long(), ["9"], {0: network.state_dict()})
    with pytest.raises(InvalidInputError, match="0 checkpoints"):
        trace_information(network, x, torch.zeros(4).long(), ["1"], {})
