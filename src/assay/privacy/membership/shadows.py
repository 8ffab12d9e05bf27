"""Shadow models, each trained on a known random part of a pool (Carlini et al., 2022, section IV-C)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor, nn

from assay.core import (
    InvalidInputError,
    Trainer,
    accuracy,
    check_count,
    check_flags,
    check_fraction,
    check_labels,
    check_logits,
    check_pairs,
    check_samples,
    find_copies,
    predict,
    seeded,
    signs,
    spawn_seeds,
)
from assay.privacy.membership.confidence import logit_confidence


@dataclass(frozen=True, eq=False)
class ShadowEnsemble:
    """Hold shadow models, and the membership of a pool's samples in their training sets.

    Args:
        models: Networks of the target's architecture, in the order of the rows of `membership`.
        membership: Whether a model was trained on a sample of the pool, as booleans or 0 and 1.
        x: The pool; integers for networks that read tokens.

    Raises:
        InvalidInputError: The three do not fit each other.

    Source: Carlini et al., "Membership Inference Attacks From First Principles" (2022), section IV-C, algorithm 1.

    >>> from functools import partial
    >>> from assay.core import cross_entropy
    >>> from assay.nets import mlp
    >>> from assay.core import StackedTrainer
    >>> trainer = StackedTrainer(cross_entropy, partial(torch.optim.SGD, lr=0.1), epochs=5, batch_size=2)
    >>> x, y = torch.eye(6), torch.arange(6) % 2
    >>> build = lambda source: mlp((6, 2), generator=source)
    >>> shadows = ShadowEnsemble.fit(x, y, model_fn=build, trainer=trainer, n_models=4)
    >>> shadows.membership.sum(0).tolist(), shadows.confidences(x, y).shape
    ([2, 2, 2, 2, 2, 2], torch.Size([4, 6]))
    """

    models: tuple[nn.Module, ...]
    membership: Shaped[Tensor, "m n"]
    x: Shaped[Tensor, "_ *d"]  # lengths are compared below, so that users read a sentence

    def __post_init__(self) -> None:
        object.__setattr__(self, "x", check_samples(self.x, tokens=True))
        object.__setattr__(self, "membership", check_flags(self.membership, "membership"))
        if len(self.models) != len(self.membership):
            raise InvalidInputError(f"{len(self.models)} models, but membership has {len(self.membership)} rows")
        if self.membership.shape[1] != len(self.x):
            raise InvalidInputError(f"{len(self.x)} samples, but membership has {self.membership.shape[1]} columns")

    @classmethod
    def fit(
        cls,
        x: Shaped[Tensor, "n *d"],
        y: Shaped[Tensor, "n *one"],
        *,
        model_fn: Callable[[torch.Generator], nn.Module],
        trainer: Trainer,
        n_models: int,
        keep: float = 0.5,
        random_state: int = 0,
        progress: bool = False,
    ) -> "ShadowEnsemble":
        """Train shadow models, each sample of the pool in exactly `round(keep * n_models)` of them.

        Args:
            x: The pool: possible members and non-members of the targets' training sets.
            y: Its labels.
            model_fn: Builds one untrained network from a generator.
            trainer: `StackedTrainer`, or `SequentialTrainer` with your own training function.
            n_models: Number of shadow models. Paper (Wen et al.): 64.
            keep: Share of the models trained on a sample. Paper: 0.5.
            random_state: Seed of the parts, the initial weights and the training.
            progress: Draw a bar on standard error.

        Raises:
            InvalidInputError: The data do not fit each other or the networks, or every sample would be in all models
                or in none, or a model would have none.
        """
        x, y = check_pairs(x, y, tokens=True)
        check_count(n_models, "n_models", at_least=2)
        split_seed, train_seed, *model_seeds = spawn_seeds(random_state, n_models + 2)
        membership = membership_matrix(n_models, len(x), keep=keep, generator=seeded(split_seed)).to(x.device)
        if not membership.any(1).all():
            raise InvalidInputError(
                f"a part of {keep:g} of {len(x)} samples would leave a model without any; give more samples"
            )
        with torch.inference_mode(False), torch.enable_grad():  # whatever the caller is in: networks are trained
            models = tuple(model_fn(seeded(own_seed)) for own_seed in model_seeds)
            y = fitting_labels(models[0], x, y)
            trainer(models, x, y, membership, generator=seeded(train_seed), progress=progress)
        return cls(models, membership, x)

    def membership_of(self, x: Shaped[Tensor, "n *d"]) -> Bool[Tensor, "m n"]:
        """Return the membership of samples in the models' training sets; False for samples outside the pool.

        Samples are compared bit by bit; a sample with several copies in the pool is a member where any copy is.

        Raises:
            InvalidInputError: The samples have another type or shape than the pool.
        """
        return torch.stack([self.membership[:, places].any(1) for places in self._places(x)], 1)

    def holds(self, x: Shaped[Tensor, "n *d"]) -> Bool[Tensor, " n"]:
        """Return which samples are in the pool, bit by bit.

        Raises:
            InvalidInputError: The samples have another type or shape than the pool.
        """
        return torch.tensor([len(places) > 0 for places in self._places(x)], device=x.device)

    def _places(self, x: Shaped[Tensor, "n *d"]) -> Sequence[Sequence[int]]:
        """Return where each sample stands in the pool."""
        if x.dtype != self.x.dtype or x.shape[1:] != self.x.shape[1:]:
            raise InvalidInputError(
                f"samples are {x.dtype} of shape {tuple(x.shape[1:])}, the shadows' pool holds {self.x.dtype} of shape "
                f"{tuple(self.x.shape[1:])}; pass them as the shadows were given them"
            )
        return find_copies(x, self.x)

    def confidences(
        self, x: Shaped[Tensor, "n *d"], y: Shaped[Tensor, "n *one"], *, batch_size: int = 256
    ) -> Float[Tensor, "m n"]:
        """Return every model's `logit_confidence` on every sample.

        Raises:
            InvalidInputError: The samples do not fit the models.
        """
        x, y = check_pairs(x, y, tokens=True)
        return torch.stack([logit_confidence(predict(model, x, batch_size=batch_size), y) for model in self.models])

    def fitted(self, x: Shaped[Tensor, "n *d"], y: Shaped[Tensor, "n *one"], *, batch_size: int = 256) -> float:
        """Return the accuracy of the models on those of these samples that they were trained on; NaN without any.

        Likelihood ratios compare noise where it is no better than the most frequent class: the models have not learnt.

        Raises:
            InvalidInputError: The samples do not fit the models.
        """
        x, y = check_pairs(x, y, tokens=True)
        right, total = 0.0, 0
        for model, kept in zip(self.models, self.membership_of(x), strict=True):
            if kept.any():
                right += accuracy(predict(model, x[kept], batch_size=batch_size), y[kept]) * int(kept.sum())
                total += int(kept.sum())
        return right / total if total else float("nan")


def membership_matrix(m: int, n: int, *, keep: float, generator: torch.Generator) -> Bool[Tensor, "m n"]:
    """Draw random parts of a pool: each sample is in exactly `round(keep * m)` of m parts, whose sizes vary.

    Raises:
        InvalidInputError: `keep` is not within (0, 1), or a sample would be in all models or in none.

    >>> membership_matrix(4, 3, keep=0.5, generator=torch.Generator().manual_seed(0)).sum(0).tolist()
    [2, 2, 2]
    """
    check_fraction(keep, "keep")
    n_keep = round(keep * m)
    if not 0 < n_keep < m:
        raise InvalidInputError(
            f"{keep:g} of {m} models are {n_keep}: every sample must be in some and out of others; train more models"
        )
    return torch.rand(m, n, generator=generator, device=generator.device).argsort(0) < n_keep


def fitting_labels(model: nn.Module, x: Shaped[Tensor, "n *d"], y: Shaped[Tensor, "n *one"]) -> Shaped[Tensor, " n"]:
    """Require a classifier's scores and labels that fit them; return the labels as a vector.

    Class indices become int64; the labels of a binary network keep their type, which its loss may ask for.

    Raises:
        InvalidInputError: The samples or labels do not fit the model.
    """
    n_classes = check_logits(model, x).shape[1]
    if n_classes > 1:
        return check_labels(y, n_classes)
    signs(y)
    return y.reshape(-1)
