import pytest
import torch

from assay.core import InvalidInputError, seeded
from assay.nets import TwoLayerReLU


def test_the_score_is_the_sum_over_units():
    model, x = TwoLayerReLU(5, 7, generator=seeded(1)).double(), torch.randn(4, 5, generator=seeded(2)).double()
    for sample, score, active in zip(x, model(x).detach(), model.active_units(x), strict=True):
        pushed = [float(row @ sample) for row in model.weight.detach()]
        expected = sum(float(u) * max(z, 0.0) for u, z in zip(model.output, pushed, strict=True))
        assert score.item() == pytest.approx(expected)
        assert active.tolist() == [z >= 0 for z in pushed]


def test_the_initialisation_has_the_stated_law():
    model = TwoLayerReLU(100, 2000, generator=seeded(3))
    # 200,000 normal draws: the standard deviation is known to 0.16%, so 1% is six standard errors.
    assert model.weight.std().item() == pytest.approx(0.1, rel=0.01)
    assert model.output.abs().unique().tolist() == pytest.approx([2000**-0.5])
    assert abs(model.output.sign().mean().item()) < 6 / 2000**0.5
    smaller = TwoLayerReLU(100, 2000, init_scale=0.02, generator=seeded(3))
    torch.testing.assert_close(smaller.weight, 0.2 * model.weight)


def test_the_output_layer_is_not_trained_and_draws_come_from_the_generator():
    before = torch.get_rng_state()
    model, twin = (TwoLayerReLU(3, 4, generator=seeded(5)) for _ in range(2))
    assert torch.equal(before, torch.get_rng_state())
    assert [name for name, _ in model.named_parameters()] == ["weight"]
    assert all(torch.equal(model.state_dict()[name], value) for name, value in twin.state_dict().items())


@pytest.mark.parametrize("sizes", [(0, 4), (3, 0)])
def test_sizes_must_be_positive(sizes):
    with pytest.raises(InvalidInputError, match="at least 1"):
        TwoLayerReLU(*sizes)
    with pytest.raises(InvalidInputError, match="init_scale"):
        TwoLayerReLU(3, 4, init_scale=0.0)
