"""Learning rates by width under muParam (Yang et al., 2022; Wortsman et al., 2023)."""

from typing import Any

from torch import Tensor, nn

from assay.core import InvalidInputError, check_positive

SCALED = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
"""Layers whose weight has its inputs behind the first axis."""

PROJECTIONS = ("in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight")
"""Weights of `nn.MultiheadAttention` beside its output layer."""


def mup_param_groups(model: nn.Module, base_model: nn.Module, *, lr: float) -> list[dict[str, Any]]:
    r"""Divide parameters into groups with the rate $\eta\,\text{fan-in}_\text{base} / \text{fan-in}$ for weights.

    The rate that is best for a narrow base network is then to stay best for wider ones. The weights of linear and
    convolution layers and the projections of `nn.MultiheadAttention` are scaled; embeddings, norms, biases and other
    vectors keep $\eta$. For Adam and its relatives, muParam (simple); a `DecoderTransformer` with `mup_base_dim` adds
    the initialisation and attention of muParam (full).

    Args:
        model: The network to train.
        base_model: The network of the same layers at the base width; only shapes are read, so that it may lie on the
            device "meta".
        lr: Rate $\eta$ of the base network.

    Returns:
        Groups for an optimiser, each with "params" and "lr"; frozen parameters are among them.

    Raises:
        InvalidInputError: The networks differ in more than sizes, a weight is shared by an embedding and a layer or is
            computed by a parametrisation, or some other parameter grows along two axes.

    Source: Wortsman et al., "Small-scale proxies for large-scale Transformer training instabilities" (2023), main text,
    the section on muParam. Deviation: the base is a network instead of a width, which says for every layer what its
    fan-in was.

    >>> groups = mup_param_groups(nn.Linear(64, 8), nn.Linear(16, 8), lr=0.1)
    >>> [(len(group["params"]), group["lr"]) for group in groups]
    [(1, 0.025), (1, 0.1)]
    """
    check_positive(lr, "lr")
    base, fan_ins = dict(base_model.named_parameters()), _fan_ins(model)
    found: dict[float, list[nn.Parameter]] = {}
    names = {name for name, _ in model.named_parameters()}
    if names != set(base):
        odd = sorted(names ^ set(base))[0]
        raise InvalidInputError(f"model and base_model differ in {odd}; build both by one function of the width")
    for name, parameter in model.named_parameters():
        own, narrow = parameter.shape, base[name].shape
        if len(own) != len(narrow):
            raise InvalidInputError(f"{name} has the shape {tuple(own)}, and {tuple(narrow)} in base_model")
        grown = sum(one != other for one, other in zip(own, narrow, strict=True))
        if id(parameter) in fan_ins:
            rate = lr * (narrow[1:].numel() / own[1:].numel())
        elif grown < 2:
            rate = lr
        else:
            raise InvalidInputError(
                f"{name} grows along {grown} axes, and its layer is not one whose fan-in is known "
                f"({', '.join(kind.__name__ for kind in SCALED)}, MultiheadAttention); give it a group by hand"
            )
        found.setdefault(rate, []).append(parameter)
    return [{"params": parameters, "lr": rate} for rate, parameters in found.items()]


def _fan_ins(model: nn.Module) -> set[int]:
    """Return the identities of weights that have a fan-in."""
    weights: dict[int, str] = {}
    embeddings: list[Tensor] = []
    for name, module in model.named_modules():
        own = dict(module.named_parameters(recurse=False))
        if isinstance(module, SCALED):
            if "weight" not in own:
                raise InvalidInputError(f"the weight of {name} is computed by a parametrisation; remove it first")
            weights[id(own["weight"])] = name
        elif isinstance(module, nn.MultiheadAttention):
            weights |= {id(own[each]): name for each in PROJECTIONS if each in own}
        elif isinstance(module, (nn.Embedding, nn.EmbeddingBag)):
            embeddings.append(module.weight)
    for shared in embeddings:
        if id(shared) in weights:
            raise InvalidInputError(
                f"{weights[id(shared)]} shares its weight with an embedding, which has another rate; untie them"
            )
    return set(weights)
