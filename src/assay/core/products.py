"""Products of a network's Jacobian and Hessian with a vector."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import grad, jvp, vjp

from assay.core.checks import check_pairs, check_samples
from assay.core.errors import InvalidInputError
from assay.core.losses import LossFunction
from assay.core.parameters import flatten, functional, named_parameters, preserved, unflatten


def jacobian_vector_product(
    model: nn.Module, x: Float[Tensor, "n *d"], vector: Float[Tensor, " p"]
) -> Float[Tensor, "n *c"]:
    r"""Compute $J v$, the derivative of the outputs as the parameters move along a vector.

    Args:
        model: Network; it comes back as it was.
        x: Inputs.
        vector: Direction in parameter space.

    Returns:
        The derivative of each output.

    Raises:
        InvalidInputError: `vector` does not have one entry per parameter, or `x` is empty.

    Cost: time and memory about two forward passes over all inputs.

    >>> layer = nn.Linear(2, 1, bias=False)
    >>> jacobian_vector_product(layer, torch.tensor([[1.0, 2.0]]), torch.ones(2)).tolist()
    [[3.0]]
    """
    check_samples(x)
    call, params = functional(model), named_parameters(model)
    check_direction(vector, flatten(params))
    with preserved(model):
        return jvp(lambda values: call(values, x), (params,), (unflatten(vector, params),))[1]


def vector_jacobian_product(
    model: nn.Module, x: Float[Tensor, "n *d"], cotangent: Float[Tensor, "n *c"]
) -> Float[Tensor, " p"]:
    r"""Compute $J^\top u$, the parameter gradient of $\langle u, f(x)\rangle$.

    Args:
        model: Network; it comes back as it was.
        x: Inputs.
        cotangent: The weights $u$, of the outputs' shape.

    Returns:
        The gradient, over parameters in the order of `named_parameters`.

    Raises:
        InvalidInputError: `x` is empty.

    Cost: time and memory one forward and backward pass over all inputs.

    >>> layer = nn.Linear(2, 1, bias=False)
    >>> vector_jacobian_product(layer, torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0]])).tolist()
    [3.0, 6.0]
    """
    check_samples(x)
    call, params = functional(model), named_parameters(model)
    with preserved(model):
        pullback = vjp(lambda values: call(values, x), params)[1]
        return flatten(pullback(cotangent)[0])


def hessian_vector_product(
    model: nn.Module,
    x: Float[Tensor, "n *d"],
    y: Tensor,
    loss: LossFunction,
    vector: Float[Tensor, " p"],
    *,
    batch_size: int | None = None,
) -> Float[Tensor, " p"]:
    r"""Compute $H v$ for the Hessian $H = \nabla^2_\theta L$ of $L = \frac1n\sum_i \ell(f(x_i), y_i)$.

    Args:
        model: Network; it comes back as it was.
        x: Inputs.
        y: Targets.
        loss: Mean loss over a batch.
        vector: Direction in parameter space.
        batch_size: Samples differentiated at once; all by default.

    Returns:
        The product, over parameters in the order of `named_parameters`.

    Raises:
        InvalidInputError: The data do not fit each other or `vector` does not fit the model.

    Cost: time O(n p), memory O(`batch_size` p).

    >>> from assay.core.losses import squared_error
    >>> layer = nn.Linear(1, 1, bias=False)
    >>> hessian_vector_product(layer, torch.tensor([[3.0]]), torch.zeros(1), squared_error, torch.ones(1)).tolist()
    [18.0]
    """
    check_pairs(x, y)
    call, params = functional(model), named_parameters(model)
    theta = flatten(params)
    check_direction(vector, theta)
    size = batch_size or len(x)

    def batch_loss(values: Tensor, batch_x: Tensor, batch_y: Tensor) -> Tensor:
        return loss(call(unflatten(values, params), batch_x), batch_y) * (len(batch_x) / len(x))

    product = torch.zeros_like(theta)
    with preserved(model):
        # Reverse over reverse: jvp of grad fails on squared error in torch 2.13, and costs the same.
        for batch in zip(x.split(size), y.split(size), strict=True):
            product += grad(lambda values, b=batch: grad(batch_loss)(values, *b) @ vector)(theta)
    return product


def check_direction(vector: Tensor, theta: Tensor) -> None:
    """Require a vector with one entry per parameter, of the parameters' dtype.

    Raises:
        InvalidInputError: It has another shape or dtype.
    """
    if vector.shape != theta.shape or vector.dtype != theta.dtype:
        raise InvalidInputError(
            f"vector must have the {theta.numel()} entries and dtype {theta.dtype} of the model's parameters, "
            f"got shape {tuple(vector.shape)} and dtype {vector.dtype}; build it with assay.core.flatten"
        )
