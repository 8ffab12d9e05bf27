"""Canary queries: adversarially optimised queries for membership inference (Wen et al., 2023)."""

from contextlib import ExitStack
from dataclasses import dataclass

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from assay.core import (
    InvalidInputError,
    check_count,
    check_flags,
    check_pairs,
    check_positive,
    check_samples,
    predict,
    preserved,
    track,
)
from assay.privacy.membership.base import MembershipAttack, QueryTask
from assay.privacy.membership.confidence import label_logits


@dataclass(frozen=True, eq=False)
class CanaryAttack(MembershipAttack):
    r"""Query optimised variants of each sample, the canaries, that separate members from non-members.

    For every sample, `n_queries` canaries $x'$ are optimised over IN models, trained on the sample, and OUT models, not
    trained on it, with label logits $h_y$:

    $$\min_{\lVert x' - x\rVert_\infty \le \epsilon}\;
    \sum_{m \in \mathrm{IN}} (h_y^m(x') - a)^2 + \sum_{m \in \mathrm{OUT}} (h_y^m(x') - b)^2,$$

    by Adam on a few models drawn at random in each iteration, which keeps the canaries from overfitting the shadow
    models. An offline scorer drops the first sum. The first canary starts at the sample, the others uniformly in the
    ball.

    Cost: time O(n_iter models_per_step n n_queries) gradients, memory O(batch_size) activations.

    Args:
        ensemble: Shadow models; each iteration draws among all of them.
        scorer: The likelihood-ratio test; with an offline one, canaries are crafted on OUT models only.
        n_queries: Canaries per sample. Paper: 10.
        eps: Radius of the ball, in the units of the inputs. Paper's code: 1/255 for CIFAR.
        n_iter: Iterations of Adam. Paper's code: 30.
        lr: Learning rate of Adam; `eps / 6` when None. Paper's code: 0.05 standard deviations of the pixels, with
            decay.
        models_per_step: Shadow models in each iteration. Paper's code: 2.
        target_logits: a and b, the label logits wanted of IN and OUT models. Paper's code: 10 and 0, the scale of its
            networks' logits. None takes the median over IN models and the lower decile over OUT models.
        input_range: Lowest and highest value of an input.

    Raises:
        InvalidInputError: A count is too small, `eps` or `lr` is not positive, or `models_per_step` exceeds the number
            of shadow models.

    Deviations from the released code: all samples share the models drawn in an iteration; no weight decay, no stop at a
    given loss; starting points are not augmented.

    Source: Wen, Bansal, Kazemi, Borgnia, Goldblum, Geiping, Goldstein, "Canary in a Coalmine: Better Membership
    Inference with Ensembled Adversarial Queries" (2023), arXiv 2210.10750, main text, the equation above.

    >>> from assay.privacy import ShadowEnsemble
    >>> membership = torch.tensor([[True, False], [False, True]])
    >>> shadows = ShadowEnsemble((torch.nn.Linear(2, 3), torch.nn.Linear(2, 3)), membership, torch.eye(2))
    >>> CanaryAttack(shadows, n_queries=4, eps=0.1, n_iter=2).craft(torch.eye(2), torch.tensor([0, 1])).shape
    torch.Size([2, 4, 2])
    """

    n_queries: int = 10
    eps: float = 1 / 255
    n_iter: int = 30
    lr: float | None = None
    models_per_step: int = 2
    target_logits: tuple[float, float] | None = (10.0, 0.0)
    input_range: tuple[float, float] = (0.0, 1.0)

    def __post_init__(self) -> None:
        check_positive(self.eps, "eps")
        if self.lr is not None:
            check_positive(self.lr, "lr")
        check_count(self.n_queries, "n_queries")
        check_count(self.n_iter, "n_iter", at_least=0)
        if not 1 <= self.models_per_step <= len(self.ensemble.models):
            raise InvalidInputError(
                f"models_per_step must be within 1..{len(self.ensemble.models)}, got {self.models_per_step}"
            )

    def propose(self, task: QueryTask) -> Float[Tensor, "n q *d"]:
        """Return canaries for each sample.

        Raises:
            InvalidInputError: A sample is out of range or holds tokens, which have no gradient, or the shadow models
                return probabilities.
        """
        x, y, source = check_samples(task.x), task.y, task.generator
        if x.min() < self.input_range[0] or x.max() > self.input_range[1]:
            raise InvalidInputError(
                f"samples span [{float(x.min()):g}, {float(x.max()):g}], outside input_range {self.input_range}; "
                "state the range that holds"
            )
        membership = self.ensemble.membership_of(x)
        logits = self.target_logits_for(x, y, batch_size=task.batch_size)
        # Drawn for all samples before they are cut into batches, so that the batch size changes nothing.
        shape = (len(x), self.n_queries - 1, *x.shape[1:])
        noise = 2 * torch.rand(shape, generator=source, device=source.device).to(x) - 1
        start = torch.cat([x[:, None], self._project(x[:, None] + self.eps * noise, x)], 1)
        drawn = [
            torch.randperm(len(membership), generator=source, device=source.device)[: self.models_per_step].tolist()
            for _ in range(self.n_iter)
        ]
        size = max(1, task.batch_size // self.n_queries)
        batches = list(zip(start.split(size), x.split(size), y.split(size), membership.split(size, 1), strict=True))
        with ExitStack() as stack:
            for model in self.ensemble.models:
                stack.enter_context(preserved(model))
            tracked = track(batches, "crafting canaries", enabled=task.progress)
            return torch.cat([self._optimise(*batch, target_logits=logits, drawn=drawn) for batch in tracked])

    def target_logits_for(
        self, x: Float[Tensor, "n *d"], y: Shaped[Tensor, "n *one"], *, batch_size: int = 256
    ) -> tuple[float, float]:
        """Return a and b: `target_logits`, or quantiles of the shadow models' label logits on these samples.

        Raises:
            InvalidInputError: The samples do not fit the shadow models.
        """
        if self.target_logits is not None:
            return self.target_logits
        x, y = check_pairs(x, y)
        membership = self.ensemble.membership_of(x)
        answers = (predict(model, x, batch_size=batch_size) for model in self.ensemble.models)
        logits = torch.stack([label_logits(answer, y) for answer in answers])
        low = logits[~membership].quantile(0.1).item() if not membership.all() else 0.0
        high = logits[membership].median().item() if membership.any() else 0.0
        return high, low

    def _project(self, queries: Float[Tensor, "n q *d"], x: Float[Tensor, "n *d"]) -> Float[Tensor, "n q *d"]:
        nearby = queries.clamp(min=x[:, None] - self.eps, max=x[:, None] + self.eps)
        return nearby.clamp(*self.input_range)

    def _optimise(
        self,
        start: Tensor,
        x: Tensor,
        y: Tensor,
        membership: Tensor,
        *,
        target_logits: tuple[float, float],
        drawn: list[list[int]],
    ) -> Float[Tensor, "n q *d"]:
        queries = start.clone().requires_grad_()
        optimizer = torch.optim.Adam([queries], self.lr if self.lr is not None else self.eps / 6)
        for chosen in drawn:
            optimizer.zero_grad()
            for index in chosen:
                model, members = self.ensemble.models[index], membership[index]
                loss = canary_objective(model, queries, y, members, target_logits=target_logits)
                if not self.scorer.online:
                    loss = loss * ~members[:, None]
                loss.sum().backward()
            optimizer.step()
            with torch.no_grad():
                queries.copy_(self._project(queries, x))
        return queries.detach()


def canary_objective(
    model: nn.Module,
    queries: Float[Tensor, "n q *d"],
    y: Shaped[Tensor, "n *one"],
    members: Shaped[Tensor, " n"],
    *,
    target_logits: tuple[float, float],
) -> Float[Tensor, "n q"]:
    """Return the squared distance of each query's label logit to its target logit.

    Differentiable in the queries; the model is called as it is.

    Args:
        model: One shadow model.
        queries: Variants of n samples.
        y: Their labels.
        members: Which samples the model was trained on.
        target_logits: Label logits wanted for members and for non-members.

    Raises:
        InvalidInputError: The labels do not fit the model's scores, or these are probabilities.

    Source: Wen et al., "Canary in a Coalmine" (2023), main text, one term of the equation in `CanaryAttack`.

    >>> y, members = torch.tensor([0, 1]), torch.tensor([True, False])
    >>> canary_objective(nn.Identity(), 2 * torch.eye(2)[:, None], y, members, target_logits=(3.0, 0.0)).tolist()
    [[1.0], [4.0]]
    """
    n, q = queries.shape[:2]
    logits = label_logits(model(queries.flatten(0, 1)), y.repeat_interleave(q)).view(n, q)
    wanted = torch.where(check_flags(members, "members"), *(logits.new_tensor(each) for each in target_logits))
    return (logits - wanted[:, None]).square()
