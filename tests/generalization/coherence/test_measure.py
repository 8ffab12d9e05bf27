"""Gradient coherence beside its formula on gradients of a loop over samples, and on gradients of known directions."""

import pytest
import torch
from torch import Tensor, nn

from assay.core import NumericalError, cross_entropy, isolated_rng, per_sample_gradients, seeded, squared_error
from assay.generalization import gradient_coherence
from helpers.layered_networks import CASES


def slopes_of(rows: Tensor) -> tuple[nn.Module, Tensor, Tensor]:
    """Return a model and data whose gradients are the given rows: a linear unit of zero weights, with targets of -1/2.

    The squared error (w x + 1/2)^2 has the gradient x there, up to the factor of the loss.
    """
    layer = nn.Linear(rows.shape[1], 1, bias=False).double()
    nn.init.zeros_(layer.weight)
    return layer, rows.double(), torch.full((len(rows), 1), -0.5).double()


def of(rows: Tensor) -> float:
    model, x, y = slopes_of(rows)
    return gradient_coherence(model, x, y, loss=squared_error).m_coherence


def test_gradients_of_known_directions() -> None:
    same, apart = torch.ones(6, 8), torch.eye(8)[:6]
    assert of(same) == pytest.approx(6)
    assert of(apart) == pytest.approx(1)
    groups = torch.eye(8)[[0, 0, 0, 1, 1, 1]]
    assert of(groups) == pytest.approx(3)
    assert of(torch.cat([apart, -apart])) == pytest.approx(0, abs=1e-12)
    rows = torch.randn(5, 8, generator=seeded(0))
    assert of(rows.repeat(3, 1)) == pytest.approx(3 * of(rows))
    assert of(7 * rows) == pytest.approx(of(rows))


@pytest.mark.parametrize("name", ["stride, padding, dilation", "transformer", "LSTM", "tied", "writes in place"])
def test_all_figures_are_those_of_the_formula_on_a_loop(name: str) -> None:
    make, (shape, kind), _ = CASES[name]
    source = seeded(3)
    size = (6, *shape[1:])
    x = torch.randint(5, size, generator=source) if kind == "tokens" else torch.randn(size, generator=source).double()
    y = torch.arange(6) % 3
    with isolated_rng(1):
        model = make().double().eval()
        model(x)
    names = [name for name, _ in model.named_parameters()]
    for value in model.parameters():
        value.requires_grad_(True)
    pieces = []
    for i in range(6):
        value = cross_entropy(model(x[i : i + 1].clone()), y[i : i + 1])
        pieces.append([slope.reshape(-1) for slope in torch.autograd.grad(value, list(model.parameters()))])
    rows = torch.stack([torch.cat(row) for row in pieces])
    found = gradient_coherence(model, x, y, loss=cross_entropy, batch_size=4)
    products = rows @ rows.T
    squares = products.diagonal()
    assert found.alpha == pytest.approx(float(products.mean() / squares.mean()))
    pairs = (products.sum() - squares.sum()) / 30
    assert found.pair_alpha is not None
    assert found.pair_alpha == pytest.approx(float(pairs / squares.mean()))
    assert found.m_coherence == pytest.approx(1 + 5 * found.pair_alpha)
    torch.testing.assert_close(found.norms, squares.sqrt())
    assert found.gradient_norm == pytest.approx(float(rows.mean(0).norm()))
    others = rows.sum(0) - rows
    torch.testing.assert_close(found.alignments, torch.cosine_similarity(rows, others), rtol=1e-7, atol=1e-9)
    assert sum(layer.alpha * layer.share for layer in found.layers.values()) == pytest.approx(found.alpha)
    last = [index for index, name in enumerate(names) if name.startswith(names[-1].rpartition(".")[0])]
    block = torch.stack([torch.cat([row[index] for index in last]) for row in pieces])
    alpha = float(block.mean(0).square().sum() / block.square().sum(1).mean())
    layer = names[-1].rpartition(".")[0]
    assert found.layers[layer].alpha == pytest.approx(alpha)
    alone = gradient_coherence(model, x, y, loss=cross_entropy, params=[layer])
    assert alone.alpha == pytest.approx(alpha)
    torch.testing.assert_close(
        alone.alignments, torch.cosine_similarity(block, block.sum(0) - block), rtol=1e-7, atol=1e-9
    )


def test_the_hardest_samples_are_named() -> None:
    rows = torch.eye(4)[[0, 0, 0, 1]] * torch.tensor([[1.0], [1.0], [5.0], [1.0]])
    rows[3] = -rows[0]
    model, x, y = slopes_of(rows)
    found = gradient_coherence(model, x, y, loss=squared_error)
    assert found.hardest(1).tolist() == [2]
    assert found.hardest(1, by="alignment").tolist() == [3]
    torch.testing.assert_close(found.alignments, torch.tensor([1.0, 1.0, 1.0, -1.0]).double())
    assert "1 gradients point against" in str(found)
    assert found.plot().get_yscale() == "log"


def test_a_mean_of_float32_stays_near_float64() -> None:
    with isolated_rng(0):
        model = nn.Sequential(nn.Linear(6, 9), nn.ReLU(), nn.Linear(9, 3))
    x, y = torch.randn(40, 6, generator=seeded(2)), torch.arange(40) % 3
    rows = per_sample_gradients(model.double(), x.double(), y, cross_entropy)
    found = gradient_coherence(model.float(), x, y, loss=cross_entropy)
    assert found.alpha == pytest.approx(float(rows.mean(0).square().sum() / rows.square().sum(1).mean()), rel=1e-4)


def test_zero_gradients_are_refused() -> None:
    layer = nn.Linear(2, 1)
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    with pytest.raises(NumericalError, match="gradients of all samples are zero"):
        gradient_coherence(layer, torch.ones(3, 2), torch.zeros(3), loss=squared_error)
