"""Linear CCA and PLS on the halves of digits, and PLS of many features from a file."""

import ctypes
import tempfile
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import scipy.linalg
import scipy.sparse.linalg
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

from assay.core import seeded
from assay.representation.cca import (
    BarlowTwinsLoss,
    StochasticCCA,
    StochasticPLS,
    VICRegLoss,
    cca_gep,
    closed_form_cca,
    eckart_young_loss,
    gep_subspace,
)
from assay.studies.representation.stochastic_cca.settings import Settings

K = 4
TRAINING_ROWS = 1400
SINGULAR_VALUES = (60.0, 40.0, 25.0)
ROWS_AT_ONCE = 100
PLS_RATE = 0.02
LEAST_DEVIATION = 0.5  # of a pixel, of 16 grey levels


@cache
def halves() -> tuple[Tensor, Tensor]:
    """Return the left and the right half of scikit-learn's digits, standardised, without nearly constant pixels."""
    bunch: Any = load_digits()
    images = bunch.images
    views = (images[:, :, :4].reshape(len(images), -1), images[:, :, 4:].reshape(len(images), -1))
    kept = [view[:, view.std(0) > LEAST_DEVIATION] for view in views]
    left, right = (torch.from_numpy((view - view.mean(0)) / view.std(0, ddof=1)) for view in kept)
    return left, right


def exact(settings: Settings, ridge: float, start: int) -> dict[str, float]:
    """Minimise the full loss from a random start, and compare value and subspace with the eigenproblem's."""
    views = halves()
    a, b = cca_gep(views, ridge=ridge)
    solved = gep_subspace(a, b, K)
    weights = minimized(
        lambda maps: loss_of_maps(views, maps, ridge), [view.shape[1] for view in views], settings.n_iter, start
    )
    found = torch.cat(weights)
    values, vectors = scipy.linalg.eigh(a.numpy(), b.numpy())
    outside = scipy.linalg.svdvals((halves()[0].mT @ halves()[1]).numpy() / (len(views[0]) - 1))[:K]
    independent = outside if ridge == 1 else values[::-1][:K]
    return {
        "gap": abs(float(loss_of_maps(views, weights, ridge)) + float(solved.eigenvalues.square().sum())),
        "cosine": smallest_cosine(found, torch.from_numpy(vectors[:, ::-1][:, :K].copy()), b),
        "closed form": float(np.abs(closed_form_cca(views, K, ridge=ridge).eigenvalues.numpy() - independent).max()),
        "minimum": float(loss_of_maps(views, weights, ridge)),
    }


def loss_of_maps(views: Sequence[Tensor], maps: Sequence[Tensor], ridge: float) -> Tensor:
    """Return the Eckart-Young loss of linear maps."""
    codes = [view @ weight for view, weight in zip(views, maps, strict=True)]
    return eckart_young_loss(codes, ridge=ridge, weights=maps)


def minimized(loss: Callable[[list[Tensor]], Tensor], sizes: Sequence[int], n_iter: int, start: int) -> list[Tensor]:
    """Minimise a loss of linear maps by L-BFGS in float64."""
    source = seeded(start)
    maps = [0.1 * torch.randn(d, K, generator=source, dtype=torch.float64) for d in sizes]
    maps = [one.requires_grad_() for one in maps]
    options = {"max_iter": n_iter, "max_eval": 2 * n_iter, "history_size": 20, "line_search_fn": "strong_wolfe"}
    search = torch.optim.LBFGS(maps, tolerance_grad=1e-10, tolerance_change=1e-14, **options)

    def closure() -> Tensor:
        search.zero_grad()
        value = loss(maps)
        value.backward()
        return value

    search.step(closure)
    return [one.detach() for one in maps]


def smallest_cosine(found: Tensor, wanted: Tensor, b: Tensor) -> float:
    """Return the smallest principal cosine of two column spaces in the metric B."""
    root = torch.linalg.cholesky(b).mT
    bases = [torch.linalg.qr(root @ vectors)[0] for vectors in (found, wanted)]
    return float(torch.linalg.svdvals(bases[0].mT @ bases[1]).min())


def linear_peers(settings: Settings, loss: str, start: int) -> dict[str, float]:
    """Minimise the loss of Barlow Twins or VICReg over linear maps, and compare the spaces with CCA's."""
    views = halves()
    peers: dict[str, nn.Module] = {
        "Barlow Twins": BarlowTwinsLoss(1.0),
        "VICReg": VICRegLoss(variance=5.0, covariance=25.0),
    }
    maps = minimized(
        lambda maps: peers[loss](views[0] @ maps[0], views[1] @ maps[1]),
        [view.shape[1] for view in views],
        settings.n_iter,
        start,
    )
    solved = closed_form_cca(views, K)
    cosines = [
        smallest_cosine(found, wanted, view.mT @ view)
        for found, wanted, view in zip(maps, solved.weights, views, strict=True)
    ]
    return {"cosine": min(cosines)}


