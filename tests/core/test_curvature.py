import gc

import pytest
import torch
from torch import Tensor, nn

from assay.core import (
    FisherOperator,
    HessianOperator,
    InvalidInputError,
    binary_cross_entropy,
    cross_entropy,
    flatten,
    named_parameters,
    parameter_gradients,
    seeded,
    select_parameters,
    squared_error,
)
from assay.core.memory import graph_bytes
from helpers.user_modules import LastWord, Recurrent


class AttentionLanguageModel(nn.Module):
    """A GPT of two blocks whose attention is `nn.MultiheadAttention`."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.places = nn.Embedding(5, 8), nn.Embedding(6, 8)
        self.attention = nn.ModuleList(nn.MultiheadAttention(8, 2, batch_first=True) for _ in range(2))
        self.norms = nn.ModuleList(nn.LayerNorm(8) for _ in range(2))
        self.dense = nn.ModuleList(nn.Sequential(nn.Linear(8, 16), nn.GELU(), nn.Linear(16, 8)) for _ in range(2))
        self.head = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        h = self.words(x) + self.places(torch.arange(x.shape[1]))
        mask = nn.Transformer.generate_square_subsequent_mask(x.shape[1], dtype=h.dtype)
        for attention, norm, dense in zip(self.attention, self.norms, self.dense, strict=True):
            mixed = norm(h)
            h = h + attention(mixed, mixed, mixed, attn_mask=mask, is_causal=True, need_weights=False)[0]
            h = h + dense(h)
        return self.head(h[:, -1])


def double_reverse(model: nn.Module, x: Tensor, y: Tensor, vector: Tensor) -> Tensor:
    weights = list(model.parameters())
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        slopes = torch.autograd.grad(nn.functional.cross_entropy(model(x), y), weights, create_graph=True)
        slope = torch.cat([part.reshape(-1) for part in slopes])
        second = torch.autograd.grad(slope @ vector, weights, materialize_grads=True)
    return torch.cat([part.reshape(-1) for part in second])


def sequences(build: type) -> tuple[nn.Module, Tensor, Tensor]:
    torch.manual_seed(0)
    model = (Recurrent(nn.LSTM) if build is Recurrent else build()).double()
    x = torch.randint(0, 5, (7, 4)) if build is not Recurrent else torch.randn(7, 4, 2, dtype=torch.float64)
    return model, x, torch.arange(7) % 3


@pytest.mark.parametrize("build", [AttentionLanguageModel, LastWord, Recurrent])
def test_products_on_sequence_networks_equal_double_reverse_by_hand(build) -> None:
    model, x, y = sequences(build)
    operator = HessianOperator(model, x, y, cross_entropy, batch_size=3)
    columns = torch.randn(operator.shape[0], 3, dtype=torch.float64, generator=seeded(1))
    expected = torch.stack([double_reverse(model.eval(), x, y, column) for column in columns.T], 1)
    torch.testing.assert_close(operator @ columns, expected, rtol=1e-9, atol=1e-11)
    with operator.prepared():
        torch.testing.assert_close(operator @ columns, expected, rtol=1e-9, atol=1e-11)
        torch.testing.assert_close(operator @ columns[:, 0], expected[:, 0], rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("batches_kept", [0, 1, 2, 9])
def test_kept_graphs_change_no_product(network, batch, batches_kept) -> None:
    calls = []
    operator = HessianOperator(network, *batch, cross_entropy, batch_size=3)
    vector = torch.randn(operator.shape[0], dtype=torch.float64, generator=seeded(1))
    expected, n_batches = operator @ vector, len(batch[0].split(3))
    network.register_forward_hook(lambda *_: calls.append(1))
    limit = graph_bytes(network, batch[0][:1]) * 3 * batches_kept
    calls.clear()
    with operator.prepared(limit=limit):
        with operator.prepared(limit=limit):
            torch.testing.assert_close(operator @ vector, expected)
        calls.clear()
        torch.testing.assert_close((operator + 2 * operator) @ vector, 3 * expected)
    assert len(calls) == 2 * max(n_batches - batches_kept, 0)


def test_kept_graphs_are_released_and_the_weights_followed_again(network, batch) -> None:
    operator = HessianOperator(network, *batch, cross_entropy)
    vector = torch.ones(operator.shape[0], dtype=torch.float64)
    operator_raises = pytest.raises(ZeroDivisionError)
    with operator_raises, operator.prepared():
        operator @ vector / (1 // 0)
    before = operator @ vector
    with torch.no_grad():
        for weight in network.parameters():
            weight.mul_(2)
    assert not torch.allclose(operator @ vector, before)
    gc.collect()
    assert not any(isinstance(thing, Tensor) and thing.grad_fn is not None for thing in vars(operator).values())


def test_graph_bytes_count_the_saved_inputs_of_a_chain() -> None:
    chain = nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 2))
    assert graph_bytes(chain, torch.ones(5, 4)) == 2 * 5 * (4 + 3 + 3) * 4


@pytest.mark.parametrize("loss", [cross_entropy, binary_cross_entropy])
def test_fisher_is_the_mean_over_drawn_labels_of_scores_squared(network, batch, loss) -> None:
    x, y = batch
    if loss is cross_entropy:
        shares = torch.softmax(network(x).detach(), 1)
    else:
        network = nn.Sequential(network, nn.Linear(3, 1).double())
        on = torch.sigmoid(network(x).detach()[:, 0])
        shares, y = torch.stack([1 - on, on], 1), y % 2
    expected = 0
    for label in range(shares.shape[1]):
        drawn = torch.full_like(y, label)
        scores = parameter_gradients(network, x, drawn.double() if loss is binary_cross_entropy else drawn, loss)
        expected = expected + torch.einsum("n,np,nq->pq", shares[:, label], scores, scores) / len(x)
    y = y.double() if loss is binary_cross_entropy else y
    found = FisherOperator(network, x, y, loss, batch_size=3).to_dense()
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-11)


def test_fisher_refuses_a_loss_without_a_known_distribution(network, batch) -> None:
    x, y = batch
    targets = torch.nn.functional.one_hot(y, 3).double()
    operator = FisherOperator(network, x, targets, lambda outputs, y: (outputs - y).abs().mean(1).mean())
    with pytest.raises(InvalidInputError, match="GaussNewtonOperator"):
        operator @ torch.ones(operator.shape[0], dtype=torch.float64)


def test_a_layers_curvature_is_its_block(network, batch) -> None:
    whole = HessianOperator(network, *batch, cross_entropy).to_dense()
    names = list(named_parameters(network))
    layer = names[-1].rpartition(".")[0]
    block = HessianOperator(network, *batch, cross_entropy, params={layer}).to_dense()
    size = flatten(select_parameters(network, {layer})).numel()
    torch.testing.assert_close(block, whole[-size:, -size:])
    with pytest.raises(InvalidInputError, match="names nowhere"):
        HessianOperator(network, *batch, cross_entropy, params={"nowhere"})


def test_preconditioning_scales_rows_and_columns(batch) -> None:
    x, _ = batch
    operator = HessianOperator(nn.Linear(4, 1).double(), x, x.sum(1), squared_error)
    diagonal = 1 + torch.arange(5.0, dtype=torch.float64)
    scale = torch.diag(diagonal.rsqrt())
    torch.testing.assert_close(operator.preconditioned(diagonal).to_dense(), scale @ operator.to_dense() @ scale)
    with pytest.raises(InvalidInputError, match="positive"):
        operator.preconditioned(diagonal - 1)
