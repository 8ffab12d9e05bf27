"""The state that a seed draws, with the initialiser that explains the trained weights best."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from assay.core import Parameters, named_parameters
from assay.reconstruction.known_start.correlation import StartCorrelation
from assay.reconstruction.known_start.initializers import INITIALIZERS, LayerStart, StartDraw

_EQUAL = 0.999  # of the best z-score: initialisers that differ in scale only


def drawn_state(start: StartDraw, seed: int, end: Parameters, names: Sequence[str]) -> tuple[str, Parameters]:
    """Return the name of the initialiser and the state that a seed draws.

    Args:
        start: The draw that was found; a stream of numbers stands for all initialisers made of it.
        seed: The seed that was found.
        end: Trained weights by name.
        names: Initialisers that were tried.
    """
    if not isinstance(start, LayerStart) or start.fill is None:
        return start.initializer, _copied(start.network(seed))
    default = _copied(replace(start, initializer="default", fill=None).network(seed))
    stream = start.initializer
    found: dict[str, Parameters] = {}
    for name in names:
        if name in INITIALIZERS and INITIALIZERS[name][0] == stream:
            draw = replace(start, initializer=name, fill=INITIALIZERS[name][1])
            drawn = named_parameters(draw.network(seed))
            found[name] = {weight: drawn[weight].clone() for weight in start.compared(list(end))}
    z = {name: StartCorrelation({weight: end[weight] for weight in drawn})(drawn) for name, drawn in found.items()}
    equal = [name for name in found if z[name] >= _EQUAL * max(z.values())]
    chosen = min(equal, key=lambda name: abs(_log_scale(found[name], end)))
    return chosen, default | _mixed(default, found[chosen], end)


def _copied(network: nn.Module) -> Parameters:
    state = {name: value for name, value in network.state_dict().items() if isinstance(value, Tensor)}
    return {name: value.detach().clone() for name, value in state.items()}


def _log_scale(start: Parameters, end: Parameters) -> float:
    """Return the logarithm of the factor between a start and the trained weights."""
    pairs = [(start[name].double().flatten(), end[name].to(start[name].device).double().flatten()) for name in start]
    factor = sum(a @ b for a, b in pairs) / sum(a @ a for a, _ in pairs)
    return float(torch.as_tensor(factor).clamp_min(1e-12).log())


def _mixed(default: Parameters, redrawn: Parameters, end: Parameters) -> Parameters:
    """Return what was drawn again, where it agrees better with the trained weights than the default draw does."""
    correlations = {name: StartCorrelation({name: end[name]}) for name in redrawn}
    better = [
        name for name, value in redrawn.items() if correlations[name]({name: value}) >= correlations[name](default)
    ]
    biases = [bias for name in better if (bias := f"{name.removesuffix('weight')}bias") in end]
    as_drawn = sum(float((end[bias] - default[bias].to(end[bias])).square().sum()) for bias in biases)
    as_zeros = sum(float(end[bias].square().sum()) for bias in biases)
    zeros = {bias: torch.zeros_like(default[bias]) for bias in biases} if as_zeros < as_drawn else {}
    return {name: redrawn[name] for name in better} | zeros
