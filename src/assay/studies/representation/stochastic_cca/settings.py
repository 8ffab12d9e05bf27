"""Settings of the study of stochastic CCA."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Settings:
    """How much data each experiment takes, and how it is trained.

    Attributes:
        starts: Random starts of the full-batch minimisation.
        n_iter: Steps of L-BFGS.
        ridges: Ridges of the exact comparison.
        draws: Batches whose gradients are averaged.
        seeds: Seeds of the linear comparison, whose K is 4.
        batches: Batch sizes there.
        epochs: Passes over 1400 rows.
        rates: Learning rates that both rules are tuned over.
        data: Images of deep CCA and of self-supervised learning.
        deep_seeds: Seeds of deep CCA, whose K is 10.
        deep_pairs: Training pairs; a quarter as many validate, and as many test.
        deep_batches: Batch sizes.
        deep_epochs: Passes.
        deep_rates: Learning rates that both losses are tuned over.
        linear_ridges: Ridges that linear CCA is tuned over.
        ssl_seeds: Seeds of self-supervised learning.
        ssl_images: Images that it is trained on.
        ssl_epochs: Passes.
        probe_images: Labelled images of the logistic probe.
        pls_rows: Rows of the large data set.
        pls_features: Features of each of its two views.
        pls_epochs: Passes.
    """

    starts: int = 5
    n_iter: int = 300
    ridges: tuple[float, ...] = (0.0, 0.1, 1.0)
    draws: int = 2000
    seeds: int = 5
    batches: tuple[int, ...] = (20, 50, 100)
    epochs: tuple[int, ...] = (1, 5, 20)
    rates: tuple[float, ...] = (0.0125, 0.025, 0.05, 0.1, 0.2)
    data: str = "fashion-mnist"
    deep_seeds: int = 3
    deep_pairs: int = 6000
    deep_batches: tuple[int, ...] = (20, 100)
    deep_epochs: int = 4
    deep_rates: tuple[float, ...] = (3e-4, 1e-3)
    linear_ridges: tuple[float, ...] = (1e-2, 0.1, 0.3)
    ssl_seeds: int = 5
    ssl_images: int = 4000
    ssl_epochs: int = 4
    probe_images: int = 4000
    pls_rows: int = 5000
    pls_features: int = 10_000
    pls_epochs: int = 5
