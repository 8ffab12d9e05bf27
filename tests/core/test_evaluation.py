import pytest
import torch
from jaxtyping import config
from torch import Tensor, nn

from assay.core import (
    InvalidInputError,
    NumericalError,
    accuracy,
    best_other,
    binary_cross_entropy,
    cross_entropy,
    margins,
    mean_loss,
    mean_over_samples,
    predict,
    squared_error,
)


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


@pytest.mark.parametrize("dtype", [torch.int8, torch.int32, torch.uint8])
def test_class_labels_of_any_width_and_columns_give_the_same_figures(network, batch, dtype) -> None:
    x, y = batch
    logits = network(x).detach()
    for labels in (y.to(dtype), y[:, None], y.to(dtype)[:, None]):
        torch.testing.assert_close(margins(logits, labels), margins(logits, y))
        torch.testing.assert_close(best_other(logits, labels), best_other(logits, y))
        assert accuracy(logits, labels) == accuracy(logits, y)
        assert mean_loss(network, x, labels, cross_entropy) == mean_loss(network, x, y, cross_entropy)


@pytest.mark.parametrize("dtype", [torch.int64, torch.uint8, torch.bool, torch.float32])
def test_binary_labels_of_any_type_and_shape_give_the_same_figures(batch, dtype) -> None:
    x, y = batch[0], (batch[0][:, 0] > 0).to(dtype)
    exact = nn.Linear(4, 1, bias=False).double()
    exact.weight.data = torch.tensor([[3.0, 0.0, 0.0, 0.0]], dtype=torch.float64)
    expected = nn.functional.binary_cross_entropy_with_logits(3 * x[:, 0], y.double()).item()
    for scores in (predict(exact, x), predict(exact, x).flatten()):
        for labels in (y, y[:, None]):
            assert accuracy(scores, labels) == 1.0
            torch.testing.assert_close(margins(scores, labels), 3 * x[:, 0].abs())
            for loss in (binary_cross_entropy, nn.BCEWithLogitsLoss()):
                assert mean_loss(exact, x, labels, loss, batch_size=2) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    ("logits", "y", "message"),
    [
        (torch.zeros(4, 3), torch.tensor([0]), "as many"),
        (torch.zeros(1, 3), torch.tensor([0, 1, 2, 0]), "as many"),
        (torch.zeros(4, 1), torch.tensor([0]), "as many"),
        (torch.zeros(4), torch.tensor([[0, 1, 0, 1]]), "vector"),
        (torch.zeros(4, 3, 2), torch.tensor([0, 1, 2, 0]), r"shape \(n, c\)"),
        (torch.zeros(4, 3), torch.zeros(4), "integer"),
        (torch.zeros(4, 3), torch.full((4,), 3), "3 outputs"),
        (torch.zeros(0, 3), torch.zeros(0, dtype=torch.int64), "no label"),
        (torch.zeros(0), torch.zeros(0, dtype=torch.int64), "at least one"),
        (torch.tensor([0, 1]), torch.tensor([0, 1]), "scores must be a floating-point tensor, got torch.int64"),
        ([[0.0, 1.0]], torch.tensor([0]), "got list"),
    ],
)
def test_scores_and_labels_that_do_not_pair_up_are_refused(logits, y, message, monkeypatch) -> None:
    monkeypatch.setattr(config, "jaxtyping_disable", True)
    for function in (margins, accuracy):
        with pytest.raises(InvalidInputError, match=message):
            function(logits, y)


def test_scores_that_are_nan_have_no_accuracy() -> None:
    with pytest.raises(NumericalError, match="NaN"):
        accuracy(torch.tensor([[0.0, float("nan")]]), torch.tensor([0]))


@pytest.mark.parametrize("size", [1, 3, 7])
def test_the_mean_of_a_weighted_loss_is_torchs_own_on_all_samples(network, batch, size) -> None:
    x, y = batch
    for labels in (y, y.masked_fill(y == 0, -100)):
        loss = nn.CrossEntropyLoss(weight=torch.tensor([1.0, 20.0, 3.0], dtype=torch.float64))
        expected = pytest.approx(loss(network(x), labels).item(), rel=1e-12)
        assert mean_loss(network, x, labels, loss, batch_size=size) == expected
        assert mean_loss(network, x, labels, mean_over_samples(loss, network, x, labels)) == expected


def test_a_loss_that_is_no_mean_is_refused(network, batch) -> None:
    with pytest.raises(InvalidInputError, match="sums"):
        mean_loss(network, *batch, nn.CrossEntropyLoss(reduction="sum"))


