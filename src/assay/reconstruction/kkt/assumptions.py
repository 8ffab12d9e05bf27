"""Assumptions of the stationarity conditions (Haim et al., 2022): trained weights, balanced layers, known gates."""

from collections.abc import Collection
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize, remove_spectral_norm, remove_weight_norm

from assay.core import copy_network, named_parameters

_BATCH_NORM = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
_MAX_POOL = (nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d, nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d)


def plain_copy(model: nn.Module) -> tuple[nn.Module, frozenset[str]]:
    """Copy a network, with plain weights where `weight_norm` or another parametrisation computes them.

    Returns:
        The copy, and the names of those of its parameters that the caller trains: all if all are frozen.

    >>> twin, trained = plain_copy(nn.utils.parametrizations.weight_norm(nn.Linear(3, 2)))
    >>> type(twin).__name__, sorted(trained)
    ('Linear', ['bias', 'weight'])
    """
    every, trained = named_parameters(model), named_parameters(model, params="trainable")
    twin = copy_network(model)
    for module in list(twin.modules()):
        _make_plain(module)
    names = named_parameters(twin)
    known = {name for name in names if name in trained}
    computed = {name for name in names if name not in every and any(one.startswith(_home(name)) for one in trained)}
    return twin, frozenset(known | computed)


def computed_weights(model: nn.Module) -> list[str]:
    """Return the names of the modules whose weights a parametrisation computes.

    >>> computed_weights(nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(3, 2))))
    ['0']
    """
    old = ("weight_g", "weight_orig")
    return [
        name
        for name, module in model.named_modules()
        if parametrize.is_parametrized(module) or any(own in old for own, _ in module.named_parameters(recurse=False))
    ]


def _make_plain(module: nn.Module) -> None:
    """Keep the present value of a module's computed weights as its weights, before its bias."""
    own = [name for name, _ in module.named_parameters(recurse=False)]
    if parametrize.is_parametrized(module):
        names = [name for name, _ in module.get_submodule("parametrizations").named_children()]
        values = {name: getattr(module, name).detach().clone() for name in names}
        # Torch's own way back deletes the property from a class that the caller's network shares.
        module.__class__ = parametrize.type_before_parametrizations(module)
        del module.parametrizations
        for name, value in values.items():
            module.register_parameter(name, nn.Parameter(value))
    elif "weight_g" in own:
        remove_weight_norm(module)
    elif "weight_orig" in own:
        remove_spectral_norm(module)
    else:
        return
    bias = getattr(module, "bias", None)
    if isinstance(bias, nn.Parameter):
        del module.bias
        module.register_parameter("bias", bias)


def _home(name: str) -> str:
    return name.rpartition(".")[0] + "." if "." in name else ""


def imbalance(layers: nn.Sequential) -> float:
    r"""Measure how far the layers of a ReLU network are from balance, 0 for every sum of gradients.

    In a weighted sum of gradients of a network of ReLUs, the incoming and the outgoing weights of each hidden unit j
    have the same inner product with the weights themselves, whatever the samples. So weights that are such a sum have
    $\lVert w_j^{in}\rVert = \lVert w_j^{out}\rVert$, biases among the incoming ones. The measure is

    $$\frac{\sum_j |\lVert w_j^{in}\rVert^2 - \lVert w_j^{out}\rVert^2|}
    {\sum_j \lVert w_j^{in}\rVert^2 + \lVert w_j^{out}\rVert^2}.$$

    Gradient flow keeps the differences that the initial weights have; weight decay lets them vanish.

    Args:
        layers: Dense layers with gates between them.

    Source: Du et al., Algorithmic Regularization in Learning Deep Homogeneous Models: Layers are Automatically Balanced
    (2018), theorem 2.1, for gradient flow; for stationary weights it is Euler's identity.

    >>> net = nn.Sequential(nn.Linear(2, 1, bias=False), nn.ReLU(), nn.Linear(1, 1, bias=False))
    >>> _ = nn.init.constant_(net[0].weight, 1.0), nn.init.constant_(net[2].weight, 1.0)
    >>> round(imbalance(net), 3)
    0.333
    """
    dense = [layer for layer in layers if isinstance(layer, nn.Linear)]
    difference = total = 0.0
    for layer, following in pairwise(dense):
        incoming = layer.weight.detach().double().square().sum(1)
        if layer.bias is not None:
            incoming = incoming + layer.bias.detach().double().square()
        outgoing = following.weight.detach().double().square().sum(0)
        difference += float((incoming - outgoing).abs().sum())
        total += float((incoming + outgoing).sum())
    return difference / total if total else 0.0


def used_parameters(model: nn.Module, x: Tensor) -> list[bool]:
    """Tell for each parameter of a frozen network whether its outputs on `x` depend on it.

    >>> used_parameters(nn.Linear(2, 1).requires_grad_(False), torch.ones(1, 2))
    [True, True]
    """
    copies = {name: value.clone().requires_grad_() for name, value in named_parameters(model).items()}
    with torch.enable_grad():
        outputs = torch.func.functional_call(model, copies, (x,))
        slopes = torch.autograd.grad(outputs.sum(), list(copies.values()), allow_unused=True)
    return [slope is not None for slope in slopes]


def doubts(model: nn.Module) -> list[str]:
    r"""Name the parts of a network for which weights are no sum of gradients, or whose switches the search cannot see.

    Batch-norm is searched with its own weights and fixed statistics, which is exact where training had them fixed, as
    in fine-tuning. It is not folded into the dense layer before it: with $D = \mathrm{diag}(\gamma / \sigma)$ the
    folded weight $\tilde W = D W$ computes the same outputs, but stationarity of W reads
    $D^{-2} \tilde W = \sum_i J_{\tilde W}(x_i)^\top \mu_i$, and $\tilde W$ itself is no such sum. Where training took
    the statistics of each batch, the gradient is orthogonal to each row of W, so that weight decay leaves no
    stationary point but zero, and neither form holds.

    >>> doubts(nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3)))[0][:40]
    'it has batch-norm (1), and training diff'
    """
    modules = list(model.named_modules())
    batch_norm = [name for name, module in modules if isinstance(module, _BATCH_NORM)]
    pools = [name for name, module in modules if isinstance(module, _MAX_POOL)]
    computed = computed_weights(model)
    found = []
    if batch_norm:
        found.append(
            f"it has batch-norm ({_first(batch_norm)}), and training differentiates through the statistics of its "
            "batches, which are not functions of single samples"
        )
    if computed:
        found.append(
            f"the weights of {_first(computed)} were computed by a parametrisation such as weight_norm, and only what "
            "it is given is trained, not the weights"
        )
    if pools:
        found.append(f"the choices of max-pooling ({_first(pools)}) have no derivative that the search could follow")
    return found


def _first(names: Collection[str]) -> str:
    names = [name or "the network" for name in names]
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
