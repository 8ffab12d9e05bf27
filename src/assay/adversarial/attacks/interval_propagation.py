"""Interval bound propagation and the accuracy it certifies (Gowal et al., 2018)."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor, nn
from torch.func import functional_call

from assay.adversarial.attacks.door import check_attackable
from assay.adversarial.attacks.threat import Lp
from assay.core import Interval, InvalidInputError, check_count, check_samples, preserved, proportion_interval
from assay.nets import Normalize

if TYPE_CHECKING:
    from collections.abc import Iterator

_ENTRIES = 2**25  # of the weights' differences that are held at once
_AT_ONCE = 256  # samples
_AFFINE = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
# Monotone in each entry of the input: the ends of an interval go to the ends of its image.
_MONOTONE = (
    *(nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.Hardtanh, nn.Sigmoid, nn.Tanh, nn.Softplus),
    *(nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, Normalize),
    *(nn.AvgPool1d, nn.AvgPool2d, nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.MaxPool1d, nn.MaxPool2d),
    *(nn.Flatten, nn.Unflatten, nn.Identity, nn.Dropout, nn.Dropout2d, nn.ZeroPad2d),
)


@dataclass(frozen=True, eq=False)
class Certificate:
    """Samples whose prediction no perturbation within a threat model can change.

    Attributes:
        threat: Threat model.
        correct: Whether the model classifies the input as labelled.
        margin: Lower bound of the margin, the label's score minus the highest other one, over all perturbations.
    """

    threat: Lp
    correct: Bool[Tensor, " n"]
    margin: Float[Tensor, " n"]

    @property
    def certified(self) -> Bool[Tensor, " n"]:
        """Whether each sample is classified correctly under every perturbation."""
        return self.margin > 0

    @property
    def certified_accuracy(self) -> Interval:
        """Share of certified samples, with its exact 95% interval."""
        return proportion_interval(int(self.certified.sum()), len(self.margin))

    def __str__(self) -> str:
        certified, n = self.certified_accuracy, len(self.margin)
        return (
            f"Of {n} samples {self.correct.double().mean():.1%} are classified correctly, and {certified.mean:.1%} "
            f"[{certified.low:.1%}, {certified.high:.1%}] certainly so under every change of at most "
            f"{self.threat.eps:.4g} in the {self.threat.norm:g}-norm."
        )


def interval_certificate(
    model: nn.Module,
    x: Float[Tensor, "n *d"],
    y: Shaped[Tensor, "n *one"],
    *,
    threat: Lp,
    batch_size: int = 256,
) -> Certificate:
    r"""Bound each sample's margin from below over all perturbations, by intervals through the layers.

    With the interval $[m - r, m + r]$ of the input of the last layer, of weights $W$ and bias $b$:
    $$f_y(x') - f_k(x') \ge (W_y - W_k)\, m + b_y - b_k - |W_y - W_k|\, r.$$
    The bound is exact for a linear network, and loose for deep ones that were not trained for it. It holds in exact
    arithmetic: a margin of the size of the scores' rounding proves nothing. Forward hooks are not bounded: one that
    changes nothing at these inputs is taken for one that only watches.

    Args:
        model: Classifier with outputs `(n, c)`, a sequence of the layers that `interval_bounds` knows; it comes back as
            it was.
        x: Inputs within the threat's range.
        y: True labels.
        threat: Threat model of the infinity norm.
        batch_size: Samples bounded at once.

    Raises:
        InvalidInputError: The arguments do not fit each other, the norm is another one, or a layer is unknown.

    Cost: time three forward passes, memory that of one batch.

    Source: Gowal et al., "On the effectiveness of interval bound propagation for training verifiably robust models"
    (2018), section 3 and, for the last layer, its elision. Tighter linear bounds (CROWN) are left out: the packaged
    auto_LiRPA, 0.3, needs torch below 1.13.

    >>> layer = nn.Linear(1, 2, bias=False)
    >>> _ = layer.weight.data.copy_(torch.tensor([[1.0], [-1.0]]))
    >>> threat = Lp(norm=float("inf"), eps=0.5, input_range=(-9.0, 9.0))
    >>> x, y = torch.tensor([[0.4], [0.6]]), torch.tensor([0, 0])
    >>> interval_certificate(layer, x, y, threat=threat).certified.tolist()
    [False, True]
    """
    check_count(batch_size, "batch_size")
    x, y, _ = check_attackable(model, x, y, threat=threat)
    if threat.norm != torch.inf:
        raise InvalidInputError(
            f"intervals bound changes in the infinity norm, and the threat has the norm {threat.norm:g}; use a threat "
            "of the infinity norm, whose ball holds that of any other norm"
        )
    with preserved(model):
        return bound_margins(model, x, y, threat, batch_size)


def bound_margins(model: nn.Module, x: Tensor, y: Tensor, threat: Lp, batch_size: int) -> Certificate:
    """Do the same for inputs that `check_attackable` returned; the caller holds the model `preserved`."""
    layers = _layers(model, x)
    with torch.no_grad():
        batches = zip(x.split(batch_size), y.split(batch_size), strict=True)
        parts = [_bound_margin(layers, *batch, threat) for batch in batches]
    correct, margin = (torch.cat(values) for values in zip(*parts, strict=True))
    return Certificate(threat, correct, margin)


def interval_bounds(
    model: nn.Module, low: Float[Tensor, "n *d"], high: Float[Tensor, "n *d"]
) -> tuple[Float[Tensor, "n *c"], Float[Tensor, "n *c"]]:
    r"""Bound the outputs of a network over all inputs between two.

    An affine layer takes the middle $m$ and half-width $r$ of an interval to $Wm + b$ and $|W|\,r$; a monotone layer
    (activation, batch normalisation, pooling) takes its ends to the ends.

    Args:
        model: A layer, or a sequence of layers, nested or not; it comes back as it was.
        low: Lower ends.
        high: Upper ends.

    Returns:
        Lower and upper bounds of the outputs, in exact arithmetic.

    Raises:
        InvalidInputError: The ends do not fit each other, or a layer is unknown.

    Cost: time two forward passes, memory that of the largest layer's outputs.

    Source: Gowal et al., "On the effectiveness of interval bound propagation for training verifiably robust models"
    (2018), section 3, equations 6 and 7.

    >>> low, high = interval_bounds(nn.ReLU(), torch.tensor([[-1.0, 0.5]]), torch.tensor([[0.5, 1.0]]))
    >>> low.tolist(), high.tolist()
    ([[0.0, 0.5]], [[0.5, 1.0]])
    """
    low, high = check_samples(low, "low"), check_samples(high, "high")
    if low.shape != high.shape or (low > high).any():
        raise InvalidInputError(
            f"low and high must have one shape, and low must nowhere exceed high; got {tuple(low.shape)} and "
            f"{tuple(high.shape)}, with low above high at {int((low > high).sum()) if low.shape == high.shape else '?'}"
            " entries"
        )
    with preserved(model), torch.no_grad():
        return _propagate(_layers(model, low), low, high)


def knows_intervals(model: nn.Module, x: Float[Tensor, "n *d"]) -> bool:
    """Tell whether a network is a sequence of layers that `interval_bounds` knows, whose hooks change nothing at `x`.

    >>> x = torch.zeros(1, 2)
    >>> knows_intervals(nn.Sequential(nn.Linear(2, 3), nn.ReLU()), x), knows_intervals(nn.LSTM(2, 3), x)
    (True, False)
    """
    layers = list(_walk(model))
    return not any(isinstance(layer, _Unknown) for layer in layers) and _is_sequence_of(layers, model, x)


class _Unknown(nn.Module):
    """The place of a layer without a rule."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.name = type(layer).__name__


