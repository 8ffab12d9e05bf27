"""Expectation over the randomness of a network (Athalye, Engstrom, Ilyas and Kwok, 2018)."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from assay.core import InvalidInputError, check_count, isolated_rng


class ExpectedScores(nn.Module):
    r"""Average a random network's scores over fixed draws of its randomness, $\frac1T\sum_t f_{\omega_t}(x)$.

    The average does not change from call to call and has the gradient $\frac1T\sum_t \nabla f_{\omega_t}(x)$, so that
    every attack, and `robust_accuracy`, take it in the place of the network. Each draw is the same for all samples.

    Args:
        model: Network that draws from PyTorch's global random state in evaluation mode.
        n_draws: Draws $T$. AutoAttack's evaluation of random networks: 20.
        random_state: Seed of the draws. Measure what an attack found with another one.

    Raises:
        InvalidInputError: `n_draws` is below one, or, at the call, the network does not run under `torch.func.vmap`.

    Cost: time and memory those of a forward pass of `n_draws` times the batch.

    Source: Athalye, Engstrom, Ilyas, Kwok, "Synthesizing robust adversarial examples" (2018), section 2.1; for
    networks with random layers Athalye, Carlini, Wagner, "Obfuscated gradients give a false sense of security" (2018),
    section 4.2.

    >>> class Noisy(nn.Linear):
    ...     def forward(self, x):
    ...         return super().forward(x + torch.randn_like(x))
    >>> expected, x = ExpectedScores(Noisy(2, 3)), torch.zeros(4, 2)
    >>> torch.equal(expected(x), expected(x))
    True
    """

    def __init__(self, model: nn.Module, *, n_draws: int = 20, random_state: int = 0) -> None:
        super().__init__()
        check_count(n_draws, "n_draws")
        self.model, self.n_draws, self.random_state = model, n_draws, random_state

    def forward(self, x: Float[Tensor, "n *d"]) -> Float[Tensor, "n c"]:
        """Return the mean of the scores over the draws."""
        # Under vmap each sample has the same draw, whatever else is in its batch.
        each = torch.func.vmap(lambda sample: self.model(sample[None])[0], randomness="same")
        of_draws = torch.func.vmap(lambda _: each(x), randomness="different")
        try:
            with isolated_rng(self.random_state):
                return of_draws(torch.empty(self.n_draws, device=x.device)).mean(0)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            raise InvalidInputError(
                f"the network does not run sample by sample under torch.func.vmap ({error}); rewrite what depends on "
                "values of the input, or writes in place"
            ) from error
