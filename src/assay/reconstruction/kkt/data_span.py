"""Span of the training data, estimated from the singular values and vectors of the first layer's weight."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from assay.core import InvalidInputError, check_model, copy_network, unwrapped
from assay.reconstruction.kkt.input_layer import first_dense_layer


@dataclass(frozen=True, eq=False)
class DataSpan:
    """Hold a network with its first layer in a basis of the span of its training data.

    Attributes:
        model: Copy of the network on coordinates `c` instead of inputs `x = c V`.
        basis: Orthonormal rows `V`, the strongest right singular vectors of the first layer's weight.
        lost: Energy of the first layer outside the span, a constant of the stationarity loss.
    """

    model: nn.Module
    basis: Float[Tensor, "r d"]
    lost: float


def compress_first_layer(model: nn.Module, rank: int) -> DataSpan:
    r"""Write the first dense layer in the basis of its strongest right singular vectors.

    Apart from the remains of the initialisation, every row of $W_1$ is a combination of training inputs. With
    $x = c V$ and $W_1$ replaced by $W_1 V^\top$ the network computes the same function on that span, and for
    candidates in it the stationarity loss is the full loss minus the constant $\lVert W_1 (I - V^\top V)\rVert^2$.

    Args:
        model: Network whose first parameters belong to an `nn.Linear`.
        rank: Dimension of the span.

    Raises:
        InvalidInputError: The first layer is not dense, its weights cannot be used, or `rank` is out of range.

    >>> net = nn.Sequential(nn.Linear(8, 4), nn.ReLU(), nn.Linear(4, 1))
    >>> compress_first_layer(net, 3).model(torch.zeros(2, 3)).shape
    torch.Size([2, 1])
    """
    check_model(model)
    model = unwrapped(model)
    layer = first_dense_layer(model)[1]
    basis = span(layer.weight.detach(), rank)
    narrow = write_in_basis(model, basis)
    kept = first_dense_layer(narrow)[1].weight.detach()
    return DataSpan(narrow, basis, float(layer.weight.detach().square().sum() - kept.square().sum()))


def span(weight: Float[Tensor, "h d"], rank: int) -> Float[Tensor, "r d"]:
    """Return the strongest right singular vectors of a matrix, as rows.

    Raises:
        InvalidInputError: `rank` is out of range.

    >>> span(torch.tensor([[0.0, 2.0], [0.0, 1.0]]), 1).abs()
    tensor([[0., 1.]])
    """
    if not 1 <= rank <= min(weight.shape):
        raise InvalidInputError(
            f"subspace must be between 1 and {min(weight.shape)} for a first layer of shape {tuple(weight.shape)}, "
            f"got {rank}; use 'auto' to choose it from the weights"
        )
    return torch.linalg.svd(weight.double(), full_matrices=False)[2][:rank].to(weight)


def write_in_basis(model: nn.Module, basis: Float[Tensor, "r d"]) -> nn.Module:
    """Copy a network and write its first dense layer in coordinates of a basis.

    >>> write_in_basis(nn.Linear(3, 2), torch.eye(3)[:1]).in_features
    1
    """
    name, layer = first_dense_layer(model)
    narrow = dense_layer(layer.weight.detach() @ basis.T, None if layer.bias is None else layer.bias.detach())
    if not name:
        return narrow
    twin = copy_network(model)
    parent, _, leaf = name.rpartition(".")
    setattr(twin.get_submodule(parent), leaf, narrow)
    return twin


def dense_layer(weight: Float[Tensor, "h d"], bias: Float[Tensor, " h"] | None) -> nn.Linear:
    """Build a frozen layer with given weights, without a draw from the global random state.

    >>> dense_layer(torch.ones(2, 3), None).weight.shape
    torch.Size([2, 3])
    """
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None, device="meta")
    layer.weight = nn.Parameter(weight.clone(), requires_grad=False)
    if bias is not None:
        layer.bias = nn.Parameter(bias.clone(), requires_grad=False)
    return layer


@dataclass(frozen=True)
class NoiseFloor:
    """Hold where the spectrum of a weight matrix sinks into its initialisation.

    Attributes:
        rank: Number of singular values above the floor.
        near: Number of those that lie within twice the floor.
        edge: The floor: the largest singular value that the initialisation explains.
        size: Number of singular values.
    """

    rank: int
    near: int
    edge: float
    size: int


def noise_rank(weight: Float[Tensor, "h d"], *, quantile: float = 0.25, slack: float = 1.05) -> int:
    """Return the number of singular values of a weight matrix above the edge of `noise_floor`, at least 1.

    Args:
        weight: Weight of the first layer.
        quantile: Quantile of the spectrum that sets the scale of the noise; low, since the top belongs to the data.
        slack: Factor on the edge.

    Raises:
        InvalidInputError: The weight is no matrix, or is empty.

    >>> noise = torch.randn(50, 80, generator=torch.Generator().manual_seed(0))
    >>> signal = torch.zeros(50, 80)
    >>> signal[:5, :5] = 100 * torch.eye(5)
    >>> noise_rank(noise + signal)
    5
    """
    return max(1, noise_floor(weight, quantile=quantile, slack=slack).rank)


def noise_floor(weight: Float[Tensor, "h d"], *, quantile: float = 0.25, slack: float = 1.05) -> NoiseFloor:
    r"""Find the edge of the spectrum that the initialisation of a weight matrix explains.

    Training adds a matrix of rank n to an initialisation with independent entries, whose singular values follow the
    Marchenko-Pastur law: a low quantile of the spectrum gives its scale, and its upper edge is
    $\sigma(\sqrt{h} + \sqrt{d})$. Singular values above the edge come from the data, so their count estimates n (one
    less for centred data). The estimate is repeated on the rest of the spectrum until the count is stable. If the
    initialisation has decayed to zero, only rounding is left, at most $16 \epsilon \lVert W \rVert_F$ with the
    $\epsilon$ of float32, in which most networks are trained or stored.

    Args:
        weight: Weight of the first layer.
        quantile: Quantile of the spectrum that sets the scale of the noise; low, since the top belongs to the data.
        slack: Factor on the edge.

    Returns:
        The edge, and the singular values above and just above it.

    Raises:
        InvalidInputError: The weight is no matrix, or is empty.

    Source: Marchenko and Pastur, Distribution of Eigenvalues for Some Sets of Random Matrices (1967), main theorem,
    for the law; the iteration is ours.

    >>> noise_floor(torch.diag(torch.tensor([9.0, 5.0, 1e-8, 1e-8]))).rank
    2
    """
    if weight.ndim != 2 or not weight.numel():
        raise InvalidInputError(
            f"weight must be a matrix (h, d) with at least one row and column, got shape {tuple(weight.shape)}; pass "
            "the weight of a dense layer"
        )
    values = torch.linalg.svdvals(weight.detach().double()).cpu().numpy()
    short, long = len(values), max(weight.shape)
    edge = rounding = 16 * float(np.finfo(np.float32).eps) * float(np.linalg.norm(values))
    count = 0
    for _ in range(short):
        ratio = (short - count) / (long - count)
        sigma = float(np.quantile(values[count:], quantile)) / _bulk_quantile(ratio, quantile)
        edge = max(slack * sigma * (1 + math.sqrt(ratio)), rounding)
        found = min(int((values > edge).sum()), short - 1)
        if found == count:
            break
        count = found
    return NoiseFloor(count, int((values[:count] < 2 * edge).sum()), edge, short)


def _bulk_quantile(ratio: float, quantile: float) -> float:
    """Return a quantile of the Marchenko-Pastur law for singular values over sigma times the root of the longer side.

    Args:
        ratio: Shorter side by longer side.
        quantile: Between 0 and 1.
    """
    low, high = 1 - math.sqrt(ratio), 1 + math.sqrt(ratio)
    values = np.linspace(low, high, 4002)[1:-1]
    density = np.sqrt((high**2 - values**2) * (values**2 - low**2)) / values
    mass = np.cumsum(density)
    return float(values[np.searchsorted(mass, quantile * mass[-1])])