def _walk(model: nn.Module) -> "Iterator[nn.Module]":
    """Yield the layers of nested sequences in order."""
    if type(model) is nn.Sequential:
        for layer in model:
            yield from _walk(layer)
    else:
        yield model if _has_rule(model) else _Unknown(model)


def _has_rule(layer: nn.Module) -> bool:
    if isinstance(layer, _AFFINE):
        # A weight that is no parameter is computed from others, by a hook.
        return (
            type(layer) in _AFFINE
            and "weight" in layer._parameters
            and getattr(layer, "padding_mode", "zeros") == "zeros"
        )
    of_batch = getattr(layer, "running_mean", layer) is None  # its outputs depend on the other samples
    return type(layer) in _MONOTONE and not of_batch


def _is_sequence_of(layers: list[nn.Module], model: nn.Module, x: Tensor) -> bool:
    """Tell whether the layers, without their hooks, compute what the network computes of these samples."""
    for some in x.split(_AT_ONCE):
        with torch.no_grad():
            expected, outputs = model(some), some
            for layer in layers:
                outputs = layer.forward(outputs)
        if outputs.shape != expected.shape or not torch.allclose(outputs, expected, equal_nan=True):
            return False
    return True


def _layers(model: nn.Module, x: Tensor) -> list[nn.Module]:
    """Return the layers of a sequence, each of which has a rule."""
    layers = list(_walk(model))
    for layer in layers:
        if isinstance(layer, _Unknown):
            raise InvalidInputError(
                f"intervals go through sequences of affine layers, monotone activations, batch normalisation and "
                f"pooling, and {layer.name} is none of these; rebuild the network from them as an nn.Sequential"
            )
    if not _is_sequence_of(layers, model, x):
        raise InvalidInputError(
            "intervals bound what a network's layers compute, and a hook changes what this one computes; remove it"
        )
    return layers


