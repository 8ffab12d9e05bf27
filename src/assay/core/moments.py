"""Mean and squared norms of per-sample gradients, without the per-sample gradients themselves (Goodfellow, 2015)."""

from collections.abc import Collection, Set
from dataclasses import dataclass

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from assay.core.checks import check_count, check_pairs
from assay.core.ghost_norms import Ghost, ghost_square_norms
from assay.core.gradients import sample_derivatives
from assay.core.layer_calls import LayerCall, LayerCalls
from assay.core.leaves import check_reached, leaves
from assay.core.look import check_outputs
from assay.core.losses import LossFunction
from assay.core.objective import mean_over_samples
from assay.core.parameters import Parameters, Selection, select_parameters, unwrapped

# A squared norm from layers counts as that of autograd within the first share of it, or the second of the sample's
# whole: gradients that cancel are rounding. Missing uses and mixed-up samples differ by far more.
_CLOSE = {torch.float64: (1e-6, 1e-14), torch.float32: (1e-2, 1e-10)}
_CLOSE_IN_HALF = (0.2, 1e-4)


@dataclass(frozen=True, eq=False)
class GradientMoments:
    r"""Moments of per-sample gradients $g_i$, for each parameter.

    Attributes:
        mean: Mean gradient, which is the gradient of the mean loss.
        square_norms: $\lVert g_i \rVert^2$ of each sample.
    """

    mean: Parameters
    square_norms: dict[str, Float[Tensor, " n"]]

    @property
    def norms(self) -> Float[Tensor, " n"]:
        r"""Norm of each sample's gradient over all parameters."""
        return torch.stack(list(self.square_norms.values())).sum(0).sqrt()


def gradient_moments(
    model: nn.Module,
    x: Shaped[Tensor, "n *d"],
    y: Tensor,
    loss: LossFunction,
    *,
    params: Selection | Collection[str] = "trainable",
    batch_size: int = 64,
) -> GradientMoments:
    r"""Compute $\frac1n \sum_i g_i$ and every $\lVert g_i \rVert^2$ of $g_i = \nabla_\theta\, \ell(f(x_i), y_i)$.

    One backward pass a batch gives the mean, and the gradients $b$ in the outputs of layers. With the layers' inputs
    $a$ these give the norms: $\lVert \sum_t b_t a_t^\top \rVert^2$ for linear layers and convolutions over positions t,
    the sums themselves for biases, scales and shifts of normalisations, and rows for embeddings. Parameters that the
    network uses in another way, or whose batches mix the samples' rows, take `per_sample_gradients`. The norms of the
    sample with the largest gradient in the first batch are compared with autograd's.

    Args:
        model: Network without interaction between samples; batch-norm is fixed, in evaluation mode.
        x: Inputs; integers for a network that reads tokens.
        y: Targets.
        loss: Mean loss over samples, see `mean_over_samples`.
        params: "trainable" leaves out parameters with `requires_grad=False`, unless all have it; "all" takes all; else
            names of parameters and modules.
        batch_size: Samples differentiated at once.

    Returns:
        The moments, by names of `named_parameters`, in float32 or wider.

    Raises:
        InvalidInputError: The model, the data or the loss are unusable; the message says why.

    Cost: time about n forward and backward passes, in batches; memory O(p) and the activations of `batch_size`
    samples, with the patches of one convolution. Parameters that take `per_sample_gradients` cost as it does.

    Source: Goodfellow, Efficient Per-Example Gradient Computations (2015), for linear layers; for convolutions and
    sequences Bu, Mao and Xu, Scalable and Efficient Training of Large Convolutional Neural Networks with Differential
    Privacy (2022), section 3.

    >>> from assay.core.losses import squared_error
    >>> moments = gradient_moments(nn.Linear(2, 1), torch.eye(2), torch.zeros(2), squared_error)
    >>> {name: tuple(value.shape) for name, value in moments.square_norms.items()}
    {'weight': (2,), 'bias': (2,)}
    """
    x, y = check_pairs(x, y, tokens=True)
    check_count(batch_size, "batch_size")
    check_outputs(model, x)
    mean = mean_over_samples(loss, model, x, y)
    names = select_parameters(model, params).keys()
    with leaves(model, names) as own:
        batches = _Batches(unwrapped(model), mean, own)
        for batch in zip(x.split(batch_size), y.split(batch_size), strict=True):
            batches.add(*batch)
    with torch.inference_mode(False):
        return _collected(batches, model, x, y, mean, batch_size)


def per_sample_gradient_norms(
    model: nn.Module,
    x: Shaped[Tensor, "n *d"],
    y: Tensor,
    loss: LossFunction,
    *,
    params: Selection = "trainable",
    batch_size: int = 64,
) -> Float[Tensor, " n"]:
    r"""Compute the norm of every sample's loss gradient, $\lVert \nabla_\theta\, \ell(f(x_i), y_i)\rVert_2$.

    Arguments, errors and cost are those of `gradient_moments`. Norms of half-precision gradients come in float32.

    >>> from assay.core.losses import squared_error
    >>> per_sample_gradient_norms(nn.Linear(2, 1), torch.ones(3, 2), torch.zeros(3), squared_error).shape
    torch.Size([3])
    """
    moments = gradient_moments(model, x, y, loss, params=params, batch_size=batch_size)
    with torch.inference_mode(False):
        return moments.norms


