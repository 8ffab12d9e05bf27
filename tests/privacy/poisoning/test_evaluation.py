from functools import partial

import pytest
import torch
from torch import nn

from assay.core import InvalidInputError, StackedTrainer, accuracy, cross_entropy, predict, seeded, spawn_seeds
from assay.nets import mlp
from assay.privacy import PoisonGoal, evaluate_poison
from assay.privacy.poisoning import PoisonReport, PoisonSet


def build(source):
    return nn.Sequential(nn.Flatten(), *mlp((36, 5, 3), generator=source)).double()


@pytest.fixture
def poisons(images):
    return PoisonSet(images[0][:4] / 2, torch.full((4,), 2), torch.zeros(4, dtype=torch.float64))


@pytest.fixture
def goal(images):
    return PoisonGoal(images[0][5:8], label=2)


def test_figures_are_those_of_the_victims(images, poisons, goal):
    seen = []

    def no_training(models, x, y, membership, *, generator=None, progress=False):
        seen.append((x, y, membership, generator.initial_seed()))

    test = images[0][:6], images[1][:6]
    report = evaluate_poison(
        goal, poisons, *images, test=test, model_fn=build, trainer=no_training, n_victims=4, generator=seeded(9)
    )
    train_seed, *seeds = spawn_seeds(int(torch.randint(2**31, (1,), generator=seeded(9))), 5)
    victims = [build(seeded(seed)) for seed in seeds]
    for place, victim in enumerate(victims):
        probabilities = predict(victim, goal.x).softmax(1)
        assert report.target_probability[place] == probabilities[:, 2].mean()
        assert report.success[place] == (probabilities.argmax(1) == 2).double().mean()
        assert report.clean_accuracy[place] == accuracy(predict(victim, test[0]), test[1])
    ((x, y, membership, seed),) = seen
    assert torch.equal(x, torch.cat([images[0], poisons.x]))
    assert y.tolist() == images[1].tolist() + [2] * 4
    assert membership.shape == (4, 16)
    assert membership.all()
    assert seed == train_seed


def test_clean_victims_see_no_poison_and_poisoned_ones_learn_it(images, poisons, goal):
    # The poisons are the target itself, eight times over: what a network that fits its data must learn.
    trainer = StackedTrainer(cross_entropy, partial(torch.optim.Adam, lr=0.05), epochs=100, batch_size=5)
    x, y = images
    goal = PoisonGoal(x[:1], label=2)  # of class 0

    def evaluate(poisons):
        options = {"test": (x, y), "model_fn": build, "trainer": trainer, "generator": seeded(1)}
        return evaluate_poison(goal, poisons, x, y, **options)

    planted = PoisonSet(x[:1].expand(8, -1, -1, -1), torch.full((8,), 2), torch.zeros(8, dtype=torch.float64))
    clean, poisoned = evaluate(None), evaluate(planted)
    assert clean.success.tolist() == [0, 0, 0]
    assert poisoned.success.tolist() == [1, 1, 1]
    assert torch.equal(evaluate(planted).target_probability, poisoned.target_probability)
    assert (clean.n_poisons, poisoned.n_poisons) == (0, 8)
    assert clean.majority == poisoned.majority == pytest.approx(1 / 3)


def test_a_report_says_itself():
    figures = [torch.tensor(values) for values in ([1.0, 0.0], [0.75, 0.25], [0.9, 0.8])]
    assert str(PoisonReport(*figures)) == (
        "The goal is reached in 50.0% of cases over 2 victims, its label has a probability of 50.0%; clean accuracy is "
        "85.0%."
    )
    assert "compare with the control" in str(PoisonReport(*figures, n_poisons=3))
    assert "most frequent class, 85.0%: they have not learnt" in str(PoisonReport(*figures, majority=0.85001))


def test_bad_input_is_refused(images, poisons, goal):
    options = {"test": images, "model_fn": build, "trainer": StackedTrainer(cross_entropy, torch.optim.Adam, epochs=1)}
    with pytest.raises(InvalidInputError, match="n_victims must be a whole number of at least 1"):
        evaluate_poison(goal, poisons, *images, **options, n_victims=0)
    flat = PoisonSet(torch.ones(2, 36).double(), torch.zeros(2).long(), torch.zeros(2).double())
    with pytest.raises(InvalidInputError, match=r"poisons have shape \(36,\)"):
        evaluate_poison(goal, flat, *images, **options)
