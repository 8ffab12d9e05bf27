"""NormGrad and its relatives: saliency maps from the gradient of a layer's weight (Rebuffi et al., 2020)."""

from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from assay.attribution.saliency.activations import Activations, layer_gradients, meta_gradients
from assay.attribution.saliency.class_scores import SCORES, Score, Target, read_inputs
from assay.attribution.saliency.contributions import HOWS, How, Kind, contribution_map
from assay.attribution.saliency.windows import KINDS
from assay.core import (
    InvalidInputError,
    check_choice,
    check_count,
    check_finite,
    check_positive,
    find_layer,
)
from assay.core.layers import check_sample_axis


@dataclass(frozen=True, eq=False)
class NormGrad:
    r"""Map what each position of a layer contributes to the gradient of a class score in the layer's weight.

    With the activation $x$ of the layer and the gradient $g$ of the score there, an identity layer that one thinks
    behind it has a weight gradient that is a sum over positions $u$ of contributions $\phi_u$, and the map is
    $\lVert \phi_u \rVert$. For the default, a convolution of 1 x 1, this is $\lVert g_u \rVert \lVert x_u \rVert$.
    `SALIENCY_METHODS` names the other published pairs of extract and aggregate, Grad-CAM among them.

    With a meta step, the score is that of weights after one step of SGD on the sample's cross-entropy,
    $s(x; \theta - \epsilon \nabla_\theta \ell(x; \theta))$, differentiated in $x$ through the step.

    Cost: one forward and one backward pass of each sample; with a meta step three forward passes and the derivative of
    a gradient, one sample at a time. Memory is that of the passes: no k x k matrix is built.

    Args:
        model: Network of class scores; it comes back as it was.
        layer: Name in `named_modules` of a layer that gives (n, k, positions ...), or (n, tokens, k) as attention
            blocks do; None for the input of the network.
        extract: "conv1x1" (default of the paper's method), "conv3x3", "depthwise3x3", "scaling", "bias",
            "mean_scaling", or "layer" for the weight of the convolution or dense layer itself.
        aggregate: "norm", "filter_norm" (evidence for the class only, with "scaling"), "sum", "relu_sum", "max" or
            "max_abs".
        score: The score explained: the class's "logit", or its "log_probability", which depends on all classes.
        meta_step: Learning rate of the inner step; None for none.
        second_order: Differentiate through the inner step; without, its weights count as constant.
        channel_axis: Axis of channels in what the layer gives. By default the last for sequences of tokens, dense
            layers and layer norms, else 1.
        batch_size: Samples a pass.

    Raises:
        InvalidInputError: There is no such layer, or an option is out of range.

    Source: Rebuffi, Fong, Ji, Vedaldi, There and Back Again: Revisiting Backpropagation Saliency Methods (2020),
    main text, the framework, NormGrad and meta-saliency. The loss is +logit here, so that what is positive supports the
    class. The form of the inner step follows the authors' abstract of their earlier paper (arXiv 1910.08823, abstract);
    its step moves no weight before the layer, whose activation is the variable.

    >>> from assay.core import seeded
    >>> from assay.nets import normalized_conv
    >>> model = normalized_conv((1, 8, 8), 3, channels=(4, 4), generator=seeded(0))
    >>> x = torch.rand(2, 1, 8, 8, generator=seeded(1))
    >>> NormGrad(model, "2").attribute(x, target=1).shape
    torch.Size([2, 1, 8, 8])
    """

    model: nn.Module
    layer: str | None
    extract: Kind = "conv1x1"
    aggregate: How = "norm"
    score: Score = "logit"
    meta_step: float | None = None
    second_order: bool = True
    channel_axis: int | None = None
    batch_size: int = 64

    def __post_init__(self) -> None:
        check_choice(self.extract, KINDS, "extract")
        check_choice(self.aggregate, HOWS, "aggregate")
        check_choice(self.score, SCORES, "score")
        check_count(self.batch_size, "batch_size")
        if self.meta_step is not None:
            check_positive(self.meta_step, "meta_step")
        if self.layer is not None:
            find_layer(self.model, self.layer)
        elif self.extract == "layer":
            raise InvalidInputError("extract='layer' reads a layer's own weight, and the input has none; name a layer")

    def attribute(self, inputs: Shaped[Tensor, "n *d"], target: Target = None) -> Float[Tensor, "n 1 *positions"]:
        """Compute one map a sample, at the layer's resolution.

        `upsample_saliency` brings maps to the size of the image, scaled to [0, 1]; a sequence of tokens has one value a
        token.

        Args:
            inputs: Samples; integers for a network that reads tokens.
            target: One class for all samples, one for each, or None for the class of the highest score. For a single
                logit, the label 0 or 1. A tuple indexes all axes of outputs that score classes at each position.

        Returns:
            Maps without a graph.

        Raises:
            InvalidInputError: The model, inputs or target are unusable, or the layer has no positions.
            NumericalError: A map is not finite.
        """
        found = [
            contribution_map(
                parts.read if self.extract == "layer" and parts.read is not None else parts.output,
                parts.gradient,
                self.extract,
                self.aggregate,
                self._own_layer(),
            )
            for parts in self._parts(inputs, target)
        ]
        maps = torch.cat(found)
        check_finite(maps, "the saliency map")
        return maps

    def _own_layer(self) -> nn.Module | None:
        return find_layer(self.model, self.layer) if self.extract == "layer" and self.layer is not None else None

    def _parts(self, inputs: Tensor, target: Target) -> list[Activations]:
        x, classes = read_inputs(self.model, inputs, target)
        if self.layer is not None:
            check_sample_axis(self.model, x, [self.layer])
        batches = x.split(self.batch_size if self.meta_step is None else 1)
        targets = classes.split(len(batches[0])) if isinstance(classes, Tensor) else [classes] * len(batches)
        options = {"score": self.score, "channel_axis": self.channel_axis}
        if self.meta_step is None:
            take = partial(layer_gradients, self.model, self.layer, **options)
        else:
            step = {"eps": self.meta_step, "second_order": self.second_order}
            take = partial(meta_gradients, self.model, self.layer, **options, **step)
        return [take(batch, some) for batch, some in zip(batches, targets, strict=True)]


