"""Gradients in the parameters and in the inputs: per sample, of a batch, and Jacobians of the outputs."""

from collections.abc import Callable, Set

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn
from torch.func import grad, jacrev

from assay.core.checks import check_count, check_pairs, check_samples
from assay.core.derivatives import batched, gradient, one_by_one, pull_back, refusals
from assay.core.errors import InvalidInputError
from assay.core.leaves import check_reached, leaves
from assay.core.look import check_outputs
from assay.core.losses import LossFunction
from assay.core.objective import mean_over_samples
from assay.core.parameters import (
    Parameters,
    Selection,
    flatten,
    functional,
    unwrapped,
)


def per_sample_gradients(
    model: nn.Module,
    x: Shaped[Tensor, "n *d"],
    y: Tensor,
    loss: LossFunction,
    *,
    params: Selection = "trainable",
    batch_size: int = 64,
) -> Float[Tensor, "n p"]:
    r"""Compute the loss gradient of every sample, $g_i = \nabla_\theta\, \ell(f(x_i), y_i)$.

    Their mean is the gradient of the loss on all samples, also with class weights or ignored labels.

    Args:
        model: Network without interaction between samples; batch-norm is fixed, in evaluation mode.
        x: Inputs; integers for a network that reads tokens.
        y: Targets.
        loss: Mean loss over samples, see `mean_over_samples`.
        params: "trainable" leaves out parameters with `requires_grad=False`, unless all have it; "all" takes all.
        batch_size: Samples differentiated at once.

    Returns:
        Row i is the gradient of sample i, over parameters in the order of `named_parameters`, in the widest of their
        types; a parameter that the network does not use has zeros.

    Raises:
        InvalidInputError: The model, the data or the loss are unusable; the message says why.

    Cost: time n forward and backward passes, memory O((n + `batch_size`) p). A network that `torch.vmap` refuses, such
    as a recurrent one, is differentiated one sample after the other.

    >>> from assay.core.losses import squared_error
    >>> per_sample_gradients(nn.Linear(2, 1), torch.ones(3, 2), torch.zeros(3), squared_error).shape
    torch.Size([3, 3])
    """
    x, y = check_pairs(x, y, tokens=True)
    check_outputs(model, x)
    mean = mean_over_samples(loss, model, x, y)
    return sample_derivatives(model, x, y, mean, params, batch_size, _rows)


def parameter_gradients(
    model: nn.Module,
    x: Shaped[Tensor, "n *d"],
    y: Tensor,
    loss: LossFunction,
    *,
    params: Selection = "trainable",
    per_sample: bool = True,
) -> Float[Tensor, "*n p"]:
    r"""Compute $\nabla_\theta\, \ell(f(x_i), y_i)$, or the gradient of the batch's mean loss, differentiably in x.

    For attacks that optimise samples through their gradients; `per_sample_gradients` is for fixed samples. Attacks call
    it at each step, so it does not look at the network's answers: call `check_outputs` once before.

    Cost: memory O(n p) per sample, O(p) for the batch, and the activations of all n.

    Args:
        model: Network in which samples do not interact; it runs in evaluation mode and comes back as it was.
        x: Inputs.
        y: Targets.
        loss: Mean loss over samples, see `mean_over_samples`.
        params: "trainable" leaves out parameters with `requires_grad=False`, unless all have it; "all" takes all.
        per_sample: Return one row a sample; else one vector.

    Returns:
        The gradients; they carry a graph only where `x` requires gradients and autograd is on.

    Raises:
        InvalidInputError: The data do not fit each other or the loss, or torch cannot differentiate the network.

    >>> from assay.core.losses import squared_error
    >>> parameter_gradients(nn.Linear(2, 1), torch.ones(3, 2), torch.zeros(3), squared_error, per_sample=False).shape
    torch.Size([3])
    """
    followed = x.requires_grad and torch.is_grad_enabled()
    fixed, y = check_pairs(x, y, tokens=True)
    mean = mean_over_samples(loss, model, fixed, y)
    if per_sample and not followed:
        return sample_derivatives(model, fixed, y, mean, params, len(fixed), _rows)
    with leaves(model, params) as own:
        if not followed:
            outputs = unwrapped(model)(fixed)
            check_reached(outputs)
            return flatten(dict(zip(own, pull_back([mean(outputs, y)], list(own.values())), strict=True)))
        return _followed_gradients(model, x, y, mean, own, per_sample)


def _followed_gradients(
    model: nn.Module, x: Tensor, y: Tensor, loss: LossFunction, own: Parameters, per_sample: bool
) -> Float[Tensor, "*n p"]:
    """Return gradients with a graph to the inputs, and none to the network's own parameters."""
    call, point = functional(model), {name: weight.detach() for name, weight in own.items()}
    if call({}, x[:1].detach()).requires_grad:
        raise InvalidInputError(
            "the model holds weights under names that are not registered, such as in a list, which gradients that are "
            "differentiable in x cannot follow; use them by their registered names in its forward pass"
        )

    def objective(values: Parameters, samples: Tensor, targets: Tensor) -> Tensor:
        return loss(call(values, samples), targets)

    if not per_sample:
        return flatten(gradient(objective)(point, x, y))
    one = gradient(lambda values, sample, target: objective(values, sample[None], target[None]))
    return _rows(batched(one, (None, 0, 0))(point, x, y))


