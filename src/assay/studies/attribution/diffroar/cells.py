"""The theorem, simplified vectors, BlockMNIST and real images, with standard and robust networks."""

import math
from functools import partial
from typing import Any

import torch
from sklearn.svm import SVC
from torch import Tensor, nn

from assay.adversarial import PGD, Lp
from assay.attribution.faithfulness import (
    block_images,
    diffroar,
    input_gradient_attribution,
    leakage,
    max_margin_gradient_pattern,
    mean_neuron_margin,
    simplified_blocks,
)
from assay.core import StackedTrainer, accuracy, cross_entropy, fit, predict, seeded, spawn_seeds
from assay.data import load
from assay.studies.attribution.diffroar.settings import Settings, Training
from assay.studies.attribution.diffroar.training import BATCH, new_network, train_robust, train_standard

UNBOUNDED = (-math.inf, math.inf)
UNIT = (0.0, 1.0)
SCHEMES = ("oracle", "random", "gradient times input")
PICTURES = 6


def theorem(settings: Settings) -> dict[str, float]:
    """Compare a hard-margin machine and drawn margins with the pattern of the max-margin network."""
    d = settings.features
    x = torch.cat([torch.eye(d)[: d // 2], -torch.eye(d)[: d // 2]]).double()
    y = [1] * (d // 2) + [-1] * (d // 2)
    weights = torch.tensor(SVC(kernel="linear", C=1e6, tol=1e-9).fit(x.numpy(), y).coef_[0])
    pattern = max_margin_gradient_pattern(d)
    relevant, noise = weights[: d // 2], weights[d // 2 :]
    source = seeded(0)
    neurons = torch.randn(20, d + 1, generator=source, dtype=torch.float64)
    closed = mean_neuron_margin(neurons[:, :d], neurons[:, d], d)
    drawn = simplified_blocks(50_000, d, generator=source, dtype=torch.float64)
    margins = (2 * drawn.y - 1)[:, None] * neurons[:, d] * (drawn.x @ neurons[:, :d].T).relu()
    errors = (margins.mean(0) - closed).abs() / (margins.std(0) / len(margins) ** 0.5)
    best = torch.nn.functional.normalize(torch.randn(100_000, d + 1, generator=source, dtype=torch.float64), dim=1)
    return {
        "unequal": float(relevant.max() / relevant.min() - 1),
        "noise weight": float(noise.abs().max() / relevant.min()),
        "angle": float(1 - torch.cosine_similarity(weights, pattern, dim=0)),
        "standard errors": float(errors.max()),
        "best random neuron": float(mean_neuron_margin(best[:, :d], best[:, d], d).max() / pattern[0]),
    }


def retrainer(settings: Settings, lr: float) -> StackedTrainer:
    """Return the trainer of the networks that are retrained on unmasked data."""
    adam = partial(torch.optim.Adam, lr=lr)
    return StackedTrainer(cross_entropy, adam, epochs=settings.retrain_epochs, batch_size=BATCH)


def robust_accuracy_of(model: nn.Module, x: Tensor, y: Tensor, training: Training, input_range: tuple) -> float:
    """Return the accuracy under PGD of 20 steps at the full radius."""
    attack = PGD(Lp(norm=float(training.norm), eps=training.eps, input_range=input_range), n_iter=20)
    return accuracy(predict(model, attack(model, x, y)), y)


def vectors(settings: Settings, seed: int) -> dict[str, float]:
    """Train both networks on simplified blocks, and ask what their gradients mark."""
    plan, d = settings.vectors, settings.features
    draws, weights, order, attack, retrain = spawn_seeds(seed, 5)
    sources = [seeded(child) for child in spawn_seeds(draws, 2)]
    options: dict[str, Any] = {"noise": settings.noise}
    train = simplified_blocks(plan.samples, d, generator=sources[0], **options)
    test = simplified_blocks(settings.test, d, generator=sources[1], **options)
    build = partial(new_network, (d,), plan.hidden, 2)
    standard, robust = build(seeded(weights)), build(seeded(weights))
    sgd: Any = partial(torch.optim.SGD, lr=0.1)
    options = {"epochs": settings.sgd_epochs, "batch_size": BATCH // 2, "generator": seeded(order)}
    fit(standard, train.x, train.y, loss=cross_entropy, optimizer=sgd, **options)
    train_robust(robust, train.x, train.y, plan, UNBOUNDED, attack)
    first, found = d // 2, {}
    score = partial(
        diffroar,
        x=train.x,
        y=train.y,
        x_test=test.x,
        y_test=test.y,
        model_fn=build,
        trainer=retrainer(settings, plan.lr),
        fractions=(1 / d,),
        n_runs=settings.n_runs,
        batch_size=max(plan.samples, settings.test),  # the oracle knows whole sets
    )
    for name, model in (("standard", standard), ("robust", robust)):
        slope = input_gradient_attribution(model, test.x)
        relevant, others = slope[:, :first], slope[:, :first][~test.signal_mask[:, :first]]
        ranks = leakage(relevant, test.signal_mask[:, :first], fraction=1 / first)
        found |= {
            f"{name} accuracy": accuracy(predict(model, test.x), test.y),
            f"{name} under attack": robust_accuracy_of(model, test.x, test.y, plan, UNBOUNDED),
            f"{name} signal on top": ranks.signal_on_top,
            f"{name} relevant over noise": float(relevant.mean() / slope[:, first:].mean()),
            f"{name} signal over others": float(slope[test.signal_mask].mean() / others.mean()),
            f"{name} DiffROAR": float(score(model, generator=seeded(retrain)).score),
        }

    def oracle(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        return (train if torch.equal(x, train.x) else test).signal_mask.to(x)

    draw = seeded(retrain)
    schemes = {
        "oracle": oracle,
        "random": lambda model, x, y: torch.rand(x.shape, generator=draw),
        "gradient times input": lambda model, x, y: x * input_gradient_attribution(model, x, y),
    }
    for name, scheme in schemes.items():
        found[f"{name} DiffROAR"] = float(score(standard, attribution=scheme, generator=seeded(retrain)).score)
    return found


def informative_coordinate(settings: Settings, seed: int) -> dict[str, float]:
    """Score the ranking that knows the one informative coordinate, and check the end of the levels."""
    d, n = settings.features, settings.test
    draws, retrain = spawn_seeds(seed, 2)
    y = torch.arange(2 * n) % 2
    x = torch.randn(2 * n, d, generator=seeded(draws))
    x[:, 0] = 2.0 * y - 1
    build = partial(new_network, (d,), (32,), 2)
    found = diffroar(
        build(seeded(retrain)),
        x[:n],
        y[:n],
        x[n:],
        y[n:],
        model_fn=build,
        trainer=retrainer(settings, 3e-3),
        attribution=lambda model, x, y: (torch.arange(d) == 0).to(x).expand_as(x),
        fractions=(1 / d, 1 - 1 / d, 1.0),
        n_runs=settings.n_runs,
        generator=seeded(retrain),
    )
    return {
        "top": float(found.top[0].mean()),
        "bottom": float(found.bottom[1].mean()),
        "whole": float(found.runs[2].abs().max()),
    }


def blocks(settings: Settings, seed: int) -> dict[str, Any]:
    """Train on BlockMNIST and its control, and measure how much of the gradient lies in the null block."""
    plan, digits = settings.blocks, load(settings.digits)
    draws, placement, weights, order = spawn_seeds(seed, 4)
    index = torch.randperm(len(digits.y_train), generator=seeded(draws))
    index = index[digits.y_train[index] < 2][: plan.samples]
    tested = (digits.y_test < 2).nonzero()[: settings.test, 0]
    found: dict[str, Any] = {}
    for kind, where in (("standard", "random"), ("top", "top"), ("robust", "random")):
        places = [seeded(child) for child in spawn_seeds(placement, 2)]
        options: dict[str, Any] = {"placement": where}
        train = block_images(digits.x_train[index], digits.y_train[index], generator=places[0], **options)
        test = block_images(digits.x_test[tested], digits.y_test[tested], generator=places[1], **options)
        x, y = train.x, train.y
        model = new_network(x.shape[1:], plan.hidden, 2, seeded(weights))
        if kind == "robust":
            train_robust(model, x, y, plan, UNIT, order)
        else:
            train_standard(model, x, y, plan, order)
        slope = input_gradient_attribution(model, test.x)
        marked = leakage(slope, test.signal_mask)
        found |= {
            f"{kind} accuracy": accuracy(predict(model, test.x), test.y),
            f"{kind} null energy": float(marked.null_energy.mean()),
            f"{kind} null top": float(marked.topk_null_fraction.mean()),
        }
        if kind != "top":
            found[f"{kind} under attack"] = robust_accuracy_of(model, test.x, test.y, plan, UNIT)
            found[f"{kind} pictures"] = slope[:PICTURES, 0]
            found["pictures"] = test.x[:PICTURES, 0]
        if kind == "standard":
            drawn = leakage(torch.rand(test.x.shape, generator=seeded(order)), test.signal_mask)
            found["random null energy"] = float(drawn.null_energy.mean())
    return found


def images(settings: Settings, seed: int) -> dict[str, Any]:
    """Score standard and robust networks on real images, and a random ranking."""
    plan, data = settings.images, load(settings.clothes)
    draws, weights, order, retrain = spawn_seeds(seed, 4)
    index = torch.randperm(len(data.y_train), generator=seeded(draws))[: plan.samples]
    x, y = data.x_train[index], data.y_train[index]
    x_test, y_test = data.x_test[: settings.test], data.y_test[: settings.test]
    build = partial(new_network, x.shape[1:], plan.hidden, data.n_classes)
    standard, robust = build(seeded(weights)), build(seeded(weights))
    train_standard(standard, x, y, plan, order)
    train_robust(robust, x, y, plan, UNIT, order)
    options: dict[str, Any] = {"model_fn": build, "trainer": retrainer(settings, plan.lr), "n_runs": settings.n_runs}
    # The mean of each pixel is neutral; black is a value that many pixels have anyway.
    score = partial(diffroar, x=x, y=y, x_test=x_test, y_test=y_test, fill=x.mean(0), **options)
    found: dict[str, Any] = {}
    fewest = settings.fractions[:1]
    for name, model in (("standard", standard), ("robust", robust)):
        result = score(model, fractions=settings.fractions, generator=seeded(retrain))
        found |= {
            f"{name} DiffROAR": result.score,
            f"{name} top": result.top.mean(1),
            f"{name} bottom": result.bottom.mean(1),
            f"{name} accuracy": result.base_accuracy,
            f"{name} under attack": robust_accuracy_of(model, x_test, y_test, plan, UNIT),
            f"{name} black": float(score(model, fractions=fewest, fill=0.0, generator=seeded(retrain)).score),
        }
    draw = seeded(retrain)
    random = score(
        standard,
        attribution=lambda model, x, y: torch.rand(x.shape, generator=draw),
        fractions=fewest,
        generator=seeded(retrain),
    )
    by_label = score(standard, target="label", fractions=fewest, generator=seeded(retrain))
    return found | {"random DiffROAR": float(random.score), "true label DiffROAR": float(by_label.score)}
