"""Entropy of a spectrum by stochastic Lanczos quadrature with deflation (Ubaru, Chen and Saad, 2017)."""

import math
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from assay.core import MatrixFree, Tridiagonalization, check_count, check_finite, lanczos, sign_probes

LN2 = math.log(2)


class EntropyEstimate(NamedTuple):
    """An entropy in bits and its error."""

    value: float
    error: float


def spectral_entropy(eigenvalues: Float[Tensor, " n"], t: float) -> Float[Tensor, ""]:
    r"""Return $-\sum_i \alpha_i \log_2 \alpha_i$ with $\alpha_i = |\lambda_i|^t / \sum_j |\lambda_j|^t$, in bits.

    >>> spectral_entropy(torch.tensor([0.5, 0.5, 0.0]), 1).item()
    1.0
    """
    weights = (eigenvalues.abs() / eigenvalues.abs().max()) ** t  # the largest may be tiny when powered
    weights = weights / weights.sum()
    return torch.special.entr(weights).sum() / LN2


@torch.inference_mode(False)
def estimated_entropy(
    operator: MatrixFree,
    trace: float,
    *,
    t: float,
    n_iter: int,
    probes: int,
    rank: int,
    generator: torch.Generator,
) -> EntropyEstimate:
    r"""Estimate the entropy of an operator's spectrum from its products, with the error of the estimate.

    With $f(\lambda) = \lambda^t$ the entropy is $\log_2 Z - T/Z$ for $Z = \mathrm{tr} f(K)$ and
    $T = \mathrm{tr}\,(f \log_2 f)(K)$. Either trace is taken in two parts: exactly on the range Q of two random
    subspace iterations, $\mathrm{tr}\,Q^\top g(K) Q$, and as a mean over random signs, projected on the complement,
    for the rest. Lanczos from every column gives its quadratic form as a Gauss rule. The trace of K itself, which is
    known, serves as a control variate: the probes' forms in K correct those in g(K) by regression.

    The error has two parts, added in quadrature: the standard error over probes of the entropy's linearisation in Z
    and T, after the regression, and the change of the entropy from half of the Lanczos steps to all.

    Args:
        operator: Symmetric, positive semi-definite.
        trace: Its trace.
        t: Power of the eigenvalues.
        n_iter: Lanczos steps.
        probes: Random sign vectors, at least four.
        rank: Columns of Q.
        generator: Source of the random vectors.

    Raises:
        InvalidInputError: A number is too small.
        NumericalError: A product is NaN or infinite.
    """
    for count, name, least in ((n_iter, "n_iter", 4), (probes, "probes", 4), (rank, "rank", 1)):
        check_count(count, name, at_least=least)
    rank = min(rank, operator.shape[0] // 2)
    basis = torch.randn(operator.shape[0], rank, generator=generator, dtype=operator.dtype, device=generator.device)
    basis = basis.to(operator.device)
    for _ in range(2):
        image = operator @ basis
        check_finite(image, "a product with the diffusion matrix")
        basis = torch.linalg.qr(image).Q
    signs = sign_probes(operator, probes, generator)
    columns = torch.cat([basis, signs - basis @ (basis.T @ signs)], 1)
    lengths = columns.square().sum(0)
    steps = lanczos(operator, columns, n_iter=n_iter, generator=generator)
    value, error = _from_forms(steps, lengths, rank, trace, t)
    before, _ = _from_forms(steps.first(steps.diagonal.shape[1] // 2), lengths, rank, trace, t)
    return EntropyEstimate(value, math.hypot(error, value - before))


def _from_forms(
    steps: Tridiagonalization, lengths: Float[Tensor, " k"], rank: int, trace: float, t: float
) -> tuple[float, float]:
    """Return the entropy and its standard error over probes, from Gauss rules of `rank` fixed columns and of probes."""
    nodes, weights, _ = steps.ritz()
    nodes, weights = nodes.abs(), weights * lengths[:, None]
    # Relative to the largest node, so that a power of small eigenvalues does not vanish; the entropy stays the same.
    scale = nodes.max()
    nodes, trace = nodes / scale, trace / float(scale)
    powered = nodes**t
    logs = t * torch.special.xlogy(powered, nodes) / LN2
    linear, mass, information = ((weights * form).sum(1) for form in (nodes, powered, logs))
    rest = trace - linear[:rank].sum()
    centred = linear[rank:] - linear[rank:].mean()
    variance = centred.square().sum().clamp(min=torch.finfo(nodes.dtype).tiny)

    def total(form: Float[Tensor, " k"]) -> Float[Tensor, ""]:
        slope = (form[rank:] * centred).sum() / variance
        return form[:rank].sum() + form[rank:].mean() - slope * (linear[rank:].mean() - rest)

    z, w = total(mass), total(information)
    # dS = dZ / (Z ln 2) - dT / Z + T dZ / Z², for each probe.
    change = (mass / LN2 - information + w / z * mass)[rank:] / z
    left = change - change.mean() - (change * centred).sum() / variance * centred
    n = len(left)
    return float(z.log2() - w / z), float((left.square().sum() / ((n - 2) * n)).sqrt())
