"""The door for networks: what a network must be before it is measured, and one look at its answers."""

from collections.abc import Iterator

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from assay.core.checks import check_samples
from assay.core.errors import InvalidInputError, NumericalError
from assay.core.purity import look_at


def check_model(model: nn.Module) -> None:
    """Require a module with finite floating-point weights.

    Raises:
        InvalidInputError: It is no module, or its weights are missing, on the meta device, not initialised, quantised,
            integer, complex, made in inference mode, NaN or infinite.

    >>> check_model(nn.Linear(2, 1))
    """
    if not isinstance(model, nn.Module):
        raise InvalidInputError(
            f"model must be a torch.nn.Module, got {type(model).__name__}; wrap a function in a Module"
        )
    for names, what, mend in _unfit(model):
        if names:
            raise InvalidInputError(f"weights of the model {what} ({', '.join(names[:4])}); {mend}")
    types = sorted({str(value.dtype) for value in model.parameters()})
    if not types:
        raise InvalidInputError("model has no parameters; pass a trained network")
    if not any(value.is_floating_point() for value in model.parameters()):
        raise InvalidInputError(
            f"all weights of the model are integers ({', '.join(types)}); "
            "pass the network with floating-point weights, as it was before quantisation"
        )


def _unfit(model: nn.Module) -> Iterator[tuple[list[str], str, str]]:
    """Yield for each kind of unusable weights their names, what they are, and the remedy."""
    parameters = dict(model.named_parameters())
    values = parameters | dict(model.named_buffers())
    yield (
        [name for name, value in values.items() if value.device.type == "meta"],
        "are on the meta device, which holds no values",
        "load the weights, or build the network on a real device",
    )
    yield (
        [name for name, value in values.items() if nn.parameter.is_lazy(value)],
        "are not initialised",
        "pass one batch through the network and train it first",
    )
    yield (
        [name for name, module in model.named_modules() if _is_quantised(module)],
        "are quantised",
        "pass the network with floating-point weights, as it was before quantisation",
    )
    yield (
        [name for name, value in parameters.items() if value.is_complex()],
        "are complex",
        "keep their real and imaginary parts as real parameters, by torch.view_as_real",
    )
    yield (
        [name for name, value in values.items() if value.is_inference()],
        "were made inside torch.inference_mode, and autograd does not accept them",
        "pass copy.deepcopy(model), made outside that block",
    )
    yield (
        [name for name, value in parameters.items() if not torch.isfinite(value).all()],
        "are NaN or infinite",
        "training diverged or the file is damaged: load a healthy checkpoint",
    )


def _is_quantised(module: nn.Module) -> bool:
    place = type(module).__module__
    return place.startswith("torch.ao.nn.") and "quantized" in place and "Packed" not in type(module).__name__


def check_outputs(model: nn.Module, x: Shaped[Tensor, "n *d"]) -> Float[Tensor, "m *c"]:
    """Require a network that answers each sample by one finite row of its own, the same at each call.

    At most three samples are looked at: in a batch, in a batch with another sample, and alone. A squeezed batch axis
    is put back, and a network that writes into its input gets a copy.

    Args:
        model: Network to look at, in evaluation mode; it and the random state are left as they were.
        x: Samples, floating point or token indices.

    Returns:
        The outputs of the first three samples, or of as many as there are.

    Raises:
        InvalidInputError: The weights cannot be used (see `check_model`), the network does not accept the samples,
            returns no tensor with a row for each, gives another answer at a second call, or mixes samples.
        NumericalError: Some outputs are NaN or infinite.

    Cost: three forward passes of at most three rows; up to sixteen more where the network draws random numbers.

    >>> check_outputs(nn.Linear(3, 2), torch.ones(4, 3)).shape
    torch.Size([3, 2])
    """
    check_model(model)
    if not isinstance(x, Tensor) or x.is_floating_point() or x.ndim < 2:
        check_samples(x)
    look = look_at(model, x)
    if look.outputs is not None and not torch.isfinite(look.outputs).all():
        raise NumericalError(
            "the model gives NaN or infinite scores on the first samples; check its weights, buffers and inputs"
        )
    problem = next((problem for problem in look.problems if problem.kind != "writes-input"), None)
    if problem is not None or look.outputs is None:
        raise InvalidInputError(f"the model {problem.what}; {problem.mend}" if problem else "the model has no outputs")
    return look.outputs


def check_logits(model: nn.Module, x: Shaped[Tensor, "n *d"]) -> Float[Tensor, "1 c"]:
    """Require one row of finite scores a sample, and return the first with shape (1, c).

    Raises:
        InvalidInputError: The network or its outputs cannot be used (see `check_outputs`), or are not rows of scores.
        NumericalError: The scores are NaN or infinite.

    >>> check_logits(nn.Linear(3, 2), torch.ones(4, 3)).shape
    torch.Size([1, 2])
    """
    outputs = check_outputs(model, x)
    if outputs.ndim not in (1, 2):
        raise InvalidInputError(
            f"the model must return scores of shape (n, c), got (n, {', '.join(map(str, outputs.shape[1:]))}); "
            "wrap it so that it does"
        )
    return outputs[:1].reshape(1, -1)


def check_scores(model: nn.Module, x: Shaped[Tensor, "n *d"]) -> Float[Tensor, "1 c"]:
    """Require rows of scores that are no probabilities: the same as `check_logits`, for methods that need logits.

    Raises:
        InvalidInputError: As for `check_logits`, or the rows are probabilities.
        NumericalError: The scores are NaN or infinite.

    >>> check_scores(nn.Linear(3, 2), torch.ones(4, 3)).shape
    torch.Size([1, 2])
    """
    logits = check_logits(model, x)
    if is_probabilities(logits):
        raise InvalidInputError(
            "the model returns probabilities (rows that are never negative and sum to one), and logits are needed; "
            "take the softmax off, or wrap it: nn.Sequential(model, assay.core.LogProbabilities())"
        )
    return logits


def is_probabilities(outputs: Float[Tensor, "n *c"]) -> bool:
    """Tell whether outputs of shape (n, c) are probabilities: two columns or more, never negative, rows sum to one.

    >>> is_probabilities(torch.tensor([[0.25, 0.75]])), is_probabilities(torch.tensor([[0.25, 0.5]]))
    (True, False)
    """
    if outputs.ndim != 2 or outputs.shape[1] < 2 or bool((outputs < 0).any()):
        return False
    tolerance = 1e-2 if outputs.dtype.itemsize == 2 else 1e-4
    return bool(((outputs.double().sum(1) - 1).abs() <= tolerance).all())


class LogProbabilities(nn.Module):
    r"""Turn a network's probabilities into logits, $\log p$; their softmax is $p$ again.

    Probabilities below the smallest normal number of their type count as that number.

    >>> LogProbabilities()(torch.tensor([[0.25, 0.75]])).softmax(1).tolist()
    [[0.25, 0.75]]
    """

    def forward(self, probabilities: Float[Tensor, "*n c"]) -> Float[Tensor, "*n c"]:
        """Return the logarithm of the probabilities."""
        return probabilities.clamp_min(torch.finfo(probabilities.dtype).tiny).log()
