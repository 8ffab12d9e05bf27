"""The trial of a loss: what is no plain mean over samples is refused."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from assay.core import InvalidInputError, cross_entropy, mean_over_samples, seeded
from helpers.loss_data import CLASSES, WEIGHTS, classes, inputs, network, several


def contrastive(outputs: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Ask of every sample to be nearest to itself."""
    return F.cross_entropy(outputs @ outputs.T, torch.arange(len(y)))


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (nn.CrossEntropyLoss(reduction="sum"), "sums.*reduction='mean'"),
        (lambda outputs, y: F.l1_loss(outputs.sum(1), y.to(outputs), reduction="sum"), "sums.*reduction='mean'"),
        (lambda outputs, y: F.cross_entropy(outputs, y, reduction="sum"), "sums.*reduction='mean'"),
        (lambda outputs, y: F.cross_entropy(outputs, y, weight=WEIGHTS + 1), "no mean over samples.*itself"),
        (lambda outputs, y: F.cross_entropy(outputs, y, ignore_index=2), "no mean over samples.*itself"),
        (lambda outputs, y: (outputs.argmax(1) == y).double().mean() ** 2, "no mean over samples"),
        (lambda outputs, y: outputs.var(0).mean() + 0 * y.sum(), "no mean over samples"),
        (contrastive, "no mean over samples"),
        (lambda outputs, y: F.cross_entropy(outputs * torch.rand(()), y), "random numbers"),
        (lambda outputs, y: (outputs, y), "got tuple"),
        (lambda outputs, y: float(outputs.mean()), "got float"),
        (lambda outputs, y: F.cross_entropy(outputs[:, :2], y), "fails on outputs"),
        (nn.CrossEntropyLoss, r"the class CrossEntropyLoss.*CrossEntropyLoss\(\)"),
        (nn.CrossEntropyLoss(weight=torch.ones(3)), "3 class weights and the network 4 outputs"),
        (nn.CrossEntropyLoss(weight=torch.zeros(CLASSES)), "no label counts"),
    ],
)
def test_what_is_no_mean_over_samples_is_refused_in_a_sentence(loss, message) -> None:
    with pytest.raises(InvalidInputError, match=message):
        mean_over_samples(loss, network(), inputs().requires_grad_(), classes())


def test_a_penalty_on_the_weights_is_refused() -> None:
    model = network()
    with pytest.raises(InvalidInputError, match="without the penalty"):
        mean_over_samples(
            lambda outputs, y: F.cross_entropy(outputs, y) + model[0].weight.square().sum(), model, inputs(), classes()
        )


def test_a_network_that_returns_no_rows_is_named() -> None:
    model = nn.Sequential(network(), nn.Flatten(0))
    with pytest.raises(InvalidInputError, match="in place of one row for each"):
        mean_over_samples(cross_entropy, model, inputs(), classes())
    with pytest.raises(InvalidInputError, match="does not accept a sample"):
        mean_over_samples(cross_entropy, network(), inputs()[:, :3], classes())


def test_a_weighted_mean_is_noticed_where_all_outputs_are_alike() -> None:
    model = network()
    for parameter in model.parameters():
        nn.init.zeros_(parameter)
    with pytest.raises(InvalidInputError, match="no mean over samples"):
        mean_over_samples(lambda outputs, y: F.cross_entropy(outputs, y, weight=WEIGHTS), model, inputs(), classes())


def test_one_weight_among_many_classes_is_noticed() -> None:
    weight = torch.ones(500, dtype=torch.float64)
    weight[321] = 30.0
    x, y = torch.randn(2000, 6, generator=seeded(1), dtype=torch.float64), torch.arange(2000) % 500
    with pytest.raises(InvalidInputError, match="no mean over samples"):
        mean_over_samples(lambda outputs, y: F.cross_entropy(outputs, y, weight=weight), network(500), x, y)


def test_the_trial_leaves_the_network_and_the_global_state_as_they_were() -> None:
    model, x, y = network().train(), inputs(), classes()
    before = torch.get_rng_state()
    mean_over_samples(nn.L1Loss(), nn.Sequential(model, nn.Dropout(0.5)), x, several(CLASSES))
    with pytest.raises(InvalidInputError, match="random"):
        mean_over_samples(lambda outputs, y: (outputs * torch.rand(())).mean(), model, x, y)
    assert torch.equal(before, torch.get_rng_state())
    assert model.training
    assert all(parameter.requires_grad and parameter.grad is None for parameter in model.parameters())
