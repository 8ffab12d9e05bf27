"""A stack of networks of one architecture, evaluated in one batched computation."""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.optim import Optimizer

from assay.core.checks import check_finite
from assay.core.errors import InvalidInputError
from assay.core.inspection import inspect_model
from assay.core.look import check_outputs
from assay.core.parameters import Parameters, copy_network, first_line, preserved, unwrapped
from assay.core.purity import agree
from assay.core.recording import random_state_kept, random_states

_ALONE = "train the models one by one, with SequentialTrainer"


class Stack:
    """Networks that differ in weights and buffers only.

    Called with a batch for each network, it returns the scores of each, in training mode.

    Args:
        models: Networks; nothing is written into them before `hand_back`.
        x: Inputs; the first few are tried on every network.

    Attributes:
        trainable: Stacked weights that take gradients, by name.

    Raises:
        InvalidInputError: The networks differ otherwise, or draw random numbers or change buffers in training.
    """

    def __init__(self, models: Sequence[nn.Module], x: Shaped[Tensor, "n *d"]) -> None:
        self._networks = [unwrapped(model) for model in models]
        # In a copy, so that no layer of the user's model keeps a stacked tensor.
        self._base = copy_network(self._networks[0]).train()
        _check_training_mode(self._base)
        self._shape = check_outputs(self._networks[0], x).shape[1:]
        states = [_state(network) for network in self._networks]
        for state in states:
            _check_same_shapes(states[0], state)
        for network, state in zip(self._networks, states, strict=True):
            _check_same_answers(self._base, state, network, x[:3])
        with torch.inference_mode(False):
            stacked = {name: torch.stack([state[name].detach() for state in states]) for name in states[0]}
        self.trainable = {
            name: stacked[name].requires_grad_() for name, value in states[0].items() if _is_trained(value)
        }
        if not self.trainable:
            raise InvalidInputError("every parameter of the models is frozen; set requires_grad on those to be trained")
        self._stacked = stacked
        self._scores = vmap(lambda values, batch: functional_call(self._base, values, (batch,)))

    def __call__(self, batches: Shaped[Tensor, "m b *d"]) -> Float[Tensor, "m b *c"]:
        """Return each network's scores on its batch."""
        try:
            scores = self._scores(self._stacked, batches)
        except torch.OutOfMemoryError:
            raise
        except (RuntimeError, ValueError, TypeError) as error:
            raise InvalidInputError(
                f"the models cannot be evaluated as one stack ({first_line(error)}); {_ALONE}"
            ) from error
        return scores.reshape(*batches.shape[:2], *self._shape)  # also where a batch of one lost its axis

    def hand_back(self) -> None:
        """Write the trained weights into the networks and leave them in evaluation mode.

        Raises:
            NumericalError: Some weights are NaN or infinite.
        """
        for name, value in self.trainable.items():
            check_finite(value, f"the trained {name}")
        with torch.no_grad():
            for place, network in enumerate(self._networks):
                for name, value in self.trainable.items():
                    network.get_parameter(name).copy_(value[place])
        for network in self._networks:
            network.eval()


def _state(network: nn.Module) -> Parameters:
    return dict(network.named_parameters()) | dict(network.named_buffers())


def _is_trained(value: Tensor) -> bool:
    return isinstance(value, nn.Parameter) and value.requires_grad


def _check_training_mode(network: nn.Module) -> None:
    problems = [problem for problem in inspect_model(network) if problem.kind in ("dropout", "batch-norm")]
    if problems:
        found = ", ".join(f"{problem.where} ({problem.kind})" for problem in problems)
        raise InvalidInputError(
            f"models with dropout or batch-norm cannot be trained as one stack: {found}; use SequentialTrainer"
        )


def _check_same_shapes(first: Parameters, other: Parameters) -> None:
    for name in [*first, *other]:
        one, two = first.get(name), other.get(name)
        if one is None or two is None:
            raise InvalidInputError(
                f"the models differ in architecture: some have no {name}; build them alike, or {_ALONE}"
            )
        pairs = {
            "shape": (tuple(one.shape), tuple(two.shape)),
            "type": (one.dtype, two.dtype),
            "device": (one.device, two.device),
            "requires_grad": (_is_trained(one), _is_trained(two)),
        }
        for what, (mine, its) in pairs.items():
            if mine != its:
                raise InvalidInputError(
                    f"the models differ in architecture: the {what} of {name} is {mine} in one and {its} in another; "
                    f"build them alike, or {_ALONE}"
                )


def _check_same_answers(base: nn.Module, state: Parameters, network: nn.Module, x: Tensor) -> None:
    """Require that a network answers in training as the base does with that network's weights and buffers."""
    with preserved(network), torch.no_grad(), random_state_kept(x.device):
        network.train()
        before, buffers = random_states(), {name: value.clone() for name, value in network.named_buffers()}
        own = network(x)
        changed = [name for name, value in network.named_buffers() if not torch.equal(value, buffers[name])]
        if random_states() != before:
            raise InvalidInputError(f"models that draw random numbers in training cannot be one stack; {_ALONE}")
        if changed:
            raise InvalidInputError(
                f"models that change their buffers in training ({changed[0]}) cannot be one stack; {_ALONE}"
            )
        copies = {name: value.detach().clone() for name, value in state.items()}
        if not agree(functional_call(base, copies, (x.clone(),)).reshape(own.shape), own):
            raise InvalidInputError(
                "the models differ in more than weights and buffers, as in an activation or a constant; "
                f"build them alike, or {_ALONE}"
            )


def check_entrywise(optimizer: Callable[[list[Tensor]], Optimizer], n: int = 1) -> None:
    """Require an optimiser that moves each entry of a tensor by that entry's own gradients.

    Args:
        optimizer: Called with a list of tensors.
        n: Tensors in that list.

    Raises:
        InvalidInputError: A row moves otherwise where another row has other gradients, or a step needs a closure.

    >>> check_entrywise(torch.optim.Adam)
    """
    with torch.inference_mode(False), torch.enable_grad(), random_state_kept(torch.device("cpu")):
        one, two = _first_rows(optimizer, n, 1.0), _first_rows(optimizer, n, -5.0)
    if not torch.allclose(one, two):
        raise InvalidInputError(
            "the optimiser moves the entries of a tensor together, so that stacked models would not be independent; "
            + _ALONE
        )


def _first_rows(optimizer: Callable[[list[Tensor]], Optimizer], n: int, other: float) -> Tensor:
    """Return the first rows of n tensors after two steps, with the gradient of the second row a multiple of `other`."""
    values = [torch.ones(2, 3).requires_grad_() for _ in range(n)]
    run = optimizer(values)
    for _ in range(2):
        for value in values:
            value.grad = torch.tensor([[1.0, 2.0, 3.0], [other, other, 2 * other]])
        try:
            run.step()
        except TypeError as error:
            raise InvalidInputError(f"the optimiser takes no plain step ({first_line(error)}); {_ALONE}") from error
    return torch.stack([value.detach()[0] for value in values])