def gradient_spatial_variance(
    model: nn.Module,
    layer: str | None,
    x: Shaped[Tensor, "n *d"],
    target: Target = None,
    *,
    channel_axis: int | None = None,
    batch_size: int = 64,
) -> Float[Tensor, " n"]:
    r"""Measure the share of the squared gradient that its mean over positions loses.

    $1 - \lVert \bar g \rVert^2 / \overline{\lVert g_u \rVert^2}$: the variance over positions, relative. It is 0 before
    global average pooling and a linear layer, where Grad-CAM is the positive part of the linear approximation, and near
    1 where the mean over positions, and with it Grad-CAM, loses almost all of the gradient.

    Args:
        model: Network of class scores; it comes back as it was.
        layer: As for `NormGrad`.
        x: Samples.
        target: As for `NormGrad.attribute`.
        channel_axis: As for `NormGrad`.
        batch_size: Samples a pass.

    Returns:
        One share a sample; 0 where the gradient vanishes.

    Raises:
        InvalidInputError: As for `NormGrad`.

    Source: Rebuffi et al., There and Back Again (2020), main text, on spatial averaging in Grad-CAM; the ratio is
    chosen here.

    >>> model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 2))
    >>> gradient_spatial_variance(model, "0", torch.ones(1, 1, 4, 4), 0).abs().item() < 1e-6
    True
    """
    check_count(batch_size, "batch_size")
    attributor = NormGrad(model, layer, channel_axis=channel_axis, batch_size=batch_size)
    found = []
    for parts in attributor._parts(x, target):
        g = parts.gradient.flatten(2)
        total = g.square().sum(1).mean(1)
        centred = (g - g.mean(2, keepdim=True)).square().sum(1).mean(1)
        found.append(torch.where(total > 0, centred / total.clamp_min(torch.finfo(g.dtype).tiny), 0.0).to(g))
    return torch.cat(found)
