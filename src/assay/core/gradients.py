"""Gradients in the parameters and in the inputs: per sample, of a batch, and Jacobians of the outputs."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import grad, jacrev, vmap

from assay.core.checks import check_pairs, check_samples
from assay.core.losses import LossFunction
from assay.core.parameters import Parameters, flatten, functional, named_parameters, preserved


def per_sample_gradients(
    model: nn.Module, x: Float[Tensor, "n *d"], y: Tensor, loss: LossFunction, *, batch_size: int = 64
) -> Float[Tensor, "n p"]:
    r"""Compute the loss gradient of every sample, $g_i = \nabla_\theta\, \ell(f(x_i), y_i)$.

    Args:
        model: Network without interaction between samples; batch-norm is fixed, in evaluation mode.
        x: Inputs.
        y: Targets.
        loss: Mean loss over a batch; it is called on batches of one.
        batch_size: Samples differentiated at once.

    Returns:
        Row i is the gradient of sample i, over parameters in the order of `named_parameters`.

    Raises:
        InvalidInputError: `x` and `y` are empty or of different lengths.

    Cost: time n forward and backward passes, memory O((n + `batch_size`) p).

    >>> from assay.core.losses import squared_error
    >>> per_sample_gradients(nn.Linear(2, 1), torch.ones(3, 2), torch.zeros(3), squared_error).shape
    torch.Size([3, 3])
    """
    return _map_gradients(model, x, y, loss, batch_size, _rows)


def per_sample_gradient_norms(
    model: nn.Module, x: Float[Tensor, "n *d"], y: Tensor, loss: LossFunction, *, batch_size: int = 64
) -> Float[Tensor, " n"]:
    r"""Compute the norm of every sample's loss gradient, $\lVert \nabla_\theta\, \ell(f(x_i), y_i)\rVert_2$.

    Arguments and errors are those of `per_sample_gradients`.

    Cost: time n forward and backward passes, memory O(`batch_size` p).

    >>> from assay.core.losses import squared_error
    >>> per_sample_gradient_norms(nn.Linear(2, 1), torch.ones(3, 2), torch.zeros(3), squared_error).shape
    torch.Size([3])
    """
    return _map_gradients(model, x, y, loss, batch_size, _norms)


def parameter_gradients(
    model: nn.Module,
    x: Float[Tensor, "n *d"],
    y: Tensor,
    loss: LossFunction,
    *,
    per_sample: bool = True,
) -> Float[Tensor, "*n p"]:
    r"""Compute $\nabla_\theta\, \ell(f(x_i), y_i)$, or the gradient of the batch's mean loss, differentiably in x.

    For attacks that optimise samples through their gradients; `per_sample_gradients` is for fixed samples.

    Cost: memory O(n p) per sample, O(p) for the batch, and the activations of all n.

    Args:
        model: Network in which samples do not interact; it runs in evaluation mode and comes back as it was.
        x: Inputs.
        y: Targets.
        loss: Mean loss over a batch; it is called on batches of one where `per_sample` is set.
        per_sample: Return one row a sample; else one vector.

    Raises:
        InvalidInputError: `x` and `y` are empty or of different lengths.

    >>> from assay.core.losses import squared_error
    >>> parameter_gradients(nn.Linear(2, 1), torch.ones(3, 2), torch.zeros(3), squared_error, per_sample=False).shape
    torch.Size([3])
    """
    check_pairs(x, y)
    with preserved(model):
        call, params = functional(model), named_parameters(model)
        if not per_sample:
            return flatten(grad(lambda values: loss(call(values, x), y))(params))
        one = grad(lambda values, sample, target: loss(call(values, sample[None]), target[None]))
        return _rows(vmap(one, (None, 0, 0))(params, x, y))


def input_gradient(
    model: nn.Module, x: Float[Tensor, "n *d"], value: Callable[[Tensor], Tensor]
) -> tuple[Float[Tensor, " n"], Float[Tensor, "n *d"]]:
    r"""Compute one value of each sample's outputs and its gradient in the sample, $\nabla_{x_i} v_i(f(x_i))$.

    Works inside ``torch.no_grad()``. The model is run as it is: hold it in `preserved` where it must not change.

    Args:
        model: Network without interaction between samples.
        x: Inputs.
        value: Turns the outputs, of shape `(n, c)`, into one value a sample, of shape `(n,)`.

    Returns:
        The values and the gradients, without a graph.

    >>> values, gradient = input_gradient(nn.Flatten(), torch.ones(2, 3), lambda outputs: 2 * outputs.sum(1))
    >>> values.tolist(), gradient[0].tolist()
    ([6.0, 6.0], [2.0, 2.0, 2.0])
    """
    point = x.detach().requires_grad_()
    with torch.enable_grad():
        values = value(model(point))
        (gradient,) = torch.autograd.grad(values.sum(), point)
    return values.detach(), gradient


def output_jacobian(model: nn.Module, x: Float[Tensor, "n *d"], *, batch_size: int = 64) -> Float[Tensor, "n c p"]:
    r"""Compute the Jacobian of every sample's outputs in the parameters, $J_i = \partial f(x_i)/\partial\theta$.

    Args:
        model: Network with outputs of shape `(n, c)`.
        x: Inputs.
        batch_size: Samples differentiated at once.

    Returns:
        One matrix a sample, over parameters in the order of `named_parameters`.

    Raises:
        InvalidInputError: `x` is empty or not finite.

    Cost: time n c backward passes, memory O(n c p).

    >>> output_jacobian(nn.Linear(2, 3), torch.ones(4, 2)).shape
    torch.Size([4, 3, 9])
    """
    check_samples(x)
    call, params = functional(model), named_parameters(model)

    def outputs(values: Parameters, sample: Tensor) -> Tensor:
        return call(values, sample[None]).reshape(-1)

    with preserved(model):
        per_sample = vmap(jacrev(outputs), in_dims=(None, 0))
        chunks = [per_sample(params, batch) for batch in x.split(batch_size)]
    return torch.cat([torch.cat([piece.flatten(2) for piece in chunk.values()], 2) for chunk in chunks])


def _map_gradients(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    loss: LossFunction,
    batch_size: int,
    reduce: Callable[[Parameters], Tensor],
) -> Tensor:
    check_pairs(x, y)
    call, params = functional(model), named_parameters(model)

    def sample_loss(values: Parameters, sample: Tensor, target: Tensor) -> Tensor:
        return loss(call(values, sample[None]), target[None])

    with preserved(model):
        per_sample = vmap(grad(sample_loss), in_dims=(None, 0, 0))
        batches = zip(x.split(batch_size), y.split(batch_size), strict=True)
        return torch.cat([reduce(per_sample(params, batch_x, batch_y)) for batch_x, batch_y in batches])


def _rows(gradients: Parameters) -> Float[Tensor, "b p"]:
    return torch.cat([value.flatten(1) for value in gradients.values()], 1)


def _norms(gradients: Parameters) -> Float[Tensor, " b"]:
    return torch.stack([value.flatten(1).norm(dim=1) for value in gradients.values()]).norm(dim=0)
