"""Diffusion spectral entropy of a batch as a differentiable loss (Liao et al., 2023)."""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from assay.core import InvalidInputError, check_choice, check_positive, symmetric_eigenvalues
from assay.representation.diffusion_entropy.kernel import NORMALIZATIONS, Normalization, diffusion_matrix

FLOOR = 1e-6  # added to each share in the logarithm, as in the authors' code


class DiffusionSpectralEntropyLoss(nn.Module):
    r"""Compute the diffusion entropy of a batch, differentiably: $-\sum_i \alpha_i \log_2(\alpha_i + 10^{-6})$.

    Add it to a loss to collapse a representation, or subtract it to spread one.

    Cost: time O(n² d + n³), memory O(n²).

    Args:
        sigma: Bandwidth, in units of the samples.
        t: Power of the eigenvalues.
        normalization: Of the kernel, see `diffusion_spectral_entropy`.

    Raises:
        InvalidInputError: An option is unusable.

    Source: Liao et al. (2023), arXiv 2312.04823, main text: the definition; the differentiable version is that of the
    authors' code.

    >>> loss = DiffusionSpectralEntropyLoss()
    >>> x = torch.tensor([[0.0], [1.0]], requires_grad=True)
    >>> loss(x).backward()
    >>> (x.grad[0] == -x.grad[1]).item()
    True
    """

    def __init__(self, sigma: float = 10.0, *, t: float = 1.0, normalization: Normalization = "symmetric") -> None:
        super().__init__()
        check_positive(sigma, "sigma")
        check_positive(t, "t")
        check_choice(normalization, NORMALIZATIONS, "normalization")
        self.sigma = sigma
        self.t = t
        self.normalization: Normalization = normalization

    def forward(self, x: Float[Tensor, "n *d"]) -> Float[Tensor, ""]:
        """Return the entropy in bits.

        Args:
            x: One sample a row.

        Raises:
            InvalidInputError: `x` is no batch of samples.
        """
        if x.ndim < 2 or x.numel() == 0 or not x.is_floating_point():
            raise InvalidInputError(
                f"x must be a non-empty floating-point batch of shape (n, ...), got {x.dtype} of shape {tuple(x.shape)}"
            )
        rows = x.flatten(1).double()
        rows = (rows - rows.mean(0)) / (math.sqrt(2) * self.sigma)
        values = symmetric_eigenvalues(diffusion_matrix(rows, self.normalization)).abs()
        # A power of zero has an infinite derivative where t is below one.
        powered = values.clamp(min=torch.finfo(values.dtype).tiny) ** self.t
        shares = powered / powered.sum()
        return -(shares * (shares + FLOOR).log2()).sum().to(x.dtype)

    def extra_repr(self) -> str:
        """Name the options."""
        return f"sigma={self.sigma}, t={self.t}, normalization={self.normalization!r}"
