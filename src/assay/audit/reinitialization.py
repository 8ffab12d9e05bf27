"""Networks of a subject's architecture with newly drawn weights."""

import torch
from torch import nn

from assay.core import copy_network, isolated_rng, named_parameters


def reinitialized(model: nn.Module, source: torch.Generator) -> nn.Module:
    """Return a copy of a trained network with newly drawn weights.

    Modules are reset by their own `reset_parameters`. Any weight that still has its trained values after that, since
    its module has no such method or keeps the weight elsewhere (a parametrisation), is drawn from a normal distribution
    of the trained entries' mean and standard deviation; a weight with equal entries is kept. Buffers of a module
    without `reset_parameters` are kept. Frozen weights did not come from the training samples and stay, with the
    modules that hold no others, unless all are frozen.
    """
    fresh, redrawn = copy_network(model), named_parameters(model, params="trainable")
    own = {name: value for name, value in fresh.named_parameters() if name in redrawn}
    before = {name: value.detach().clone() for name, value in fresh.named_parameters()}
    with isolated_rng(int(torch.randint(2**31, (1,), generator=source))), torch.no_grad():
        for module in fresh.modules():
            reset, held = getattr(module, "reset_parameters", None), list(module.parameters())
            if callable(reset) and (not held or any(value is one for value in held for one in own.values())):
                reset()
        for name, parameter in fresh.named_parameters():
            if name not in own:
                parameter.copy_(before[name])
            elif torch.equal(parameter, before[name]) and parameter.numel() > 1:
                nn.init.normal_(parameter, float(before[name].mean()), float(before[name].std()))
            if parameter.is_floating_point():
                parameter.requires_grad_(name in own)
    return fresh
