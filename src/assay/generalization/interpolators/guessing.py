"""Guess and check: random weights until the training set is fitted (Buzaglo, Harel et al., 2024)."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int64, Shaped
from torch import Tensor

from assay.core import InvalidInputError, as_generator, check_count, check_pairs, signs
from assay.generalization.interpolators.quantized import QuantizedMLP

POINTS_AT_ONCE = 4
"""Training points between two rejections: most networks fail on the first few."""


@dataclass(frozen=True)
class GuessAndCheckResult:
    """Networks that fit the training set, in the order in which they were drawn.

    Attributes:
        parameters: Flat weights of each; no row where none was found.
        guesses: Networks drawn for each, from the one after the previous find to this one: a geometric number.
        drawn: Networks drawn in all.
        wanted: Networks asked for.
    """

    parameters: Float[Tensor, "m p"]
    guesses: Int64[Tensor, " m"]
    drawn: int
    wanted: int

    @property
    def accepted(self) -> bool:
        """Whether as many networks as asked for were found."""
        return len(self.parameters) == self.wanted

    def __str__(self) -> str:
        found = f"{len(self.parameters)} of {self.wanted} networks found in {self.drawn} draws"
        if self.accepted:
            return f"{found}; each fits the training set."
        return f"{found}: draw more, or take fewer samples, a narrower network, or labels that it can express."


def guess_and_check(
    prior: QuantizedMLP,
    x: Float[Tensor, "n d"],
    y: Shaped[Tensor, "n *one"],
    *,
    n_networks: int = 1,
    max_guesses: int = 1_000_000,
    batch_size: int = 16_384,
    generator: torch.Generator | None = None,
) -> GuessAndCheckResult:
    r"""Draw weights from the prior and keep the first networks with zero training error.

    These are independent draws from $P(\theta \mid h_\theta(x_i) = y_i \text{ for all } i)$.

    Cost: about 1 / P(fit) guesses a network, of time O(p) each; memory O(batch_size p). P(fit) falls fast with n.

    Args:
        prior: The network and its levels.
        x: Training inputs.
        y: Their labels, 0 and 1 or -1 and 1.
        n_networks: How many networks to find.
        max_guesses: Draws after which the search ends, whatever was found.
        batch_size: Networks that are evaluated together; the result does not depend on it.
        generator: Source of the weights; a fixed seed by default.

    Returns:
        The networks that were found, which may be fewer than asked for: `accepted` is then False.

    Raises:
        InvalidInputError: The data do not belong to the network, the labels are not binary, or a number is below 1.

    Source: Buzaglo, Harel et al., How Uniform Random Weights Induce Non-uniform Bias (2024), the guess and check
    algorithm.

    >>> x = torch.tensor([[1.0, 0.0], [-1.0, 0.0]])
    >>> guess_and_check(QuantizedMLP((2, 3, 1)), x, torch.tensor([1, 0])).accepted
    True
    """
    for value, name in ((n_networks, "n_networks"), (max_guesses, "max_guesses"), (batch_size, "batch_size")):
        check_count(value, name)
    x, y = check_pairs(x, y)
    prior.check_inputs(x)
    positive, source = signs(y) > 0, as_generator(generator)
    found, places, count, drawn = [], [], 0, 0
    while drawn < max_guesses and count < n_networks:
        batch = prior.sample(min(batch_size, max_guesses - drawn), source)
        fits = fitting(prior, batch.to(x), x, positive)
        found.append(batch[fits.cpu()])
        places.append(drawn + fits.cpu())
        count, drawn = count + len(fits), drawn + len(batch)
    index = torch.cat(places)[:n_networks]
    if len(index) == n_networks:
        drawn = int(index[-1]) + 1
    guesses = torch.diff(index, prepend=torch.tensor([-1]))
    return GuessAndCheckResult(torch.cat(found)[:n_networks].to(x), guesses, drawn, n_networks)


def fitting(
    prior: QuantizedMLP, parameters: Float[Tensor, "m p"], x: Float[Tensor, "n d"], positive: Bool[Tensor, " n"]
) -> Int64[Tensor, " k"]:
    """Return the places of the networks that fit all labels, a few training points at a time.

    Args:
        prior: The network.
        parameters: Flat weights of each candidate.
        x: Training inputs.
        positive: Which have the label 1.

    Raises:
        InvalidInputError: There is no label for each input.

    >>> weights = torch.tensor([[1.0, 0.0], [-1.0, 0.0]])
    >>> fitting(QuantizedMLP((1, 1)), weights, torch.ones(1, 1), torch.tensor([True])).tolist()
    [0]
    """
    if len(x) != len(positive):
        raise InvalidInputError(f"{len(x)} inputs came with {len(positive)} labels; give one label an input")
    alive = torch.arange(len(parameters), device=parameters.device)
    for points, labels in zip(x.split(POINTS_AT_ONCE), positive.split(POINTS_AT_ONCE), strict=True):
        right = ((prior.forward_batch(parameters[alive], points) > 0) == labels).all(1)
        alive = alive[right]
    return alive
