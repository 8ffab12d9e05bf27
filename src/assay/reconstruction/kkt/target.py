"""Target of the search: the network in coordinates of the data's span, and the sum that gradients must match."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from assay.core import InvalidInputError, Parameters, copy_network, named_parameters, unwrapped_state
from assay.reconstruction.kkt.assumptions import imbalance, used_parameters
from assay.reconstruction.kkt.data_span import NoiseFloor, noise_floor, span, write_in_basis
from assay.reconstruction.kkt.input_layer import first_dense_layer, first_layer, from_first_layer
from assay.reconstruction.kkt.merge_units import merge_parallel_units
from assay.reconstruction.kkt.surrogate import with_surrogate_relu


@dataclass(frozen=True, eq=False)
class Target:
    """Hold the network of the search, its goal, and the map from its inputs back to the user's.

    Attributes:
        model: Network with `SurrogateReLU` gates that takes coordinates.
        goal: Target of the sum of gradients, of the parameters that are trained and used.
        points: Weights at which gradients are taken.
        n_outputs: Outputs of the network.
        coordinates: Shape of one candidate in the search.
        shape: Shape of one reconstruction.
        basis: Orthonormal rows that span the search space; None where all inputs are searched.
        rank: Dimension of the span of the data.
        floor: Noise floor of the first trained dense layer; None without such a layer.
        lost: Energy of the weights to explain that lies outside the search space.
        imbalance: Imbalance of the layers; None where weights need not be balanced.
        left_out: Names of the parameters that are not to be explained.
    """

    model: nn.Module
    goal: Parameters
    points: tuple[Parameters, ...]
    n_outputs: int
    coordinates: tuple[int, ...]
    shape: tuple[int, ...]
    basis: Float[Tensor, "r d"] | None
    rank: int
    floor: NoiseFloor | None
    lost: float
    imbalance: float | None
    left_out: tuple[str, ...]

    def to_inputs(self, found: Float[Tensor, "m ..."]) -> Float[Tensor, "m ..."]:
        """Return candidates as the first layer reads them."""
        return (found if self.basis is None else found @ self.basis).reshape(len(found), *self.shape)


def build_target(
    model: nn.Module,
    *,
    subspace: int | Literal["auto"] | None,
    input_shape: tuple[int, ...] | None,
    trained: Collection[str] | None = None,
    initial: nn.Module | None = None,
    kernels: Literal["initial", "final", "both"] = "both",
) -> Target:
    """Cut the network at its input layer, write that layer in a basis of the data's span, and swap the gates.

    Parallel hidden units are merged, except for a displacement, whose initial weights are not parallel, and beside
    frozen weights, which are no sum of gradients. The goal leaves out what is frozen and what the network does not use.

    Args:
        model: Network in evaluation mode, its parameters frozen.
        subspace: Dimension of the span; "auto" reads it off the spectrum; None searches all inputs.
        input_shape: Shape of one input; flat when None.
        trained: Names of the parameters that training changed; all when None.
        initial: The network before training, if known.
        kernels: Weights at which gradients are taken, if the initial ones are known.

    Raises:
        InvalidInputError: The first layer is not dense, `subspace` is out of range, or no activation is known.
    """
    models = [model] if initial is None else [model, initial]
    weights = named_parameters(model)
    trained = set(weights if trained is None else trained)
    entered = [from_first_layer(one, input_shape) for one in models]
    layers, read = entered[0]
    shape = input_shape or read
    shape = shape if torch.Size(shape).numel() == torch.Size(read).numel() else read
    basis, rank, floor = _basis(models, subspace, trained)
    nets = [one if basis is None else write_in_basis(one, basis) for one, _ in entered]
    net, whole = nets[0], initial is None and trained == set(weights)
    if whole and basis is not None and isinstance(net, nn.Sequential):
        gated = merge_parallel_units(net).model
    else:
        gated = with_surrogate_relu(net)
    gated.requires_grad_(False)
    coordinates = read if basis is None else (*read[:-1], len(basis))
    trial = next(gated.parameters()).new_zeros(2, *coordinates)
    with torch.no_grad():
        outputs = gated(trial).reshape(2, -1)
    used = used_parameters(gated, trial)
    names = [name for name, is_used in zip(weights, used, strict=True) if is_used and name in trained]
    goal, points = _goal(gated, nets, kernels)
    goal = {gate: goal[gate] for name, gate in zip(weights, list(goal), strict=True) if name in names}
    if not goal:
        raise InvalidInputError("no trained parameter has a part in the outputs; unfreeze those that were trained")
    return Target(
        gated,
        goal,
        points,
        outputs.shape[1],
        coordinates,
        shape,
        basis,
        rank,
        floor,
        max(0.0, _energy(models, names) - float(sum(value.double().square().sum() for value in goal.values()))),
        imbalance(layers) if whole and isinstance(layers, nn.Sequential) else None,
        tuple(name for name in weights if name not in names),
    )


def _goal(
    gated: nn.Module, nets: list[nn.Module], kernels: Literal["initial", "final", "both"]
) -> tuple[Parameters, tuple[Parameters, ...]]:
    """Return the weights or their displacement, and the weights at which gradients are taken."""
    end = named_parameters(gated)
    if len(nets) == 1:
        return end, (end,)
    start = named_parameters(with_surrogate_relu(nets[1]))
    moved = {name: value - start[name] for name, value in end.items()}
    return moved, {"initial": (start,), "final": (end,), "both": (end, start)}[kernels]


def _energy(models: list[nn.Module], names: Collection[str]) -> float:
    """Return the squared norm of some weights, or of their displacement."""
    weights = [named_parameters(model) for model in models]
    parts = [weights[0][name] - (weights[1][name] if len(models) > 1 else 0) for name in names]
    return float(sum(part.double().square().sum() for part in parts))


def initial_network(model: nn.Module, state: Parameters) -> nn.Module:
    """Copy a network and load its initial weights, also under the names that `nn.DataParallel` and the like give them.

    Raises:
        InvalidInputError: A parameter is missing or has another shape, or no weight has changed.
    """
    wanted = named_parameters(model)
    state = unwrapped_state(state, wanted)
    wrong = [name for name, value in wanted.items() if name not in state or state[name].shape != value.shape]
    if wrong:
        raise InvalidInputError(
            f"init_state lacks parameters of the network, or has them in another shape ({', '.join(wrong[:4])}); "
            "pass the state_dict() of the same network before training"
        )
    twin = copy_network(model)
    twin.load_state_dict(state, strict=False)
    if all(torch.equal(value, wanted[name]) for name, value in named_parameters(twin).items()):
        raise InvalidInputError("init_state equals the trained weights; pass the weights before training")
    return twin


def _basis(
    models: list[nn.Module], subspace: int | Literal["auto"] | None, trained: Collection[str]
) -> tuple[Tensor | None, int, NoiseFloor | None]:
    """Return a basis of the span (None: search all inputs), its dimension as estimated from the weights, and the floor.

    The estimate is made in the first dense layer that is trained.
    """
    if isinstance(subspace, int):
        first_dense_layer(models[0])  # raises where the span cannot be estimated
    dense = [name for name, layer in models[0].named_modules() if isinstance(layer, nn.Linear)]
    dense = [name for name in dense if _weight_of(name) in trained]
    if not dense:
        return None, 0, None
    own = models[0].get_parameter(_weight_of(dense[0]))
    weight = own.detach()
    if len(models) > 1:
        weight = weight - models[1].get_parameter(_weight_of(dense[0])).detach()
    floor = noise_floor(weight) if min(weight.shape) > 1 else None
    rank = max(floor.rank, 1) if floor is not None else 1
    n_users = sum(one is own for part in models[0].modules() for one in part.parameters(recurse=False))
    has_span = first_layer(models[0])[0] == dense[0] and n_users == 1
    if isinstance(subspace, int):
        if not has_span:
            raise InvalidInputError(
                "the weights of the first layer are frozen or shared with another layer, so that they do not span the "
                "data; pass subspace=None or 'auto' to search all inputs"
            )
        return span(weight, subspace), subspace, floor
    if subspace is None or not has_span:
        return None, rank, floor
    # A superfluous direction only costs time; a missing one loses samples.
    rank = rank if len(models) > 1 else min(rank + 2, *weight.shape)
    return span(weight, rank), rank, floor


def _weight_of(layer: str) -> str:
    return f"{layer}.weight".removeprefix(".")
