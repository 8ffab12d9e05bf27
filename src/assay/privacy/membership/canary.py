"""Queries that are optimised to tell members from non-members (Wen et al., 2023)."""

from contextlib import ExitStack
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Num
from torch import Tensor, nn

from assay.core import InvalidInputError, check_positive, predict, preserved, track
from assay.privacy.membership.base import MembershipAttack
from assay.privacy.membership.confidence import label_logits


@dataclass(frozen=True, eq=False)
class CanaryAttack(MembershipAttack):
    r"""Query variants of each sample on which the models that saw it answer unlike those that did not.

    For every sample, `n_queries` canaries $x'$ are optimised over shadow models m with label scores $h_y$:

    $$\min_{\lVert x' - x\rVert_\infty \le \epsilon}\;
    \sum_{m\text{ saw }x} (h_y^m(x') - a)^2 + \sum_{m\text{ did not}} (h_y^m(x') - b)^2,$$

    by Adam on a few models drawn anew at each step; on all of them, the canaries would fit the shadows and nothing
    else. An offline scorer drops the first sum. The first canary starts at the sample, the others anywhere in the ball.

    Cost: `steps * models_per_step` gradients for each of `n * n_queries` inputs.

    Args:
        ensemble: Shadow models; each step draws among all of them.
        scorer: The likelihood-ratio test; an offline one makes canaries without the models that saw the sample.
        n_queries: Canaries a sample. Paper: 10.
        eps: Radius of the ball, in the units of the inputs. Paper's code: 1/255 for CIFAR; small networks bear more.
        steps: Of Adam. Paper's code: 30.
        lr: Its learning rate; `eps / 6` when None, which suits small networks. Paper's code: 0.05 standard deviations
            of the pixels, with decay.
        models_per_step: Shadow models in each step. Paper's code: 2.
        targets: The scores a and b aimed at. Paper's code: 10 and 0, which are of the size of its networks' scores.
            None takes the median of the label's score over models that saw a sample, and the lower decile over those
            that did not.
        input_range: Lowest and highest value of an input.

    Raises:
        InvalidInputError: A count is below one, `eps` or `lr` is not positive, or more models a step than there are.

    Deviations from the released code: all samples share the models drawn at a step; no weight decay, no stop at a given
    loss; starting points are not augmented.

    Source: Wen, Bansal, Kazemi, Borgnia, Goldblum, Geiping, Goldstein, "Canary in a Coalmine: Better Membership
    Inference with Ensembled Adversarial Queries" (2023), arXiv 2210.10750.

    >>> from assay.privacy import ShadowEnsemble
    >>> seen = torch.tensor([[True, False], [False, True]])
    >>> shadows = ShadowEnsemble((torch.nn.Linear(2, 3), torch.nn.Linear(2, 3)), seen, torch.eye(2))
    >>> CanaryAttack(shadows, n_queries=4, eps=0.1, steps=2).craft(torch.eye(2), torch.tensor([0, 1])).shape
    torch.Size([2, 4, 2])
    """

    n_queries: int = 10
    eps: float = 1 / 255
    steps: int = 30
    lr: float | None = None
    models_per_step: int = 2
    targets: tuple[float, float] | None = (10.0, 0.0)
    input_range: tuple[float, float] = (0.0, 1.0)

    def __post_init__(self) -> None:
        check_positive(self.eps, "eps")
        if self.lr is not None:
            check_positive(self.lr, "lr")
        if self.n_queries < 1 or self.steps < 0:
            raise InvalidInputError(
                f"give at least one query and no negative number of steps, got {self.n_queries} and {self.steps}"
            )
        if not 1 <= self.models_per_step <= len(self.ensemble.models):
            raise InvalidInputError(
                f"models_per_step must be within 1..{len(self.ensemble.models)}, got {self.models_per_step}"
            )

    def propose(
        self,
        x: Float[Tensor, "n *d"],
        y: Num[Tensor, " n"],
        *,
        batch_size: int,
        generator: torch.Generator,
        progress: bool,
    ) -> Float[Tensor, "n q *d"]:
        """Return canaries for each sample.

        Raises:
            InvalidInputError: A sample is out of range.
        """
        if x.min() < self.input_range[0] or x.max() > self.input_range[1]:
            raise InvalidInputError(
                f"samples span [{float(x.min()):g}, {float(x.max()):g}], outside input_range {self.input_range}; "
                "state the range that holds"
            )
        seen, aims = self.ensemble.saw(x), self.aims(x, y, batch_size=batch_size)
        # Drawn for all samples before they are cut into batches, so that the batch size changes nothing.
        shape = (len(x), self.n_queries - 1, *x.shape[1:])
        noise = 2 * torch.rand(shape, generator=generator, device=generator.device).to(x) - 1
        start = torch.cat([x[:, None], self._project(x[:, None] + self.eps * noise, x)], 1)
        drawn = [
            torch.randperm(len(seen), generator=generator, device=generator.device)[: self.models_per_step].tolist()
            for _ in range(self.steps)
        ]
        size = max(1, batch_size // self.n_queries)
        batches = list(zip(start.split(size), x.split(size), y.split(size), seen.split(size, 1), strict=True))
        with ExitStack() as stack:
            for model in self.ensemble.models:
                stack.enter_context(preserved(model))
            tracked = track(batches, "crafting canaries", enabled=progress)
            return torch.cat([self._optimise(*batch, aims=aims, drawn=drawn) for batch in tracked])

    def aims(self, x: Float[Tensor, "n *d"], y: Num[Tensor, " n"], *, batch_size: int = 256) -> tuple[float, float]:
        """Return the scores aimed at: `targets`, or what the shadow models answer to these samples."""
        if self.targets is not None:
            return self.targets
        seen = self.ensemble.saw(x)
        answers = (predict(model, x, batch_size=batch_size) for model in self.ensemble.models)
        scores = torch.stack([label_logits(logits, y) for logits in answers])
        low = scores[~seen].quantile(0.1).item() if not seen.all() else 0.0
        high = scores[seen].median().item() if seen.any() else 0.0
        return high, low

    def _project(self, queries: Float[Tensor, "n q *d"], x: Float[Tensor, "n *d"]) -> Float[Tensor, "n q *d"]:
        nearby = queries.clamp(min=x[:, None] - self.eps, max=x[:, None] + self.eps)
        return nearby.clamp(*self.input_range)

    def _optimise(
        self, start: Tensor, x: Tensor, y: Tensor, seen: Tensor, *, aims: tuple[float, float], drawn: list[list[int]]
    ) -> Float[Tensor, "n q *d"]:
        queries = start.clone().requires_grad_()
        optimizer = torch.optim.Adam([queries], self.lr if self.lr is not None else self.eps / 6)
        for chosen in drawn:
            optimizer.zero_grad()
            for index in chosen:
                miss = canary_objective(self.ensemble.models[index], queries, y, seen[index], aims=aims)
                if not self.scorer.online:
                    miss = miss * ~seen[index, :, None]
                miss.sum().backward()
            optimizer.step()
            with torch.no_grad():
                queries.copy_(self._project(queries, x))
        return queries.detach()


def canary_objective(
    model: nn.Module,
    queries: Float[Tensor, "n q *d"],
    y: Num[Tensor, " n"],
    seen: Bool[Tensor, " n"],
    *,
    aims: tuple[float, float],
) -> Float[Tensor, "n q"]:
    """Return the square of how far each query's label score is from where membership should put it.

    Differentiable in the queries; the model is called as it is.

    Args:
        model: One shadow model.
        queries: Variants of n samples.
        y: Their labels.
        seen: Which samples the model was trained on.
        aims: Label scores wanted of a model that saw the sample, and of one that did not.

    >>> y, seen = torch.tensor([0, 1]), torch.tensor([True, False])
    >>> canary_objective(nn.Identity(), torch.eye(2)[:, None], y, seen, aims=(3.0, 0.0)).tolist()
    [[4.0], [1.0]]
    """
    n, q = queries.shape[:2]
    scores = label_logits(model(queries.flatten(0, 1)), y.repeat_interleave(q)).view(n, q)
    wanted = torch.where(seen, *(scores.new_tensor(aim) for aim in aims))
    return (scores - wanted[:, None]).square()
