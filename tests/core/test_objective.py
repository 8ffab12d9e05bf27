"""Losses as plain means over samples, against torch's own value and gradient on the whole set."""

from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.func import functional_call, grad, vmap

from assay.core import MeanLoss, binary_cross_entropy, cross_entropy, loss_kind, mean_over_samples, squared_error
from helpers.loss_data import (
    CLASSES,
    WEIGHTS,
    N,
    classes,
    inputs,
    network,
    several,
    soft_labels,
    some_ignored,
    token_labels,
    token_network,
)


class TwoHeads(nn.Module):
    """A loss of a user's own, as a module."""

    def forward(self, outputs: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return F.cross_entropy(outputs[:, :2], y % 2) + F.smooth_l1_loss(outputs[:, 2:].sum(1), y.to(outputs))


CASES = {
    "weights": (network, classes(), nn.CrossEntropyLoss(weight=WEIGHTS)),
    "weights, ignored and smoothed": (
        network,
        some_ignored(classes()),
        nn.CrossEntropyLoss(weight=WEIGHTS, label_smoothing=0.2),
    ),
    "an ignored class": (network, classes(), nn.CrossEntropyLoss(ignore_index=1)),
    "a label outside that is ignored": (network, some_ignored(classes(), 255), nn.CrossEntropyLoss(ignore_index=255)),
    "smoothed": (network, classes(), nn.CrossEntropyLoss(label_smoothing=0.3)),
    "partial": (network, classes(), partial(F.cross_entropy, weight=WEIGHTS, label_smoothing=0.1)),
    "the house's own, ignored": (network, some_ignored(classes()), cross_entropy),
    "tokens": (token_network, token_labels(), nn.CrossEntropyLoss()),
    "tokens, ignored": (token_network, some_ignored(token_labels()), nn.CrossEntropyLoss()),
    "tokens, ignored and weights": (
        token_network,
        some_ignored(token_labels(), 1),
        nn.CrossEntropyLoss(weight=WEIGHTS, ignore_index=1, label_smoothing=0.1),
    ),
    "class probabilities": (network, soft_labels(), nn.CrossEntropyLoss(weight=WEIGHTS, label_smoothing=0.1)),
    "log-probabilities": (
        lambda: nn.Sequential(*network(), nn.LogSoftmax(1)),
        some_ignored(classes(), 3),
        nn.NLLLoss(weight=WEIGHTS, ignore_index=3),
    ),
    "pos_weight": (
        partial(network, 1),
        (classes() % 2)[:, None].double(),
        nn.BCEWithLogitsLoss(pos_weight=torch.tensor([7.0], dtype=torch.float64)),
    ),
    "several binary labels": (network, soft_labels(), nn.BCEWithLogitsLoss(weight=WEIGHTS, pos_weight=WEIGHTS + 1)),
    "mean squared error": (network, several(CLASSES), nn.MSELoss()),
    "sum of squares": (network, several(CLASSES), squared_error),
    "one binary label": (partial(network, 1), classes() % 2, binary_cross_entropy),
    "absolute error": (network, several(CLASSES), nn.L1Loss()),
    "function": (network, classes(), lambda outputs, y: F.cross_entropy(outputs.tanh(), y)),
    "module": (network, classes(), TwoHeads()),
    "squeezed": (
        partial(network, 1),
        classes() % 2,
        lambda outputs, y: F.binary_cross_entropy_with_logits(outputs.squeeze(), y.double()),
    ),
    "flattened tokens": (
        token_network,
        token_labels(),
        lambda outputs, y: F.cross_entropy(outputs.movedim(1, 2).flatten(0, 1), y.flatten()),
    ),
}
every_case = pytest.mark.parametrize("case", CASES.values(), ids=list(CASES))


@every_case
def test_parts_of_any_size_add_up_to_the_users_own_loss_on_all(case) -> None:
    build, y, loss = case
    model, x = build(), inputs()
    mean = mean_over_samples(loss, model, x, y)
    assert isinstance(mean, MeanLoss)
    assert mean_over_samples(mean, model, x, y) is mean
    for size in (1, 2, 7, 22, N):
        parts = zip(x.split(size), y.split(size), strict=True)
        total = sum(mean(model(part), labels) * len(part) for part, labels in parts)
        torch.testing.assert_close(total / N, loss(model(x), y))


@every_case
def test_the_mean_of_the_gradients_of_single_samples_is_the_gradient_of_the_users_own_loss(case) -> None:
    build, y, loss = case
    model, x = build(), inputs()
    mean = mean_over_samples(loss, model, x, y)
    parameters = dict(model.named_parameters())
    one = grad(lambda values, sample, label: mean(functional_call(model, values, (sample[None],)), label[None]))
    rows = vmap(one, (None, 0, 0))({name: value.detach() for name, value in parameters.items()}, x, y)
    for (name, value), slope in zip(
        parameters.items(), torch.autograd.grad(loss(model(x), y), list(parameters.values())), strict=True
    ):
        torch.testing.assert_close(rows[name].mean(0), slope, msg=name)
        assert value.grad is None


def test_values_without_reduction_stand_for_their_mean() -> None:
    model, x, y = network(), inputs(), some_ignored(classes())
    for loss in (
        nn.CrossEntropyLoss(weight=WEIGHTS, reduction="none"),
        partial(F.cross_entropy, reduction="none"),
        lambda outputs, y: F.cross_entropy(outputs, y, reduction="none"),
    ):
        mean = mean_over_samples(loss, model, x, y)
        torch.testing.assert_close(mean(model(x), y), loss(model(x), y).mean())
        torch.testing.assert_close(mean(model(x[:1]), y[:1]), loss(model(x[:1]), y[:1]).mean())


def test_weights_of_another_type_follow_the_outputs() -> None:
    model, x, y = network(), inputs(), classes()
    mean = mean_over_samples(nn.CrossEntropyLoss(weight=WEIGHTS.float()), model, x, y)
    torch.testing.assert_close(mean(model(x), y), F.cross_entropy(model(x), y, WEIGHTS))


@pytest.mark.parametrize(
    ("loss", "kind"),
    [
        (cross_entropy, "cross_entropy"),
        (nn.CrossEntropyLoss(weight=WEIGHTS), "cross_entropy"),
        (F.cross_entropy, "cross_entropy"),
        (partial(F.cross_entropy, label_smoothing=0.1), "cross_entropy"),
        (nn.NLLLoss(), "cross_entropy"),
        (binary_cross_entropy, "binary_cross_entropy"),
        (nn.BCEWithLogitsLoss(), "binary_cross_entropy"),
        (F.binary_cross_entropy_with_logits, "binary_cross_entropy"),
        (squared_error, "squared_error"),
        (nn.MSELoss(), "squared_error"),
        (partial(F.mse_loss), "squared_error"),
        (nn.L1Loss(), None),
        (TwoHeads(), None),
        (nn.BCELoss(), None),
        (lambda outputs, y: F.cross_entropy(outputs, y), None),
    ],
)
def test_kinds(loss, kind) -> None:
    assert loss_kind(loss) == kind


def test_a_subclass_with_a_forward_of_its_own_is_another_loss() -> None:
    class Focal(nn.CrossEntropyLoss):
        def forward(self, outputs: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            values = F.cross_entropy(outputs, y, reduction="none")
            return ((1 - (-values).exp()) ** 2 * values).mean()

    model, x, y = network(), inputs(), classes()
    assert loss_kind(Focal()) is None
    mean = mean_over_samples(Focal(), model, x, y)
    assert mean.kind is None
    torch.testing.assert_close(mean(model(x), y), Focal()(model(x), y))


def test_works_under_inference_mode_and_on_inference_tensors() -> None:
    model, y = network(), classes()
    with torch.inference_mode():
        x = inputs()
        mean = mean_over_samples(nn.L1Loss(), model, x, several(CLASSES))
        assert mean_over_samples(cross_entropy, model, x, y)(model(x), y) > 0
    assert mean.kind is None
