"""Losses of two representations beside the Eckart-Young loss: deep CCA's own, Barlow Twins and VICReg."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from assay.core import InvalidInputError, check_positive
from assay.representation.cca.eckart_young import check_views


class FullCCALoss(nn.Module):
    r"""Minus the sum of the canonical correlations of a batch, $-\|S_{11}^{-1/2} S_{12} S_{22}^{-1/2}\|_*$.

    $S_{ii}$ has `ridge` added to its diagonal. The loss is not a mean over samples: the correlations of a small batch
    are far above those of the data, which is why it is made for full batches.

    Cost: time O(n k² + k³), memory O(n k + k²).

    Args:
        ridge: Added to the diagonal of both covariances.

    Raises:
        InvalidInputError: `ridge` is not positive.

    Source: Andrew, Arora, Bilmes and Livescu, Deep Canonical Correlation Analysis (2013), section 3, equation for the
    sum of the top k singular values, with all k of them.

    >>> z = torch.eye(5)[:, :2]
    >>> round(float(FullCCALoss(1e-6)(z, z)), 3)
    -2.0
    """

    def __init__(self, ridge: float = 1e-3) -> None:
        super().__init__()
        check_positive(ridge, "ridge")
        self.ridge = ridge

    def forward(self, z1: Float[Tensor, "n k"], z2: Float[Tensor, "n k"]) -> Float[Tensor, ""]:
        """Return the loss of a batch."""
        check_views((z1, z2), same_width=True)
        z1, z2 = z1 - z1.mean(0), z2 - z2.mean(0)
        degrees, shift = len(z1) - 1, self.ridge * torch.eye(z1.shape[1], dtype=z1.dtype, device=z1.device)
        # With Cholesky factors in place of the square roots, singular values stay as they are.
        factors = [torch.linalg.cholesky(z.mT @ z / degrees + shift) for z in (z1, z2)]
        left = torch.linalg.solve_triangular(factors[0], z1.mT @ z2 / degrees, upper=False)
        whitened = torch.linalg.solve_triangular(factors[1], left.mT, upper=False)
        return -torch.linalg.matrix_norm(whitened, ord="nuc")


class BarlowTwinsLoss(nn.Module):
    r"""Distance of the cross-correlation from the identity: $\sum_k (1 - c_{kk})^2 + \beta \sum_{k \ne l} c_{kl}^2$.

    $c_{kl}$ is the correlation of column k of one view with column l of the other, over the batch.

    Cost: time O(n k²), memory O(n k + k²).

    Args:
        off_diagonal: $\beta$; the paper's default is 0.005.

    Raises:
        InvalidInputError: $\beta$ is not positive.

    Source: Zbontar, Jing, Misra, LeCun and Deny, Barlow Twins (2021), section 2.1, equations (1) and (2).

    >>> z = torch.tensor([[1.0], [-1.0], [0.0]])
    >>> round(float(BarlowTwinsLoss()(z, -z)), 3)
    4.0
    """

    def __init__(self, off_diagonal: float = 5e-3) -> None:
        super().__init__()
        check_positive(off_diagonal, "off_diagonal")
        self.off_diagonal = off_diagonal

    def forward(self, z1: Float[Tensor, "n k"], z2: Float[Tensor, "n k"]) -> Float[Tensor, ""]:
        """Return the loss of a batch."""
        check_views((z1, z2), same_width=True)
        unit = [nn.functional.normalize(z - z.mean(0), dim=0) for z in (z1, z2)]
        correlation = unit[0].mT @ unit[1]
        on = correlation.diagonal()
        off = correlation.square().sum() - on.square().sum()
        return (1 - on).square().sum() + self.off_diagonal * off


class VICRegLoss(nn.Module):
    r"""Variance-invariance-covariance loss of two views.

    $\lambda \frac1{nk} \|Z_1 - Z_2\|_F^2 + \sum_i \mu \frac1k \sum_l \max(0, 1 - \sqrt{V^{(i)}_{ll} + \varepsilon}) +
    \nu \frac1k \sum_{l \ne m} (V^{(i)}_{lm})^2$ with $V^{(i)}$ the covariance of view i.

    Cost: time O(n k²), memory O(n k + k²).

    Args:
        invariance: $\lambda$.
        variance: $\mu$.
        covariance: $\nu$.
        eps: $\varepsilon$.

    Raises:
        InvalidInputError: A coefficient is negative.

    Source: Bardes, Ponce and LeCun, VICReg (2022), section 4.1, equations (1) to (6), with the defaults stated there;
    the code that the authors publish halves the hinge.

    >>> z = torch.tensor([[1.0], [-1.0], [0.0]])
    >>> round(float(VICRegLoss()(z, z)), 4)
    0.0
    """

    def __init__(
        self, *, invariance: float = 25.0, variance: float = 25.0, covariance: float = 1.0, eps: float = 1e-4
    ) -> None:
        super().__init__()
        if min(invariance, variance, covariance, eps) < 0:
            raise InvalidInputError("the coefficients of VICReg must not be negative")
        self.invariance, self.variance, self.covariance, self.eps = invariance, variance, covariance, eps

    def forward(self, z1: Float[Tensor, "n k"], z2: Float[Tensor, "n k"]) -> Float[Tensor, ""]:
        """Return the loss of a batch."""
        check_views((z1, z2), same_width=True)
        n, k = z1.shape
        loss = self.invariance * (z1 - z2).square().mean()
        for z in (z1 - z1.mean(0), z2 - z2.mean(0)):
            covariance = z.mT @ z / (n - 1)
            on = covariance.diagonal()
            loss = loss + self.variance * (1 - (on + self.eps).sqrt()).clamp_min(0).mean()
            loss = loss + self.covariance / k * (covariance.square().sum() - on.square().sum())
        return loss
