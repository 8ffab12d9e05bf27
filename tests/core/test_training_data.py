"""Data that `fit` trains on: targets of any type, inputs in any state, and losses of a user's own."""

from functools import partial

import pytest
import torch
from torch import nn

from assay.core import InvalidInputError, binary_cross_entropy, cross_entropy, fit, isolated_rng, seeded, squared_error
from helpers.least_squares import SGD, problem


def trained(y: torch.Tensor, loss, n_outputs: int, x: torch.Tensor | None = None) -> torch.Tensor:
    """Return the weights after some steps on mini-batches."""
    with isolated_rng(0):
        model = nn.Linear(3, n_outputs).double()
    x = problem()[1] if x is None else x
    fit(model, x, y, loss=loss, optimizer=SGD, epochs=3, batch_size=6, generator=seeded(5))
    return model.weight.detach()


@pytest.mark.parametrize("dtype", [torch.int32, torch.uint8, torch.bool])
@pytest.mark.parametrize(
    ("loss", "n_outputs"),
    [
        (cross_entropy, 2),
        (nn.CrossEntropyLoss(weight=torch.tensor([1.0, 9.0])), 2),
        (binary_cross_entropy, 1),
        (nn.BCEWithLogitsLoss(), 1),
        (squared_error, 1),
        (nn.MSELoss(), 1),
        (nn.L1Loss(), 1),
    ],
)
def test_labels_of_any_type_and_columns_train_alike(loss, n_outputs, dtype) -> None:
    y = (problem()[2] > 0).long()
    expected = trained(y, loss, n_outputs)
    assert torch.equal(trained(y.to(dtype), loss, n_outputs), expected)
    assert torch.equal(trained(y.to(dtype)[:, None], loss, n_outputs), expected)


def test_a_weighted_loss_is_averaged_within_each_batch_as_torch_does() -> None:
    _, x, target = problem()
    y, loss = (target > 0).long(), nn.CrossEntropyLoss(weight=torch.tensor([1.0, 9.0], dtype=torch.float64))
    with isolated_rng(0):
        model, reference = nn.Linear(3, 2).double(), nn.Linear(3, 2).double()
    reference.load_state_dict(model.state_dict())
    fit(model, x, y, loss=loss, optimizer=SGD, epochs=1, batch_size=7, generator=seeded(5))
    optimizer = SGD(reference.parameters())
    for index in torch.randperm(20, generator=seeded(5)).split(7):
        optimizer.zero_grad()
        loss(reference(x[index]), y[index]).backward()
        optimizer.step()
    assert torch.equal(model.weight, reference.weight)


def test_samples_may_be_mixed_by_a_loss_in_training() -> None:
    def decorrelated(outputs: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return (torch.cov(outputs.T) - torch.eye(2).double()).square().sum()

    model, x, y = nn.Linear(3, 2).double(), *problem()[1:]
    result = fit(model, x, y, loss=decorrelated, optimizer=partial(torch.optim.SGD, lr=0.01), n_iter=800)
    assert result.loss < 1e-3


@pytest.mark.parametrize(
    ("y", "loss", "message"),
    [
        (torch.arange(20) % 3, cross_entropy, "labels from 0 to 2.*2 outputs"),
        (torch.zeros(20), nn.CrossEntropyLoss(), r"use y\.long\(\)"),
        (torch.nn.functional.one_hot(torch.arange(20) % 2), nn.CrossEntropyLoss(), r"use y\.argmax\(1\)"),
        (torch.arange(20) % 2, nn.MSELoss(), "do not pair up"),
        (torch.arange(20) % 2, binary_cross_entropy, "use cross-entropy"),
        (torch.zeros(20), lambda outputs, y: nn.functional.cross_entropy(outputs, y), "the loss fails on outputs"),
    ],
)
def test_labels_that_do_not_fit_are_refused_before_the_first_step(y, loss, message) -> None:
    model = nn.Linear(3, 2).double()
    weight = model.weight.detach().clone()
    with pytest.raises(InvalidInputError, match=message):
        fit(model, problem()[1], y, loss=loss, optimizer=SGD, n_iter=2)
    assert torch.equal(model.weight, weight)


def test_a_label_is_refused_before_the_batch_that_holds_it() -> None:
    y = torch.zeros(20, dtype=torch.int64)
    y[torch.randperm(20, generator=seeded(5))[-1]] = 7
    with pytest.raises(InvalidInputError, match="0 to 7"):
        trained(y, cross_entropy, 2)


def test_trains_on_inputs_with_a_graph_and_in_any_state_of_autograd() -> None:
    y = (problem()[2] > 0).long()
    expected = trained(y, cross_entropy, 2)
    leaf = problem()[1].requires_grad_()
    assert torch.equal(trained(y, cross_entropy, 2, leaf * 1), expected)
    assert leaf.grad is None
    with torch.no_grad():
        assert torch.equal(trained(y, cross_entropy, 2), expected)
    with torch.inference_mode():
        x = problem()[1]
        with torch.inference_mode(False):
            model = nn.Linear(3, 1).double()
        fit(model, x, y, loss=binary_cross_entropy, optimizer=SGD, n_iter=3)
    fit(model, x, y, loss=binary_cross_entropy, optimizer=SGD, n_iter=3)


def test_tokens_train() -> None:
    model = nn.Sequential(nn.Embedding(5, 4), nn.Flatten(), nn.Linear(12, 2))
    tokens = torch.arange(30).reshape(10, 3) % 5
    y = tokens[:, 0] % 2
    assert (
        fit(model, tokens, y, loss=cross_entropy, optimizer=partial(torch.optim.Adam, lr=0.05), n_iter=100).loss < 0.1
    )


def test_data_stay_as_they_are_where_the_network_writes_into_them() -> None:
    class Writes(nn.Linear):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x.mul_(2))

    x, y = problem()[1:]
    before = x.clone()
    with isolated_rng(0):
        model, reference = Writes(3, 1).double(), nn.Linear(3, 1).double()
    reference.load_state_dict(model.state_dict())
    fit(model, x, y, loss=squared_error, optimizer=partial(torch.optim.SGD, lr=0.01), n_iter=20)
    fit(reference, 2 * x, y, loss=squared_error, optimizer=partial(torch.optim.SGD, lr=0.01), n_iter=20)
    assert torch.equal(x, before)
    torch.testing.assert_close(model.weight, reference.weight)
