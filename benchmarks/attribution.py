"""Saliency maps by NormGrad against captum's LayerGradCam, IntegratedGradients and Saliency, in one run.

Canvases of 56 x 56 pixels hold a labelled digit beside an item of Fashion-MNIST; networks are those of the study
`normgrad`. The layers of NormGrad, NormGrad selective and LayerGradCam are chosen by the pointing game on other
canvases, with the product over all blocks among the choices of the first two. Integrated gradients take 50 steps, and
their absolute values are summed over channels, as those of the gradient.

    python benchmarks/attribution.py   # needs ASSAY_DATA for MNIST and Fashion-MNIST, and captum
"""

import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import captum
import torch
from captum.attr import IntegratedGradients, LayerGradCam, Saliency
from torch import Tensor, nn

from assay.attribution.saliency import (
    SALIENCY_METHODS,
    LocalizationSet,
    NormGrad,
    combine_saliency,
    deletion_insertion_curve,
    energy_in_box,
    pointing_hits,
    upsample_saliency,
)
from assay.core import accuracy, predict, spawn_seeds
from assay.studies.attribution.normgrad.cells import SIZE, block_layers, canvases, train, trained
from assay.studies.attribution.normgrad.settings import Settings

RESULTS = Path(__file__).with_suffix(".json")
SETTINGS, NETWORKS, CHOICE, IMAGES, BATCH, STEPS = Settings(), 3, 100, 200, 20, 14
BETTER = 0.0  # the bar, set before the first run: hit rate of NormGrad less the best of captum's

Maps = Callable[[nn.Module, Tensor, Tensor], Tensor]


def ours(name: str, layer: str) -> Maps:
    """Return a method of the framework at a layer, or multiplied over all blocks."""

    def maps(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        layers = block_layers(SETTINGS) if layer == "all" else [layer]
        found = [NormGrad(model, at, *SALIENCY_METHODS[name]).attribute(x, y) for at in layers]
        return combine_saliency(found) if layer == "all" else found[0]

    return maps


def grad_cam(layer: str) -> Maps:
    """Return captum's Grad-CAM at a layer."""

    def maps(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        attributor = LayerGradCam(model, model.get_submodule(layer))
        found: Any = attributor.attribute(x, y, relu_attributions=True)
        return found.detach()

    return maps


def integrated(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """Take captum's integrated gradients from a black image."""
    return IntegratedGradients(model).attribute(x, target=y, n_steps=50).abs().sum(1, keepdim=True).detach()


def gradient(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """Take captum's absolute gradient."""
    return Saliency(model).attribute(x.clone().requires_grad_(), target=y).sum(1, keepdim=True).detach()


def methods() -> dict[str, dict[str, Maps]]:
    """Return each method's variants by the layer's name."""
    layers = block_layers(SETTINGS)
    return {
        "NormGrad": {at: ours("normgrad", at) for at in (*layers, "all")},
        "NormGrad selective": {at: ours("normgrad_selective", at) for at in (*layers, "all")},
        "captum LayerGradCam": {at: grad_cam(at) for at in layers},
        "captum IntegratedGradients": {"input": integrated},
        "captum Saliency": {"input": gradient},
    }


def in_batches(maps: Maps, model: nn.Module, test: LocalizationSet) -> Tensor:
    """Return maps of all images at their size."""
    pairs = zip(test.x.split(BATCH), test.y.split(BATCH), strict=True)
    return torch.cat([upsample_saliency(maps(model, x, y), (SIZE, SIZE)) for x, y in pairs])


def measure(seed: int) -> dict[str, Any]:
    """Train a network, choose layers, and score the maps."""
    start, choice, final = spawn_seeds(seed, 3)
    model = trained(SETTINGS, train(SETTINGS, start))
    tune = canvases(SETTINGS, CHOICE, "test", "item", choice)
    test = canvases(SETTINGS, IMAGES, "test", "item", final)
    rows: dict[str, Any] = {}
    for name, variants in methods().items():
        hits = {
            at: pointing_hits(in_batches(maps, model, tune), tune.masks).double().mean()
            for at, maps in variants.items()
        }
        layer = max(hits, key=lambda at: hits[at])
        begin = time.process_time()
        found = in_batches(variants[layer], model, test)
        seconds = time.process_time() - begin
        curves = {
            mode: deletion_insertion_curve(model, test.x, found, test.y, mode=mode, n_iter=STEPS)
            for mode in ("deletion", "insertion")
        }
        rows[name] = {
            "layer": layer,
            "hits": float(pointing_hits(found, test.masks).double().mean()),
            "energy": float(energy_in_box(found, test.masks).mean()),
            "deletion": float(curves["deletion"].auc.mean()),
            "insertion": float(curves["insertion"].auc.mean()),
            "CPU ms an image": 1000 * seconds / IMAGES,
        }
    return {"accuracy": accuracy(predict(model, test.x), test.y), "methods": rows}


def main() -> None:
    """Measure all methods on each network, and write the results beside this file."""
    torch.set_num_threads(1)
    found = [measure(seed) for seed in spawn_seeds(0, NETWORKS)]
    means = {
        name: {key: statistics.mean(one["methods"][name][key] for one in found) for key in row if key != "layer"}
        for name, row in found[0]["methods"].items()
    }
    theirs = max(row["hits"] for name, row in means.items() if name.startswith("captum"))
    best = max(row["hits"] for name, row in means.items() if not name.startswith("captum"))
    versions = {"torch": torch.__version__, "captum": captum.__version__}
    result = versions | {"bar": BETTER, "gain in hit rate": best - theirs, "means": means, "networks": found}
    RESULTS.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(means, indent=1), best - theirs)


if __name__ == "__main__":
    main()
