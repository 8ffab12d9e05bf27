"""Max-margin network of infinite width on the simplified BlockMNIST (Shah et al., 2021, section 6, the theorem)."""

import torch
from jaxtyping import Float
from torch import Tensor

from assay.attribution.faithfulness.block_data import unit_signal
from assay.core import InvalidInputError, check_count


def max_margin_gradient_pattern(
    blocks: int, *, signal: Float[Tensor, " block_size"] | None = None, dtype: torch.dtype = torch.float64
) -> Float[Tensor, " d"]:
    r"""Return the input gradient of the max-margin network on `simplified_blocks` without noise, the same at all x.

    For $f_\nu(x) = E_{(w, r) \sim \nu}[w\,\sigma(\langle r, x\rangle)]$ with $\nu$ on the unit sphere, the mean margin
    of a neuron is `mean_neuron_margin`, largest for $w = \pm 1/\sqrt 2$ and $r = \pm (u^*, \dots, u^*, 0, \dots, 0) /
    \sqrt{d}$ of equal signs. Both neurons with mass 1/2 give the linear function with gradient $u^*/(4\sqrt{d/2})$ in
    each of the first $d/2$ blocks and 0 in the others. Its margin is the same at all points, so that no network has
    a larger smallest one. The gradient does not tell the sample's block from other relevant blocks.

    Cost: O(d).

    Args:
        blocks: Number of blocks d, even.
        signal: Unit vector $u^*$ of a block; the number 1 by default.
        dtype: Type of the gradient.

    Returns:
        The gradient, block after block.

    Raises:
        InvalidInputError: The number of blocks is odd or below two, or the signal is no unit vector.

    Source: Shah, Jain, Netrapalli, "Do input gradients highlight discriminative features?" (2021), section 6, the
    theorem on one-hidden-layer networks; constants and proof without noise are derived here.

    >>> max_margin_gradient_pattern(8).tolist()
    [0.125, 0.125, 0.125, 0.125, 0.0, 0.0, 0.0, 0.0]
    """
    relevant = _relevant_blocks(blocks)
    vector = unit_signal(1 if signal is None else len(signal), signal, dtype)
    pattern = torch.zeros(blocks, len(vector), dtype=dtype)
    pattern[:relevant] = vector / (4 * relevant**0.5)
    return pattern.flatten()


def mean_neuron_margin(
    weights: Float[Tensor, "m d"],
    output_weights: Float[Tensor, " m"],
    blocks: int,
    *,
    signal: Float[Tensor, " block_size"] | None = None,
) -> Float[Tensor, " m"]:
    r"""Compute the mean margin $\frac1d w \sum_{j \le d/2} \langle r_j, u^*\rangle$ of neurons on `simplified_blocks`.

    It is the mean of $y\,w\,\sigma(\langle r, x\rangle)$ without noise, by $\sigma(a) - \sigma(-a) = a$.

    Cost: O(m d).

    Args:
        weights: Input weights r of each neuron.
        output_weights: Their output weights w.
        blocks: Number of blocks d, even.
        signal: Unit vector $u^*$ of a block; equal entries by default.

    Returns:
        One margin a neuron.

    Raises:
        InvalidInputError: The weights do not divide into the blocks, or a number does not fit.

    Source: Shah, Jain, Netrapalli, "Do input gradients highlight discriminative features?" (2021), section 6; derived
    here.

    >>> mean_neuron_margin(torch.tensor([[3.0, 5.0]]), torch.tensor([2.0]), 2).tolist()
    [3.0]
    """
    relevant = _relevant_blocks(blocks)
    fits = weights.ndim == 2 and weights.shape[1] % blocks == 0 and output_weights.shape == (len(weights),)
    if not fits or weights.numel() == 0:
        raise InvalidInputError(
            f"weights of shape {tuple(weights.shape)} and output_weights of shape {tuple(output_weights.shape)} are no "
            f"neurons on {blocks} blocks; give shapes (m, d) and (m,), d a multiple of the blocks"
        )
    vector = unit_signal(weights.shape[1] // blocks, signal, weights.dtype).to(weights.device)
    return output_weights * (weights.unflatten(1, (blocks, -1))[:, :relevant] @ vector).sum(1) / blocks


def _relevant_blocks(blocks: int) -> int:
    check_count(blocks, "blocks", at_least=2)
    if blocks % 2:
        raise InvalidInputError(f"blocks must be even, half of them relevant, got {blocks}")
    return blocks // 2
