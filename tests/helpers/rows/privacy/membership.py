"""The rows of `assay.privacy.membership`."""

from functools import partial

import torch

from assay.core import StackedTrainer, cross_entropy, preserved, seeded
from assay.nets import mlp
from assay.privacy import CanaryAttack, DirectAttack, LiRA, ShadowEnsemble, membership_metrics
from assay.privacy.membership import canary_objective, label_logits, logit_confidence
from helpers.rows.base import Analysis
from helpers.rows.standalone import Formula

sgd = partial(torch.optim.SGD, lr=0.1)
ROWS_ALIKE = ("rows", "empty")
"""What is refused where any axes may stand before those of the definition."""


def _shadows(model, x):
    """The model itself and three others, half of which have seen each sample."""
    others = [mlp((4, 6, 3), generator=seeded(k)).to(x) for k in (2, 3, 4)]
    seen = torch.arange(len(x)) % 2 == torch.tensor([[0], [1], [0], [1]])
    return ShadowEnsemble((model, *others), seen.to(x.device), x)


def _target(x):
    return mlp((4, 6, 3), generator=seeded(5)).to(x)


def _direct_attack(model, x, y, generator, batch_size=256):
    shadows = _shadows(model, x)
    return DirectAttack(shadows).score([_target(x)], x, y, batch_size=batch_size), shadows.confidences(
        x, y, batch_size=batch_size
    )


def _canary_attack(model, x, y, generator, batch_size=256):
    # A few steps: Adam divides by the gradient's size, which blows up rounding where gradients vanish.
    attack = CanaryAttack(_shadows(model, x), n_queries=2, eps=0.1, n_iter=3)
    queries = attack.craft(x, y, generator=generator, batch_size=batch_size)
    return queries, attack.score([_target(x)], x, y, queries=queries, batch_size=batch_size)


def _trained_shadows(model, x, y, generator):
    trainer = StackedTrainer(cross_entropy, sgd, epochs=2, batch_size=2)
    build = lambda source: mlp((4, 3), generator=source).to(x)  # noqa: E731
    shadows = ShadowEnsemble.fit(x, y, model_fn=build, trainer=trainer, n_models=4)
    return shadows.membership, shadows.confidences(x, y)


def _canaries(model, x, y, generator):
    with preserved(model):
        return canary_objective(model, x[:, None], y, y == 0, target_logits=(3.0, 0.0))


def _confidences(source, n):
    seen = torch.arange(n)[None] % 2 == torch.tensor([[0], [0], [1], [1]])
    return torch.randn(n, 2, generator=source).double(), torch.randn(4, n, 2, generator=source).double(), seen


def _scores(source, n):
    return torch.randn(n, generator=source).double(), torch.arange(n) % 2 == 0


def _metrics(scores, members):
    found = membership_metrics(scores, members, fpr=(0.4,))
    return found.auc, found.balanced_accuracy, found.tpr_at_fpr  # the curve's rates are float64 whatever the scores


def _logits(source, n):
    return torch.randn(n, 5, generator=source).double(), torch.arange(n) % 5


ROWS = (
    Analysis(DirectAttack, run=_direct_attack),
    Analysis(CanaryAttack, run=_canary_attack, random=True),
    Analysis(ShadowEnsemble, run=_trained_shadows, needs_data=False),
    Analysis(canary_objective, run=_canaries, needs_data=False),
    Formula(LiRA, _confidences, run=lambda *given: LiRA().score(*given), rowwise=False, refuses=ROWS_ALIKE),
    Formula(membership_metrics, _scores, run=_metrics, rowwise=False),
    Formula(label_logits, _logits),
    Formula(logit_confidence, _logits),
)
