"""Velocity of the tangent kernel during training (Fort et al., 2020)."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from assay.core import (
    InvalidInputError,
    Parameters,
    check_finite,
    check_outputs,
    check_positive,
    check_samples,
    copy_network,
    kernel_distance,
    output_jacobian,
    unwrapped,
)


def kernel_velocity(
    model: nn.Module,
    x: Shaped[Tensor, "n *d"],
    states: Sequence[Parameters],
    *,
    dt: float = 1.0,
    batch_size: int = 64,
) -> Float[Tensor, " _"]:
    r"""Compute the velocity of the tangent kernel between the states of a training run.

    $v(t) = S(K_t, K_{t+dt}) / dt$ with $K_t = J_t J_t^\top$, $J_t$ the Jacobian of all outputs on the probe samples in
    the trainable parameters (all of them where all are frozen), and S the `kernel_distance`.

    Cost: time O(t n c p (1 + n c)), memory O(n c p + n^2 c^2), for t states.

    Args:
        model: Network, in evaluation mode; it comes back as it was.
        x: Probe samples; integers for a network that reads tokens.
        states: At least two states in the order of training, clones of `model.state_dict()`.
        dt: Time between two states, in any unit.
        batch_size: Samples differentiated at once.

    Returns:
        One velocity for each pair of successive states.

    Raises:
        InvalidInputError: There are fewer than two states, or one does not fit the model.
        NumericalError: A velocity came out NaN or infinite.

    Source: Fort et al., "Deep learning versus kernel learning: an empirical study of loss landscape geometry and the
    time evolution of the Neural Tangent Kernel" (2020), figure 7.

    >>> model = nn.Linear(3, 2)
    >>> kernel_velocity(model, torch.eye(3), [model.state_dict(), model.state_dict()]).abs() < 1e-6
    tensor([True])
    """
    x = check_samples(x, tokens=True)
    check_outputs(model, x)
    check_positive(dt, "dt")
    if len(states) < 2:
        raise InvalidInputError(f"a velocity needs at least two states, got {len(states)}")
    probe = copy_network(model)
    outer = _prefix(model)
    velocities: list[Tensor] = []
    before: Tensor | None = None
    for state in states:
        try:
            probe.load_state_dict({name.removeprefix(outer): value for name, value in state.items()})
        except RuntimeError as error:
            raise InvalidInputError("a state does not fit the model; pass what its state_dict() returns") from error
        jacobian = output_jacobian(probe, x, batch_size=batch_size).flatten(0, 1)
        jacobian = jacobian.to(torch.promote_types(jacobian.dtype, torch.float32))
        kernel = jacobian @ jacobian.T
        if before is not None:
            velocities.append(kernel_distance(before, kernel) / dt)
        before = kernel
    result = torch.stack(velocities)
    check_finite(result, "a kernel velocity")
    return result


def _prefix(model: nn.Module) -> str:
    """Return what a wrapper such as `nn.DataParallel` puts before the names of the network's state."""
    inner = unwrapped(model)
    return next((f"{name}." for name, module in model.named_modules() if name and module is inner), "")
