"""Noise of a mini-batch's curvature, measured on a network (Granziol, Zohren, Roberts, 2022)."""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from assay.core import (
    GaussNewtonOperator,
    HessianOperator,
    InvalidInputError,
    LossFunction,
    MatrixFree,
    affordable_batch,
    as_generator,
    check_choice,
    check_count,
    check_pairs,
    lanczos,
    mean_over_samples,
    sign_probes,
    track,
)
from assay.landscape.learning_rates.inflation import batch_hessian_extremes, effective_batch_size

Prediction = Literal["fit", "iid"]
"""How the curvature at other batch sizes follows from that at one: `HessianNoise.largest_at` says more."""


@dataclass(frozen=True, eq=False)
class HessianNoise:
    r"""Extreme eigenvalues of the full curvature matrix and of batches, and the size of the noise between them.

    Attributes:
        matrix: "hessian" or "gauss_newton".
        batch_size: Samples B of a batch.
        dataset_size: Samples N of the set that batches are drawn from.
        n_parameters: Parameters P that the matrix is taken in.
        largest: Largest eigenvalue of the full matrix.
        smallest: Smallest eigenvalue of the full matrix.
        batch_largest: Largest eigenvalue of each batch's matrix.
        batch_smallest: Smallest eigenvalue of each batch's matrix.
        q: Size of the noise at this batch size, $\mathbb E\lVert H_{\text{batch}} - H\rVert_F^2 / P$.
        q_error: Standard error of `q` over batches.
    """

    matrix: Literal["hessian", "gauss_newton"]
    batch_size: int
    dataset_size: int
    n_parameters: int
    largest: float
    smallest: float
    batch_largest: Float[Tensor, " k"]
    batch_smallest: Float[Tensor, " k"]
    q: float
    q_error: float

    @property
    def slope(self) -> float:
        r"""Coefficient k of the fit $\lambda' = \lambda + k/b$, from the mean over batches; not below zero.

        The mean of the batches' largest eigenvalues is never below the full one, since the largest eigenvalue is a
        convex function of the matrix; a few batches can fall below it.
        """
        excess = self.batch_largest.double().mean().item() - self.largest
        return max(excess, 0.0) * effective_batch_size(self.batch_size, self.dataset_size)

    def q_at(self, batch_size: int, *, dataset_size: int | None = None) -> float:
        """Return the size of the noise at another batch size, to which it is inversely proportional.

        Args:
            batch_size: Samples of a batch.
            dataset_size: Samples of the set that batches are drawn from; by default that of the measurement.

        Raises:
            InvalidInputError: A size is below one, or the batch is larger than the set.
        """
        own = effective_batch_size(self.batch_size, self.dataset_size)
        return self.q * own / effective_batch_size(batch_size, dataset_size or self.dataset_size)

    def largest_at(self, batch_size: int, *, prediction: Prediction = "fit", dataset_size: int | None = None) -> float:
        r"""Predict the largest eigenvalue on batches of another size.

        "iid" is the theorem for noise with independent entries, `batch_hessian_extremes` at `q_at`. The noise of a
        network is low-rank and aligned with the top eigenvectors, since both come from the same samples' gradients,
        so that the theorem predicts too little. "fit" is $\lambda + k/b$, with k from the batches that were measured:
        the form that both theorems take far from their thresholds, at the size that the network has.

        Args:
            batch_size: Samples of a batch.
            prediction: One of the two.
            dataset_size: Samples of the set that batches are drawn from; by default that of the measurement.

        Raises:
            InvalidInputError: A size is below one, the batch is larger than the set, or the prediction is unknown.
        """
        check_choice(prediction, ("fit", "iid"), "prediction")
        if prediction == "iid":
            return batch_hessian_extremes(self.largest, self.q_at(batch_size, dataset_size=dataset_size))
        return self.largest + self.slope / effective_batch_size(batch_size, dataset_size or self.dataset_size)

    def __str__(self) -> str:
        what = "Hessian" if self.matrix == "hessian" else "Gauss-Newton matrix"
        mean = self.batch_largest.double().mean().item()
        above = (self.batch_largest > self.largest).double().mean().item()
        return (
            f"The largest eigenvalue of the {what} is {self.largest:.4g} on all {self.dataset_size} samples and "
            f"{mean:.4g} on average over {len(self.batch_largest)} batches of {self.batch_size}, {above:.0%} of which "
            f"lie above it; noise with independent entries would give "
            f"{self.largest_at(self.batch_size, prediction='iid'):.4g}."
        )


