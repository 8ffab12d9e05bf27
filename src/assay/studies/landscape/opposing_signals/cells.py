"""The linear model in closed form, networks with planted outliers, and a network on images."""

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from assay.core import (
    HessianOperator,
    binary_cross_entropy,
    cross_entropy,
    fit,
    seeded,
    spawn_seeds,
    squared_error,
)
from assay.data import load
from assay.landscape import top_eigenpairs
from assay.landscape.opposing import (
    OpposingLinearModel,
    OpposingOutliers,
    find_opposing_groups,
    make_opposing_outliers,
    track_opposing,
)
from assay.nets import mlp, small_conv
from assay.studies.landscape.opposing_signals.settings import Settings

ALPHA, NORM, FEATURES, OPPOSING = 10.0, 4.0, 20, 60


def linear_model(seed: int, norm: float = NORM) -> tuple[OpposingLinearModel, Tensor]:
    """Return the linear model with a random target of given norm, and a balanced start."""
    target, start = (seeded(each) for each in spawn_seeds(seed, 2))
    beta = nn.functional.normalize(torch.randn(FEATURES, generator=target, dtype=torch.float64), dim=0)
    model = OpposingLinearModel(norm * beta, ALPHA, OPPOSING)
    return model, model.balanced_start(generator=start)


def linear_flow(settings: Settings, seed: int) -> dict[str, Any]:
    """Follow gradient flow, and compare it with the closed forms."""
    model, theta = linear_model(seed)
    path = model.gradient_flow(theta, time=settings.flow_time, n_points=2001)
    hessian = torch.autograd.functional.hessian(model.loss, theta)
    larger, start = linear_model(seed, 2 * NORM)
    doubled = larger.gradient_flow(start, time=settings.flow_time, n_points=2).sharpness[-1]
    final = path.sharpness[-1].item()
    # Time until the outliers' feature has lost nine tenths of its weight, and until half of the final sharpness.
    valley = path.time[(path.opposing.abs() <= 0.1 * path.opposing[0].abs()).nonzero()[0, 0]]
    half = path.time[(path.sharpness >= (path.sharpness[0] + final) / 2).nonzero()[0, 0]]
    return {
        "time": path.time[::10],
        "flow sharpness": path.sharpness[::10],
        "initial sharpness": path.sharpness[0].item(),
        "final sharpness": final,
        "formula error": abs(final / model.final_sharpness(theta) - 1),
        "drift": max(abs(model.conserved(state) - model.conserved(theta)).item() for state in path.theta[::100]),
        "Hessian error": (hessian - model.hessian(theta)).abs().max().item(),
        "growth": final / path.sharpness[0].item(),
        "valley over sharpening": (valley / half).item(),
        "doubled target": doubled.item() / final,
    }


def linear_descent(settings: Settings, ratio: float, seed: int) -> dict[str, Any]:
    """Take steps of `ratio` times the largest stable size for the sharpness that flow would reach."""
    model, theta = linear_model(seed)
    lr = ratio * 2 / (ALPHA * NORM)
    path = model.gradient_descent(theta, lr=lr, n_iter=settings.descent_steps)
    lowest = path.loss.cummin(0).values
    peak = int((path.loss / lowest.clamp(min=1e-12)).argmax())
    valley = int(path.loss[: peak + 1].argmin())
    turned = path.opposing[valley:peak] * path.opposing[valley + 1 : peak + 1] < 0
    return {
        "loss": path.loss,
        "opposing": path.opposing,
        "spike": (path.loss[peak] / lowest[peak].clamp(min=1e-12)).item(),
        "peak": path.loss[peak].item(),
        "peak step": peak,
        "sign flips": turned.double().mean().item() if len(turned) else 0.0,
        "highest over edge": path.sharpness.max().item() * lr / 2,
        "final over edge": path.sharpness[-1].item() * lr / 2,
        "loss after 50 steps": path.loss[min(50, len(path.loss) - 1)].item(),
    }


def drawn(settings: Settings, feature: bool, seed: int, scale: float = 20.0) -> OpposingOutliers:
    """Draw the two classes; without the feature, the same samples but for that."""
    return make_opposing_outliers(
        settings.samples, n_outliers=10 if feature else 0, scale=scale, generator=seeded(seed)
    )


def network(seed: int, activation: type[nn.Module] = nn.ReLU) -> nn.Sequential:
    """Build the network of two hidden layers of 64 units."""
    layers = mlp((FEATURES, 64, 64, 1), generator=seeded(seed))
    return nn.Sequential(*(activation() if isinstance(layer, nn.ReLU) else layer for layer in layers))


def planted(settings: Settings, lr: float, feature: bool, seed: int) -> dict[str, Any]:
    """Train by full-batch gradient descent, and follow the planted samples in steps where the loss rises."""
    data, groups = drawn(settings, feature, seed), drawn(settings, True, seed)
    pair = groups.positive, groups.negative
    options: dict[str, Any] = {
        "loss": squared_error,
        "optimizer": partial(torch.optim.SGD, lr=lr),
        "groups": pair,
    }
    steps = settings.steps
    trace = track_opposing(network(seed).double(), data.x, data.y, n_iter=steps, measure_every=steps, **options)
    first, second = trace.group_losses
    return {
        "rises": int(trace.rises.sum()),
        "hit share": trace.hit_share(groups.outliers),
        "opposite": trace.opposite_share,
        "flips": trace.flip_share,
        "outsize": trace.outsize(groups.outliers),
        "sharpness": trace.sharpness[-1].item(),
        "group A": first,
        "group B": second,
        "all": trace.total,
    }