def test_tokens_are_read_by_networks_of_tokens() -> None:
    model = nn.Sequential(nn.Embedding(5, 4), nn.Flatten(), nn.Linear(12, 2)).double()
    tokens = torch.arange(21).reshape(7, 3) % 5
    torch.testing.assert_close(predict(model, tokens, batch_size=2), model(tokens).detach())
    expected = nn.functional.cross_entropy(model(tokens), tokens[:, 0] % 2).item()
    assert mean_loss(model, tokens, tokens[:, 0] % 2, cross_entropy, batch_size=3) == pytest.approx(expected)


class Squeezed(nn.Module):
    """A network with one output that drops every axis of one entry, as many do."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 1).double()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x).squeeze()


def test_rows_that_are_squeezed_in_a_batch_of_one_stay_rows(batch) -> None:
    x, model = batch[0], Squeezed()
    for size in (1, 2, 3, 7):
        torch.testing.assert_close(predict(model, x, batch_size=size), model(x).detach())
    y = x[:, 0]
    expected = (model(x) - y).square().mean().item()
    assert mean_loss(model, x, y, squared_error, batch_size=3) == pytest.approx(expected)
    assert mean_loss(model, x, y[:, None], nn.MSELoss(), batch_size=1) == pytest.approx(expected)


class Noisy(Squeezed):
    """A network that forgets to turn its dropout off."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(nn.functional.dropout(x))


def test_a_network_that_is_no_function_of_one_sample_is_named(batch) -> None:
    for call in (predict, lambda model, x: mean_loss(model, x, x[:, 0], squared_error)):
        with pytest.raises(InvalidInputError, match=r"dropout.*training=self\.training"):
            call(Noisy(), batch[0])
    assert predict(Noisy(), batch[0], look=False).shape == (7, 1)


class LimitedExperts(nn.Module):
    """Two experts, each with places for half of the batch, and for four samples at least."""

    def __init__(self) -> None:
        super().__init__()
        self.gate, self.experts = nn.Linear(4, 2), nn.ModuleList([nn.Linear(4, 3), nn.Linear(4, 3)])

    def forward(self, x: Tensor) -> Tensor:
        chosen, out = self.gate(x).argmax(1), x.new_zeros(len(x), 3)
        for number, expert in enumerate(self.experts):
            rows = (chosen == number).nonzero()[: max(4, len(x) // 2), 0]
            out = out.index_add(0, rows, expert(x[rows]))
        return out


def test_rows_that_are_dropped_in_large_batches_only_are_refused() -> None:
    torch.manual_seed(0)
    model, x, y = LimitedExperts().eval(), torch.rand(40, 4), torch.arange(40) % 3
    with torch.no_grad():
        model.gate.bias.copy_(torch.tensor([9.0, -9.0]))  # all samples go to the first expert
    for call in (
        lambda n: predict(model, x, batch_size=n),
        lambda n: mean_loss(model, x, y, cross_entropy, batch_size=n),
    ):
        call(4)
        for size in (16, 40):
            with pytest.raises(InvalidInputError, match=rf"mixes samples.*in batches of {size}.*limit of places"):
                call(size)


class Writes(Squeezed):
    """A network that scales its input in place."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x.mul_(2))


def test_a_network_that_writes_into_its_input_gets_a_copy(batch) -> None:
    x, model = batch[0], Writes()
    before, expected = x.clone(), model.layer(2 * x).detach()
    torch.testing.assert_close(predict(model, x, batch_size=3), expected)
    assert mean_loss(model, x, expected, squared_error) == 0.0
    assert torch.equal(x, before)


def test_figures_carry_no_graph_whatever_the_callers_state(network, batch) -> None:
    x, y = batch
    expected = network(x).detach()
    with torch.inference_mode():
        inside = x.clone()
    for given in (x, (2 * x.clone().requires_grad_()) / 2, inside):
        for context in (torch.no_grad, torch.inference_mode, torch.enable_grad):
            with context():
                outputs = predict(network, given)
                value = mean_loss(network, given, y, lambda outputs, y: nn.functional.cross_entropy(outputs, y))
            assert not outputs.requires_grad
            torch.testing.assert_close(outputs, expected)
            assert value == pytest.approx(nn.functional.cross_entropy(expected, y).item())


def test_the_mean_loss_of_a_half_precision_network_keeps_its_digits(batch) -> None:
    model, x, y = nn.Linear(4, 3).bfloat16(), batch[0].bfloat16(), batch[1]
    expected = nn.functional.cross_entropy(model(x).double(), y).item()
    for loss in (cross_entropy, lambda outputs, y: nn.functional.cross_entropy(outputs, y)):
        assert mean_loss(model, x, y, loss) == pytest.approx(expected, rel=1e-6)
