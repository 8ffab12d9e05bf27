"""Surroundings of an attacker: clean images, two networks that are trained on them, and goals of attacks."""

from functools import partial

import torch
import torch.nn.functional as F
from torch import nn

from assay.core import predict, seeded, spawn_seeds
from assay.data import Dataset, load
from assay.nets import Recipe
from assay.privacy import PoisonGoal
from assay.privacy.poisoning import add_trigger


def load_images(source: str, size: int) -> Dataset:
    """Return a data set with images averaged down to a size."""
    data = load(source)
    shrink = partial(F.avg_pool2d, kernel_size=max(1, data.x_train.shape[-1] // size))
    x_train, x_test = shrink(data.x_train), shrink(data.x_test)
    return Dataset(data.name, x_train, data.y_train, x_test, data.y_test, class_names=data.class_names)


def build_world(data: Dataset, n_clean: int, recipe: Recipe, seed: int) -> tuple[Dataset, nn.Module, nn.Module]:
    """Draw clean images, and train a surrogate and a judge on them from weights drawn apart.

    The attacker crafts on the surrogate; the judge says whether bases look like their label to another network.
    """
    draw_seed, train_seed, *model_seeds = spawn_seeds(seed, 4)
    chosen = torch.randperm(len(data.y_train), generator=seeded(draw_seed))[:n_clean]
    x, y = data.x_train[chosen], data.y_train[chosen]
    surrogate, judge = (recipe.build(x.shape[1:], data.n_classes, seeded(own)) for own in model_seeds)
    everything = torch.ones(2, len(x), dtype=torch.bool)
    recipe.stacked_trainer()([surrogate, judge], x, y, everything, generator=seeded(train_seed))
    clean = Dataset(data.name, x, y, data.x_test[:2000], data.y_test[:2000], class_names=data.class_names)
    return clean, surrogate, judge


def draw_target(clean: Dataset, surrogate: nn.Module, seed: int) -> PoisonGoal:
    """Draw a test image that the surrogate classifies correctly, and another class for it."""
    source = seeded(seed)
    correct = (predict(surrogate, clean.x_test).argmax(1) == clean.y_test).nonzero()[:, 0]
    place = correct[torch.randint(len(correct), (1,), generator=source)]
    shift = int(torch.randint(1, clean.n_classes, (1,), generator=source))
    return PoisonGoal(clean.x_test[place], (int(clean.y_test[place]) + shift) % clean.n_classes)


def draw_backdoor(clean: Dataset, seed: int) -> tuple[PoisonGoal, PoisonGoal]:
    """Draw a class and another for it under a trigger; return its training images and its test images as goals."""
    first, second = torch.randperm(clean.n_classes, generator=seeded(seed))[:2].tolist()
    channels, height, width = clean.x_train.shape[1:]
    patch = torch.ones(channels, height // 4, width // 4)
    known, unseen = clean.x_train[clean.y_train == first], clean.x_test[clean.y_test == first]
    return PoisonGoal(add_trigger(known, patch), second), PoisonGoal(add_trigger(unseen, patch), second)
