"""Gradient coherence: how far the gradients of samples agree (Chatterjee and Zielinski, 2022)."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
from jaxtyping import Float, Int64, Shaped
from torch import Tensor, nn

from assay.core import (
    GradientMoments,
    LossFunction,
    NumericalError,
    Parameters,
    check_choice,
    check_count,
    check_finite,
    check_pairs,
    flatten,
    gradient_moments,
    jacobian_vector_product,
    mean_over_samples,
    named_parameters,
    preserved,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True, eq=False)
class LayerCoherence:
    """Coherence in the parameters of one layer.

    Attributes:
        alpha: Coherence there; 0 where all its gradients are zero.
        share: Its share of the mean squared norm of a gradient: the whole network's coherence is the sum of
            `alpha * share` over layers.
    """

    alpha: float
    share: float


@dataclass(frozen=True, eq=False)
class GradientCoherence:
    r"""Coherence of the gradients $g_1, \dots, g_n$ of n samples.

    Attributes:
        alpha: $\alpha = \lVert \frac1n \sum_i g_i \rVert^2 / \frac1n \sum_i \lVert g_i \rVert^2$; 1 where all
            gradients are equal, 1/n where they are orthogonal.
        pair_alpha: The mean of $g_i \cdot g_j$ over pairs of different samples, over the mean of $\lVert g_i \rVert^2$:
            zero in the mean for independent gradients without a common direction; None for one sample.
        layers: Coherence of each layer, by the name of the module that holds its parameters.
        norms: $\lVert g_i \rVert$ of each sample.
        alignments: Cosine of each sample's gradient with the sum of the others': negative where a step that lowers
            their loss raises its own. None where it was not asked for.
        gradient_norm: Norm of the mean gradient.
    """

    alpha: float
    pair_alpha: float | None
    layers: Mapping[str, LayerCoherence]
    norms: Float[Tensor, " n"]
    alignments: Float[Tensor, " n"] | None
    gradient_norm: float

    @property
    def n_samples(self) -> int:
        """Number of samples n: alpha depends on it, so compare coherences of equally many."""
        return len(self.norms)

    @property
    def m_coherence(self) -> float:
        r"""Number of samples that a step along one sample's gradient helps, itself included: $n \alpha$.

        It is 1 where the gradients are orthogonal, n where they are equal, and below 1 where they oppose each other.
        """
        return self.n_samples * self.alpha

    def hardest(self, k: int = 10, *, by: Literal["norm", "alignment"] = "norm") -> Int64[Tensor, " k"]:
        """Return the places of the hardest samples, hardest first.

        Args:
            k: How many; all where there are fewer.
            by: "norm" for the largest gradients, "alignment" for those that oppose the others' most.

        Raises:
            InvalidInputError: `k` is not a positive number, or alignments were not computed.

        >>> report = GradientCoherence(0.5, 0.0, {}, torch.tensor([1.0, 3.0]), torch.tensor([0.2, 0.1]), 1.0)
        >>> report.hardest(1).tolist()
        [1]
        """
        check_count(k, "k")
        check_choice(by, ("norm",) if self.alignments is None else ("norm", "alignment"), "by")
        hardness = self.norms if by == "norm" or self.alignments is None else -self.alignments
        return hardness.sort(descending=True, stable=True).indices[:k]

    def __str__(self) -> str:
        opposed = ""
        if self.alignments is not None:
            opposed = f" {int((self.alignments < 0).sum())} gradients point against the sum of the others."
        top = max(self.layers.items(), key=lambda item: item[1].share)
        return (
            f"m-coherence {self.m_coherence:.3g} over {self.n_samples} samples (alpha {self.alpha:.3g}): a step along "
            f"one sample's gradient helps as many. {top[1].share:.0%} of the squared norm lies in {top[0]}, with alpha "
            f"{top[1].alpha:.3g}.{opposed}"
        )

    def plot(self, ax: "Axes | None" = None) -> "Axes":
        """Draw each sample's gradient norm, against its alignment or in order, and return the axes."""
        import matplotlib.pyplot as plt

        axes = plt.subplots()[1] if ax is None else ax
        if self.alignments is None:
            axes.plot(self.norms.sort(descending=True).values.cpu())
            axes.set(xlabel="samples, hardest first", ylabel="gradient norm", yscale="log")
            return axes
        axes.plot(self.alignments.cpu(), self.norms.cpu(), ".", markersize=4)
        axes.axvline(0, color="0.5", linewidth=0.8)
        axes.set(xlabel="cosine with the sum of the other gradients", ylabel="gradient norm", yscale="log")
        return axes


