"""Base class of membership inference attacks: checked queries, scores of target models, and their metrics."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import final

import torch
from jaxtyping import Bool, Float, Num
from torch import Tensor, nn

from assay.core import (
    InvalidInputError,
    as_generator,
    check_finite,
    check_labels,
    check_logits,
    check_pairs,
    predict,
    signs,
    track,
)
from assay.privacy.membership.confidence import logit_confidence
from assay.privacy.membership.lira import LiRA
from assay.privacy.membership.metrics import MembershipReport, membership_metrics
from assay.privacy.membership.shadows import ShadowEnsemble


@dataclass(frozen=True, eq=False)
class QueryTask:
    """Hold checked samples, and how their queries are to be computed.

    Attributes:
        x: Samples.
        y: Their labels.
        batch_size: Queries computed at once.
        generator: Source of randomness.
        progress: Draw a bar on standard error.
    """

    x: Float[Tensor, "n *d"]
    y: Num[Tensor, " n"]
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
    def propose(self, task: QueryTask) -> Float[Tensor, "n q *d"]:
        """Return the queries for checked samples; `craft` is the public call."""

    @final
    def craft(
        self,
        x: Float[Tensor, "n *d"],
        y: Num[Tensor, " n"],
        *,
        batch_size: int = 256,
        generator: torch.Generator | None = None,
        progress: bool = False,
    ) -> Float[Tensor, "n q *d"]:
        """Return the queries for each sample; they depend on the shadow models, not on a target.

        Args:
            x: Candidate members.
            y: Their labels.
            batch_size: Queries computed at once.
            generator: Source of randomness; a fixed seed by default.
            progress: Draw a bar on standard error.

        Raises:
            InvalidInputError: The samples do not fit the shadow models.
        """
        check_pairs(x, y)
        logits = check_logits(self.ensemble.models[0], x)
        if logits.shape[1] > 1:
            check_labels(y, logits.shape[1])
        else:
            signs(y)
        queries = self.propose(QueryTask(x, y, batch_size, as_generator(generator), progress))
        check_finite(queries, "a query")
        return queries

    @final
    def score(
        self,
        targets: Sequence[nn.Module],
        x: Float[Tensor, "n *d"],
        y: Num[Tensor, " n"],
        *,
        queries: Float[Tensor, "_ q *d"] | None = None,
        batch_size: int = 256,
        generator: torch.Generator | None = None,
        progress: bool = False,
    ) -> Float[Tensor, "t n"]:
        """Return a score for each target model and sample, higher for members.

        Args:
            targets: Target models; they come back as they were.
            x: Candidate members.
            y: Their labels.
            queries: Queries that `craft` returned for these samples; crafted here by default.
            batch_size: Queries computed at once.
            generator: Source of randomness; a fixed seed by default.
            progress: Draw a bar on standard error.

        Raises:
            InvalidInputError: The samples do not fit the models, or the scorer is online and some sample is in the
                training set of every shadow model or of none.
        """
        if not targets:
            raise InvalidInputError("there is no target; pass at least one model, as [model]")
        if queries is None:
            queries = self.craft(x, y, batch_size=batch_size, generator=generator, progress=progress)
        if len(queries) != len(x):
            raise InvalidInputError(
                f"{len(queries)} sets of queries for {len(x)} samples; craft them for these samples"
            )
        n, q = queries.shape[:2]
        flat, labels = queries.flatten(0, 1), y.repeat_interleave(q)
        models = [*self.ensemble.models, *targets]
        answers = track(models, "scoring", total=len(models), enabled=progress)
        confidence = torch.stack(
            [logit_confidence(predict(model, flat, batch_size=batch_size), labels).view(n, q) for model in answers]
        )
        of_shadows, of_targets = confidence.split([len(self.ensemble.models), len(targets)])
        return self.scorer.score(of_targets, of_shadows, self.ensemble.membership_of(x))

    @final
    def measure(
        self,
        targets: Sequence[nn.Module],
        members: Bool[Tensor, "t n"],
        x: Float[Tensor, "n *d"],
        y: Num[Tensor, " n"],
        *,
        queries: Float[Tensor, "_ q *d"] | None = None,
        fpr: Sequence[float] = (0.01, 0.001),
        batch_size: int = 256,
        generator: torch.Generator | None = None,
        progress: bool = False,
    ) -> MembershipReport:
        """Score samples of known membership, and report the metrics of the scores.

        Args:
            targets: Target models; they come back as they were.
            members: Which target was trained on which sample.
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
        return membership_metrics(self.score(targets, x, y, **options), members, fpr=fpr)
