import copy

import pytest
import torch
from sklearn.utils.estimator_checks import check_estimator
from torch import nn

from assay.core import InvalidInputError, NumericalError, cross_entropy, seeded
from assay.nets import mlp
from assay.privacy import DatasetCondenser, evaluate_condensed
from assay.privacy.condensation import (
    ClassWiseGradientMatching,
    ContrastiveGradientMatching,
    SiameseAugmentation,
    gradient_distance,
    gradient_matching,
)
from assay.privacy.condensation.condenser import set_batch_norm_statistics
from helpers.condensation import build, condense, samples


def test_without_outer_steps_it_takes_random_real_samples_of_every_class():
    x, y = samples()
    condensed = condense(n_outer_iter=0).fit(x, y)
    assert condensed.targets_.sort().values.tolist() == [0, 0, 1, 1, 2, 2]
    for sample, label in zip(condensed.data_, condensed.targets_, strict=True):
        assert (y[(x == sample).all(1)] == label).tolist() == [True]
    assert condensed.history_ == ()
    others = condense(n_outer_iter=0, random_state=1).fit(x, y)
    assert not torch.equal(others.data_, condensed.data_)


@pytest.mark.parametrize("matching", ["contrastive", "class-wise"])
def test_the_loop_is_that_of_the_paper(matching):
    # All real samples in every batch, so that nothing but the networks is drawn; momentum and training by hand.
    x, y = samples()
    start = condense(n_outer_iter=0).fit(x, y)
    network = mlp((6, 5, 3), generator=seeded(9))
    got = condense(
        matching=matching, model_fn=lambda source: copy.deepcopy(network), outer_warmup=1, inner_warmup=1, net_lr=0.2
    ).set_params(image_lr=0.05)
    got.fit(x, y)
    data, labels, velocity = start.data_.clone(), start.targets_, 0.0
    losses = []
    for outer in range(2):
        model = copy.deepcopy(network).double()
        for inner in range(2):
            contrastive = matching == "contrastive" and (outer >= 1 or inner >= 1)
            kind = ContrastiveGradientMatching if contrastive else ClassWiseGradientMatching
            data = data.detach().requires_grad_()
            loss = kind()(model, data, labels, x, y)
            losses.append(loss.item())
            velocity = torch.autograd.grad(loss, data)[0] + 0.5 * velocity
            data = (data - 0.05 * velocity).detach()
            if inner == 0:
                for _ in range(3):
                    slopes = torch.autograd.grad(cross_entropy(model(data), labels), list(model.parameters()))
                    with torch.no_grad():
                        for parameter, slope in zip(model.parameters(), slopes, strict=True):
                            parameter -= 0.2 * slope
    torch.testing.assert_close(torch.tensor(got.history_), torch.tensor(losses))
    torch.testing.assert_close(got.data_, data)