@torch.inference_mode(False)
def estimate_hessian_noise(
    model: nn.Module,
    x: Shaped[Tensor, "n *d"],
    y: Tensor,
    *,
    loss: LossFunction,
    batch_size: int,
    n_batches: int = 10,
    probes: int = 1,
    matrix: Literal["hessian", "gauss_newton"] = "hessian",
    params: Literal["trainable", "all"] = "trainable",
    n_iter: int = 30,
    generator: torch.Generator | None = None,
    progress: bool = False,
) -> HessianNoise:
    r"""Measure how far the curvature of a mini-batch differs from that of all samples.

    $q = P\sigma^2/b = \mathbb E\lVert H_{\text{batch}} - H\rVert_F^2 / P$ is estimated as the mean of
    $\lVert (H_{\text{batch}} - H) v\rVert^2 / P$ over batches and vectors $v$ of random signs, of which each batch has
    its own. Extreme eigenvalues are Ritz values of Lanczos's recurrence: the largest is at most the true one, and the
    smallest at least.

    Args:
        model: Network, evaluated in evaluation mode; it comes back as it was.
        x: Inputs of the whole set, or a sample of it; integers for a network that reads tokens.
        y: Targets.
        loss: Mean loss over samples.
        batch_size: Samples of a batch, fewer than there are; drawn without replacement.
        n_batches: Batches, at least two.
        probes: Random vectors for each batch.
        matrix: "hessian", or "gauss_newton", its positive semi-definite part.
        params: "trainable" leaves out parameters with `requires_grad=False`, unless all have it; "all" takes all.
        n_iter: Lanczos steps for the extreme eigenvalues of each matrix.
        generator: Source of batches and vectors; one seeded with 0 by default.
        progress: Draw a bar on standard error.

    Returns:
        The eigenvalues and the size of the noise, which predict the curvature at other batch sizes.

    Raises:
        InvalidInputError: The model, the data or an option is unusable; the message says why.
        NumericalError: The curvature is NaN or infinite.

    Cost: `n_iter + n_batches * probes` products on all samples, and `n_batches * (n_iter + probes)` on a batch; memory
    O(`n_iter` p).

    Source: Granziol, Zohren and Roberts (2022), abstract; the estimator is derived here, after Hutchinson (1990),
    section 2.

    >>> from assay.core import squared_error
    >>> x, y = torch.tensor([[1.0], [2.0], [3.0]]), torch.zeros(3)
    >>> found = estimate_hessian_noise(nn.Linear(1, 1, bias=False), x, y, loss=squared_error, batch_size=1, n_batches=3)
    >>> round(found.largest, 4), sorted({round(value, 2) for value in found.batch_largest.tolist()} - {2.0, 8.0, 18.0})
    (9.3333, [])
    """
    x, y = check_pairs(x, y, tokens=True)
    check_count(batch_size, "batch_size")
    check_count(n_batches, "n_batches", at_least=2)
    check_choice(matrix, ("hessian", "gauss_newton"), "matrix")
    if batch_size >= len(x):
        raise InvalidInputError(
            f"a batch of {batch_size} holds all {len(x)} samples and has no noise; give a smaller batch_size"
        )
    kind = HessianOperator if matrix == "hessian" else GaussNewtonOperator
    mean = mean_over_samples(loss, model, x, y)
    at_once = affordable_batch(model, x, columns=probes)
    full = kind(model, x, y, mean, params=params, batch_size=at_once)
    source = as_generator(generator)
    ends, squares = [_ends(full, n_iter, source)], []
    with full.prepared():
        for _ in track(range(n_batches), "batches", enabled=progress):
            some = torch.randperm(len(x), generator=source, device=source.device)[:batch_size].to(x.device)
            batch = kind(model, x[some], y[some], mean, params=params, batch_size=at_once)
            ends.append(_ends(batch, n_iter, source))
            vectors = sign_probes(full, probes, source)
            squares.append(((batch @ vectors) - (full @ vectors)).square().sum(0).mean() / len(vectors))
    noise = torch.stack(squares).double()
    smallest, largest = torch.tensor(ends, dtype=full.dtype, device=full.device).T
    return HessianNoise(
        matrix=matrix,
        batch_size=batch_size,
        dataset_size=len(x),
        n_parameters=full.shape[0],
        largest=ends[0][1],
        smallest=ends[0][0],
        batch_largest=largest[1:],
        batch_smallest=smallest[1:],
        q=noise.mean().item(),
        q_error=(noise.std() / n_batches**0.5).item(),
    )


def _ends(operator: MatrixFree, n_iter: int, source: torch.Generator) -> tuple[float, float]:
    """Return the smallest and the largest Ritz value from a random start."""
    start = torch.randn(operator.shape[0], 1, generator=source, dtype=torch.float64, device=source.device)
    start = start.to(operator.device, operator.dtype)
    values = lanczos(operator, start, n_iter=n_iter).ritz()[0][0]  # its restarts draw from a source of their own
    return values[0].item(), values[-1].item()
