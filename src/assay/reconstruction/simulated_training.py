"""Full-batch gradient descent, differentiable in the samples (Tian et al., 2025)."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from assay.core import (
    LossFunction,
    Parameters,
    check_count,
    check_follows_parameters,
    check_outputs,
    check_pairs,
    check_positive,
    functional,
    mean_over_samples,
    named_parameters,
    plain_attention,
)


def simulate_training(
    model: nn.Module,
    x: Float[Tensor, "n ..."],
    targets: Float[Tensor, "n ..."],
    *,
    loss: LossFunction,
    lr: float,
    epochs: int,
    momentum: float = 0.0,
    recompute: bool = False,
) -> Parameters:
    r"""Train by full-batch gradient descent, differentiable in samples and targets.

    $v_{t+1} = \mu v_t + \nabla_\theta \ell(\theta_t)$ and $\theta_{t+1} = \theta_t - \eta v_{t+1}$: `torch.optim.SGD`.

    Cost: time O(T) gradients, twice with a backward pass; memory O(T) gradients, O(1) with `recompute`.

    Args:
        model: Network with its initial weights, run in its current mode; it comes back as it was. Frozen parameters
            stay, unless all are frozen: then all are trained.
        x: Samples.
        targets: Training targets.
        loss: Mean loss over the samples, see `assay.core.mean_over_samples`.
        lr: Learning rate.
        epochs: Full-batch steps T.
        momentum: Momentum of the gradient.
        recompute: Recompute each step in a backward pass instead of storing it.

    Returns:
        The weights after the last step; they carry a graph where samples or targets do.

    Raises:
        InvalidInputError: The samples do not fit the network, the targets or the loss, or a number is out of range.

    Source: Tian et al., Simulating Training Dynamics to Reconstruct Training Data from Deep Neural Networks (2025),
    inner loop of the algorithm.

    >>> from assay.core import squared_error
    >>> net = nn.Linear(1, 1, bias=False)
    >>> after = simulate_training(net, torch.ones(1, 1), torch.zeros(1), loss=squared_error, lr=0.5, epochs=1)
    >>> after["weight"].item()
    0.0
    """
    check_positive(lr, "lr")
    check_count(epochs, "epochs")
    fixed = check_pairs(x, targets)
    check_outputs(model, fixed[0])
    check_follows_parameters(model, fixed[0])
    mean = mean_over_samples(loss, model, *fixed)
    x, targets = (given if given.requires_grad else kept for given, kept in zip((x, targets), fixed, strict=True))
    with torch.inference_mode(False), torch.enable_grad():
        trained = simulate(model, x, targets, loss=mean, lr=lr, epochs=epochs, momentum=momentum, recompute=recompute)
    return named_parameters(model) | trained


def simulate(
    model: nn.Module,
    x: Tensor,
    targets: Tensor,
    *,
    loss: LossFunction,
    lr: float,
    epochs: int,
    momentum: float,
    recompute: bool,
) -> Parameters:
    """Return the trainable weights after training, for samples that were checked before."""
    network, before = functional(model), named_parameters(model, params="trainable")
    names, followed = list(before), x.requires_grad or targets.requires_grad

    def step(x: Tensor, targets: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        weights, velocity = state[: len(names)], state[len(names) :]
        with plain_attention():
            cost = loss(network(dict(zip(names, weights, strict=True)), x), targets)
            slopes = torch.autograd.grad(cost, weights, create_graph=followed, materialize_grads=True)
        velocity = [momentum * v + slope for v, slope in zip(velocity, slopes, strict=True)]
        return *(w - lr * v for w, v in zip(weights, velocity, strict=True)), *velocity

    state = (
        *(value.clone().requires_grad_() for value in before.values()),
        *(torch.zeros_like(value) for value in before.values()),
    )
    for _ in range(epochs):
        if followed:
            state = checkpoint(step, x, targets, *state, use_reentrant=False) if recompute else step(x, targets, *state)
        else:
            weights, velocity = state[: len(names)], state[len(names) :]
            state = step(x, targets, *(value.detach().requires_grad_() for value in weights), *velocity)
    weights = state[: len(names)]
    return dict(zip(names, weights if followed else (value.detach() for value in weights), strict=True))
