"""Canary queries: adversarially optimised queries for membership inference (Wen et al., 2023)."""

from contextlib import ExitStack
from dataclasses import dataclass
from typing import get_args

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

from assay.core import (
    InvalidInputError,
    check_choice,
    check_count,
    check_pairs,
    check_positive,
    check_samples,
    predict,
    preserved,
    track,
)
from assay.privacy.membership.base import MembershipAttack, QueryTask
from assay.privacy.membership.confidence import label_logits
from assay.privacy.membership.objectives import CanaryObjective, canary_objective


@dataclass(frozen=True, eq=False)
class CanaryAttack(MembershipAttack):
    r"""Query optimised variants of each sample, the canaries, that separate members from non-members.

    For every sample, `n_queries` canaries $x'$ are optimised over IN models, trained on the sample, and OUT models, not
    trained on it, with label logits $h_y$:

    $$\min_{\lVert x' - x\rVert_\infty \le \epsilon}\;
    \sum_{m \in \mathrm{IN}} (h_y^m(x') - a)^2 + \sum_{m \in \mathrm{OUT}} (h_y^m(x') - b)^2,$$

    by Adam on a few IN and OUT models of each sample, drawn at random in each iteration, which keeps the canaries from
    overfitting the shadow models. An offline scorer drops the first sum. The first canary starts at the sample, the
    others uniformly in the ball.

    Cost: time O(n_iter models_per_step n n_queries) gradients, memory O(n n_queries d + batch_size activations).

    Args:
        ensemble: Shadow models; each iteration draws among all of them.
        scorer: The likelihood-ratio test; with an offline one, canaries are crafted on OUT models only.
        n_queries: Canaries per sample. Paper: 10.
        eps: Radius of the ball, in the units of the inputs. Paper's code: 1/255 for CIFAR.
        n_iter: Iterations of Adam. Paper's code: 30.
        lr: Learning rate of Adam; `eps / 6` when None. Paper's code, in standard deviations of the pixels: 0.005 with
            50 iterations, offline 0.05 with 30.
        models_per_step: k, shadow models of each sample in each iteration: k // 2 IN models and the rest OUT models, or
            all where there are fewer; offline, k OUT models. One is drawn from both. Paper's code: 2.
        target_logits: a and b, the label logits wanted of IN and OUT models. Paper's code: 10 and 0, the scale of its
            networks' logits. None takes the median over IN models and the lower decile over OUT models.
        objective: "target_logits", the equation above, or one of the alternatives in `canary_objective`. The other
            class that some of them need is drawn for each canary.
        input_range: Lowest and highest value of an input.

    Raises:
        InvalidInputError: A count is too small, `eps` or `lr` is not positive, or `models_per_step` exceeds the number
            of shadow models.

    Deviations from the released code: no weight decay, no stop at a given loss; starting points are not augmented.

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
    objective: CanaryObjective = "target_logits"
    input_range: tuple[float, float] = (0.0, 1.0)

    def __post_init__(self) -> None:
        check_positive(self.eps, "eps")
        if self.lr is not None:
            check_positive(self.lr, "lr")
        check_choice(self.objective, get_args(CanaryObjective), "objective")
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
        shape = (len(x), self.n_queries - 1, *x.shape[1:])
        noise = 2 * torch.rand(shape, generator=source, device=source.device).to(x) - 1
        start = torch.cat([x[:, None], self._project(x[:, None] + self.eps * noise, x)], 1)
        others = self._other_classes(y, source)
        steps = track(range(self.n_iter), "crafting canaries", enabled=task.progress)
        size = max(1, task.batch_size // self.n_queries)
        with torch.inference_mode(False), torch.enable_grad(), ExitStack() as stack:
            for model in self.ensemble.models:
                stack.enter_context(preserved(model))
            # Tensors of inference mode cannot take part in derivatives.
            x, y, membership, others = (each.clone() for each in (x, y, membership, others))
            queries = start.clone().requires_grad_()
            optimizer = torch.optim.Adam([queries], self.lr if self.lr is not None else self.eps / 6)
            for _ in steps:
                queries.grad = torch.zeros_like(queries)
                drawn = self._draw_models(membership, source)
                for model, members, chosen in zip(self.ensemble.models, membership, drawn, strict=True):
                    for rows in filter(len, chosen.nonzero().flatten().split(size)):
                        part = queries.detach()[rows].requires_grad_()
                        options = {"target_logits": logits, "objective": self.objective, "others": others[rows]}
                        value = canary_objective(model, part, y[rows], members[rows], **options).sum()
                        queries.grad.index_add_(0, rows, *torch.autograd.grad(value, part))
                optimizer.step()
                with torch.no_grad():
                    queries.copy_(self._project(queries, x))
        return queries.detach()

    def _draw_models(self, membership: Bool[Tensor, "m n"], source: torch.Generator) -> Bool[Tensor, "m n"]:
        """Draw the shadow models of each sample: `models_per_step` of those that its role allows."""
        drawn = torch.rand(membership.shape, generator=source, device=source.device).to(membership.device)
        online, k = self.scorer.online, self.models_per_step
        if online and k == 1:
            return _smallest(drawn, 1)
        n_in = k // 2 if online else 0
        inside, outside = (drawn.masked_fill(~role, torch.inf) for role in (membership, ~membership))
        return _smallest(inside, n_in) | _smallest(outside, k - n_in)

    def _other_classes(self, y: Tensor, source: torch.Generator) -> Int[Tensor, "n q"]:
        """Draw a class other than the label for each query; networks of one logit have one only, whatever is drawn."""
        scores = predict(self.ensemble.models[0], self.ensemble.x[:1])
        n_classes = scores.shape[1] if scores.ndim == 2 else 1
        steps = torch.randint(1, max(2, n_classes), (len(y), self.n_queries), generator=source, device=source.device)
        return (y.long()[:, None] + steps.to(y.device)) % max(2, n_classes)

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


def _smallest(values: Float[Tensor, "m n"], k: int) -> Bool[Tensor, "m n"]:
    """Return which values are among the k smallest finite ones of their column."""
    return (values.argsort(0).argsort(0) < k) & values.isfinite()
