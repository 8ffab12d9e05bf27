"""Minimisation of the stationarity loss over samples and multipliers, many restarts at once (Haim et al., 2022)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call, vmap

from assay.core import NumericalError, Parameters, named_parameters, track
from assay.reconstruction.kkt.chain import Chain, is_chain
from assay.reconstruction.kkt.multipliers import Multipliers
from assay.reconstruction.kkt.surrogate import set_sharpness
from assay.reconstruction.kkt.target import Target

_Back = Callable[[list[Tensor]], list[Tensor]]
"""Pullback from the sums of gradients to the candidates and the raw multipliers."""

LARGE_SPAN = 32
"""Dimension of the span beyond which starts, learning rates and the first sharpness shrink."""


@dataclass(frozen=True)
class SearchScale:
    """Hold the settings of the search that depend on the network.

    Attributes:
        length: Factor on starts and learning rates.
        sharpness: Factor on the first sharpness of the gates.
        beta2: Decay of Adam's second moment.
    """

    length: float
    sharpness: float
    beta2: float


def search_scale(target: Target) -> SearchScale:
    """Return the settings that suit a network; the guide on choices in reconstruction has the comparisons.

    Sharp gates make gradients jump: behind dense layers a shorter second moment than Adam's usual one finds more. The
    larger the span, the softer the gates must be at the start: those of a candidate near zero are soft, and its
    multiplier makes up for its length. Where the first layer is not dense, small steps and the usual second moment
    are needed.
    """
    if len(target.coordinates) > 1:
        return SearchScale(length=0.1, sharpness=1.0, beta2=0.999)
    factor = min(1.0, LARGE_SPAN / max(target.rank, 1))
    return SearchScale(length=factor, sharpness=factor, beta2=0.95)


class StationarityGap:
    r"""Compute $\lVert f (g - \sum_k \sum_i J_{\theta_k}(x_i)^\top \mu_{ki})\rVert^2 / \lVert f g\rVert^2$.

    The goal g is the weights or their displacement, the factors f are 1 unless given. Gradients are taken at the
    weights $\theta_k$, with one set of multipliers each: at the trained weights, and optionally at others.

    All restarts are measured at once. A chain of dense layers has its gradients in closed form (`Chain`); in any other
    network each restart gets a view of the parameters through `torch.func.vmap`, so that one backward pass gives every
    restart its sum of gradients.

    Args:
        model: Network with `SurrogateReLU` gates.
        goal: Target of the sum of gradients, of all parameters or of those to explain; the model's own weights when
            None.
        points: Weights at which gradients are taken; the model's own when None.
        factors: Factors on the differences by parameter, broadcast over its entries; 1 when None.
        batch_size: Candidates of each restart whose graph is held at once; all when None.

    Source: Haim et al., Reconstructing Training Data from Trained Neural Networks (2022), equation of the stationarity
    loss; Loo et al., Understanding Reconstruction Attacks with the Neural Tangent Kernel and Dataset Distillation
    (2024), equation of the reconstruction loss, for the displacement. The division by the goal is ours.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        goal: Parameters | None = None,
        points: Sequence[Parameters] | None = None,
        factors: Parameters | None = None,
        batch_size: int | None = None,
    ) -> None:
        self.model = model
        self.points = [named_parameters(model)] if points is None else list(points)
        wanted = named_parameters(model) if goal is None else goal
        self.names, self.goal = list(wanted), list(wanted.values())
        self.batch_size = batch_size
        self.factors = [1.0 if factors is None else factors[name] for name in self.names]
        weighted = zip(self.factors, self.goal, strict=True)
        self.energy = float(sum((factor * value).square().sum() for factor, value in weighted))
        self.is_chain = is_chain(model) and self.names == list(self.points[0])

    def __call__(self, x: Float[Tensor, "r m ..."], multipliers: Sequence[Multipliers]) -> Float[Tensor, " r"]:
        """Return the gap of each restart, differentiable in `x` and the raw multipliers."""
        return self._squared(self._rest(self._explained(x, multipliers, create_graph=True)))

    def measure(self, x: Float[Tensor, "r m ..."], multipliers: Sequence[Multipliers]) -> Float[Tensor, " r"]:
        """Return the gap of each restart, not differentiable, in batches."""
        return self._squared(self._rest(self.explained(x, multipliers)))

    def explained(self, x: Float[Tensor, "r m ..."], multipliers: Sequence[Multipliers]) -> list[Tensor]:
        """Return each restart's sum of weighted gradients, by parameter, added up batch by batch without a graph."""
        total: list[Tensor] = []
        for some in self._batches(x):
            batch_x, batch = x.detach()[:, some], [one.part(some) for one in multipliers]
            if self.is_chain:
                total = _added(total, self._pass(batch_x, batch)[0])
            else:
                total = _added(total, self._explained(batch_x, batch, create_graph=False))
        return total

    def gradients(
        self, x: Float[Tensor, "r m ..."], multipliers: Sequence[Multipliers]
    ) -> tuple[Float[Tensor, " r"], list[Tensor]]:
        """Return the gap of each restart and its gradient in `x` and in every raw multiplier, exact in batches.

        With batches, a first pass adds up the gradients without a graph; a second pass propagates the residual back
        to one batch of candidates after the other. This takes twice the time and the memory of one batch.
        """
        if self.batch_size is None:
            explained, back = self._pass(x, multipliers)
            rest = self._rest(explained)
            return self._squared(rest), back(self._pull(rest))
        rest = self._rest(self.explained(x, multipliers))
        pull = self._pull(rest)
        batches = []
        for some in self._batches(x):
            batch_x = x.detach()[:, some].requires_grad_()
            batch = [one.part(some) for one in multipliers]
            for value in _leaves(batch_x, batch):
                value.requires_grad_()
            batches.append(self._pass(batch_x, batch)[1](pull))
        return self._squared(rest), [torch.cat(parts, 1) for parts in zip(*batches, strict=True)]

    def _batches(self, x: Tensor) -> list[slice]:
        size = self.batch_size or x.shape[1]
        return [slice(start, start + size) for start in range(0, x.shape[1], size)]

    def _pass(self, x: Tensor, multipliers: Sequence[Multipliers]) -> tuple[list[Tensor], _Back]:
        """Return the sums of weighted gradients, detached, and their pullback to the leaves."""
        if self.is_chain:
            return self._chain_pass(x, multipliers)
        explained = self._explained(x, multipliers, create_graph=True)
        leaves = _leaves(x, multipliers)
        back = partial(torch.autograd.grad, explained, leaves)
        return [part.detach() for part in explained], lambda pull: list(back(pull))

    def _chain_pass(self, x: Tensor, multipliers: Sequence[Multipliers]) -> tuple[list[Tensor], _Back]:
        x, total, passes = x.detach(), [], []
        for weights, weighted in zip(self.points, multipliers, strict=True):
            chain = Chain(self.model, weights)
            cotangents = weighted.cotangents(chain.outputs(x))
            total = _added(total, chain.gradients(cotangents.detach()))
            passes.append((chain, cotangents, weighted.raw))

        def back(pull: list[Tensor]) -> list[Tensor]:
            slopes, raw_slopes = torch.zeros_like(x), []
            for chain, cotangents, raw in passes:
                slope, along = chain.derivative(pull)
                slopes += slope
                raw_slopes += torch.autograd.grad(cotangents, raw, along)
            return [slopes, *raw_slopes]

        return total, back

    def _explained(self, x: Tensor, multipliers: Sequence[Multipliers], *, create_graph: bool) -> list[Tensor]:
        """Return the sums of weighted gradients, by parameter, with a leading axis of restarts."""
        total: list[Tensor] = []
        for weights, weighted in zip(self.points, multipliers, strict=True):
            copies = {
                name: weights[name].expand(len(x), *weights[name].shape).detach().requires_grad_()
                for name in self.names
            }
            outputs = vmap(partial(self._call, weights))(copies, x).reshape(*x.shape[:2], -1)
            cotangents = weighted.cotangents(outputs)
            sums = torch.autograd.grad(outputs, list(copies.values()), cotangents, create_graph=create_graph)
            total = _added(total, sums)
        return total

    def _rest(self, explained: Sequence[Tensor]) -> list[Tensor]:
        return [part - goal for part, goal in zip(explained, self.goal, strict=True)]

    def _squared(self, rest: Sequence[Tensor]) -> Float[Tensor, " r"]:
        weighted = zip(self.factors, rest, strict=True)
        return (
            torch.stack([(factor * part).square().flatten(1).sum(1) for factor, part in weighted]).sum(0) / self.energy
        )

    def _pull(self, rest: Sequence[Tensor]) -> list[Tensor]:
        return [2 / self.energy * factor**2 * part for factor, part in zip(self.factors, rest, strict=True)]

    def _call(self, weights: Parameters, params: Parameters, x: Tensor) -> Tensor:
        return functional_call(self.model, weights | params, (x,))


