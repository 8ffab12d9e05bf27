"""The rows of causal graphs."""

import torch
from torch import nn

from assay.attribution import causal_saliency, find_causal_graph, graph_faithfulness
from assay.attribution.causal_paths import (
    edge_masks,
    graph_stability,
    local_lipschitz,
    mask_model,
    path_intervention_effect,
    random_graph,
    removal_curve,
)
from assay.core import check_samples, predict, seeded
from assay.nets import mlp
from helpers.rows.base import Analysis


class AsImages(nn.Module):
    """Reads four numbers as an image of 2 x 2 pixels, and leaves such images as they are."""

    def forward(self, x):
        """Return images."""
        return x.reshape(len(x), 1, 2, 2)


def image_network():
    """Three classes of images of 2 x 2 pixels, by one convolution."""
    source = seeded(1)
    filters = nn.Conv2d(1, 3, 2, padding=1)
    with torch.no_grad():
        for parameter in filters.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=source))
    return nn.Sequential(AsImages(), filters, nn.ReLU(), nn.Flatten(), *mlp((27, 3), generator=source))


def _class(model, x):
    """Return the class of the first sample."""
    x = check_samples(x)
    return int(predict(model, x).reshape(len(x), -1).argmax(1)[0])


def _graph(model, x, y, generator, batch_size=2000):
    return find_causal_graph(model, x, _class(model, x), inputs=True, sign="both", batch_size=batch_size)


def _masked(model, x, y, generator):
    graph = find_causal_graph(model, x, _class(model, x), sign="both")
    other = random_graph(graph, generator=generator)
    return {
        "kept": mask_model(model, graph).state_dict(),
        "dropped": mask_model(model, graph, keep=False, without=other, factor=0.5).state_dict(),
        "masks": edge_masks(model, other),
    }


def _faithfulness(model, x, y, generator, batch_size=256):
    graph = find_causal_graph(model, x, _class(model, x), sign="both")
    return graph_faithfulness(model, graph, x, n_random=3, generator=generator, batch_size=batch_size)


def _effect(model, x, y, generator, batch_size=2000):
    options = {"value": (0.1, 0.2), "generator": generator, "batch_size": batch_size}
    return path_intervention_effect(model, "0", range(4), [0, 2], x, target=1, **options)


def _stability(model, x, y, generator):
    target = _class(model, x)
    return graph_stability(model, x, target, values=(0.0, 0.3), n_repeats=2, sign="both", generator=generator)


def _lipschitz(model, x, y, generator):
    return local_lipschitz(lambda samples: predict(model, samples), x, n_neighbours=3, generator=generator)


def _images(x):
    return check_samples(x).reshape(len(x), 1, 2, 2)


def _saliency(model, x, y, generator, batch_size=64):
    images = _images(x)
    graph = find_causal_graph(model, images, _class(model, images), sign="both")
    return causal_saliency(model, graph, "1", images, batch_size=batch_size)


def _removal(model, x, y, generator, batch_size=256):
    images = _images(x)
    return removal_curve(model, images, 1, images.sum(1), n_removals=4, batch_size=batch_size)


ROWS = (
    Analysis(find_causal_graph, run=_graph),
    Analysis((mask_model, edge_masks, random_graph), run=_masked),
    Analysis(graph_faithfulness, run=_faithfulness),
    Analysis(path_intervention_effect, run=_effect, random=True),
    Analysis(graph_stability, run=_stability),
    Analysis(local_lipschitz, run=_lipschitz, random=True),
    Analysis(causal_saliency, run=_saliency, model=image_network),
    Analysis(removal_curve, run=_removal, model=image_network),
)