def test_real_batches_are_balanced_and_within_their_classes():
    x, y = samples(20)  # seven, seven and six of a class
    seen = []

    class Watching(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = nn.Linear(6, 3).double()

        def forward(self, batch):
            seen.append(batch.shape[0])
            return self.inner(batch)

    condense(model_fn=lambda source: Watching(), n_outer_iter=1, n_inner_iter=1, outer_warmup=0, batch_size=4).fit(x, y)
    assert 12 in seen
    assert max(seen) == 12


def test_augmentation_is_the_same_for_real_and_synthetic_samples_of_a_class():
    calls = []

    def augment(batch, source):
        calls.append((len(batch), torch.rand(1, generator=source).item()))
        return batch

    x, y = samples()
    plain, same = condense(outer_warmup=0), condense(outer_warmup=0, augment=augment)
    same.set_params(n_inner_iter=1, n_outer_iter=1).fit(x, y)
    synthetic, real = calls[:3], calls[3:6]
    assert [size for size, _ in synthetic] == [2, 2, 2]
    assert [size for size, _ in real] == [10, 10, 10]
    assert [amount for _, amount in synthetic] == [amount for _, amount in real]
    assert len({amount for _, amount in real}) == 3
    first = plain.set_params(n_inner_iter=1, n_outer_iter=1).fit(x, y).history_[0]
    assert same.history_[0] == pytest.approx(first)


def test_images_are_condensed_with_augmentation_in_training_too():
    x, y = torch.rand(9, 1, 4, 4, generator=seeded(0)), torch.arange(9) % 3
    options = {"model_fn": lambda source: nn.Sequential(nn.Flatten(), *mlp((16, 3), generator=source))}
    plain = condense(**options).fit(x, y).data_
    changed = condense(**options, augment=SiameseAugmentation(("flip", "color"))).fit(x, y).data_
    assert plain.shape == changed.shape == (6, 1, 4, 4)
    assert not torch.equal(plain, changed)


def test_networks_train_on_images_that_are_changed_apart(monkeypatch):
    changed = {"alike": 0, "apart": 0}

    def count(name, change):
        def counted(self, x, generator):
            changed[name] += 1
            return change(self, x, generator)

        return counted

    monkeypatch.setattr(SiameseAugmentation, "__call__", count("alike", SiameseAugmentation.__call__))
    monkeypatch.setattr(SiameseAugmentation, "apart", count("apart", SiameseAugmentation.apart))
    x, y = torch.rand(9, 1, 4, 4, generator=seeded(0)), torch.arange(9) % 3
    options = {"model_fn": lambda source: nn.Sequential(nn.Flatten(), *mlp((16, 3), generator=source))}
    condense(**options, n_outer_iter=1, n_inner_iter=2, net_epochs=5, augment=SiameseAugmentation()).fit(x, y)
    assert changed == {"alike": 2 * 6, "apart": 5}  # real and synthetic samples of three classes, twice; five epochs
    evaluate_condensed(x, y, x, y, n_models=1, epochs=4, augment=SiameseAugmentation(), **options)
    assert changed == {"alike": 2 * 6, "apart": 9}


@pytest.mark.usefixtures("as_users_run_it")
@pytest.mark.parametrize("matching", ["contrastive", "class-wise"])
def test_the_metric_is_that_of_the_matching_loss(matching, monkeypatch):
    asked = []

    def distance(a, b, *, metric):
        asked.append(metric)
        return gradient_distance(a, b, metric=metric)

    monkeypatch.setattr(gradient_matching, "gradient_distance", distance)
    options = {"matching": matching, "outer_warmup": 0, "n_outer_iter": 1, "n_inner_iter": 1}
    losses = {
        condense(**options, metric=metric).fit(*samples()).history_ for metric in ("rowwise_cosine", "cosine", "mse")
    }
    assert len(losses) == 3
    assert list(dict.fromkeys(asked)) == ["rowwise_cosine", "cosine", "mse"]
    with pytest.raises(InvalidInputError, match="metric"):
        condense(**options, metric="euclidean").fit(*samples())


def test_the_papers_schedule_by_samples_a_class():
    def schedule(n):
        condenser = DatasetCondenser(n, model_fn=build)
        return condenser.schedule()

    assert [schedule(n) for n in (1, 10, 20, 30, 40, 50)] == [(10, 5), (10, 50), (20, 25), (30, 20), (40, 15), (50, 10)]
    assert schedule(12) == (10, 50)
    assert DatasetCondenser(1, model_fn=build, n_inner_iter=3).schedule() == (3, 5)


def test_statistics_of_batch_norm_are_those_of_the_batch_and_nothing_else_changes():
    model = nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Linear(4, 3)).double()
    before = [parameter.clone() for parameter in model.parameters()]
    x = samples()[0]
    set_batch_norm_statistics(model, x)
    inner = model[0](x)
    torch.testing.assert_close(model[1].running_mean, inner.mean(0))
    torch.testing.assert_close(model[1].running_var, inner.var(0))
    assert model[1].momentum == 0.1
    assert not any(module.training for module in model.modules())
    assert all(torch.equal(new, old) for new, old in zip(model.parameters(), before, strict=True))


def test_networks_with_batch_norm_and_dropout_draw_from_the_seed_only():
    def noisy(source):
        return nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Linear(4, 3))

    x, y = samples()
    state = torch.get_rng_state()
    one = condense(model_fn=noisy).fit(x, y)
    assert torch.equal(torch.get_rng_state(), state)
    torch.rand(1)
    assert torch.equal(condense(model_fn=noisy).fit(x, y).data_, one.data_)


def test_scikit_learns_checks_of_parameters_and_cloning_pass():
    results = check_estimator(condense(), on_fail=None, on_skip=None)
    passed = {result["check_name"] for result in results if result["status"] == "passed"}
    assert {
        "check_estimator_cloneable",
        "check_estimator_repr",
        "check_no_attributes_set_in_init",
        "check_parameters_default_constructible",
        "check_get_params_invariance",
        "check_set_params",
    } <= passed


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_inner_iter": 0}, "n_inner_iter"),
        ({"net_epochs": 0}, "net_epochs"),
        ({"batch_size": 0}, "batch_size"),
        ({"n_outer_iter": -1}, "n_outer_iter"),
        ({"image_lr": 0.0}, "image_lr"),
        ({"net_lr": float("nan")}, "net_lr"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(InvalidInputError, match=message):
        condense(**options).fit(*samples())


def test_bad_input():
    x, y = samples()
    with pytest.raises(InvalidInputError, match="ask for fewer"):
        DatasetCondenser(11, model_fn=build, n_outer_iter=1).fit(x, y)
    with pytest.raises(InvalidInputError, match="labels from"):
        condense().fit(x, y + 1)
    with pytest.raises(InvalidInputError, match="does not accept"):
        condense().fit(x[:, :4], y)
    with pytest.raises(NumericalError):
        condense(image_lr=1e200, n_outer_iter=5).fit(x, y)


def test_a_network_of_several_types_keeps_them():
    class Adapted(nn.Module):
        def __init__(self):
            super().__init__()
            self.base, self.head = nn.Linear(6, 5).bfloat16(), nn.Linear(5, 3)

        def forward(self, x):
            return self.head(self.base(x.bfloat16()).float())

    x, y = samples()
    condensed = condense(model_fn=lambda source: Adapted(), n_outer_iter=1).fit(x.float(), y)
    assert condensed.data_.isfinite().all()
    with pytest.raises(InvalidInputError, match="meta device"):
        condense(model_fn=lambda source: nn.Linear(6, 3, device="meta")).fit(x, y)
