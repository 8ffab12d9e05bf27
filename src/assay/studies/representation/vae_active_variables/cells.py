"""Autoencoders of squares: their variables, the dependence of the codes, and models that read them."""

from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int64
from sklearn.linear_model import LogisticRegressionCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from assay.core import seeded, spawn_seeds
from assay.nets import VAE, beta_vae_loss
from assay.representation import compare_representations, variable_types
from assay.representation.latent_variables import RepresentationComparison
from assay.studies.representation.vae_active_variables.settings import Settings

FACTORS = ("x", "y", "size")


def squares(n: int, side: int, generator: torch.Generator) -> tuple[Float[Tensor, "n d"], Float[Tensor, "n 3"]]:
    """Draw squares at any place and of any size, each pixel as bright as the share that is covered; and the factors."""
    size = side * (0.2 + 0.3 * torch.rand(n, generator=generator))
    places = [size / 2 + torch.rand(n, generator=generator) * (side - size) for _ in range(2)]
    edges = torch.arange(side)
    covered = [
        (torch.minimum(edges + 1, (at + size / 2)[:, None]) - torch.maximum(edges, (at - size / 2)[:, None])).clamp(
            0, 1
        )
        for at in places
    ]
    images = torch.einsum("ni,nj->nij", covered[1], covered[0])
    return images.flatten(1), torch.stack([*places, size], 1)


def train_vae(settings: Settings, x: Float[Tensor, "n d"], hidden: int, beta: float, seed: int) -> VAE:
    """Train an autoencoder with Bernoulli pixels by Adam."""
    weights, draws = (seeded(child) for child in spawn_seeds(seed, 2))
    network = VAE(x.shape[1], settings.n_latents, hidden=2 * (hidden,), generator=weights)
    optimizer = torch.optim.Adam(network.parameters(), lr=settings.lr, fused=True)
    for _ in range(settings.n_iter):
        batch = x[torch.randint(len(x), (settings.batch_size,), generator=draws)]
        noise = torch.randn(len(batch), settings.n_latents, generator=draws)
        outputs, mean, log_variance = network(batch, noise)
        loss = beta_vae_loss(outputs, batch, mean, log_variance, beta=beta)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return network.eval()


def encode(network: VAE, x: Tensor) -> tuple[Tensor, Tensor]:
    """Return means and log-variances without a graph."""
    with torch.no_grad():
        return network.encode(x)


def representations(settings: Settings, beta: float, seed: int) -> dict[str, Any]:
    """Train an autoencoder, compare its means with samples, and read the factors from both."""
    data, noise = (seeded(child) for child in spawn_seeds(seed + 1, 2))
    x, factors = squares(settings.samples, settings.side, data)
    mean, log_variance = encode(train_vae(settings, x, settings.hidden, beta, seed), x)
    found = compare_representations(mean, log_variance, generator=noise)
    codes = mean + (log_variance / 2).exp() * torch.randn(mean.shape, generator=noise)
    return {
        **type_numbers(found),
        **dependence_numbers(found),
        **identity_numbers(mean, log_variance, codes),
        **downstream(found, mean, codes, factors),
        "mean correlation": found.mean_correlation,
        "sampled correlation": found.sampled_correlation,
    }


def sweep(settings: Settings, beta: float, seed: int) -> dict[str, Any]:
    """Train a narrower autoencoder and compare its means with samples."""
    data, noise = (seeded(child) for child in spawn_seeds(seed + 1, 2))
    x, _ = squares(settings.samples, settings.side, data)
    mean, log_variance = encode(train_vae(settings, x, settings.sweep_hidden, beta, seed), x)
    found = compare_representations(mean, log_variance, generator=noise)
    return {**type_numbers(found), **dependence_numbers(found)}


def type_numbers(found: RepresentationComparison) -> dict[str, Any]:
    """Return how many variables there are of each type, and the variables in the order of their types."""
    types = found.types
    return {
        "active": len(types.active),
        "passive": len(types.passive),
        "mixed": len(types.mixed),
        "order": torch.cat([types.active, types.mixed, types.passive]),
    }


def dependence_numbers(found: RepresentationComparison) -> dict[str, float]:
    """Return the scores of each set in both representations, and the largest correlation of a passive variable."""
    numbers = {}
    for representation, scores in (("mean", found.mean), ("sampled", found.sampled)):
        for name, score in scores.items():
            numbers[f"TC {name}, {representation}"] = score.total_correlation
            numbers[f"MI {name}, {representation}"] = score.mutual_information
            numbers[f"rank {name}, {representation}"] = score.effective_rank
    numbers["passive correlation, mean"] = found.largest_passive_correlation(found.mean_correlation)
    numbers["passive correlation, sampled"] = found.largest_passive_correlation(found.sampled_correlation)
    return numbers


