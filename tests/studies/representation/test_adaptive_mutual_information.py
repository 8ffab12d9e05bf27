from collections.abc import Callable

import pytest
import torch

from assay.core import seeded
from assay.lab import Run
from assay.studies.representation.adaptive_mutual_information import cells, training
from assay.studies.representation.adaptive_mutual_information.study import STUDY, standardized

SMOKE = STUDY.scales["smoke"]


def test_every_claim_is_measured(smoke_run: Callable[[str], Run]) -> None:
    run = smoke_run("adaptive-mutual-information")
    assert {evidence.claim for evidence in run.evidence if evidence.values} == {"C1", "C2", "C3", "C4", "C5"}


def test_the_task_is_balanced_and_covers_all_inputs() -> None:
    x, y = training.toy_task(seeded(0))
    assert len(x.unique(dim=0)) == 4096
    assert y.double().mean().item() == 0.5


def test_a_network_of_the_stack_is_trained_as_if_alone() -> None:
    x, y = torch.randn(2, 64, 12, generator=seeded(1)), torch.randint(2, (2, 64), generator=seeded(2))
    options = {"penalty": 0.01, "epochs": (0, 3), "lr": 0.01, "batch_size": 64}
    together = training.train_many(x, y, (12, 5, 2), "tanh", generator=seeded(3), **options)
    start = [(weight[1:].clone(), bias[1:].clone()) for weight, bias in together[0]]
    network = training.network_of((12, 5, 2), "tanh")
    network.load_state_dict(training.state_of(start, 0))
    adam = torch.optim.Adam(network.parameters(), lr=0.01)
    for _ in range(3):  # one batch an epoch: its order does not matter
        loss = torch.nn.functional.cross_entropy(network(x[1]), y[1]) + 0.01 * network[0].weight.square().sum()
        adam.zero_grad()
        loss.backward()
        adam.step()
    for name, value in training.state_of(together[1], 1).items():
        torch.testing.assert_close(network.state_dict()[name], value, atol=1e-4, rtol=1e-3)


def test_estimates_do_not_move_with_the_scale() -> None:
    found = cells.invariance(SMOKE)
    assert found["adaptive change"] == found["kernel change"] == 0
    assert found["fixed, times 100"] == pytest.approx(3.09, abs=0.1)


def test_standardised_products_average_to_the_correlation() -> None:
    values = torch.randn(1, 30, 2, generator=seeded(0), dtype=torch.float64).numpy()
    one, two = (standardized(values[:, :, place]) for place in (0, 1))
    expected = torch.corrcoef(torch.tensor(values[0].T))[0, 1].item()
    assert (one * two).mean() == pytest.approx(expected)
    assert (standardized(0 * values) == 0).all()