class _Batches:
    """Sums over batches: gradients, squared norms of samples, and the parameters that need another way."""

    def __init__(self, network: nn.Module, mean: LossFunction, own: Parameters) -> None:
        self.network, self.mean, self.own = network, mean, own
        self.totals = {name: torch.zeros_like(value, dtype=_wide(value.dtype)) for name, value in own.items()}
        self.square_norms: dict[str, list[Tensor]] = {name: [] for name in own}
        self.slow: set[str] = set()
        self.summed: set[str] = set()  # whose total the squared norms bring along, checked: autograd leaves it out
        self.single: LayerCalls | None = None
        self.checked = False

    def add(self, x: Tensor, y: Tensor) -> None:
        known = self.summed if len(x) > 1 else set()
        calls, slopes, gradients = self._run(x, y, known)
        unused = self.own.keys() - gradients.keys() - known
        if len(x) == 1:
            found = {name: Ghost(gradient.square().sum()[None]) for name, gradient in gradients.items()}
        else:
            found = self._ghosts(x, calls, slopes)
        found |= {name: Ghost(self.totals[name].new_zeros(len(x))) for name in unused}
        if any(name not in found or found[name].total is None for name in known):  # this batch took another way
            self.summed = set()
            self.add(x, y)
            return
        self.slow |= self.own.keys() - found.keys()
        if not self.checked and len(x) > 1:
            self._check(x, y, found)
            self.summed = {name for name, ghost in found.items() if ghost.total is not None} - self.slow
        self.checked = True
        for name, ghost in found.items():
            self.square_norms[name].append(ghost.square_norms)
            if name in known and ghost.total is not None:
                self.totals[name] += ghost.total
        for name, gradient in gradients.items():
            self.totals[name] += gradient

    def _run(
        self, x: Tensor, y: Tensor, known: Set[str] = frozenset()
    ) -> tuple[LayerCalls, dict[LayerCall, Tensor], Parameters]:
        """Return the recorded calls, the gradients in their outputs, and those in the parameters but for the known."""
        with LayerCalls(self.own) as calls:
            outputs = self.network(x)
        check_reached(outputs)
        recorded = list({call: None for uses in calls.uses.values() for call, _ in uses if call.edge is not None})
        total = self.mean(outputs, y) * len(x)
        asked = {name: value for name, value in self.own.items() if name not in known}
        inputs = [*(call.edge for call in recorded), *asked.values()]
        found = torch.autograd.grad(total, inputs, allow_unused=True)
        slopes = {
            call: outputs.new_zeros(call.shape) if slope is None else slope
            for call, slope in zip(recorded, found, strict=False)
        }
        gradients = {
            name: slope.to(_wide(slope.dtype))
            for name, slope in zip(asked, found[len(recorded) :], strict=True)
            if slope is not None
        }
        return calls, slopes, gradients

    def _ghosts(self, x: Tensor, calls: LayerCalls, slopes: dict[LayerCall, Tensor]) -> dict[str, Ghost]:
        if self.single is None:
            with LayerCalls(self.own) as self.single, torch.no_grad():
                self.network(x[:1])
        found = {}
        for name, uses in calls.uses.items():
            alone = self.single.uses.get(name, [])
            alike = [call.operation for call, _ in uses] == [call.operation for call, _ in alone]
            if alike and name not in calls.others | self.slow:
                ghost = ghost_square_norms(uses, alone, slopes, len(x))
                found |= {} if ghost is None else {name: ghost}
        return found

    def _check(self, x: Tensor, y: Tensor, found: dict[str, Ghost]) -> None:
        """Compare one sample's squared norms with autograd's, and take the other way for those that differ."""
        largest = int(torch.stack([ghost.square_norms for ghost in found.values()]).sum(0).argmax()) if found else 0
        *_, gradients = self._run(x[largest : largest + 1], y[largest : largest + 1])
        truth = {name: gradients[name].square().sum().item() if name in gradients else 0.0 for name in found}
        whole = sum(truth.values())
        for name, ghost in found.items():
            share, rest = _CLOSE.get(self.own[name].dtype, _CLOSE_IN_HALF)
            if not abs(ghost.square_norms[largest].item() - truth[name]) <= share * truth[name] + rest * whole:
                self.slow.add(name)


def _collected(
    batches: _Batches, model: nn.Module, x: Tensor, y: Tensor, mean: LossFunction, batch_size: int
) -> GradientMoments:
    slow = {name: None for name in batches.own if name in batches.slow}
    square_norms = {name: torch.cat(found) for name, found in batches.square_norms.items() if name not in slow}
    if slow:
        columns = sample_derivatives(model, x, y, mean, slow.keys(), batch_size, _square_norms_by_name)
        square_norms |= dict(zip(slow, columns.T, strict=True))
    return GradientMoments(
        mean={name: total / len(x) for name, total in batches.totals.items()},
        square_norms={name: square_norms[name] for name in batches.own},
    )


def _square_norms_by_name(gradients: Parameters) -> Float[Tensor, "b k"]:
    return torch.stack(
        [value.to(_wide(value.dtype)).reshape(len(value), -1).square().sum(1) for value in gradients.values()], 1
    )


def _wide(dtype: torch.dtype) -> torch.dtype:
    return torch.promote_types(dtype, torch.float32)
