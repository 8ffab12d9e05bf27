from functools import partial

import pytest
import torch

from assay.core import (
    InvalidInputError,
    SequentialTrainer,
    StackedTrainer,
    cross_entropy,
    fit,
    predict,
    seeded,
)
from assay.generalization.subpopulations import subgroup_accuracy, train_model_pool
from assay.nets import mlp

CONFIGURATIONS = [{"width": width, "lr": lr} for width in (2, 5) for lr in (0.001, 0.1)]


def factory(configuration, generator):
    return mlp((3, configuration["width"], 2), generator=generator).double()


def trainer(configuration):
    return StackedTrainer(cross_entropy, partial(torch.optim.Adam, lr=configuration["lr"]), epochs=3, batch_size=10)


def data():
    source = seeded(0)
    x = torch.randn(60, 3, generator=source, dtype=torch.float64)
    y, z = (x[:, 0] > 0).long(), (x[:, 1] > 0).long()
    return x, y, z, torch.rand(2, 60, generator=source) < 0.5


def pool_of(**options):
    x, y, z, membership = data()
    options = {"factory": factory, "trainer": trainer, "configurations": CONFIGURATIONS} | options
    return train_model_pool(x=x, y=y, membership=membership, test=(x, y, z), **options)


def test_counts_are_those_of_the_models_it_trained():
    kept = []

    def remembering(configuration):
        inner = trainer(configuration)

        def train(models, x, y, membership, *, generator=None, progress=False):
            inner(models, x, y, membership, generator=generator)
            kept.append(models)

        return train

    pool, (x, y, z, _) = pool_of(trainer=remembering), data()
    assert pool.right.shape == (4, 2, 2, 2)
    for row, models in zip(pool.right, kept, strict=True):
        for right, model in zip(row, models, strict=True):
            assert torch.equal(right, subgroup_accuracy(model, x, y, groups=z).right)
    aligned = torch.eye(2).bool()
    answers = predict(kept[1][1], x).argmax(1) == y
    by_label = [float(answers[(y == label) & (z == label)].double().mean()) for label in (0, 1)]
    assert float(pool.accuracy(aligned)[1, 1]) == pytest.approx(sum(by_label) / 2)
    assert torch.equal(pool.count, subgroup_accuracy(kept[0][0], x, y, groups=z).count)


def test_the_generator_decides_and_models_differ():
    first = pool_of(generator=seeded(1))
    assert torch.equal(first.right, pool_of(generator=seeded(1)).right)
    assert not torch.equal(first.right, pool_of(generator=seeded(2)).right)


def test_a_folder_resumes_and_other_data_are_not_mistaken_for_it(tmp_path):
    def broken(configuration):
        raise AssertionError("the configuration was trained again")

    first = pool_of(folder=tmp_path)
    assert torch.equal(pool_of(folder=tmp_path, trainer=broken).right, first.right)
    x, y, z, membership = data()
    options = {"factory": factory, "trainer": broken, "configurations": CONFIGURATIONS, "folder": tmp_path}
    with pytest.raises(AssertionError, match="trained again"):
        train_model_pool(x=x, y=y, membership=~membership, test=(x, y, z), **options)


def test_any_function_trains_one_by_one():
    def train(model, x, y, source):
        adam = partial(torch.optim.Adam, lr=0.05)
        fit(model, x, y, loss=cross_entropy, optimizer=adam, n_iter=60, generator=source)

    pool = pool_of(trainer=lambda configuration: SequentialTrainer(train), configurations=[{"width": 8}])
    everything = torch.ones(2, 2, dtype=torch.bool)
    assert float(pool.accuracy(everything).min()) > 0.8


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"configurations": []}, "needs configurations"),
        ({"configurations": [{"width": torch.tensor(2)}]}, "JSON values only"),
    ],
)
def test_what_does_not_fit_is_refused(options, message):
    with pytest.raises(InvalidInputError, match=message):
        pool_of(**options)
    x, y, z, _ = data()
    with pytest.raises(InvalidInputError, match="which training sets"):
        train_model_pool(factory, trainer, CONFIGURATIONS, x, y, torch.ones(60) > 0, test=(x, y, z))