def minimize_gap(
    gap: StationarityGap,
    x: Float[Tensor, "r m ..."],
    multipliers: Sequence[Multipliers],
    *,
    lr_x: float,
    lr_multipliers: float,
    n_iter: int,
    relu_alpha: tuple[float, float],
    beta2: float,
    progress: bool = False,
) -> tuple[Float[Tensor, "r m ..."], list[Multipliers], Float[Tensor, " r"], list[float]]:
    """Minimise the gap over candidates and multipliers with Adam while the gates sharpen.

    The learning rates fall to zero along a cosine; the sharpness of the gates grows geometrically.

    Args:
        gap: Function to minimise.
        x: Starting points of each restart.
        multipliers: Initial multipliers, one set for each of the gap's points.
        lr_x: Learning rate of the candidates.
        lr_multipliers: Learning rate of the raw multipliers.
        n_iter: Steps.
        relu_alpha: Sharpness of the gates at the start and at the end.
        beta2: Decay of Adam's second moment.
        progress: Draw a bar on standard error.

    Returns:
        Candidates, multipliers, the final gap of each restart, and the mean gap at up to 101 steps.

    Raises:
        NumericalError: The gap is NaN or infinite.
    """
    x = x.clone().requires_grad_()
    multipliers = [one.at([value.clone().requires_grad_() for value in one.raw]) for one in multipliers]
    leaves = _leaves(x, multipliers)
    groups = [{"params": [x], "lr": lr_x}, {"params": leaves[1:], "lr": lr_multipliers}]
    optimizer = torch.optim.Adam(groups, betas=(0.9, beta2), fused=True)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, n_iter)
    history = []
    low, high = relu_alpha
    for step in track(range(n_iter), "searching", enabled=progress):
        set_sharpness(gap.model, low * (high / low) ** (step / n_iter))
        gaps, gradients = gap.gradients(x, multipliers)
        for leaf, gradient in zip(leaves, gradients, strict=True):
            leaf.grad = gradient.contiguous()  # fused Adam reads any other layout in the wrong order
        optimizer.step()
        schedule.step()
        if step % max(1, n_iter // 100) == 0:
            history.append(gaps.mean().item())
    set_sharpness(gap.model, high)
    multipliers = [one.part(slice(None)) for one in multipliers]
    final = gap.measure(x, multipliers)
    if not torch.isfinite(final).all():
        raise NumericalError("the search diverged: the stationarity gap is NaN or infinite; lower lr_x")
    return x.detach(), multipliers, final, [*history, final.mean().item()]


def _added(total: Sequence[Tensor], parts: Sequence[Tensor]) -> list[Tensor]:
    """Add lists of tensors entry by entry; the empty list counts as zero."""
    return [one + part for one, part in zip(total, parts, strict=True)] if total else list(parts)


def _leaves(x: Tensor, multipliers: Sequence[Multipliers]) -> list[Tensor]:
    return [x, *(value for one in multipliers for value in one.raw)]
