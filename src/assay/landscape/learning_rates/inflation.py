"""Extreme eigenvalues of a mini-batch's Hessian and Gauss-Newton matrix (Granziol, Zohren, Roberts, 2022)."""

import math
from typing import Literal

from assay.core import InvalidInputError, check_choice, check_count, check_positive


def effective_batch_size(batch_size: int, dataset_size: int | None = None) -> float:
    r"""Return the batch size that sampling with replacement would need for the same noise, $b = B / (1 - B/N)$.

    A mean over B of N samples, drawn without replacement, has the variance $\sigma^2 (1/B - 1/N) = \sigma^2 / b$.

    Args:
        batch_size: Samples B of a batch.
        dataset_size: Samples N of the data set; None for unlimited data.

    Returns:
        The effective batch size, infinite where the batch is the whole set.

    Raises:
        InvalidInputError: A size is below one, or the batch is larger than the data set.

    Source: Cochran (1977), "Sampling Techniques", chapter 2: the finite population correction.

    >>> effective_batch_size(50, 100), effective_batch_size(50), effective_batch_size(100, 100)
    (100.0, 50.0, inf)
    """
    check_count(batch_size, "the batch size")
    if dataset_size is None:
        return float(batch_size)
    check_count(dataset_size, "dataset_size")
    if batch_size > dataset_size:
        raise InvalidInputError(
            f"a batch of {batch_size} cannot be drawn from {dataset_size} samples; give at most dataset_size"
        )
    return math.inf if batch_size == dataset_size else batch_size / (1 - batch_size / dataset_size)


def batch_hessian_extremes(lambda_full: float, q: float, *, end: Literal["largest", "smallest"] = "largest") -> float:
    r"""Predict an extreme eigenvalue of the batch Hessian $H_{\text{batch}} = H + \varepsilon$ from that of $H$.

    The noise $\varepsilon$ is symmetric with independent entries of variance $\sigma^2/b$, and $q = P\sigma^2/b$. As
    the number P of parameters grows, an isolated eigenvalue $\lambda$ of H moves to $\lambda + q/\lambda$ where
    $\lambda > \sqrt q$; a smaller one disappears in the noise, whose edge is $2\sqrt q$. The smallest eigenvalue
    follows with signs reversed. The excess over $\lambda$ of an isolated eigenvalue is exactly proportional to $1/b$.

    The noise of a trained network is neither independent nor spread over all directions: see `HessianNoise`, which
    has a second prediction.

    Args:
        lambda_full: Largest or smallest eigenvalue of the full Hessian, isolated from its bulk near zero.
        q: Size of the noise, $P\sigma^2/b$; zero for the full batch.
        end: Which of the two `lambda_full` is.

    Returns:
        The largest or smallest eigenvalue of the batch Hessian.

    Raises:
        InvalidInputError: `lambda_full` is not finite, or `q` is negative.

    Source: Granziol, Zohren and Roberts (2022), abstract; the formula is derived here, as that of a spiked Wigner
    matrix: Benaych-Georges and Nadakuditi (2011), "The eigenvalues and eigenvectors of finite, low rank
    perturbations of large random matrices", theorem 2.1 with section 3.1.

    >>> batch_hessian_extremes(5.0, 20.0), batch_hessian_extremes(1.0, 4.0), batch_hessian_extremes(5.0, 0.0)
    (9.0, 4.0, 5.0)
    """
    check_choice(end, ("largest", "smallest"), "end")
    if not math.isfinite(lambda_full):
        raise InvalidInputError(f"lambda_full must be a finite number, got {lambda_full!r}")
    if not (math.isfinite(q) and q >= 0):
        raise InvalidInputError(f"q must be zero or a positive number, got {q!r}; it is a mean of squares")
    if q == 0:
        return float(lambda_full)
    sign = 1.0 if end == "largest" else -1.0
    outward = sign * lambda_full
    return sign * (outward + q / outward if outward > math.sqrt(q) else 2 * math.sqrt(q))


def batch_gauss_newton_extremes(lambda_full: float, noise: float, ratio: float) -> float:
    r"""Predict the largest eigenvalue of a batch's Gauss-Newton matrix, a sample covariance of b samples.

    With a population eigenvalue $l$ above a bulk of height $s^2$ and $c = P/b$, it is $l\,(1 + c s^2/(l - s^2))$
    where $l > s^2 (1 + \sqrt c)$, and the bulk's edge $s^2 (1 + \sqrt c)^2$ otherwise. Far above the bulk the excess
    tends to $c s^2$, the trace of the bulk over b.

    This is the textbook form of a spiked covariance; the paper's own statement may differ.

    Args:
        lambda_full: Largest eigenvalue $l$ of the full Gauss-Newton matrix.
        noise: Height $s^2$ of its bulk.
        ratio: Parameters over effective batch size, $c$.

    Returns:
        The largest eigenvalue on a batch.

    Raises:
        InvalidInputError: A number is not positive, or `lambda_full` lies inside the bulk.

    Source: Granziol, Zohren and Roberts (2022), abstract; the formula is that of Baik and Silverstein (2006),
    "Eigenvalues of large sample covariance matrices of spiked population models", theorem 1.1.

    >>> batch_gauss_newton_extremes(3.0, 1.0, 1.0), batch_gauss_newton_extremes(1.5, 1.0, 1.0)
    (4.5, 4.0)
    """
    for value, name in ((lambda_full, "lambda_full"), (noise, "noise"), (ratio, "ratio")):
        check_positive(value, name)
    if lambda_full < noise:
        raise InvalidInputError(
            f"lambda_full={lambda_full!r} lies below the bulk at noise={noise!r}; the largest eigenvalue cannot"
        )
    if lambda_full > noise * (1 + math.sqrt(ratio)):
        return lambda_full * (1 + ratio * noise / (lambda_full - noise))
    return noise * (1 + math.sqrt(ratio)) ** 2
