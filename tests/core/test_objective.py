"""Losses as plain means over samples, against torch's own value and gradient on the whole set."""

from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.func import functional_call, grad, vmap

from assay.core import (
    InvalidInputError,
    MeanLoss,
    binary_cross_entropy,
    cross_entropy,
    isolated_rng,
    loss_kind,
    mean_over_samples,
    seeded,
    squared_error,
)

N, CLASSES, PLACES = 23, 4, 5
WEIGHTS = torch.tensor([1.0, 20.0, 0.0, 3.0], dtype=torch.float64)


def network(outputs: int = CLASSES) -> nn.Module:
    with isolated_rng(0):
        return nn.Sequential(nn.Linear(6, 7), nn.Tanh(), nn.Linear(7, outputs)).double()


def inputs() -> torch.Tensor:
    return torch.randn(N, 6, generator=seeded(1), dtype=torch.float64)


def classes() -> torch.Tensor:
    return torch.arange(N) * CLASSES // N  # sorted, as files often are


def some_ignored(y: torch.Tensor, label: int = -100) -> torch.Tensor:
    return y.masked_fill(torch.rand(y.shape, generator=seeded(2)) < 0.4, label)


def token_network() -> nn.Module:
    return nn.Sequential(*network(CLASSES * PLACES), nn.Unflatten(1, (CLASSES, PLACES)))


def token_labels() -> torch.Tensor:
    return torch.randint(CLASSES, (N, PLACES), generator=seeded(3))


def soft_labels(n_classes: int = CLASSES) -> torch.Tensor:
    return torch.rand(N, n_classes, generator=seeded(4), dtype=torch.float64).softmax(1)


def several(n: int) -> torch.Tensor:
    return torch.randn(N, n, generator=seeded(5), dtype=torch.float64)


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


@pytest.mark.parametrize("dtype", [torch.int8, torch.int16, torch.int32, torch.uint8, torch.bool])
@pytest.mark.parametrize("column", [False, True])
@pytest.mark.parametrize(
    "loss",
    [
        cross_entropy,
        binary_cross_entropy,
        squared_error,
        nn.CrossEntropyLoss(weight=WEIGHTS[1:3] + 1),
        partial(F.cross_entropy, ignore_index=1),
        nn.BCEWithLogitsLoss(),
        nn.MSELoss(),
        F.mse_loss,
        lambda outputs, y: F.cross_entropy(outputs, y),
    ],
)
def test_labels_of_any_width_and_columns_mean_the_same(loss, column, dtype) -> None:
    if dtype == torch.bool and loss_kind(loss) is None:
        pytest.skip("booleans may be a mask to a loss of a user's own")
    n_outputs = 2 if loss_kind(loss) in ("cross_entropy", None) else 1
    model, x, y = network(n_outputs), inputs(), classes() % 2
    expected = mean_over_samples(loss, model, x, y)(model(x), y)
    given = y.to(dtype)[:, None] if column else y.to(dtype)
    torch.testing.assert_close(mean_over_samples(loss, model, x, given)(model(x), given), expected)
    flat = nn.Sequential(model, nn.Flatten(0)) if n_outputs == 1 else model
    torch.testing.assert_close(mean_over_samples(loss, flat, x, given)(flat(x), given), expected)


def test_signs_and_zero_one_labels_are_the_same_to_our_binary_loss() -> None:
    model, x, y = network(1), inputs(), classes() % 2
    for labels in (2 * y - 1, (2 * y - 1).double()[:, None], y.double()):
        mean = mean_over_samples(binary_cross_entropy, model, x, labels)
        torch.testing.assert_close(
            mean(model(x), labels), F.binary_cross_entropy_with_logits(model(x).squeeze(1), y.double())
        )


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


def columns(n: int) -> torch.Tensor:
    return torch.zeros(N, n)


@pytest.mark.parametrize(
    ("loss", "n_outputs", "y", "message"),
    [
        (cross_entropy, 4, classes() + 1, r"labels from 1 to 4.*relabel the classes as 0\.\.3"),
        (cross_entropy, 4, classes().double(), r"use y\.long\(\)"),
        (cross_entropy, 4, F.one_hot(classes(), 4), r"use y\.argmax\(1\)"),
        (cross_entropy, 4, several(4), "class probabilities"),
        (cross_entropy, 4, F.one_hot(classes(), 5), "integer class labels"),
        (nn.NLLLoss(), 4, soft_labels(), "integer class labels"),
        (cross_entropy, 4, torch.full((N,), -100), "no label counts"),
        (cross_entropy, 2, 2 * (classes() % 2) - 1, r"\(y \+ 1\) // 2"),
        (nn.CrossEntropyLoss(), 1, classes() % 2, "use binary_cross_entropy"),
        (nn.BCEWithLogitsLoss(), 1, 2 * (classes() % 2) - 1, r"between 0 and 1.*\(y \+ 1\) / 2"),
        (nn.BCEWithLogitsLoss(), 4, classes() % 2, "do not pair up"),
        (nn.BCEWithLogitsLoss(weight=torch.ones(N, 1)), 1, classes() % 2, "for each sample"),
        (binary_cross_entropy, 1, classes(), "0 and 1, or -1 and 1"),
        (binary_cross_entropy, 1, soft_labels()[:, 0], "0 and 1, or -1 and 1"),
        (binary_cross_entropy, 4, classes() % 2, "use cross-entropy"),
        (binary_cross_entropy, 1, columns(2), "vector"),
        (nn.MSELoss(), 4, classes(), r"do not pair up.*one_hot"),
        (squared_error, 4, several(3), "do not pair up"),
    ],
)
def test_labels_that_do_not_fit_are_refused_with_the_mend(loss, n_outputs, y, message) -> None:
    with pytest.raises(InvalidInputError, match=message):
        mean_over_samples(loss, network(n_outputs), inputs(), y)


def test_tokens_with_classes_on_the_last_axis_are_told_to_move_them() -> None:
    model = nn.Sequential(*network(CLASSES * PLACES), nn.Unflatten(1, (PLACES, CLASSES)))
    with pytest.raises(InvalidInputError, match=r"movedim\(-1, 1\)"):
        mean_over_samples(nn.CrossEntropyLoss(), model, inputs(), token_labels())


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


def test_the_trial_leaves_the_network_and_the_global_state_as_they_were() -> None:
    model, x, y = network().train(), inputs(), classes()
    before = torch.get_rng_state()
    mean_over_samples(nn.L1Loss(), nn.Sequential(model, nn.Dropout(0.5)), x, several(CLASSES))
    with pytest.raises(InvalidInputError, match="random"):
        mean_over_samples(lambda outputs, y: (outputs * torch.rand(())).mean(), model, x, y)
    assert torch.equal(before, torch.get_rng_state())
    assert model.training
    assert all(parameter.requires_grad and parameter.grad is None for parameter in model.parameters())


def test_works_under_inference_mode_and_on_inference_tensors() -> None:
    model, y = network(), classes()
    with torch.inference_mode():
        x = inputs()
        mean = mean_over_samples(nn.L1Loss(), model, x, several(CLASSES))
        assert mean_over_samples(cross_entropy, model, x, y)(model(x), y) > 0
    assert mean.kind is None