def _propagate(layers: list[nn.Module], low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
    for layer in layers:
        if isinstance(layer, _AFFINE):
            middle, half = layer.forward((low + high) / 2), _spread(layer, (high - low) / 2)
            low, high = middle - half, middle + half
        else:
            first, second = layer.forward(low), layer.forward(high)
            low, high = torch.minimum(first, second), torch.maximum(first, second)
    return low, high


def _spread(layer: nn.Module, half: Tensor) -> Tensor:
    """Apply an affine layer with the sizes of its weights and no bias."""
    sizes = {name: value.abs() if name == "weight" else 0 * value for name, value in layer.named_parameters()}
    return functional_call(layer, sizes, (half,))


def _last_gaps(last: nn.Linear, low: Tensor, high: Tensor, y: Tensor) -> Tensor:
    """Bound the differences between the label's score and each other from below."""
    apart = last.weight[y][:, None] - last.weight
    middle, half = (low + high)[:, :, None] / 2, (high - low)[:, :, None] / 2
    gaps = (apart @ middle - apart.abs() @ half).squeeze(2)
    return gaps if last.bias is None else gaps + last.bias[y][:, None] - last.bias


def _bound_margin(layers: list[nn.Module], x: Tensor, y: Tensor, threat: Lp) -> tuple[Tensor, Tensor]:
    """Return whether each sample is classified correctly, and the lower bound of its margin."""
    scores = nn.Sequential(*layers)(x)
    low, high = (x - threat.eps).clamp(*threat.input_range), (x + threat.eps).clamp(*threat.input_range)
    last = layers[-1]
    if isinstance(last, nn.Linear):
        low, high = _propagate(layers[:-1], low, high)
        at_once = max(_ENTRIES // last.weight.numel(), 1)
        parts = zip(low.split(at_once), high.split(at_once), y.split(at_once), strict=True)
        gaps = torch.cat([_last_gaps(last, *part) for part in parts])
    else:
        low, high = _propagate(layers, low, high)
        gaps = low.gather(1, y[:, None]) - high
    return scores.argmax(1) == y, gaps.scatter(1, y[:, None], torch.inf).amin(1)