def input_gradient(
    model: nn.Module, x: Float[Tensor, "n *d"], value: Callable[[Tensor], Tensor]
) -> tuple[Float[Tensor, " n"], Float[Tensor, "n *d"]]:
    r"""Compute one value of each sample's outputs and its gradient in the sample, $\nabla_{x_i} v_i(f(x_i))$.

    Works inside ``torch.no_grad()`` and ``torch.inference_mode()``. The model is run as it is: hold it in `preserved`
    where it must not change.

    Args:
        model: Network without interaction between samples.
        x: Inputs.
        value: Turns the outputs, of shape `(n, c)`, into one value a sample, of shape `(n,)`.

    Returns:
        The values and the gradients, without a graph.

    Raises:
        InvalidInputError: The inputs are integers, or autograd finds no way from the values to them.

    >>> values, gradient = input_gradient(nn.Flatten(), torch.ones(2, 3), lambda outputs: 2 * outputs.sum(1))
    >>> values.tolist(), gradient[0].tolist()
    ([6.0, 6.0], [2.0, 2.0, 2.0])
    """
    if not x.is_floating_point():
        raise InvalidInputError(
            f"x is {x.dtype}, and integers have no gradient; differentiate in the embeddings of tokens, with a network "
            "that starts from them"
        )
    with torch.inference_mode(False), torch.enable_grad(), refusals():
        point = (x.clone() if x.is_inference() else x.detach()).requires_grad_()
        values = value(model(point.clone()))  # the network may write into its input
        (slope,) = torch.autograd.grad(values.sum(), point)
    return values.detach(), slope


def output_jacobian(
    model: nn.Module, x: Shaped[Tensor, "n *d"], *, params: Selection = "trainable", batch_size: int = 64
) -> Float[Tensor, "n c p"]:
    r"""Compute the Jacobian of every sample's outputs in the parameters, $J_i = \partial f(x_i)/\partial\theta$.

    Args:
        model: Network with outputs of shape `(n, c)`; any other shape counts as c outputs a sample.
        x: Inputs; integers for a network that reads tokens.
        params: "trainable" leaves out parameters with `requires_grad=False`, unless all have it; "all" takes all.
        batch_size: Samples differentiated at once.

    Returns:
        One matrix a sample, over parameters in the order of `named_parameters`.

    Raises:
        InvalidInputError: The model or `x` are unusable; the message says why.

    Cost: time n c backward passes, memory O(n c p).

    >>> output_jacobian(nn.Linear(2, 3), torch.ones(4, 2)).shape
    torch.Size([4, 3, 9])
    """
    x = check_samples(x, tokens=True)
    check_outputs(model, x)
    return sample_derivatives(model, x, None, _flat, params, batch_size, _matrices)


def sample_derivatives(
    model: nn.Module,
    x: Tensor,
    y: Tensor | None,
    value: Callable[..., Tensor],
    params: Selection | Set[str],
    batch_size: int,
    reduce: Callable[[Parameters], Tensor],
) -> Tensor:
    """Return the reduced derivatives of one value, or a vector of them, of each sample's outputs and target."""
    check_count(batch_size, "batch_size")
    call = functional(model)
    with leaves(model, params) as own:

        def of_outputs(outputs: Tensor, targets: tuple[Tensor, ...]) -> Tensor:
            return value(outputs, *(target[None] for target in targets))

        def mapped(values: Parameters, sample: Tensor, *targets: Tensor) -> Tensor:
            return of_outputs(call(values, sample[None]), targets)

        def alone(values: Parameters, sample: Tensor, *targets: Tensor) -> Parameters:
            result = of_outputs(unwrapped(model)(sample[None]), targets)
            entries = [pull_back([entry], list(own.values())) for entry in result.reshape(-1)]
            stacked = [
                torch.stack(pieces).reshape(result.shape + pieces[0].shape) for pieces in zip(*entries, strict=True)
            ]
            return dict(zip(own, stacked, strict=True))

        data = [x] if y is None else [x, y]
        derivative = jacrev(mapped) if y is None else grad(mapped)
        dims = (None, *[0] * len(data))
        # A network that holds its weights under names that are not registered is a function of them only as it stands.
        hidden = call({}, x[:1]).requires_grad
        rows = one_by_one(alone, dims) if hidden else batched(derivative, dims, alone=alone)
        point = {name: weight.detach() for name, weight in own.items()}
        found = []
        for batch in zip(*(part.split(batch_size) for part in data), strict=True):
            derivatives = rows(point, *batch)
            if not found and not any(piece[0].any() for piece in derivatives.values()):
                check_reached(unwrapped(model)(x[:1]))
            found.append(reduce(derivatives))
        return torch.cat(found)


def _flat(outputs: Tensor) -> Float[Tensor, " c"]:
    return outputs.reshape(-1)


def _rows(gradients: Parameters) -> Float[Tensor, "b p"]:
    return torch.cat([value.reshape(len(value), -1) for value in gradients.values()], 1)


def _matrices(jacobians: Parameters) -> Float[Tensor, "b c p"]:
    return torch.cat([value.reshape(*value.shape[:2], -1) for value in jacobians.values()], 2)
