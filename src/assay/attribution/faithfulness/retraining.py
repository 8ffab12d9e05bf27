"""DiffROAR: predictive power of the top-ranked less that of the bottom-ranked coordinates (Shah et al., 2021)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from jaxtyping import Float, Int64, Shaped
from torch import Tensor, nn

from assay.attribution.faithfulness.attributors import (
    Attribution,
    attribute,
    input_gradient_attribution,
    predicted_classes,
)
from assay.attribution.faithfulness.unmasking import kept_coordinates, rank_coordinates, unmask
from assay.core import (
    InvalidInputError,
    Trainer,
    accuracy,
    as_generator,
    check_choice,
    check_count,
    check_pairs,
    predict,
    seeded,
    spawn_seeds,
    sweep,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True, eq=False)
class DiffROARResult:
    """Test accuracy of networks retrained on the coordinates that an attribution ranks highest, and lowest.

    Attributes:
        fractions: Shares of coordinates that were kept.
        top: Accuracy with the highest-ranked ones, of each retrained network.
        bottom: Accuracy with the lowest-ranked ones.
        base_accuracy: Test accuracy of the network under study on whole inputs.
        target: Which classes were attributed, "predicted" or "label".
    """

    fractions: tuple[float, ...]
    top: Float[Tensor, "levels runs"]
    bottom: Float[Tensor, "levels runs"]
    base_accuracy: float
    target: str

    @property
    def runs(self) -> Float[Tensor, "levels runs"]:
        """The score of each run."""
        return self.top - self.bottom

    @property
    def score(self) -> Float[Tensor, " levels"]:
        """Mean score at each level: positive where larger attributions mark what is more relevant for the task."""
        return self.runs.mean(1)

    @property
    def std(self) -> Float[Tensor, " levels"]:
        """Standard deviation of the score over runs; NaN for one run."""
        return self.runs.std(1) if self.runs.shape[1] > 1 else torch.full_like(self.score, torch.nan)

    def __str__(self) -> str:
        levels = "; ".join(
            f"{fraction:.3g} of coordinates: {float(score):+.3f} ({float(top):.3f} top, {float(bottom):.3f} bottom)"
            for fraction, score, top, bottom in zip(
                self.fractions, self.score, self.top.mean(1), self.bottom.mean(1), strict=True
            )
        )
        known = " True labels were attributed, which a mask can reveal." if self.target == "label" else ""
        return (
            f"DiffROAR over {self.top.shape[1]} retrained networks, at {levels}. A random ranking scores 0, an "
            f"inverted one below. The network itself has a test accuracy of {self.base_accuracy:.3f}.{known}"
        )

    def plot(self, ax: "Axes | None" = None) -> "Axes":
        """Draw the score against the share of coordinates kept, and return the axes."""
        import matplotlib.pyplot as plt

        axes = plt.subplots()[1] if ax is None else ax
        error = self.std.nan_to_num().tolist()
        axes.errorbar([100 * fraction for fraction in self.fractions], self.score.tolist(), yerr=error, marker="o")
        axes.axhline(0.0, color="0.5", linestyle="--", linewidth=0.8)
        axes.set(xlabel="coordinates kept, in percent", ylabel="DiffROAR")
        return axes


def diffroar(
    model: nn.Module,
    x: Float[Tensor, "n *d"],
    y: Shaped[Tensor, "n *one"],
    x_test: Float[Tensor, "m ..."],
    y_test: Shaped[Tensor, "m *one"],
    *,
    model_fn: Callable[[torch.Generator], nn.Module],
    trainer: Trainer,
    attribution: Attribution = input_gradient_attribution,
    fractions: Sequence[float] = (0.05, 0.1, 0.2, 0.5, 1.0),
    n_runs: int = 5,
    target: Literal["predicted", "label"] = "predicted",
    magnitude: bool = True,
    channels: Literal["each", "max"] | None = None,
    fill: float | Tensor = 0.0,
    batch_size: int = 256,
    folder: str | Path | None = None,
    generator: torch.Generator | None = None,
    progress: bool = False,
) -> DiffROARResult:
    r"""Test by retraining whether coordinates with larger attributions are more relevant for the task.

    $\mathrm{DiffROAR}(A, k) = \mathrm{PredPower}(A^{\text{top},k}) - \mathrm{PredPower}(A^{\text{bot},k})$, where the
    predictive power is the test accuracy of fresh networks that are trained on training data of which all coordinates
    but the k ranked highest (lowest) are filled. Both sets are ranked by the attribution of the network under study.
    Where all coordinates are kept, both terms are of the same networks and the score is 0.

    The places of a mask carry information too: look at both terms, not at their difference alone.

    Cost: 2 `n_runs` trainings a fraction; memory three times the training data, and what the trainer needs.

    Args:
        model: Trained classifier, with one logit or one a class; it comes back as it was.
        x: Training data, normalised such that `fill` is neutral.
        y: Their classes.
        x_test: Test data.
        y_test: Their classes.
        model_fn: Builds one untrained network from a generator, of the architecture of `model`.
        trainer: `StackedTrainer`, which trains all networks of a level at once where the architecture allows, or
            `SequentialTrainer` with your own training function.
        attribution: A method of captum made with `model`, or a function `(model, x, y)` of scores.
        fractions: Shares of coordinates to keep.
        n_runs: Retrained networks at each end of the ranking. Paper: 5.
        target: "predicted" attributes the predicted class; with "label" the mask may reveal the true one.
        magnitude: Rank by absolute scores, as the paper does.
        channels: "max" ranks pixels by their largest channel and "each" every channel of its own; by default pixels,
            where samples are images of shape (channels, height, width).
        fill: Value of the coordinates that are not kept, and the baseline of attributions that require one.
        batch_size: Samples attributed or evaluated at once.
        folder: Where finished levels are kept, to resume; use another one for other data, networks or attributions.
        generator: Source of ties, initial weights and training; a fixed seed by default.
        progress: Draw bars on standard error.

    Returns:
        Both accuracies of each level and run.

    Raises:
        InvalidInputError: The model, the data, the attribution or an option cannot be used.

    Source: Shah, Jain, Netrapalli, "Do input gradients highlight discriminative features?" (2021), section 3. The
    supremum over a class of networks is estimated by retraining. At each level the networks of the top and of the
    bottom start from the same weights; that is ours.

    >>> from assay.core import StackedTrainer, cross_entropy
    >>> x = torch.randn(200, 4, generator=torch.Generator().manual_seed(0))
    >>> y = (x[:, 2] > 0).long()
    >>> trainer = StackedTrainer(cross_entropy, partial(torch.optim.Adam, lr=0.1), epochs=5)
    >>> build = lambda source: nn.Linear(4, 2)
    >>> known = lambda model, x, y: torch.tensor([0.0, 0.0, 1.0, 0.0]).expand_as(x)
    >>> options = {"model_fn": build, "trainer": trainer, "attribution": known, "fractions": (0.25,), "n_runs": 1}
    >>> bool(diffroar(build(None), x, y, x, y, **options).score > 0.3)
    True
    """
    (x, y), (x_test, y_test) = check_pairs(x, y), check_pairs(x_test, y_test)
    check_count(n_runs, "n_runs")
    check_choice(target, ("predicted", "label"), "target")
    if x.shape[1:] != x_test.shape[1:] or x.dtype != x_test.dtype:
        raise InvalidInputError(
            f"x has samples of {x.dtype} and shape {tuple(x.shape[1:])}, x_test of {x_test.dtype} and shape "
            f"{tuple(x_test.shape[1:])}; give both alike"
        )
    levels = _checked_fractions(fractions, x, channels)
    source = as_generator(generator)
    seed = int(torch.randint(2**31, (1,), generator=source, device=source.device))
    attribution_seed, *tie_seeds = spawn_seeds(seed, 3)
    ranks = []
    for samples, labels, tie_seed in ((x, y, tie_seeds[0]), (x_test, y_test, tie_seeds[1])):
        classes = labels if target == "label" else predicted_classes(model, samples, batch_size=batch_size)
        options = {"baseline": fill, "random_state": attribution_seed, "progress": progress}
        scores = attribute(attribution, model, samples, classes, batch_size=batch_size, **options)
        ranks.append(_ranks(scores.abs() if magnitude else scores, channels, tie_seed))
    retraining = _Retraining((x, y, ranks[0]), (x_test, y_test, ranks[1]), model_fn, trainer, fill, batch_size)
    items = [{"fraction": level, "runs": n_runs, "seed": seed, "target": target} for level in levels]
    found = sweep(retraining, items, folder=folder, progress=progress, description="levels")
    kind = {"dtype": torch.promote_types(x.dtype, torch.float32), "device": x.device}
    top, bottom = (torch.tensor([cell[end] for cell in found], **kind) for end in ("top", "bottom"))
    base = accuracy(predict(model, x_test, batch_size=batch_size), y_test)
    return DiffROARResult(tuple(levels), top, bottom, base, target)


@dataclass(frozen=True, eq=False)
class _Retraining:
    """Train and evaluate the networks of one level."""

    train: tuple[Tensor, Tensor, Int64[Tensor, "n *r"]]
    test: tuple[Tensor, Tensor, Int64[Tensor, "m *r"]]
    model_fn: Callable[[torch.Generator], nn.Module]
    trainer: Trainer
    fill: float | Tensor
    batch_size: int

    def __call__(self, item: dict[str, Any]) -> dict[str, list[float]]:
        """Return the test accuracies with the highest-ranked and with the lowest-ranked coordinates."""
        fraction, n_runs = item["fraction"], item["runs"]
        train_seed, *model_seeds = spawn_seeds(item["seed"], n_runs + 1)
        x, y, ranks = self.train
        n_ranked = ranks[0].numel()
        ends: tuple[Literal["top", "bottom"], ...] = ("top", "bottom")
        if kept_coordinates(n_ranked, fraction) == n_ranked:
            ends = ("top",)  # both ends are the same data: one set of networks stands for both
        keep = partial(unmask, fraction=fraction, fill=self.fill)
        data = torch.cat([keep(x, ranks, keep=end) for end in ends])
        membership = torch.block_diag(*[torch.ones(n_runs, len(x)) for _ in ends]).bool().to(x.device)
        with torch.inference_mode(False), torch.enable_grad():  # whatever the caller is in: networks are trained
            models = [self.model_fn(seeded(own)) for _ in ends for own in model_seeds]
            self.trainer(models, data, torch.cat([y] * len(ends)), membership, generator=seeded(train_seed))
        found: dict[str, list[float]] = {}
        for place, end in enumerate(ends):
            masked = keep(self.test[0], self.test[2], keep=end)
            own = models[place * n_runs : (place + 1) * n_runs]
            found[end] = [accuracy(predict(net, masked, batch_size=self.batch_size), self.test[1]) for net in own]
        return {"top": found["top"], "bottom": found.get("bottom", found["top"])}


def _ranks(scores: Tensor, channels: str | None, seed: int) -> Tensor:
    images = scores.ndim == 4
    kind: Literal["each", "max"] = "max" if channels == "max" or (channels is None and images) else "each"
    return rank_coordinates(scores, channels=kind, generator=seeded(seed))


def _checked_fractions(fractions: Sequence[float], x: Tensor, channels: str | None) -> list[float]:
    levels = [float(fraction) for fraction in fractions]
    if not levels or levels != sorted(set(levels)):
        raise InvalidInputError(f"fractions must be one or more growing shares, got {tuple(fractions)}")
    check_choice(channels, ("each", "max", None), "channels")
    pooled = channels == "max" or (channels is None and x.ndim == 4)
    n_ranked = x[0, 0].numel() if pooled and x.ndim > 2 else x[0].numel()
    for level in levels:
        kept_coordinates(n_ranked, level)
    return levels
