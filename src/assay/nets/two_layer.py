"""Two-layer ReLU network without biases, with a fixed output layer (Melamed, Yehudai and Vardi, 2023)."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from assay.core import as_generator, check_count, check_positive


class TwoLayerReLU(nn.Module):
    r"""Compute $N(x) = \sum_{i=1}^m u_i\,\sigma(\langle w_i, x\rangle)$ with $\sigma(z) = \max(z, 0)$.

    Only the rows $w_i$ of `weight` are trained. The output weights $u_i$ are a buffer, each drawn uniformly from
    $\{-1/\sqrt m, 1/\sqrt m\}$; the rows from $\mathcal N(0, \beta^2 I_d)$.

    Args:
        in_features: Input dimension $d$.
        width: Hidden units $m$.
        init_scale: Standard deviation $\beta$ of the initial weights; $1/\sqrt d$ when None, so that $N(x) = O(1)$ for
            inputs of norm $\sqrt d$.
        generator: Source of the weights; a fixed seed by default.

    Raises:
        InvalidInputError: A size is below one, or `init_scale` is not positive.

    Source: Melamed, Yehudai and Vardi, "Adversarial Examples Exist in Two-Layer ReLU Networks for Low Dimensional
    Linear Subspaces" (2023), main text, the equation of $N(x)$ above.

    >>> TwoLayerReLU(4, 8)(torch.ones(3, 4)).shape
    torch.Size([3])
    """

    output: Tensor

    def __init__(
        self,
        in_features: int,
        width: int,
        *,
        init_scale: float | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        check_count(in_features, "in_features")
        check_count(width, "width")
        scale = in_features**-0.5 if init_scale is None else init_scale
        check_positive(scale, "init_scale")
        generator = as_generator(generator)
        self.weight = nn.Parameter(scale * torch.randn(width, in_features, generator=generator))
        self.register_buffer("output", (torch.randint(2, (width,), generator=generator) * 2 - 1) / width**0.5)

    def forward(self, x: Float[Tensor, "n d"]) -> Float[Tensor, " n"]:
        """Return one score a sample; its sign is the decision."""
        return (x @ self.weight.T).relu() @ self.output

    def active_units(self, x: Float[Tensor, "n d"]) -> Bool[Tensor, "n m"]:
        r"""Return the hidden units that are active on each sample: $\langle w_i, x\rangle \ge 0$."""
        return x @ self.weight.detach().T >= 0
