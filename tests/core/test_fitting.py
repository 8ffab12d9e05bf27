import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import torch
from jaxtyping import config
from safetensors.torch import load_file
from torch import nn

from assay.core import InvalidInputError, NumericalError, fit, seeded, squared_error
from helpers.least_squares import SGD, problem


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


@pytest.mark.parametrize(("container", "place"), [(lambda s: {"scores": s}, "['scores']"), (lambda s: (s, 1), "[0]")])
def test_names_the_scores_in_a_container(container, place) -> None:
    model, x, y = problem()
    model.register_forward_hook(lambda module, inputs, outputs: container(outputs))
    with pytest.raises(InvalidInputError) as refused:
        fit(model, x, y, loss=squared_error, optimizer=SGD, n_iter=1)
    assert f"returns self.model(x){place}" in str(refused.value)


def test_a_loss_of_the_users_own_may_read_a_container() -> None:
    (model, x, y), (same, _, _) = problem(), problem()
    model.register_forward_hook(lambda module, inputs, outputs: {"scores": outputs})
    fit(model, x, y, loss=lambda held, y: squared_error(held["scores"], y), optimizer=SGD, n_iter=3)
    fit(same, x, y, loss=squared_error, optimizer=SGD, n_iter=3)
    torch.testing.assert_close(model.weight, same.weight)
