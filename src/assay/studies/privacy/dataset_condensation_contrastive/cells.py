"""Condensed sets of one problem, and networks trained on them."""

from functools import partial
from typing import Any

from assay.core import NumericalError, seeded, spawn_seeds
from assay.privacy import CondensedReplay, DatasetCondenser, evaluate_condensed
from assay.privacy.condensation import Matching
from assay.studies.privacy.dataset_condensation_contrastive.problems import (
    Problem,
    build_perceptron,
    common_vector_problem,
    convolution_builder,
    image_problem,
)
from assay.studies.privacy.dataset_condensation_contrastive.settings import Settings
from assay.studies.privacy.dataset_condensation_contrastive.training import learn_in_tasks, velocities

MATCHINGS: dict[str, Matching] = {"DC": "class-wise", "DCC": "contrastive"}
METHODS = ("random", *MATCHINGS)
"""Random samples, class-wise condensation and the contrastive one."""


def condense_vectors(settings: Settings, common: float, seed: int) -> dict[str, Any]:
    """Return the accuracy after training on each condensed set, and how the tangent kernel moves on some."""
    problem = common_vector_problem(common, settings.toy_per_class, seed)
    condenser = partial(
        DatasetCondenser, 1, model_fn=build_perceptron, n_inner_iter=8, net_epochs=10, batch_size=64, random_state=seed
    )
    cold = partial(condenser, n_outer_iter=settings.toy_outer, outer_warmup=0, inner_warmup=0)
    sets = {"random": condenser(n_outer_iter=0)}
    sets |= {name: cold(matching=matching) for name, matching in MATCHINGS.items()}
    if common in settings.high_rate_at:
        sets |= {f"{name}, high rate": cold(matching=matching, image_lr=1.0) for name, matching in MATCHINGS.items()}
    if common == settings.warmup_at:
        sets["DCC, warm-up"] = condenser(n_outer_iter=settings.toy_outer, outer_warmup=settings.toy_outer // 4)
    for each in sets.values():
        each.fit(*problem[:2])
    cell: dict[str, Any] = {}
    for name, each in sets.items():
        cell[name], cell[f"{name}: diverged"] = judge(settings, each, problem, seed)
    if common == settings.warmup_at:
        trained_on = {"real": problem[:2]} | {name: (sets[name].data_, sets[name].targets_) for name in MATCHINGS}
        follow = partial(velocities, steps=settings.judge_epochs, points=settings.velocity_points)
        for name, (x, y) in trained_on.items():
            source = seeded(seed)
            cell[f"velocity on {name}"] = follow(build_perceptron(source), x, y, problem[2][:32], source=source)
    return cell


def condense_images(settings: Settings, group: str, method: str, seed: int) -> dict[str, Any]:
    """Return the accuracy after training on a condensed set of images, and the set."""
    classes = settings.fine_classes if group == "fine-grained" else tuple(range(10))
    problem = image_problem(settings.source, classes, settings.per_class, settings.side, seed)
    condensed = image_condenser(settings, problem, method, seed).fit(*problem[:2])
    accuracy, diverged = judge(settings, condensed, problem, seed)
    return {
        "accuracy": accuracy,
        "diverged": diverged,
        "images": condensed.data_[condensed.targets_.argsort()],
    }


def remember(settings: Settings, memory: str, seed: int) -> dict[str, float]:
    """Return the accuracy on all classes after the last task, with a memory of condensed or random images."""
    problem = image_problem(settings.source, tuple(range(10)), settings.per_class, settings.side, seed)
    condenser, source = image_condenser(settings, problem, memory, seed), seeded(seed)
    options: dict[str, Any] = {"n_tasks": settings.tasks, "steps": settings.task_steps, "source": source}
    model = condenser.model_fn(source)
    return {"accuracy": learn_in_tasks(model, problem, CondensedReplay(condenser), **options)}


def image_condenser(settings: Settings, problem: Problem, method: str, seed: int) -> DatasetCondenser:
    """Return a condenser of images by one of `METHODS`."""
    matching = MATCHINGS.get(method)
    return DatasetCondenser(
        1,
        model_fn=convolution_builder(problem, settings.channels),
        matching=matching or "contrastive",
        n_outer_iter=settings.outer if matching else 0,
        outer_warmup=settings.outer // 4,
        batch_size=settings.batch_size,
        random_state=seed,
    )


def judge(settings: Settings, condensed: DatasetCondenser, problem: Problem, seed: int) -> tuple[float, int]:
    """Return the mean test accuracy of networks trained on a condensed set, and how many of them diverged.

    A set may hold samples so large that training on it diverges: such a network counts at chance.
    """
    x_test, y_test = problem[2:]
    options: dict[str, Any] = {"model_fn": condensed.model_fn, "n_models": 1, "epochs": settings.judge_epochs}
    accuracies, diverged = [], 0
    for own in spawn_seeds(seed, settings.judges):
        try:
            found = evaluate_condensed(
                condensed.data_, condensed.targets_, x_test, y_test, generator=seeded(own), **options
            )
            accuracies.append(found.mean)
        except NumericalError:
            accuracies.append(1 / len(y_test.unique()))
            diverged += 1
    return sum(accuracies) / len(accuracies), diverged
