import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import torch
from jaxtyping import config
from safetensors.torch import load_file
from torch import nn

from assay.core import (
    InvalidInputError,
    NumericalError,
    binary_cross_entropy,
    cross_entropy,
    fit,
    isolated_rng,
    seeded,
    squared_error,
)

SGD = partial(torch.optim.SGD, lr=0.1)


def problem() -> tuple[nn.Linear, torch.Tensor, torch.Tensor]:
    with isolated_rng(0):
        model = nn.Linear(3, 1, bias=False).double()
    x = torch.randn(20, 3, dtype=torch.float64, generator=seeded(0))
    return model, x, x @ torch.tensor([1.0, -2.0, 3.0], dtype=torch.float64)


def test_reaches_the_least_squares_solution() -> None:
    model, x, y = problem()
    fit(model, x, y, loss=squared_error, optimizer=SGD, n_iter=500)
    torch.testing.assert_close(model.weight[0].detach(), torch.tensor([1.0, -2.0, 3.0], dtype=torch.float64))


def test_equals_a_hand_written_loop_with_cosine_schedule() -> None:
    model, x, y = problem()
    weight = model.weight.detach().clone()
    result = fit(model, x, y, loss=squared_error, optimizer=SGD, schedule="cosine", n_iter=10)
    for step in range(10):
        rate = 0.1 * (1 + torch.cos(torch.tensor(torch.pi * step / 10, dtype=torch.float64))) / 2
        weight -= rate * 2 * (x @ weight.T - y[:, None]).T @ x / len(x)
    torch.testing.assert_close(model.weight.detach(), weight)
    assert result.n_iter == len(result.history) == 10


