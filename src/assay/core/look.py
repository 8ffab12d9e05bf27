"""The door for networks: what a network must be before it is measured, and one look at its answers."""

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from assay.core.checks import check_samples
from assay.core.errors import InvalidInputError, NumericalError
from assay.core.parameters import preserved
from assay.core.problems import mixing, unusable_weights
from assay.core.purity import look_at, mixes_in_large_batches

_FAR = 1e3  # how far from the samples an output that is no probability leaves [0, 1]


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
    problems = list(unusable_weights(model))
    if problems:
        what, mend = problems[0].what, problems[0].mend
        names = [problem.where for problem in problems if problem.what == what]
        raise InvalidInputError(f"weights of the model are {what} ({', '.join(names[:4])}); {mend}")
    if next(model.parameters(), None) is None:
        raise InvalidInputError("model has no parameters; pass a trained network")


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
    look = look_at(model, check_samples(x, tokens=True))
    if look.problem is not None:
        finite = bool(torch.isfinite(look.outputs).all())
        error = InvalidInputError if finite else NumericalError
        raise error(f"the model {look.problem.what}; {look.problem.mend}")
    return look.outputs


def check_large_batch(model: nn.Module, x: Shaped[Tensor, "n *d"], outputs: Float[Tensor, "n *c"]) -> None:
    """Require of a batch of more than three rows that its last rows are those that a small batch gives.

    Args:
        model: Network that `check_outputs` has looked at.
        x: The batch.
        outputs: Its outputs.

    Raises:
        InvalidInputError: The network mixes samples in large batches.

    >>> check_large_batch(nn.Identity(), torch.eye(5), torch.eye(5))
    """
    if len(x) > 3 and mixes_in_large_batches(model, x, outputs):
        problem = mixing(model, [])
        raise InvalidInputError(f"the model {problem.what}, in batches of {len(x)} samples; {problem.mend}")


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


def stays_in_unit_interval(model: nn.Module, x: Shaped[Tensor, "n *d"]) -> bool:
    """Tell whether all outputs lie between 0 and 1, and vary, also far from the samples: as those of a sigmoid.

    Integers have nothing far away: for a network that reads tokens the answer is False.

    Args:
        model: Network that `check_outputs` has looked at.
        x: Samples.

    Cost: up to two forward passes.

    >>> stays_in_unit_interval(nn.Sigmoid(), torch.eye(2)), stays_in_unit_interval(nn.Identity(), torch.eye(2))
    (True, False)
    """
    if not x.is_floating_point():
        return False
    source = torch.Generator().manual_seed(0)
    found = []
    with preserved(model), torch.no_grad():
        for distance in (0.0, _FAR):
            outputs = model(x + distance * torch.randn(x.shape, generator=source, dtype=x.dtype).to(x.device))
            if not bool(((outputs >= 0) & (outputs <= 1)).all()):
                return False
            found.append(outputs)
    return bool(torch.cat(found).min() < torch.cat(found).max())


class LogProbabilities(nn.Module):
    r"""Turn a network's probabilities into logits, $\log p$; their softmax is $p$ again.

    Probabilities below the smallest normal number of their type count as that number.

    >>> LogProbabilities()(torch.tensor([[0.5, 0.5]])).softmax(1).tolist()
    [[0.5, 0.5]]
    """

    def forward(self, probabilities: Float[Tensor, "*n c"]) -> Float[Tensor, "*n c"]:
        """Return the logarithm of the probabilities."""
        return probabilities.clamp_min(torch.finfo(probabilities.dtype).tiny).log()
