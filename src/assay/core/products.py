"""Products of a network's Jacobian and Hessian with a vector."""

from contextlib import suppress

from jaxtyping import Float, Shaped
from torch import Tensor, nn

from assay.core.checks import check_samples
from assay.core.curvature import HessianOperator
from assay.core.derivatives import RefusedDerivative, forward_product, pull_back, push_forward
from assay.core.errors import InvalidInputError
from assay.core.leaves import check_reached, leaves
from assay.core.look import check_outputs
from assay.core.losses import LossFunction
from assay.core.parameters import Selection, flatten, functional, named_parameters, unflatten, unwrapped


def jacobian_vector_product(
    model: nn.Module, x: Shaped[Tensor, "n *d"], vector: Float[Tensor, " p"], *, params: Selection = "trainable"
) -> Float[Tensor, "n *c"]:
    r"""Compute $J v$, the derivative of the outputs as the parameters move along a vector.

    Args:
        model: Network; it comes back as it was.
        x: Inputs; integers for a network that reads tokens.
        vector: Direction in parameter space, over parameters in the order of `named_parameters`.
        params: "trainable" leaves out parameters with `requires_grad=False`, unless all have it; "all" takes all.

    Returns:
        The derivative of each output.

    Raises:
        InvalidInputError: `vector` does not have one entry per parameter, or the model or `x` are unusable.

    Cost: time and memory about two forward passes over all inputs; two backward passes more where torch has no
    forward-mode derivative.

    >>> import torch
    >>> layer = nn.Linear(2, 1, bias=False)
    >>> jacobian_vector_product(layer, torch.tensor([[1.0, 2.0]]), torch.ones(2)).tolist()
    [[3.0]]
    """
    x = check_samples(x, tokens=True)
    check_outputs(model, x)
    check_direction(vector, flatten(named_parameters(model, params=params)))
    with leaves(model, params) as own:
        check_reached(unwrapped(model)(x[:1]))
        call, direction = functional(model), unflatten(vector.detach(), own)
        if not call({}, x[:1]).requires_grad:  # else it holds weights under names that are not registered
            point = {name: weight.detach() for name, weight in own.items()}
            with suppress(RefusedDerivative):
                return forward_product(lambda values: call(values, x), (point,), (direction,))[1]
        return push_forward(unwrapped(model)(x), list(own.values()))(list(direction.values()))


def vector_jacobian_product(
    model: nn.Module, x: Shaped[Tensor, "n *d"], cotangent: Float[Tensor, "n *c"], *, params: Selection = "trainable"
) -> Float[Tensor, " p"]:
    r"""Compute $J^\top u$, the parameter gradient of $\langle u, f(x)\rangle$.

    Args:
        model: Network; it comes back as it was.
        x: Inputs; integers for a network that reads tokens.
        cotangent: The weights $u$, of the outputs' shape.
        params: "trainable" leaves out parameters with `requires_grad=False`, unless all have it; "all" takes all.

    Returns:
        The gradient, over parameters in the order of `named_parameters`.

    Raises:
        InvalidInputError: `cotangent` does not have the outputs' shape, or the model or `x` are unusable.

    Cost: time and memory one forward and backward pass over all inputs.

    >>> import torch
    >>> layer = nn.Linear(2, 1, bias=False)
    >>> vector_jacobian_product(layer, torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0]])).tolist()
    [3.0, 6.0]
    """
    x = check_samples(x, tokens=True)
    check_outputs(model, x)
    with leaves(model, params) as own:
        outputs = unwrapped(model)(x)
        check_reached(outputs)
        if cotangent.shape != outputs.shape:
            raise InvalidInputError(
                f"cotangent must have the shape {tuple(outputs.shape)} of the outputs, got {tuple(cotangent.shape)}; "
                "build it with torch.ones_like(model(x))"
            )
        slopes = pull_back([outputs], list(own.values()), [cotangent.detach().to(outputs.dtype)])
        return flatten(dict(zip(own, slopes, strict=True)))


def hessian_vector_product(
    model: nn.Module,
    x: Float[Tensor, "n *d"],
    y: Tensor,
    loss: LossFunction,
    vector: Float[Tensor, " p"],
    *,
    params: Selection = "trainable",
    batch_size: int | None = None,
) -> Float[Tensor, " p"]:
    r"""Compute $H v$ for the Hessian $H = \nabla^2_\theta L$ of $L = \frac1n\sum_i \ell(f(x_i), y_i)$.

    Args:
        model: Network; it comes back as it was.
        x: Inputs; integers for a network that reads tokens.
        y: Targets.
        loss: Mean loss over samples, see `mean_over_samples`.
        vector: Direction in parameter space, over parameters in the order of `named_parameters`.
        params: "trainable" leaves out parameters with `requires_grad=False`, unless all have it; "all" takes all.
        batch_size: Samples differentiated at once; all by default.

    Returns:
        The product, over parameters in the order of `named_parameters`.

    Raises:
        InvalidInputError: The data do not fit each other or `vector` does not fit the model.

    Cost: time O(n p), memory O(`batch_size` p).

    >>> import torch
    >>> from assay.core.losses import squared_error
    >>> layer = nn.Linear(1, 1, bias=False)
    >>> hessian_vector_product(layer, torch.tensor([[3.0]]), torch.zeros(1), squared_error, torch.ones(1)).tolist()
    [18.0]
    """
    operator = HessianOperator(model, x, y, loss, params=params, batch_size=batch_size)
    check_direction(vector, flatten(operator.params))
    return (operator @ vector.detach().to(operator.dtype)).to(vector.dtype)


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