def test_mini_batches_visit_every_sample_once_an_epoch_and_are_deterministic() -> None:
    seen: list[int] = []

    def counting(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        seen.extend(int(t) for t in targets)
        return squared_error(outputs, targets * 0.0)

    weights = []
    for _ in range(2):
        model, x, _ = problem()
        fit(
            model,
            x,
            torch.arange(20.0).double(),
            loss=counting,
            optimizer=SGD,
            epochs=3,
            batch_size=6,
            generator=seeded(5),
        )
        weights.append(model.weight.detach())
    assert torch.equal(*weights)
    assert sorted(seen[:20]) == sorted(seen[20:40]) == list(range(20))
    assert seen[:20] != seen[20:40]


def test_stop_rule_and_callbacks() -> None:
    model, x, y = problem()
    numbers: list[int] = []
    result = fit(
        model,
        x,
        y,
        loss=squared_error,
        optimizer=SGD,
        n_iter=100,
        stop=lambda step: step.number == 7,
        callbacks=[lambda step: numbers.append(step.number)],
    )
    assert result.n_iter == 7
    assert numbers == list(range(1, 8))
    assert not model.training


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "either epochs or n_iter"),
        ({"epochs": 1, "n_iter": 1}, "either epochs or n_iter"),
        ({"n_iter": 0}, "n_iter must be a whole number of at least 1"),
        ({"epochs": 1, "batch_size": 4}, "generator"),
    ],
)
def test_bad_arguments_are_named(arguments: dict, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        fit(*problem(), loss=squared_error, optimizer=SGD, **arguments)


def test_divergence_is_an_error_not_a_number() -> None:
    with pytest.raises(NumericalError, match="learning rate"):
        fit(*problem(), loss=squared_error, optimizer=partial(torch.optim.SGD, lr=1e6), n_iter=200)


TWO_DEVICES = """
import sys
from functools import partial
import torch
from jaxtyping import config
from safetensors.torch import save_file
from torch import nn
from assay.core import fit, isolated_rng, seeded, squared_error

with isolated_rng(0):
    model = nn.Linear(3, 1).double()
x = torch.randn(8, 3, dtype=torch.float64, generator=seeded(0))
fit(model, x, x.sum(1), loss=squared_error, optimizer=partial(torch.optim.SGD, lr=0.1), epochs=5, batch_size=4,
    devices=int(sys.argv[2]), generator=seeded(1))
save_file(model.state_dict(), sys.argv[1])
"""


@pytest.mark.cluster
def test_two_devices_give_the_result_of_one(tmp_path: Path) -> None:
    pytest.importorskip("lightning_fabric")
    script = tmp_path / "script.py"
    script.write_text(TWO_DEVICES)
    for devices in ("1", "2"):
        subprocess.run([sys.executable, script, tmp_path / devices, devices], check=True, timeout=120)
    one, two = load_file(tmp_path / "1"), load_file(tmp_path / "2")
    torch.testing.assert_close(one["weight"], two["weight"])


def test_uneven_shares_are_refused() -> None:
    with pytest.raises(InvalidInputError, match="evenly"):
        fit(*problem(), loss=squared_error, optimizer=SGD, n_iter=1, devices=3)


def sizes_of_batches(n: int, batch_size: int, **length: int) -> list[int]:
    """Return how many samples each step of training sees."""
    seen: list[int] = []
    model = problem()[0]
    model.register_forward_hook(lambda module, inputs, outputs: seen.append(len(inputs[0])))
    x = torch.randn(n, 3, dtype=torch.float64, generator=seeded(0))
    fit(model, x, x.sum(1), loss=squared_error, optimizer=SGD, batch_size=batch_size, generator=seeded(1), **length)
    return seen


def test_a_rest_of_one_sample_joins_the_batch_before_it() -> None:
    assert sizes_of_batches(33, 32, epochs=2) == [33, 33]
    assert sizes_of_batches(13, 4, epochs=2) == 2 * [4, 4, 5]
    assert sizes_of_batches(13, 4, n_iter=4) == [4, 4, 5, 4]
    # Every other batch is of the size that is asked for, or the rest.
    assert sizes_of_batches(14, 4, epochs=1) == [4, 4, 4, 2]
    assert sizes_of_batches(12, 4, epochs=1) == [4, 4, 4]
    assert sizes_of_batches(3, 1, epochs=1) == [1, 1, 1]
    assert sizes_of_batches(1, 4, epochs=2) == [1, 1]


def test_batch_norm_trains_on_one_sample_more_than_a_batch_and_needs_two() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 1)).double()
    _, x, y = problem()
    fit(model, x[:9], y[:9], loss=squared_error, optimizer=SGD, epochs=1, batch_size=4, generator=seeded(0))
    with pytest.raises(InvalidInputError, match="at least two samples a batch"):
        fit(model, x[:1], y[:1], loss=squared_error, optimizer=SGD, epochs=1)


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


def test_a_network_that_does_not_take_the_data_or_is_frozen_is_named() -> None:
    model, x, y = problem()
    with pytest.raises(InvalidInputError, match=r"shape \(2,\).*reshape the data"):
        fit(model, x[:, :2], y, loss=squared_error, optimizer=SGD, n_iter=1)
    with pytest.raises(InvalidInputError, match="frozen"):
        fit(model.requires_grad_(False), x, y, loss=squared_error, optimizer=SGD, n_iter=1)


@pytest.mark.parametrize(
    ("optimizer", "message"),
    [
        (SGD(nn.Linear(3, 1).parameters()), r"got SGD.*partial\(torch\.optim\.SGD"),
        ("sgd", r"got str.*partial\(torch\.optim\.SGD"),
        (torch.optim.LBFGS, "LBFGS"),
    ],
)
def test_an_optimizer_that_cannot_be_used_is_refused(optimizer, message, monkeypatch) -> None:
    monkeypatch.setattr(config, "jaxtyping_disable", True)
    with pytest.raises(InvalidInputError, match=message):
        fit(*problem(), loss=squared_error, optimizer=optimizer, n_iter=1)


def test_a_loss_without_a_gradient_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="no gradient"):
        fit(*problem(), loss=lambda outputs, y: outputs.detach().mean(), optimizer=SGD, n_iter=1)
