"""Exact identities, networks for canvases of two objects, and the scores of their maps."""

from functools import cache, partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from assay.attribution.saliency import (
    SALIENCY_METHODS,
    LocalizationSet,
    NormGrad,
    VirtualIdentity,
    aggregate,
    class_sensitivity,
    combine_saliency,
    contribution_map,
    energy_in_box,
    extract,
    gradient_spatial_variance,
    make_localization,
    map_correlation,
    pointing_hits,
    upsample_saliency,
)
from assay.core import accuracy, cross_entropy, fit, isolated_rng, predict, seeded, spawn_seeds
from assay.data import Dataset, load
from assay.studies.attribution.normgrad.settings import Settings

SIZE = 56
LOCALIZED = ("grad_cam", "linear_approximation", "normgrad", "normgrad_selective")
COMBINED = ("normgrad", "normgrad_selective")
WITH_STEP = ("normgrad", "normgrad_selective", "linear_approximation")
SCORES: tuple[Any, ...] = ("log_probability", "logit")


def block_layers(settings: Settings) -> tuple[str, ...]:
    """Name the ReLU of each block."""
    return tuple(str(4 * block + 2) for block in range(len(settings.channels)))


def step_layer(settings: Settings) -> str:
    """Name the ReLU of the last block but one, at which class sensitivity is measured."""
    return block_layers(settings)[-2]


def build(settings: Settings, seed: int) -> nn.Sequential:
    """Build blocks of convolution, batch norm and ReLU with pooling between them, global pooling and a linear layer."""
    layers: list[nn.Module] = []
    with isolated_rng(seed):
        n_in = 1
        for n_out in settings.channels:
            layers += [nn.Conv2d(n_in, n_out, 3, padding=1), nn.BatchNorm2d(n_out), nn.ReLU(), nn.MaxPool2d(2)]
            n_in = n_out
        return nn.Sequential(*layers[:-1], nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(n_in, 10))


@cache
def objects(name: str) -> Dataset:
    """Load a data set once in each process."""
    return load(name)


def canvases(settings: Settings, n: int, part: str, distractor: str, seed: int) -> LocalizationSet:
    """Put digits beside Fashion items ("item") or other digits ("digit"), of the training or the test part."""
    digits = objects(settings.digits)
    items = digits if distractor == "digit" else objects(settings.items)
    x, y, others = (
        (digits.x_train, digits.y_train, items.x_train)
        if part == "train"
        else (digits.x_test, digits.y_test, items.x_test)
    )
    return make_localization(x, y, others, n, size=SIZE, generator=seeded(seed))


