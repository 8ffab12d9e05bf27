import pytest
import torch
from sklearn.svm import SVC

from assay.attribution.faithfulness import max_margin_gradient_pattern, mean_neuron_margin, simplified_blocks
from assay.core import InvalidInputError, seeded

SIGNAL = torch.tensor([0.6, 0.8], dtype=torch.float64)


def test_neuron_margins_are_means_over_all_points():
    source = seeded(0)
    weights, outputs = (torch.randn(*shape, generator=source, dtype=torch.float64) for shape in ((5, 8), (5,)))
    blocks = torch.eye(4, dtype=torch.float64)[:2]
    points = torch.stack([torch.outer(block, SIGNAL).flatten() for block in blocks])
    x, y = torch.cat([points, -points]), torch.tensor([1.0, 1, -1, -1], dtype=torch.float64)
    brute = (y[:, None] * outputs * (x @ weights.T).relu()).mean(0)
    torch.testing.assert_close(mean_neuron_margin(weights, outputs, 4, signal=SIGNAL), brute)
    drawn = simplified_blocks(40_000, 4, block_size=2, signal=SIGNAL, generator=source, dtype=torch.float64)
    margins = (2 * drawn.y - 1)[:, None] * outputs * (drawn.x @ weights.T).relu()
    # Monte Carlo within five standard errors.
    assert ((margins.mean(0) - brute).abs() < 5 * margins.std(0) / 200).all()


def test_the_two_neurons_attain_the_largest_mean_margin_at_every_point():
    pattern = max_margin_gradient_pattern(8, signal=SIGNAL)
    best = torch.cat([SIGNAL.repeat(4), SIGNAL.new_zeros(8)]) / 8**0.5
    network = torch.stack([best, -best])
    outputs = torch.tensor([0.5, -0.5], dtype=torch.float64) ** 1 * 2**0.5
    assert torch.allclose(network.square().sum(1) + outputs.square(), torch.ones(2, dtype=torch.float64))
    drawn = simplified_blocks(50, 8, block_size=2, signal=SIGNAL, dtype=torch.float64)
    values = ((drawn.x @ network.T).relu() * outputs).mean(1)
    torch.testing.assert_close(values, drawn.x @ pattern)
    margin = mean_neuron_margin(network, outputs, 8, signal=SIGNAL)
    torch.testing.assert_close(margin, ((2 * drawn.y - 1) * values)[:2])
    others = torch.nn.functional.normalize(torch.randn(20_000, 17, generator=seeded(1), dtype=torch.float64), dim=1)
    assert mean_neuron_margin(others[:, :16], others[:, 16], 8, signal=SIGNAL).max() < margin[0]


def test_a_hard_margin_machine_has_the_direction_of_the_pattern():
    x = torch.cat([torch.eye(10)[:5], -torch.eye(10)[:5]]).double()
    machine = SVC(kernel="linear", C=1e6, tol=1e-8).fit(x, [1] * 5 + [-1] * 5)
    weights = torch.tensor(machine.coef_[0])
    pattern = max_margin_gradient_pattern(10)
    torch.testing.assert_close(weights / weights.norm(), pattern / pattern.norm(), rtol=1e-4, atol=1e-6)


def test_bad_input_is_refused():
    for blocks in (3, 0):
        with pytest.raises(InvalidInputError, match="blocks"):
            max_margin_gradient_pattern(blocks)
    with pytest.raises(InvalidInputError, match="no neurons"):
        mean_neuron_margin(torch.ones(2, 5), torch.ones(2), 4)
