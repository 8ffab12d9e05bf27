import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from assay.core import InvalidInputError, seeded
from assay.nets import LowRankAdapter, add_low_rank_adapters


def layer(n_in=4, n_out=6, seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Linear(n_in, n_out).double()


def trained(adapter, seed=1):
    """Give an adapter an `up` that is not zero."""
    with torch.no_grad():
        adapter.up.normal_(generator=seeded(seed))
    return adapter


@given(st.integers(1, 5), st.integers(1, 5), st.integers(1, 3), st.floats(0.1, 8))
@settings(max_examples=20)
def test_an_adapter_is_a_change_of_the_weight_of_low_rank(n_in, n_out, rank, alpha):
    adapter = trained(LowRankAdapter(layer(n_in, n_out), rank, alpha=alpha, generator=seeded(2)))
    x = torch.randn(5, n_in, generator=seeded(3), dtype=torch.float64)
    weight = adapter.layer.weight + alpha / rank * adapter.up @ adapter.down
    torch.testing.assert_close(adapter(x), nn.functional.linear(x, weight, adapter.layer.bias))
    change = weight - adapter.layer.weight  # known up to the rounding of the sum
    assert torch.linalg.matrix_rank(change, atol=1e-13) <= min(rank, n_in, n_out)


def test_an_untrained_adapter_changes_nothing_and_freezes_its_layer():
    dense = layer()
    x = torch.randn(2, 3, 4, generator=seeded(3), dtype=torch.float64)
    adapter = LowRankAdapter(dense, 2)
    assert torch.equal(adapter(x), dense(x))
    adapter(x).sum().backward()
    assert dense.weight.grad is None
    assert adapter.up.grad.abs().sum() > 0
    assert adapter.up.dtype == adapter.down.dtype == torch.float64


def test_the_down_projection_starts_as_a_linear_layer_does():
    adapter = LowRankAdapter(nn.Linear(50, 40), 30, generator=seeded(0))
    assert adapter.down.abs().max() <= 50**-0.5
    assert adapter.down.std().item() == pytest.approx((1 / (3 * 50)) ** 0.5, rel=0.05)
    assert torch.equal(adapter.down, LowRankAdapter(nn.Linear(50, 40), 30).down)
    assert not torch.equal(adapter.down, LowRankAdapter(nn.Linear(50, 40), 30, generator=seeded(1)).down)


def test_weights_survive_saving_and_gradients_pass_finite_differences():
    adapter = trained(LowRankAdapter(layer(), 2))
    twin = LowRankAdapter(layer(seed=5), 2, generator=seeded(6))
    twin.load_state_dict(adapter.state_dict())
    x = torch.randn(3, 4, generator=seeded(3), dtype=torch.float64).requires_grad_()
    assert torch.equal(twin(x), adapter(x))
    assert torch.autograd.gradcheck(lambda x, *_: adapter(x), (x, adapter.down, adapter.up))


def test_every_dense_layer_of_a_model_is_adapted_in_place():
    model = nn.Sequential(layer(4, 5), nn.ReLU(), nn.Sequential(nn.LayerNorm(5).double(), layer(5, 3)))
    x = torch.randn(2, 4, generator=seeded(0), dtype=torch.float64)
    expected, state = model(x), torch.get_rng_state()
    adapters = add_low_rank_adapters(model, 2, alpha=4.0, generator=seeded(7))
    assert adapters == [model[0], model[2][1]]
    assert torch.equal(model(x), expected)
    assert torch.equal(torch.get_rng_state(), state)
    source = seeded(7)
    for adapter, dense in zip(adapters, (layer(4, 5), layer(5, 3)), strict=True):
        assert adapter.scale == 2.0
        assert torch.equal(adapter.down, LowRankAdapter(dense, 2, generator=source).down)


def test_a_layer_in_two_places_has_one_adapter_in_both():
    shared = layer(4, 4)
    model = nn.Sequential(shared, nn.Sequential(shared, nn.ReLU()), shared)
    adapters = add_low_rank_adapters(model, 2)
    assert adapters == [model[0]]
    assert model[0] is model[1][0] is model[2]
    trained(adapters[0])
    x = torch.randn(2, 4, generator=seeded(0), dtype=torch.float64)
    weight = shared.weight + adapters[0].up @ adapters[0].down / 2
    apply = lambda x: nn.functional.linear(x, weight, shared.bias)  # noqa: E731
    torch.testing.assert_close(model(x), apply(apply(apply(x)).relu()))


@pytest.mark.parametrize("norm", [nn.utils.weight_norm, nn.utils.parametrizations.weight_norm])
@pytest.mark.filterwarnings("ignore:.*weight_norm")
def test_a_layer_whose_weight_is_computed_is_adapted(norm):
    dense = norm(layer())
    x = torch.randn(2, 4, generator=seeded(0), dtype=torch.float64)
    expected = dense(x)
    assert torch.equal(LowRankAdapter(dense, 2)(x), expected)


def test_conv1d_of_transformers_stores_its_weight_transposed():
    conv1d = pytest.importorskip("transformers.pytorch_utils").Conv1D(6, 4).double()  # 4 inputs, 6 outputs
    adapter = trained(LowRankAdapter(conv1d, 2, alpha=3.0))
    x = torch.randn(5, 4, generator=seeded(1), dtype=torch.float64)
    weight = conv1d.weight.T + 3.0 / 2 * adapter.up @ adapter.down
    torch.testing.assert_close(adapter(x), nn.functional.linear(x, weight, conv1d.bias))


def test_bad_input():
    with pytest.raises(InvalidInputError, match="take an adapter"):
        LowRankAdapter(nn.Conv2d(1, 1, 1), 2)
    with pytest.raises(InvalidInputError, match="rank"):
        LowRankAdapter(layer(), 0)
    with pytest.raises(InvalidInputError, match="alpha"):
        LowRankAdapter(layer(), 1, alpha=0.0)
    with pytest.raises(InvalidInputError, match="not initialised"):
        LowRankAdapter(nn.LazyLinear(3), 2)
    with pytest.raises(InvalidInputError, match="no dense layer"):
        add_low_rank_adapters(nn.Sequential(nn.Tanh()), 1)
    with pytest.raises(InvalidInputError, match="past any adapter"):
        add_low_rank_adapters(nn.ModuleList([nn.TransformerEncoderLayer(4, 2, 8)]), 1)