def gradient_means(settings: Settings, seed: int) -> dict[str, float]:
    """Average gradients of batches of ten along the weights, and compare with the gradient on all samples."""
    views, source, size = halves(), seeded(seed), 10
    n = len(views[0])
    scale = (n - 1) / n  # the covariance of a draw from the n samples divides by n
    a, b = (scale * matrix for matrix in cca_gep(views))
    solved = gep_subspace(a, b, K)
    u = solved.vectors * solved.eigenvalues.sqrt() + 0.05 * torch.randn(
        solved.vectors.shape, generator=source, dtype=torch.float64
    )
    full = float((u * (-4 * a @ u + 4 * b @ u @ (u.mT @ b @ u))).sum())
    maps = [part.clone().requires_grad_() for part in u.split([view.shape[1] for view in views])]

    def along(independent: bool) -> Tensor:
        index = torch.randint(n, (2, size), generator=source)
        batches = [[view[rows] @ weight for view, weight in zip(views, maps, strict=True)] for rows in index]
        loss = eckart_young_loss(batches[0], independent=batches[1] if independent else None)
        slopes = torch.autograd.grad(loss, maps)
        return torch.stack([(slope * weight.detach()).sum() for slope, weight in zip(slopes, maps, strict=True)]).sum()

    found = {}
    for name, independent in (("two batches", True), ("one batch", False)):
        values = torch.stack([along(independent) for _ in range(settings.draws)])
        found[name] = float((values.mean() - full).abs() / (values.std() / len(values) ** 0.5))
    return found


def linear(settings: Settings, rule: str, batch: int, epochs: int, seed: int) -> dict[str, float]:
    """Train linear maps at each learning rate, and keep the best correlation on the training rows."""
    views = tuple(view[:TRAINING_ROWS].numpy() for view in halves())
    options = {"batch_size": batch, "epochs": epochs, "rule": rule, "random_state": seed % 2**31}
    scores = [StochasticCCA(K, lr=rate, **options).fit(views).score(views) for rate in settings.rates]
    optimum = float(closed_form_cca([torch.from_numpy(view) for view in views], K).eigenvalues.sum())
    return {"correlation": max(scores), "share": max(scores) / optimum, "rate": settings.rates[int(np.argmax(scores))]}


def large_pls(settings: Settings, seed: int) -> dict[str, float]:
    """Stream two views from a file by rows into stochastic PLS, and compare with SciPy's Lanczos solver."""
    n, d = settings.pls_rows, settings.pls_features
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "views.f32"
        write_views(path, n, d, seed)
        fitted = StochasticPLS(3, batch_size=ROWS_AT_ONCE, lr=PLS_RATE, scale=False, random_state=seed % 2**31)
        StochasticPLS(1, epochs=1).fit((np.eye(8), np.eye(8)))  # loads what PyTorch imports at the first step
        start_peak()
        before = peak()
        for _ in range(settings.pls_epochs):
            with path.open("rb") as file:
                for _ in range(n // ROWS_AT_ONCE):
                    rows = np.fromfile(file, np.float32, 2 * d * ROWS_AT_ONCE).reshape(ROWS_AT_ONCE, 2 * d)
                    fitted.partial_fit((rows[:, :d], rows[:, d:]))
        used = peak() - before
        both = np.fromfile(path, np.float32).reshape(n, 2 * d)
    both -= both.mean(0)
    views = both[:, :d], both[:, d:]
    scores = fitted.transform(views)
    found = scipy.linalg.svdvals(scores[0].T @ scores[1] / (n - 1))
    lanczos: Any = scipy.sparse.linalg
    operator = lanczos.LinearOperator(
        (d, d),
        dtype=np.float32,
        matvec=lambda v: views[0].T @ (views[1] @ v) / (n - 1),
        rmatvec=lambda v: views[1].T @ (views[0] @ v) / (n - 1),
    )
    start = np.random.default_rng(0).normal(size=d).astype(np.float32)
    wanted = np.sort(lanczos.svds(operator, 3, v0=start, return_singular_vectors=False))[::-1]
    return {"error": float(np.abs(found / wanted - 1).max()), "memory": used * 1024 / (4 * d**2), "MB": used / 1024}


def write_views(path: Path, n: int, d: int, seed: int) -> None:
    """Write n rows of two views of d features: three shared factors in unit noise, in float32."""
    source = np.random.default_rng(seed)
    loadings = source.standard_normal((3, 2 * d)) * np.sqrt(np.array(SINGULAR_VALUES) / d)[:, None]
    with path.open("wb") as file:
        for start in range(0, n, ROWS_AT_ONCE):
            rows = min(ROWS_AT_ONCE, n - start)
            noise = source.standard_normal((rows, 2 * d), dtype=np.float32)
            (noise + (source.standard_normal((rows, 3)) @ loadings).astype(np.float32)).tofile(file)


def start_peak() -> None:
    """Let the peak of this process's memory start from here, where Linux allows it."""
    clear = Path("/proc/self/clear_refs")
    if clear.exists():
        ctypes.CDLL(None).malloc_trim(0)  # or memory that was freed before would be used again, unseen
        clear.write_text("5")


def peak() -> float:
    """Return the peak resident size of this process in kB; zero where the system does not tell."""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    return float(next((line.split()[1] for line in lines if line.startswith("VmHWM")), 0))
