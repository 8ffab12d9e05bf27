"""Base class of membership inference attacks: checked queries, scores of target models, and their metrics."""

import warnings
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import final

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from assay.core import (
    InvalidInputError,
    accuracy,
    as_generator,
    check_count,
    check_flags,
    check_pairs,
    check_samples,
    find_copies,
    predict,
    track,
    unwrapped,
)
from assay.privacy.membership.confidence import logit_confidence
from assay.privacy.membership.lira import LiRA
from assay.privacy.membership.metrics import MembershipReport, membership_metrics
from assay.privacy.membership.shadows import ShadowEnsemble, fitting_labels

_LOOKED_AT = 256  # samples, at most, on which it is measured whether models have learnt


@dataclass(frozen=True, eq=False)
class QueryTask:
    """Hold checked samples, and how their queries are to be computed.

    Attributes:
        x: Samples, integers for networks that read tokens.
        y: Their labels, as a vector.
        batch_size: Queries computed at once.
        generator: Source of randomness.
        progress: Draw a bar on standard error.
    """

    x: Shaped[Tensor, "n *d"]
    y: Shaped[Tensor, " n"]
    batch_size: int
    generator: torch.Generator
    progress: bool


@dataclass(frozen=True, eq=False)
class MembershipAttack(ABC):
    """Infer membership in a training set from a model's answers to q queries for each sample.

    Subclasses propose the queries; the likelihood-ratio test of `scorer` compares the target's confidence in each with
    that of the shadow models.

    Args:
        ensemble: Shadow models; a target must not be among them.
        scorer: The test; an offline one is for samples that are in no shadow model's training set.
    """

    ensemble: ShadowEnsemble
    scorer: LiRA = field(default_factory=LiRA)

    @abstractmethod
    def propose(self, task: QueryTask) -> Shaped[Tensor, "n q *d"]:
        """Return the queries for checked samples; `craft` is the public call."""

    @final
    def craft(
        self,
        x: Shaped[Tensor, "n *d"],
        y: Shaped[Tensor, "n *one"],
        *,
        batch_size: int = 256,
        generator: torch.Generator | None = None,
        progress: bool = False,
    ) -> Shaped[Tensor, "n q *d"]:
        """Return the queries for each sample; they depend on the shadow models, not on a target.

        Args:
            x: Candidate members; integers for networks that read tokens.
            y: Their labels, `(n,)` or `(n, 1)`: classes, or {0, 1} or {-1, 1} for networks with one logit.
            batch_size: Queries computed at once.
            generator: Source of randomness; a fixed seed by default.
            progress: Draw a bar on standard error.

        Raises:
            InvalidInputError: The samples do not fit the shadow models.
        """
        x, y = check_pairs(x, y, tokens=True)
        check_count(batch_size, "batch_size")
        labels = fitting_labels(self.ensemble.models[0], x, y)
        queries = self.propose(QueryTask(x, labels, batch_size, as_generator(generator), progress))
        return check_samples(queries, "the queries", tokens=True)

    @final
    def score(
        self,
        targets: Sequence[nn.Module],
        x: Shaped[Tensor, "n *d"],
        y: Shaped[Tensor, "n *one"],
        *,
        queries: Shaped[Tensor, "_ q *d"] | None = None,
        batch_size: int = 256,
        generator: torch.Generator | None = None,
        progress: bool = False,
    ) -> Float[Tensor, "t n"]:
        """Return a score for each target model and sample, higher for members.

        Args:
            targets: Target models; they come back as they were.
            x: Candidate members; integers for networks that read tokens.
            y: Their labels, `(n,)` or `(n, 1)`: classes, or {0, 1} or {-1, 1} for networks with one logit.
            queries: Queries that `craft` returned for these samples; crafted here by default.
            batch_size: Queries computed at once.
            generator: Source of randomness; a fixed seed by default.
            progress: Draw a bar on standard error.

        Raises:
            InvalidInputError: The samples do not fit the models, probabilities that these return round to one, a target
                is one of the shadow models, or the scorer is online and some sample is in the training set of every
                shadow model or of none.

        Warns:
            UserWarning: The scorer is offline, and no sample is in the shadow models' pool. So it is where the shadow
                models were trained without all of them, but also where samples differ from the pool in their last bit.
        """
        x, y = check_pairs(x, y, tokens=True)
        if isinstance(targets, nn.Module) and not isinstance(targets, nn.ModuleList):
            raise InvalidInputError("targets are a sequence of models; pass a single one as [model]")
        if not targets:
            raise InvalidInputError("there is no target; pass at least one model, as [model]")
        if queries is None:
            queries = self.craft(x, y, batch_size=batch_size, generator=generator, progress=progress)
        queries = check_samples(queries, "queries", tokens=True)
        if len(queries) != len(x) or queries.shape[2:] != x.shape[1:]:
            raise InvalidInputError(
                f"{len(queries)} sets of queries of shape {tuple(queries.shape[2:])} for {len(x)} samples of shape "
                f"{tuple(x.shape[1:])}; craft them for these samples"
            )
        n, q = queries.shape[:2]
        models = [*self.ensemble.models, *targets]
        answers = track(models, "scoring", total=len(models), enabled=progress)

        def confidence_of(model: nn.Module) -> Float[Tensor, "n q"]:
            labels = fitting_labels(model, x, y).repeat_interleave(q)
            return logit_confidence(predict(model, queries.flatten(0, 1), batch_size=batch_size), labels).view(n, q)

        confidence = torch.stack([confidence_of(model) for model in answers])
        of_shadows, of_targets = confidence.split([len(self.ensemble.models), len(targets)])
        _check_no_shadow(targets, of_targets, self.ensemble.models, of_shadows)
        if not (self.scorer.online or self.ensemble.holds(x).any()):
            warnings.warn(
                f"none of the {len(x)} samples is in the shadow models' pool, bit for bit, so that all shadow models "
                "count as not trained on them; if some were, pass the samples as the pool holds them",
                stacklevel=2,
            )
        return self.scorer.score(of_targets, of_shadows, self.ensemble.membership_of(x))

    @final
    def measure(
        self,
        targets: Sequence[nn.Module],
        members: Shaped[Tensor, "t n"],
        x: Shaped[Tensor, "n *d"],
        y: Shaped[Tensor, "n *one"],
        *,
        queries: Shaped[Tensor, "_ q *d"] | None = None,
        fpr: Sequence[float] = (0.01, 0.001),
        batch_size: int = 256,
        generator: torch.Generator | None = None,
        progress: bool = False,
    ) -> MembershipReport:
        """Score samples of known membership, and report the metrics of the scores.

        Args:
            targets: Target models; they come back as they were.
            members: Which target was trained on which sample, as booleans or 0 and 1.
            x: The samples.
            y: Their labels.
            queries: Queries that `craft` returned for these samples; crafted here by default.
            fpr: False positive rates at which the ROC is read.
            batch_size: Queries computed at once.
            generator: Source of randomness; a fixed seed by default.
            progress: Draw a bar on standard error.

        Raises:
            InvalidInputError: As `score`; or a target has no member or no non-member among the samples.
        """
        options = {"queries": queries, "batch_size": batch_size, "generator": generator, "progress": progress}
        report = membership_metrics(self.score(targets, x, y, **options), members, fpr=fpr)
        x, y = check_pairs(x, y, tokens=True)
        members = torch.atleast_2d(check_flags(members, "members"))
        notes = (*_copies(x, members), *self._unlearnt(targets, members, x, y, batch_size))
        return replace(report, notes=(*report.notes, *notes))

    def _unlearnt(
        self, targets: Sequence[nn.Module], members: Tensor, x: Tensor, y: Tensor, batch_size: int
    ) -> list[str]:
        """Say which models have not learnt their training samples; the scores say nothing about others then."""
        some = torch.linspace(0, len(x) - 1, min(len(x), _LOOKED_AT), device=x.device).long()
        x, y, members = x[some], y[some], members[:, some]
        frequent = float(y.unique(return_counts=True)[1].max()) / len(y)
        of_targets = [
            accuracy(predict(target, x[own], batch_size=batch_size), y[own])
            for target, own in zip(targets, members, strict=True)
            if own.any()
        ]
        found = {
            "shadow models": self.ensemble.fitted(x, y, batch_size=batch_size),
            "target models": sum(of_targets) / max(1, len(of_targets)),
        }
        return [
            f"The {name} are right on {share:.1%} of their training samples, no better than the most frequent class "
            f"({frequent:.1%}): they have not learnt them, and the scores cannot tell members."
            for name, share in found.items()
            if share <= frequent
        ]


def _check_no_shadow(
    targets: Sequence[nn.Module], of_targets: Tensor, shadows: Sequence[nn.Module], of_shadows: Tensor
) -> None:
    """Require targets other than the shadow models, whose own scores would tell their membership.

    Raises:
        InvalidInputError: A target is a shadow model, or a copy of one, which answers every query alike.
    """
    for place, (target, answers) in enumerate(zip(targets, of_targets, strict=True)):
        for index, (shadow, own) in enumerate(zip(shadows, of_shadows, strict=True)):
            if unwrapped(target) is unwrapped(shadow) or torch.equal(answers, own):
                raise InvalidInputError(
                    f"target {place} is shadow model {index}, or answers every query as that does; shadow models that "
                    "include the target know its membership: leave it out of them"
                )


def _copies(x: Shaped[Tensor, "n *d"], members: Tensor) -> list[str]:
    """Say how many non-members are copies of members."""
    places = find_copies(x, x)
    copies = sum(bool(row[places[k]].any()) for row in members for k in (~row).nonzero().flatten().tolist())
    if not copies:
        return []
    total = int((~members).sum())
    return [
        f"{copies} of the {total} non-members are copies of a member of the same target: no score tells them apart."
    ]