def gradient_coherence(
    model: nn.Module,
    x: Shaped[Tensor, "n *d"],
    y: Tensor,
    *,
    loss: LossFunction,
    params: Literal["trainable", "all"] | Collection[str] = "trainable",
    alignments: bool = True,
    batch_size: int = 64,
) -> GradientCoherence:
    r"""Compute the coherence of gradients, $\alpha = \lVert \bar g \rVert^2 / \frac1n \sum_i \lVert g_i \rVert^2$.

    All networks and layers that `gradient_moments` takes; batch-norm in evaluation mode, where samples do not interact.
    Near zero loss few samples have gradients at all, and alpha is that of these few.

    Args:
        model: Network; evaluated in evaluation mode, it comes back as it was.
        x: Inputs; integers for a network that reads tokens.
        y: Targets.
        loss: Mean loss over samples.
        params: "trainable" leaves out parameters with `requires_grad=False`, unless all have it; "all" takes all; else
            names of layers and parameters: the coherence is then that of their gradients.
        alignments: Whether to compare each sample's gradient with the others', too.
        batch_size: Samples differentiated at once.

    Returns:
        The coherence, of the network and of each layer, and the norm and alignment of each sample's gradient.

    Raises:
        InvalidInputError: The model, the data or the loss are unusable; the message says why.
        NumericalError: All gradients are zero, NaN or infinite.

    Cost: that of `gradient_moments`, about n forward and backward passes in batches, and with alignments one product
    with the Jacobian more; memory O(p) and the activations of `batch_size` samples. No gradient of one sample is kept.

    Source: Chatterjee and Zielinski, On the Generalization Mystery in Deep Learning (2022), arXiv 2203.10036, the
    section on the coherence metric. The alignment of one sample is ours: n `alpha` is a mean of its parts.

    >>> from assay.core import squared_error
    >>> same = gradient_coherence(nn.Linear(2, 1), torch.ones(4, 2), torch.zeros(4), loss=squared_error)
    >>> round(same.m_coherence, 4), [round(value, 4) for value in same.alignments.tolist()]
    (4.0, [1.0, 1.0, 1.0, 1.0])
    """
    x, y = check_pairs(x, y, tokens=True)
    mean = mean_over_samples(loss, model, x, y)
    moments = gradient_moments(model, x, y, mean, params=params, batch_size=batch_size)
    with torch.inference_mode(False):
        return _report(moments, _products(model, x, y, mean, moments.mean, batch_size) if alignments else None)


def _products(
    model: nn.Module, x: Tensor, y: Tensor, mean: LossFunction, direction: Parameters, batch_size: int
) -> Float[Tensor, " n"]:
    """Return the product of each sample's gradient and a direction: the slope of its loss along it."""
    every = named_parameters(model)
    vector = flatten({name: direction.get(name, torch.zeros_like(value)).to(value) for name, value in every.items()})
    found = []
    for samples, targets in zip(x.split(batch_size), y.split(batch_size), strict=True):
        moved = jacobian_vector_product(model, samples, vector, params="all")
        with preserved(model), torch.no_grad():
            outputs = model(samples)
        with torch.enable_grad():
            outputs = outputs.detach().requires_grad_()
            (slopes,) = torch.autograd.grad(mean(outputs, targets) * len(samples), outputs)
        found.append((slopes.double() * moved.double()).reshape(len(samples), -1).sum(1))
    return torch.cat(found)


def _report(moments: GradientMoments, products: Float[Tensor, " n"] | None) -> GradientCoherence:
    squares = {name: value.double() for name, value in moments.square_norms.items()}
    means = {name: value.double().square().sum() for name, value in moments.mean.items()}
    layers: dict[str, list[str]] = {}
    for name in squares:
        layers.setdefault(name.rpartition(".")[0] or name, []).append(name)
    whole = torch.stack(list(squares.values())).sum(0)
    mean_square, square_mean = whole.mean(), torch.stack(list(means.values())).sum()
    check_finite(torch.stack([mean_square, square_mean]), "the gradients")
    if not mean_square > 0:
        raise NumericalError(
            "the gradients of all samples are zero, and coherence compares them; take samples that the network does "
            "not fit perfectly, or weights before training"
        )
    parts = {}
    for layer, names in layers.items():
        own = torch.stack([squares[name].mean() for name in names]).sum()
        common = torch.stack([means[name] for name in names]).sum()
        parts[layer] = LayerCoherence(float(common / own) if own > 0 else 0.0, float(own / mean_square))
    n, alpha = len(whole), float(square_mean / mean_square)
    return GradientCoherence(
        alpha=alpha,
        pair_alpha=(n * alpha - 1) / (n - 1) if n > 1 else None,
        layers=parts,
        norms=moments.norms,
        alignments=None if products is None else _cosines(products, whole, square_mean).to(moments.norms),
        gradient_norm=float(square_mean.sqrt()),
    )


def _cosines(
    products: Float[Tensor, " n"], squares: Float[Tensor, " n"], square_mean: Float[Tensor, ""]
) -> Float[Tensor, " n"]:
    """Return the cosine of each gradient with the sum of the others; 0 where one of them is zero."""
    n = len(squares)
    to_others = n * products - squares
    others = (n**2 * square_mean - 2 * n * products + squares).clamp(min=0)
    lengths = (squares * others).sqrt()
    # What is left of a sum of gradients that cancel is rounding.
    known = (squares > 0) & (others.sqrt() > 1e-6 * squares.sqrt().sum())
    return torch.where(known, to_others / lengths.clamp(min=torch.finfo(lengths.dtype).tiny), 0.0).clamp(-1, 1)
