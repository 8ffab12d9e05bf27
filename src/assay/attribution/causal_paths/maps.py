"""Saliency maps from the causal filters of a convolution layer (Ahmad et al., 2023)."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from assay.attribution.causal_paths.chain import weighted_layer
from assay.attribution.causal_paths.effects import channel_responses
from assay.attribution.causal_paths.graph import CausalGraph
from assay.core import (
    InvalidInputError,
    check_count,
    check_finite,
    check_samples,
    check_scores,
    preserved,
    unwrapped,
    watch_layers,
)


@torch.inference_mode(False)
def causal_saliency(
    model: nn.Module,
    graph: CausalGraph,
    layer: str,
    x: Float[Tensor, "n c height width"],
    *,
    flip: bool = False,
    batch_size: int = 64,
) -> Float[Tensor, "n height width"]:
    r"""Map where the causal filters of a convolution layer respond.

    For each effect channel e, $R_e = \frac{1}{|C|} \sum_{i \in C} \mathrm{softmax}_{space}(K_{ei} * a_i)$, with $a_i$
    the causal channel i that the layer reads and $K_{ei}$ its kernel; each $R_e$ is resized to the input, scaled to
    [-1, 1], and the map is their sum. Effects that no cause reaches, in a convolution with groups, are left out.

    Args:
        model: Network that the graph was found in; it comes back as it was.
        graph: Causal graph.
        layer: One of its layers, a `Conv2d`.
        x: Images.
        flip: Turn the kernels by half a turn, a convolution in the sense of mathematics, as the paper's implementation
            does; the network itself correlates.
        batch_size: Images a forward pass.

    Returns:
        One map an image.

    Raises:
        InvalidInputError: The model or the images are unusable, or the layer is no `Conv2d` without groups of the
            graph.
        NumericalError: A map is NaN or infinite.

    Cost: one forward pass an image, and the responses of causes times effects.

    Source: Ahmad et al., "Causal Analysis for Robust Interpretability of Neural Networks" (2023), abstract; the formula
    is that of a published implementation. Deviation: strides and padding are the layer's own.

    >>> from assay.attribution import find_causal_graph
    >>> from assay.nets import small_conv
    >>> model, x = small_conv((1, 4, 4), 2, channels=(3,), hidden=4), torch.linspace(0, 1, 48).reshape(3, 1, 4, 4)
    >>> graph = find_causal_graph(model, x, int(model(x)[0].argmax()), sign="both")
    >>> causal_saliency(model, graph, "0", x).shape
    torch.Size([3, 4, 4])
    """
    model = unwrapped(model)  # compiled code calls no hooks
    x = check_samples(x)
    check_count(batch_size, "batch_size")
    check_scores(model, x)
    module = weighted_layer(model, layer)
    if not isinstance(module, nn.Conv2d) or x.ndim != 4 or module.groups != 1:
        raise InvalidInputError(
            f"layer {layer!r} is {module} and x has shape {tuple(x.shape)}; name a Conv2d without groups, and pass "
            "images of shape (n, channels, height, width)"
        )
    if layer not in graph.layers:
        raise InvalidInputError(f"the graph has no layer {layer!r}; it has {', '.join(graph.layers) or 'none'}")
    place = graph.layers.index(layer)
    causes, effects = list(graph.causes[place]), list(graph.effects[place])
    kernels = module.weight.detach()[effects][:, causes]
    kernels = kernels.flip(-1, -2) if flip else kernels
    maps = []
    with preserved(model), torch.no_grad():
        for batch in x.split(batch_size):
            with watch_layers(model, [layer]) as watch:
                model(batch)
            maps.append(_maps(channel_responses(module, watch.inputs[layer][:, causes], kernels), x.shape[2:]))
    found = torch.cat(maps)
    check_finite(found, "the causal map")
    return found


def _maps(responses: Float[Tensor, "n j e h w"], size: torch.Size) -> Float[Tensor, "n height width"]:
    shares = responses.flatten(3).softmax(3).reshape(responses.shape).mean(1)
    maps = nn.functional.interpolate(shares, size=tuple(size), mode="bilinear", align_corners=False)
    low, high = maps.amin((2, 3), keepdim=True), maps.amax((2, 3), keepdim=True)
    flat = high == low  # a constant map ranks nothing
    return torch.where(flat, 0.0, 2 * (maps - low) / torch.where(flat, 1.0, high - low) - 1).sum(1)