def cosine(settings: Settings, feature: bool, seed: int) -> dict[str, float]:
    """Measure the cosine of the planted groups' gradients in training with cross-entropy and tanh, at scale 8."""
    data, groups = drawn(settings, feature, seed, 8.0), drawn(settings, True, seed, 8.0)
    options: dict[str, Any] = {"loss": binary_cross_entropy, "optimizer": partial(torch.optim.SGD, lr=0.1)}
    followed: dict[str, Any] = {
        "groups": (groups.positive, groups.negative),
        "measure_every": max(1, settings.cosine_steps // 6),
    }
    model = network(seed, nn.Tanh).double()
    trace = track_opposing(model, data.x, data.y, n_iter=settings.cosine_steps, **options, **followed)
    return {"gradient cosine": trace.gradient_cosine.mean().item()}


def detection(settings: Settings, feature: bool, seed: int) -> dict[str, float]:
    """Search one trained network for groups, and measure its sharpness without some of the samples."""
    data, planted_at = drawn(settings, feature, seed), drawn(settings, True, seed).outliers
    model = network(seed).double()
    sgd = partial(torch.optim.SGD, lr=settings.lr)
    fit(model, data.x, data.y, loss=squared_error, optimizer=sgd, n_iter=settings.found_at)
    found = find_opposing_groups(
        model, data.x, data.y, loss=squared_error, direction="eigenvector", generator=seeded(seed)
    )

    def sharpness_without(index: Tensor) -> float:
        kept = torch.ones(len(data.x), dtype=torch.bool).index_fill(0, index, False)
        operator = HessianOperator(model, data.x[kept], data.y[kept], squared_error)
        return top_eigenpairs(operator, 1)[0].item() / found.sharpness

    some = torch.randperm(len(data.x), generator=seeded(seed))[: len(planted_at)]
    highest = (model(data.x)[:, 0] - data.y).detach().square().topk(len(planted_at)).indices
    return {
        "found": float(found.found),
        "precision": torch.isin(found.pair.samples, planted_at).double().mean().item(),
        "hit share": found.share_of(planted_at),
        "pair outsize": found.pair.outsize,
        "held-out outsize": found.held_out.outsize,
        "high-loss outsize": found.high_loss.outsize,
        "opposition over high loss": found.held_out.opposition / max(found.high_loss.opposition, 1e-12),
        "pair cosine": found.pair.gradient_cosine,
        "alignment": found.pair.alignment,
        "sharpness": found.sharpness,
        "sharpness without planted": sharpness_without(planted_at),
        "sharpness without pair": sharpness_without(found.pair.samples),
        "sharpness without random": sharpness_without(some),
        "sharpness without high loss": sharpness_without(highest),
    }


def images(settings: Settings, seed: int) -> dict[str, Any]:
    """Train a convolution network on Fashion-MNIST past the edge of stability, and follow the groups found there."""
    data = load("fashion")
    chosen = torch.randperm(len(data.x_train), generator=seeded(seed))[: settings.images]
    x, y = data.x_train[chosen], data.y_train[chosen]
    model = small_conv((1, 28, 28), 10, channels=(8, 16), hidden=32, generator=seeded(seed))
    options: dict[str, Any] = {"loss": cross_entropy, "optimizer": partial(torch.optim.SGD, lr=settings.image_lr)}
    trace = track_opposing(model, x, y, n_iter=settings.image_steps, **options)
    draw = seeded(seed + 1)
    change, rises = trace.losses.diff(dim=0), trace.rises
    chance = []
    for _ in range(20):
        order = torch.randperm(len(x), generator=draw)
        sizes = len(trace.rising), len(trace.rising) + len(trace.falling)
        first, second = change[:, order[: sizes[0]]].mean(1), change[:, order[sizes[0] : sizes[1]]].mean(1)
        chance.append((first * second < 0)[rises].double().mean().item() if rises.any() else 0.0)
    pair = trace.rising, trace.falling
    shown = [nn.functional.pad(x[part[:8], 0], (0, 0, 0, 0, 0, 8 - len(part[:8])), value=1.0) for part in pair]
    return {
        "rises": int(rises.sum()),
        "opposite": trace.opposite_share,
        "opposite by chance": sum(chance) / len(chance),
        "flips": trace.flip_share,
        "one class": float(all(len(y[part].unique()) == 1 for part in pair if len(part))),
        "outsize": trace.outsize(torch.cat(pair)),
        "rising images": shown[0],
        "falling images": shown[1],
        "class A": int(y[trace.rising[0]]) if len(trace.rising) else -1,
        "class B": int(y[trace.falling[0]]) if len(trace.falling) else -1,
    }
