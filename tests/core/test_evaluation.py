import pytest
import torch
from torch import nn

from assay.core import InvalidInputError, accuracy, cross_entropy, margins, mean_loss, predict


def test_prediction_does_not_depend_on_the_batch_size(network, batch) -> None:
    x, y = batch
    torch.testing.assert_close(predict(network, x, batch_size=2), network(x).detach())
    expected = nn.functional.cross_entropy(network(x), y).item()
    assert mean_loss(network, x, y, cross_entropy, batch_size=3) == pytest.approx(expected, rel=1e-12)


def test_margins_equal_a_loop(network, batch) -> None:
    x, y = batch
    logits = network(x).detach()
    expected = [row[t] - max(row[j] for j in range(3) if j != t) for row, t in zip(logits, y, strict=True)]
    torch.testing.assert_close(margins(logits, y), torch.stack(expected))
    assert accuracy(logits, y) == (logits.argmax(1) == y).double().mean().item()


@pytest.mark.parametrize("labels", [[0, 1], [-1, 1]])
def test_binary_margin_is_signed_score(labels: list[int]) -> None:
    logits = torch.tensor([[2.0], [-1.0]])
    assert margins(logits, torch.tensor(labels)).tolist() == [-2.0, -1.0]


def test_binary_labels_are_checked() -> None:
    with pytest.raises(InvalidInputError, match="0 and 1"):
        margins(torch.zeros(2, 1), torch.tensor([0, 2]))


def test_prediction_ignores_dropout_and_leaves_it_on() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.9)).train()
    x = torch.ones(4, 2)
    torch.testing.assert_close(predict(model, x), model[0](x).detach())
    assert model.training
