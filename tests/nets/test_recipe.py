from functools import partial

import pytest
import torch
from torch import nn

from assay.core import InvalidInputError, StackedTrainer, binary_cross_entropy, cross_entropy, seeded
from assay.nets import Recipe, mlp, small_conv

X, Y = torch.rand(50, 1, 8, 8, generator=seeded(0)), torch.arange(50) % 3


def same(model, other):
    assert [type(layer) for layer in model] == [type(layer) for layer in other]
    return all(torch.equal(a, b) for a, b in zip(model.parameters(), other.parameters(), strict=True))


def by_hand(model, x, y, optimizer, *, epochs, batch_size, source, cosine, loss=cross_entropy):
    """The training loop of a dozen lines that a recipe stands for."""
    n_steps = epochs * -(-len(x) // batch_size)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, n_steps) if cosine else None
    for _ in range(epochs):
        for rows in torch.randperm(len(x), generator=source).split(batch_size):
            optimizer.zero_grad()
            loss(model(x[rows]), y[rows]).backward()
            optimizer.step()
            if schedule:
                schedule.step()


def test_a_perceptron_for_images_is_a_flattened_mlp():
    recipe = Recipe(hidden=(16, 8))
    assert same(
        recipe.build((1, 8, 8), 3, seeded(3)), nn.Sequential(nn.Flatten(), *mlp((64, 16, 8, 3), generator=seeded(3)))
    )
    assert same(recipe.build((64,), 3, seeded(3)), mlp((64, 16, 8, 3), generator=seeded(3)))
    assert same(Recipe(hidden=()).build((64,), 3, seeded(3)), mlp((64, 3), generator=seeded(3)))
    assert same(Recipe(hidden=9).build((64,), 3), Recipe(hidden=(9,)).build((64,), 3, seeded(0)))


def test_a_convolution_network_is_small_conv():
    recipe = Recipe(hidden=9, channels=(4, 6))
    ours = recipe.build((3, 11, 13), 5, seeded(3))
    assert same(ours, small_conv((3, 11, 13), 5, channels=(4, 6), hidden=9, generator=seeded(3)))
    assert same(recipe.builder((3, 11, 13), 5)(seeded(3)), ours)


@pytest.mark.parametrize("loss", [cross_entropy, lambda logits, y: 2 * cross_entropy(logits, y)])
def test_adam_with_a_cosine_is_the_loop_by_hand(loss):
    recipe = Recipe(hidden=(5,), epochs=3, lr=1e-2, batch_size=16)
    model, twin = (recipe.build((1, 8, 8), 3, seeded(1)) for _ in range(2))
    result = recipe.train(model, X, Y, seeded(2), loss=loss)
    adam = torch.optim.Adam(twin.parameters(), lr=1e-2)
    by_hand(twin, X, Y, adam, epochs=3, batch_size=16, source=seeded(2), cosine=True, loss=loss)
    assert same(model, twin)
    assert result.steps == 12
    assert not model.training


def test_sgd_without_a_schedule_is_the_loop_by_hand():
    recipe = Recipe(
        hidden=5, channels=(3,), epochs=2, lr=0.05, batch_size=20, optimizer="sgd", weight_decay=1e-4, schedule=None
    )
    model, twin = (recipe.build((1, 8, 8), 3, seeded(1)) for _ in range(2))
    recipe.train(model, X, Y, seeded(2))
    sgd = torch.optim.SGD(twin.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-4)
    by_hand(twin, X, Y, sgd, epochs=2, batch_size=20, source=seeded(2), cosine=False)
    assert same(model, twin)


def test_building_and_training_from_one_generator_goes_on_where_building_ended():
    recipe = Recipe(hidden=5, epochs=1, lr=1e-2, batch_size=16, schedule=None)
    source, other = seeded(1), seeded(1)
    model = recipe.build((1, 8, 8), 3, source)
    recipe.train(model, X, Y, source)
    twin = nn.Sequential(nn.Flatten(), *mlp((64, 5, 3), generator=other))
    by_hand(
        twin, X, Y, torch.optim.Adam(twin.parameters(), lr=1e-2), epochs=1, batch_size=16, source=other, cosine=False
    )
    assert same(model, twin)


def test_shadow_models_of_a_recipe_are_those_of_the_trainer_by_hand():
    recipe = Recipe(hidden=4, epochs=2, lr=3e-3, batch_size=10)
    membership = torch.rand(2, 50, generator=seeded(5)) < 0.6
    ours = [recipe.build((1, 8, 8), 3, seeded(k)) for k in (0, 1)]
    theirs = [nn.Sequential(nn.Flatten(), *mlp((64, 4, 3), generator=seeded(k))) for k in (0, 1)]
    by_hand = StackedTrainer(cross_entropy, partial(torch.optim.Adam, lr=3e-3), epochs=2, batch_size=10)
    for trainer, models in ((recipe.stacked_trainer(), ours), (by_hand, theirs)):
        trainer(models, X, Y, membership, generator=seeded(7))
    assert all(same(*pair) for pair in zip(ours, theirs, strict=True))
    assert not same(*ours)


def test_any_loss_and_network_can_be_trained_and_watched():
    steps = []
    layer = nn.Linear(2, 1)
    x = torch.tensor([[1.0, 0.0], [-1.0, 0.0]])
    options = {"loss": binary_cross_entropy, "callbacks": [steps.append]}
    Recipe(epochs=40, lr=0.3).train(layer, x, torch.tensor([1, 0]), **options)
    assert [step.number for step in steps] == list(range(1, 41))
    assert (layer(x)[:, 0] > 0).tolist() == [True, False]


def test_equal_recipes_are_one_key():
    assert hash(Recipe(hidden=(3,))) == hash(Recipe(hidden=(3,)))
    assert Recipe(hidden=(3,)) != Recipe(hidden=(3, 3))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hidden": 0}, "hidden and channels"),
        ({"channels": (4, 0)}, "hidden and channels"),
        ({"epochs": 0}, "epochs"),
        ({"lr": 0.0}, "lr"),
        ({"batch_size": 0}, "batch_size"),
        ({"weight_decay": -1.0}, "weight_decay"),
        ({"hidden": (3, 3), "channels": (4,)}, "one hidden dense layer"),
    ],
)
def test_impossible_recipes_are_refused(options, message):
    with pytest.raises(InvalidInputError, match=message):
        Recipe(**options)


def test_bad_input():
    with pytest.raises(InvalidInputError, match="take images"):
        Recipe(channels=(4,)).build((64,), 3)
    for recipe in (Recipe(), Recipe(batch_size=3, schedule=None)):
        with pytest.raises(InvalidInputError, match="stacked"):
            recipe.stacked_trainer()