def identity_numbers(mean: Tensor, log_variance: Tensor, codes: Tensor) -> dict[str, float]:
    """Return how far the covariance of the codes is from that of the means plus the mean variances, entry by entry.

    In standard errors of a covariance of independent variables, the largest over all pairs.
    """
    means, drawn = (np.cov(values.double().numpy().T) for values in (mean, codes))
    expected = means + np.diag(log_variance.double().exp().mean(0).numpy())
    deviations = np.sqrt(np.outer(expected.diagonal(), expected.diagonal()) / len(mean))
    return {"covariance error": float((np.abs(drawn - expected) / deviations).max())}


def downstream(
    found: RepresentationComparison, mean: Tensor, codes: Tensor, factors: Float[Tensor, "n 3"]
) -> dict[str, float]:
    """Read quartiles of each factor from means and samples, and condition standardised means."""
    kept = found.sets["active + mixed"]
    parts = {"full": mean, "kept": mean[:, kept], "passive": mean[:, found.types.passive], "samples": codes}
    numbers = {f"accuracy, {name}": accuracy_of(values, factors) for name, values in parts.items()}
    return numbers | {f"condition, {name}": condition(parts[name]) for name in ("full", "kept")}


def quartiles(factor: Float[Tensor, " n"]) -> Int64[Tensor, " n"]:
    """Return the quarter of the samples that each belongs to."""
    return torch.bucketize(factor.contiguous(), torch.quantile(factor, torch.tensor([0.25, 0.5, 0.75])))


def accuracy_of(codes: Float[Tensor, "n k"], factors: Float[Tensor, "n 3"]) -> float:
    """Return the mean test accuracy of logistic regressions for the quartiles of each factor; chance without codes."""
    if codes.shape[1] == 0:
        return 0.25
    values, half = codes.double().numpy(), len(codes) // 2
    accuracies = []
    for factor in factors.T.contiguous():
        labels = quartiles(factor).numpy()
        model = make_pipeline(
            StandardScaler(),
            LogisticRegressionCV(
                Cs=3,
                cv=3,
                max_iter=2000,
                l1_ratios=(0.0,),  # type: ignore[arg-type]
                scoring="accuracy",
                use_legacy_attributes=False,  # type: ignore[arg-type]
            ),
        )
        model.fit(values[:half], labels[:half])
        accuracies.append(float(model.score(values[half:], labels[half:])))
    return float(np.mean(accuracies))


def condition(codes: Float[Tensor, "n k"]) -> float:
    """Return the condition number of the standardised codes; 1 for fewer than two variables."""
    if codes.shape[1] < 2:
        return 1.0
    return float(np.linalg.cond(StandardScaler().fit_transform(codes.double().numpy())))


def half_blank(settings: Settings, seed: int) -> dict[str, Any]:
    """Train an autoencoder where half of the images are blank: nothing is to be said of a square that is not there."""
    (data,) = (seeded(child) for child in spawn_seeds(seed + 2, 1))
    x, _ = squares(settings.samples, settings.side, data)
    x[::2] = 0.0
    mean, log_variance = encode(train_vae(settings, x, settings.sweep_hidden, 1.0, seed), x)
    found = compare_representations(mean, log_variance, generator=data)
    variance, index = log_variance.exp(), found.types.mixed
    return {
        **type_numbers(found),
        "variance of mixed, square": float(variance[1::2][:, index].mean()) if len(index) else -1.0,
        "variance of mixed, blank": float(variance[::2][:, index].mean()) if len(index) else -1.0,
    }


def known_types(settings: Settings) -> dict[str, float]:
    """Sort five variables of known types, and say what the variance of the means would call the mixed one."""
    source, n = seeded(0), settings.samples
    variances = torch.tensor([0.02, 0.05, 1.0, 0.97, 1.0]).repeat(n, 1)
    variances[::2, 4] = 0.02
    mean = torch.randn(n, 5, generator=source) * (1 - variances).clamp(min=0).sqrt()
    types = variable_types(variances)
    right = [types.active.tolist() == [0, 1], types.passive.tolist() == [2, 3], types.mixed.tolist() == [4]]
    return {"right": float(all(right)), "variance of the mixed mean": float(mean[:, 4].var())}