def train(settings: Settings, seed: int) -> dict[str, Any]:
    """Train a network on the labelled digit; beside a second digit its label is right half of the time."""
    start, data, order = spawn_seeds(seed, 3)
    parts = [
        canvases(settings, settings.n_train // 2, "train", kind, data + index)
        for index, kind in enumerate(("item", "digit"))
    ]
    model = build(settings, start)
    fit(
        model,
        torch.cat([part.x for part in parts]),
        torch.cat([part.y for part in parts]),
        loss=cross_entropy,
        optimizer=partial(torch.optim.Adam, lr=3e-3),
        schedule="cosine",
        epochs=settings.epochs,
        batch_size=64,
        generator=seeded(order),
    )
    return {"state": dict(model.state_dict())}


def trained(settings: Settings, found: dict[str, Any]) -> nn.Sequential:
    """Return the network of a cell of `train`."""
    model = build(settings, 0)
    model.load_state_dict(found["state"])
    return model.eval()


def localize(settings: Settings, seed: int, found: dict[str, Any]) -> dict[str, Any]:
    """Score maps of the labelled digit by its place, at each block and combined over blocks."""
    model, layers = trained(settings, found), block_layers(settings)
    test = canvases(settings, settings.n_test, "test", "item", spawn_seeds(seed, 4)[3])
    size = (SIZE, SIZE)
    maps = {
        name: [
            upsample_saliency(NormGrad(model, at, *SALIENCY_METHODS[name]).attribute(test.x, test.y), size)
            for at in layers
        ]
        for name in LOCALIZED
    }
    result: dict[str, Any] = {"accuracy": accuracy(predict(model, test.x), test.y)}
    result["chance"] = float(test.masks.double().mean())
    for name, of_layers in maps.items():
        result[f"{name} hits"] = torch.stack([hits(value, test) for value in of_layers])
        result[f"{name} energy"] = torch.stack([energy(value, test) for value in of_layers])
    for name in COMBINED:
        for how in ("product", "sum"):
            both: Any = combine_saliency(maps[name], how=how)
            result[f"{name} {how} hits"], result[f"{name} {how} energy"] = hits(both, test), energy(both, test)
    return result | constancy(model.double(), layers, test)


def hits(maps: Tensor, test: LocalizationSet) -> Tensor:
    """Return the share of maps whose largest value is on the digit."""
    return pointing_hits(maps, test.masks).double().mean()


def energy(maps: Tensor, test: LocalizationSet) -> Tensor:
    """Return the mean share of a map that is on the digit."""
    return energy_in_box(maps, test.masks).double().mean()


def constancy(model: nn.Module, layers: tuple[str, ...], test: LocalizationSet) -> dict[str, Any]:
    """Compare Grad-CAM with the positive part of the linear approximation at each block, in float64."""
    x, y = test.x.double(), test.y
    gaps, ranks = [], []
    for at in layers:
        cam, linear = (
            NormGrad(model, at, *SALIENCY_METHODS[name]).attribute(x, y)
            for name in ("grad_cam", "linear_approximation")
        )
        gaps.append((cam - linear.clamp_min(0)).abs().max() / cam.abs().max())
        some = (cam.flatten(1).std(1) > 0) & (linear.clamp_min(0).flatten(1).std(1) > 0)
        ranks.append(map_correlation(cam[some], linear[some].clamp_min(0)).mean())
    spread = torch.stack([gradient_spatial_variance(model, at, x, y).mean() for at in layers])
    return {"gap": torch.stack(gaps), "rank": torch.stack(ranks), "spread": spread}


def sensitivity(settings: Settings, seed: int, found: dict[str, Any]) -> dict[str, Any]:
    """Correlate maps of the highest and lowest class on canvases of two digits, without and with an inner step.

    The score, and with a step its size, are those of the lowest correlation on other canvases.
    """
    model, at = trained(settings, found), step_layer(settings)
    tuning, pairs = spawn_seeds(seed, 6)[4:]
    x_tune = canvases(settings, settings.n_tune, "test", "digit", tuning).x
    x = canvases(settings, settings.n_pairs, "test", "digit", pairs).x

    def measured(name: str, samples: Tensor, **options: Any) -> float:
        return class_sensitivity(NormGrad(model, at, *SALIENCY_METHODS[name], **options), samples).mean

    result: dict[str, Any] = {}
    for name in WITH_STEP:
        plain = min(SCORES, key=lambda score: measured(name, x_tune, score=score))
        grid = [(score, eps) for score in SCORES for eps in settings.eps]
        score, eps = min(grid, key=lambda pair: measured(name, x_tune, score=pair[0], meta_step=pair[1]))
        result |= {
            f"{name} plain": measured(name, x, score=plain),
            f"{name} step": measured(name, x, score=score, meta_step=eps),
            f"{name} eps": eps,
            f"{name} step on logit": float(score == "logit"),
            f"{name} first order": measured(name, x, score=score, meta_step=eps, second_order=False),
        }
    for name in LOCALIZED:
        for place, layer in zip(("middle", "last"), (at, block_layers(settings)[-1]), strict=True):
            attributor = NormGrad(model, layer, *SALIENCY_METHODS[name])
            result[f"{name} {place}"] = informative_correlation(attributor, x)
    top = predict(model, x).argmax(1)
    twice = [
        class_sensitivity(NormGrad(model, at, *SALIENCY_METHODS[name]), x, classes=(top, top)) for name in WITH_STEP
    ]
    return result | {"same class": min(float(entry.per_image.min()) for entry in twice)}


def informative_correlation(attributor: NormGrad, x: Tensor) -> float:
    """Return the mean correlation over images on which neither map is constant, as Grad-CAM's can be zero."""
    rows = predict(attributor.model, x)
    high, low = (attributor.attribute(x, some) for some in (rows.argmax(1), rows.argmin(1)))
    vary = [value.flatten(1).amax(1) > value.flatten(1).amin(1) for value in (high, low)]
    some = vary[0] & vary[1]
    return float(map_correlation(high[some], low[some]).mean()) if some.any() else 1.0


def identities(settings: Settings) -> dict[str, float]:
    """Measure the identities of the framework on a random network, relative to the largest entry, in float64."""
    with isolated_rng(0):
        lower = nn.Conv2d(2, 5, 3).double()
        convolution = nn.Conv2d(5, 6, 3, stride=2, padding=1, dilation=2, groups=1).double()
        upper = nn.Sequential(nn.Tanh(), nn.Flatten(), nn.Linear(6 * 4 * 4, 3)).double()
    x = torch.randn(4, 2, 11, 11, generator=seeded(0), dtype=torch.float64)
    h = lower(x).detach()

    def gap(found: Tensor, expected: Tensor) -> float:
        return ((found - expected).abs().max() / expected.abs().max()).item()

    def score(activation: Tensor) -> Tensor:
        return upper(convolution(activation))[:, 1].sum()

    at = h.clone().requires_grad_()
    (g,) = torch.autograd.grad(score(at), at)
    sums, forms, outputs = [], [], []
    kinds: tuple[Any, ...] = ("bias", "scaling", "conv1x1", "conv3x3", "depthwise3x3")
    for kind in kinds:
        layer = VirtualIdentity(kind, 5).double()
        (weight,) = torch.autograd.grad(score(layer(h)), layer.weight)
        phi = extract(h, g, kind)
        sums.append(gap(phi.flatten(2).sum((0, 2)), weight.flatten()))
        outputs.append(gap(upper(convolution(layer(h))), upper(convolution(h))))
        forms += [gap(contribution_map(h, g, kind, how), aggregate(phi, how)) for how in ("norm", "filter_norm")]
    between = convolution(h).detach().requires_grad_()
    (slope,) = torch.autograd.grad(upper(between)[:, 1].sum(), between)
    (weight,) = torch.autograd.grad(score(h), convolution.weight)
    real = extract(h, slope, "layer", convolution)
    windows = F.unfold(h, 3, dilation=2, padding=1, stride=2).norm(dim=1)
    product = (slope.flatten(2).norm(dim=1) * windows).reshape(4, 1, 4, 4)
    forms += [
        gap(contribution_map(h, slope, "layer", "norm", convolution), aggregate(real, "norm")),
        gap(contribution_map(h, slope, "layer", "norm", convolution), product),
    ]
    return {
        "virtual": max(sums),
        "real": gap(real.flatten(2).sum((0, 2)), weight.flatten()),
        "closed form": max(forms),
        "outputs": max(outputs),
    }
