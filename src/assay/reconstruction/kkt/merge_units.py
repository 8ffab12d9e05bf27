"""Merging of parallel hidden units, which leaves the stationarity loss of the network unchanged."""

from dataclasses import dataclass

import numpy as np
import torch
from scipy.cluster.hierarchy import fcluster, linkage
from torch import Tensor, nn

from assay.core import InvalidInputError, check_model, unwrapped
from assay.reconstruction.kkt.data_span import dense_layer
from assay.reconstruction.kkt.surrogate import SurrogateReLU

_PASSIVE = (nn.Flatten, nn.Identity, nn.Dropout)


@dataclass(frozen=True, eq=False)
class MergedUnits:
    """Hold a network with merged units.

    Attributes:
        model: Copy with fewer hidden units and `SurrogateReLU` gates, their sharpness scaled to the merged units.
        widths: Remaining hidden units of each layer.
        lost: Fraction of the energy of the parameters that merging discarded.
    """

    model: nn.Sequential
    widths: tuple[int, ...]
    lost: float


def merge_parallel_units(model: nn.Module, *, tolerance: float = 3e-3, negligible: float = 1e-4) -> MergedUnits:
    r"""Merge hidden units that are multiples of one another, and drop negligible ones.

    Units $(w_j, b_j, v_j)$ with equal gates on the training data end training parallel:
    $w_j = c_j w$, $b_j = c_j b$, $v_j = c_j v$ with $c_j > 0$ and $v_j$ the outgoing weights. A single unit with
    $c^2 = \sum_j c_j^2$ computes the same function and has the same stationarity loss for any inputs and gates, at
    the cost of the distinct units only. The sharpness of its gate is divided by the growth of the unit, so that gates
    stay the same.

    Args:
        model: `nn.Sequential` of `nn.Linear` and `nn.ReLU` in turn, ending with `nn.Linear`; what changes no number in
            evaluation mode (`nn.Flatten`, `nn.Identity`, `nn.Dropout`) is left out.
        tolerance: Largest difference of merged directions, on average, as 1 - cosine.
        negligible: Fraction of the energy of the parameters that may be dropped with the weakest units of a layer.

    Returns:
        The smaller network, its widths and the energy that it lacks.

    Raises:
        InvalidInputError: The network is not of that form, or its weights are all zero.

    >>> net = nn.Sequential(nn.Linear(2, 2, bias=False), nn.ReLU(), nn.Linear(2, 1, bias=False))
    >>> net[0].weight.data = torch.tensor([[3.0, 3.0], [4.0, 4.0]])
    >>> net[2].weight.data = torch.tensor([[3.0, 4.0]])
    >>> small = merge_parallel_units(net)
    >>> small.widths, small.model(torch.ones(1, 2)).item() == net(torch.ones(1, 2)).item()
    ((1,), True)
    """
    dense = _dense_layers(model)
    weights = [layer.weight.detach().double().cpu().numpy() for layer in dense]
    biases = [None if layer.bias is None else layer.bias.detach().double().cpu().numpy() for layer in dense]
    before = _energy(weights, biases)
    if before == 0:
        raise InvalidInputError("the weights of the network are all zero; pass a trained network")
    layers: list[nn.Module] = []
    for k in range(len(dense) - 1):
        bias = biases[k]
        incoming = weights[k] if bias is None else np.column_stack([weights[k], bias])
        incoming, weights[k + 1], growth = _merge_units(incoming, weights[k + 1], tolerance, negligible * before)
        weights[k], biases[k] = (incoming, None) if bias is None else (incoming[:, :-1], incoming[:, -1])
        sharpness = torch.as_tensor(1 / growth).to(dense[0].weight)
        layers += [_linear(weights[k], biases[k], dense[0].weight), SurrogateReLU(scale=sharpness)]
    layers.append(_linear(weights[-1], biases[-1], dense[0].weight))
    widths = tuple(len(weight) for weight in weights[:-1])
    return MergedUnits(nn.Sequential(*layers), widths, 1 - _energy(weights, biases) / before)


def _dense_layers(model: nn.Module) -> list[nn.Linear]:
    """Return the dense layers of a network that alternates them with ReLU."""
    check_model(model)
    network = unwrapped(model)
    is_plain = isinstance(network, nn.Sequential) and type(network).forward is nn.Sequential.forward
    layers = [layer for layer in network.children() if not isinstance(layer, _PASSIVE)] if is_plain else []
    dense, gates = layers[::2], layers[1::2]
    found = [layer for layer in dense if isinstance(layer, nn.Linear)]
    if len(layers) % 2 == 0 or len(found) < len(dense) or not all(isinstance(gate, nn.ReLU) for gate in gates):
        names = f" of {', '.join(type(layer).__name__ for layer in layers[:6])}" if layers else ""
        raise InvalidInputError(
            f"units are merged in an nn.Sequential of nn.Linear and nn.ReLU in turn, got {type(network).__name__}"
            f"{names}; dense_head(model, x) returns the dense end of a network in that form"
        )
    return found


def _merge_units(
    incoming: np.ndarray, outgoing: np.ndarray, tolerance: float, budget: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the merged incoming rows and outgoing columns, and the ratio of each row's length to its members'."""
    length, weight = np.linalg.norm(incoming, axis=1), np.linalg.norm(outgoing, axis=0)
    energy = length**2 + weight**2
    order = np.argsort(energy)
    droppable = np.cumsum(energy[order]) < budget
    droppable[-1] = False
    kept = np.sort(order[~droppable])
    incoming, outgoing, length, weight = incoming[kept], outgoing[:, kept], length[kept], weight[kept]
    if len(kept) == 1:
        return incoming, outgoing, np.ones(1)
    tiny = np.finfo(float).tiny
    directions = np.hstack([incoming / (length[:, None] + tiny), (outgoing / (weight + tiny)).T])
    groups = fcluster(linkage(directions, "average"), np.sqrt(2 * tolerance), "distance")
    member = np.eye(groups.max())[groups - 1]
    squared = member.T @ length**2
    rows = member.T @ (incoming * length[:, None]) / np.sqrt(squared + tiny)[:, None]
    columns = (outgoing * weight) @ member / np.sqrt(member.T @ weight**2 + tiny)
    longest = np.sqrt(member.T @ length**4)
    return rows, columns, np.divide(squared, longest, out=np.ones(len(squared)), where=longest > 0)


def _linear(weight: np.ndarray, bias: np.ndarray | None, like: Tensor) -> nn.Linear:
    return dense_layer(torch.as_tensor(weight).to(like), None if bias is None else torch.as_tensor(bias).to(like))


def _energy(weights: list[np.ndarray], biases: list[np.ndarray | None]) -> float:
    return float(sum((value**2).sum() for value in [*weights, *biases] if value is not None))
