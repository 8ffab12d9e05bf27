"""Comparison of two networks, layer by layer."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from assay.core import (
    InvalidInputError,
    as_generator,
    check_choice,
    check_count,
    check_finite,
    check_samples,
    layer_names,
    track,
)
from assay.representation.similarity.kernels import centred_kernel
from assay.representation.similarity.layer_maps import SimilarityMap
from assay.representation.similarity.reading import Reader, all_prepared
from assay.representation.similarity.subspaces import (
    Basis,
    basis_of,
    explained_variance,
    mean_correlation,
    nuclear_cosine,
    weighted_correlation,
)
from assay.representation.similarity.units import matching_similarity

SimilarityName = Literal[
    "cka",
    "cka_biased",
    "rbf_cka",
    "cca",
    "svcca",
    "pwcca",
    "procrustes",
    "linear_regression",
    "bipartite",
    "semi",
]
KERNELS: dict[str, dict[str, Any]] = {
    "cka": {"unbiased": True},
    "cka_biased": {},
    "rbf_cka": {"bandwidth": 0.8},
}
MOST_ROWS = 1024


@dataclass(frozen=True)
class _Measure:
    """Similarity in two steps: what is computed once for each layer, and what for each pair of layers."""

    prepare: Callable[[Tensor], Any]
    score: Callable[[Any, Any], float]


def _same(x: Tensor) -> Tensor:
    return x


MEASURES = {
    "cca": _Measure(basis_of, mean_correlation),
    "svcca": _Measure(partial(basis_of, variance=0.99), mean_correlation),
    "pwcca": _Measure(partial(basis_of, features=True), weighted_correlation),
    "procrustes": _Measure(basis_of, nuclear_cosine),
    "linear_regression": _Measure(basis_of, explained_variance),
    "bipartite": _Measure(_same, matching_similarity),
    "semi": _Measure(_same, partial(matching_similarity, method="semi")),
}


def compare_networks(
    model_a: nn.Module,
    model_b: nn.Module,
    x: Shaped[Tensor, "n *d"],
    layers_a: Sequence[str] | None = None,
    layers_b: Sequence[str] | None = None,
    *,
    method: SimilarityName = "cka",
    pool: Literal["flatten", "mean"] = "flatten",
    n_permutations: int = 19,
    n_rows: int | None = None,
    batch_size: int = 256,
    generator: torch.Generator | None = None,
    progress: bool = False,
) -> SimilarityMap:
    r"""Compare each layer of one network with each layer of another on the same samples.

    "cka" is the unbiased linear CKA of mini-batches, $\sum_t \mathrm{HSIC}_1(K_t, L_t) / \sqrt{\sum_t
    \mathrm{HSIC}_1(K_t, K_t) \sum_t \mathrm{HSIC}_1(L_t, L_t)}$: memory stays that of one batch, and all samples
    count. The others compare a random subset of the samples at once. A similarity says little without its level by
    chance: the same figures are computed after the samples of the second network were permuted.

    Args:
        model_a: First network; it comes back as it was.
        model_b: Second network, of any architecture; the first may be compared with itself.
        x: Samples; integers for networks that read tokens.
        layers_a: Layers of the first network by name; all that `core.layer_names` lists by default.
        layers_b: Layers of the second network.
        method: "cka", "cka_biased", "rbf_cka" (see `linear_cka`, `rbf_cka`), "cca" (`mean_cca`), "svcca", "pwcca",
            "procrustes", "linear_regression" (b from a), "bipartite" or "semi" (`matching_similarity`).
        pool: A sample's representation: all entries of the layer's output, or units averaged over positions.
        n_permutations: Permutations of the samples; 19 are the fewest that can give a p-value of 0.05.
        n_rows: Samples to compare, drawn at random where there are more. By default all for "cka", at most 1024 for
            the others.
        batch_size: Samples a forward pass; for "cka" also those of a mini-batch, on which the estimate depends a
            little.
        generator: Source of the subset and of the permutations; a fixed seed by default.
        progress: Draw a bar on standard error.

    Returns:
        The map, with p-values and the 95% level of chance for each pair of layers.

    Raises:
        InvalidInputError: A model, `x`, a layer or an option is unusable, a layer is constant, there are fewer than
            four samples, or a layer has too many dimensions for these samples and this method.
        NumericalError: A layer's output or a similarity is NaN or infinite.

    Cost: for m = n_rows, p = n_permutations and l layers in each network, "cka": n forward passes, time O(m batch_size
    (l h + p l²)), memory O(l batch_size (h + batch_size)) for h entries of an output. Others: memory O(l m²) and 1 GiB
    of outputs, with as many passes as that needs; time O(l m² h) and p l² times the method's for matrices of m rows.

    Source: Nguyen, Raghu and Kornblith, "Do Wide and Deep Networks Learn the Same Things?" (2021), section 3,
    mini-batch CKA. The permutation null is ours.

    >>> from assay.nets import mlp
    >>> nets = [mlp((4, 8, 3), generator=torch.Generator().manual_seed(seed)) for seed in (0, 1)]
    >>> found = compare_networks(*nets, torch.randn(100, 4), method="linear_regression")
    >>> found.values.shape, found.layers_a
    (torch.Size([3, 3]), ('0', '1', '2'))
    """
    x = check_samples(x, tokens=True)
    check_choice(method, (*KERNELS, *MEASURES), "method")
    check_choice(pool, ("flatten", "mean"), "pool")
    for value, name in ((n_permutations, "n_permutations"), (batch_size, "batch_size")):
        check_count(value, name)
    source = as_generator(generator)
    x = _subset(x, n_rows if n_rows is not None else len(x) if method == "cka" else MOST_ROWS, source)
    readers = [
        Reader(model, tuple(layers if layers is not None else layer_names(model, x)), pool, batch_size)
        for model, layers in ((model_a, layers_a), (model_b, layers_b))
    ]
    if method in KERNELS:
        # Batches of sizes that differ by one at most: a small rest would be noise.
        parts = x.tensor_split(-(-len(x) // max(batch_size, 4))) if method == "cka" else (x,)
        values = _alignments(readers, parts, KERNELS[method], n_permutations, source, progress)
    else:
        parts = (x,)
        values = _similarities(readers, x, MEASURES[method], n_permutations, source, progress)
    check_finite(values, "the similarity of layers")
    values = values.to(torch.float32 if not x.is_floating_point() else torch.promote_types(x.dtype, torch.float32))
    names = readers[0].layers, readers[1].layers
    return SimilarityMap(method, *names, values[0], values[1:], len(x), max(map(len, parts)))


def _subset(x: Tensor, n_rows: int, source: torch.Generator) -> Tensor:
    if len(x) < 4:
        raise InvalidInputError(f"the similarity needs 4 samples or more, got {len(x)}")
    check_count(n_rows, "n_rows", at_least=4)
    if len(x) <= n_rows:
        return x
    return x[torch.randperm(len(x), generator=source, device=source.device)[:n_rows].sort().values.to(x.device)]


def _orders(n: int, n_permutations: int, source: torch.Generator, device: torch.device) -> list[Tensor]:
    """Return the order as it is, then random ones."""
    drawn = [torch.randperm(n, generator=source, device=source.device).to(device) for _ in range(n_permutations)]
    return [torch.arange(n, device=device), *drawn]


def _alignments(
    readers: list[Reader],
    parts: Sequence[Tensor],
    options: dict[str, Any],
    n_permutations: int,
    source: torch.Generator,
    progress: bool,
) -> Float[Tensor, "k a b"]:
    """Return CKA in the given order of the samples, then in permuted ones, from sums over mini-batches."""
    products: Any = 0.0
    squares: list[Any] = [0.0, 0.0]
    for part in track(parts, "comparing layers", total=len(parts), enabled=progress):
        n = len(part)
        weight = 1 / (n * (n - 3)) if options.get("unbiased") else 1 / (n - 1) ** 2
        prepare = partial(centred_kernel, **options)
        first, second = (torch.stack(list(all_prepared(reader, part, prepare))) for reader in readers)
        orders = _orders(n, n_permutations, source, part.device)
        moved = (second[:, order][:, :, order].flatten(1).T for order in orders)
        products = products + weight * torch.stack([first.flatten(1) @ each for each in moved])
        squares = [
            total + weight * kernels.square().sum((1, 2))
            for total, kernels in zip(squares, (first, second), strict=True)
        ]
    for total, reader in zip(squares, readers, strict=True):
        if not (total > 0).all():
            name = reader.layers[int((total <= 0).nonzero()[0])]
            raise InvalidInputError(f"layer {name!r} has no variance left after centring; leave it out")
    return products / torch.outer(squares[0].sqrt(), squares[1].sqrt())


def _similarities(
    readers: list[Reader], x: Tensor, measure: _Measure, n_permutations: int, source: torch.Generator, progress: bool
) -> Float[Tensor, "k a b"]:
    """Return the similarity of each pair of layers in the given order of the samples, then in permuted ones."""
    first, second = (list(all_prepared(reader, x, measure.prepare)) for reader in readers)
    orders = _orders(len(x), n_permutations, source, x.device)
    values = torch.zeros(len(orders), len(first), len(second), dtype=torch.float64, device=x.device)
    for column, other in enumerate(track(second, "comparing layers", total=len(second), enabled=progress)):
        for place, order in enumerate(orders):
            moved = other.permuted(order) if isinstance(other, Basis) else other[order]
            for row, own in enumerate(first):
                values[place, row, column] = measure.score(own, moved)
    return values
