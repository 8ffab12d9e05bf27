"""Auto-PGD, untargeted and targeted (Croce and Hein, 2020, section 3)."""

from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Literal

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from assay.adversarial.attacks.ascent import Start, ascend_from
from assay.adversarial.attacks.ascent_state import Objective
from assay.adversarial.attacks.door import attackable
from assay.adversarial.attacks.starts import start_on_surface
from assay.adversarial.attacks.threat import Lp
from assay.core import InvalidInputError, best_other, check_choice, check_count, predict


@dataclass(frozen=True)
class APGD:
    r"""Attack by Auto-PGD, a projected gradient ascent that sets its step size itself.

    The ascent on the objective has momentum and a first step of $2\varepsilon$. At checkpoints $w_j$, the step is
    halved and the ascent restarts from the best point if the objective rose in fewer than 75% of the steps since the
    last checkpoint, or if neither the step nor the best value has changed since then. Samples leave the batch as soon
    as they are misclassified.

    Objectives, with $z_{\pi_1}\ge z_{\pi_2}\ge\dots$ the sorted scores and $y$ the true class: "ce" $-\log p_y$;
    "dlr" $-(z_y - \max_{k\ne y} z_k)/(z_{\pi_1} - z_{\pi_3})$, which ignores the scale of the scores and needs three
    classes.

    In the 1-norm the steps change few entries, fewer as the best point does, and the step is set anew at each review
    (Croce and Hein, 2021).

    Args:
        threat: Threat model.
        n_iter: Gradient steps. Paper: 100.
        loss: "ce" or "dlr". The paper's ensemble runs both.
        n_restarts: Runs from different starts, each on the samples that earlier runs left.
        random_state: Seed of the random starts on the surface of the ball; None to start from `x`.

    Raises:
        InvalidInputError: `n_iter` or `n_restarts` is below one, the loss is unknown, or all restarts are from `x`.

    Cost: time at most `n_restarts` `n_iter` forward and backward passes a sample, memory that of one batch.

    Source: Croce, Hein, "Reliable evaluation of adversarial robustness with an ensemble of diverse parameter-free
    attacks" (2020), algorithm 1 and equation 6. The released code also halves the step where exactly 75% of the steps
    raised the objective. The paper leaves the random start open: as in that code, it is scaled to touch the ball. Each
    sample's start is a function of the sample, its label, the seed and the restart, so that the batch size changes
    nothing. For the 1-norm: Croce, Hein, "Mind the box: l1-APGD for sparse adversarial attacks on image classifiers"
    (2021), algorithm 1.

    >>> attack = APGD(Lp(norm=2, eps=1.0, input_range=(-9.0, 9.0)), n_iter=5)
    >>> attack(nn.Linear(2, 3), torch.zeros(4, 2), torch.tensor([0, 1, 2, 0])).shape
    torch.Size([4, 2])
    """

    threat: Lp
    n_iter: int = 100
    loss: Literal["ce", "dlr"] = "ce"
    n_restarts: int = 1
    random_state: int | None = 0
    targeted: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_count(self.n_iter, "n_iter")
        check_choice(self.loss, UNTARGETED, "loss")
        _check_restarts(self.n_restarts, self.random_state)

    def __call__(
        self, model: nn.Module, x: Float[Tensor, "n *d"], y: Shaped[Tensor, "n *one"]
    ) -> Float[Tensor, "n *d"]:
        """Return perturbed inputs: the first misclassified point, else the point with the highest objective.

        Args:
            model: Classifier with outputs `(n, c)`; it comes back as it was.
            x: Inputs within the threat's range.
            y: True labels; if the start is misclassified, it is returned.

        Raises:
            InvalidInputError: The arguments do not fit each other, or "dlr" meets fewer than three classes.
        """
        with attackable(model, x, y, threat=self.threat) as given:
            _check_classes(self.loss, given.n_outputs, needed=3)
            found = ascend_from(
                _starts(self.threat, self.random_state, self.n_restarts),
                given.model,
                given.x,
                given.y,
                threat=self.threat,
                n_iter=self.n_iter,
                objective=UNTARGETED[self.loss],
                broken=torch.ne,
            )
            return given.returned(found, self.threat)

    @property
    def climbs_cross_entropy(self) -> bool:
        """Whether the objective is the cross-entropy, whose gradient is rounded away where the softmax saturates."""
        return self.loss == "ce"


@dataclass(frozen=True)
class TargetedAPGD:
    r"""Attack towards a target class by Auto-PGD, the ascent of `APGD` on a targeted objective.

    Objectives, with $z_{\pi_1}\ge z_{\pi_2}\ge\dots$ the sorted scores, $y$ the class predicted on `x` and $t$ the
    target: "dlr" $-(z_y - z_t)/(z_{\pi_1} - \frac12(z_{\pi_3}+z_{\pi_4}))$, which ignores the scale of the scores
    and needs four classes; "ce" $\log p_t$.

    Args:
        threat: Threat model.
        n_iter: Gradient steps. Paper: 100.
        loss: "dlr" or "ce". Paper: "dlr" for targeted attacks.
        strict_target: Continue until the prediction is the target; otherwise any change of the prediction is enough.
        n_restarts: Runs from different starts, each on the samples that earlier runs left.
        random_state: Seed of the random starts on the surface of the ball; None to start from `x`.

    Raises:
        InvalidInputError: `n_iter` or `n_restarts` is below one, the loss is unknown, or all restarts are from `x`.

    Cost: time one forward pass and at most `n_restarts` `n_iter` forward and backward passes a sample, memory that of
    one batch.

    Source: Croce, Hein, "Reliable evaluation of adversarial robustness with an ensemble of diverse parameter-free
    attacks" (2020), algorithm 1 and equation 7. The paper leaves the random start open: as in its released code, it is
    scaled to touch the ball, and drawn afresh for each target. Each sample's start is a function of the sample, its
    target, the seed and the restart, so that the batch size changes nothing.

    >>> attack = TargetedAPGD(Lp(norm=2, eps=1.0, input_range=(-9.0, 9.0)), n_iter=5, loss="ce")
    >>> attack(nn.Linear(2, 3), torch.zeros(4, 2), torch.tensor([0, 1, 2, 0])).shape
    torch.Size([4, 2])
    """

    threat: Lp
    n_iter: int = 100
    loss: Literal["dlr", "ce"] = "dlr"
    strict_target: bool = False
    n_restarts: int = 1
    random_state: int | None = 0
    targeted: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_count(self.n_iter, "n_iter")
        check_choice(self.loss, TARGETED, "loss")
        _check_restarts(self.n_restarts, self.random_state)

    def __call__(
        self, model: nn.Module, x: Float[Tensor, "n *d"], target: Shaped[Tensor, "n *one"]
    ) -> Float[Tensor, "n *d"]:
        """Return perturbed inputs: the first successful point, else the point with the highest objective.

        Args:
            model: Classifier with outputs `(n, c)`; it comes back as it was.
            x: Inputs within the threat's range.
            target: Class to reach; a sample already predicted as its target is returned unchanged.

        Raises:
            InvalidInputError: The arguments do not fit each other, or "dlr" meets fewer than four classes.
        """
        with attackable(model, x, target, threat=self.threat) as given:
            _check_classes(self.loss, given.n_outputs, needed=4)
            source = predict(given.model, given.x, batch_size=len(x), look=False).argmax(1)
            found, attacked = given.x.clone(), source != given.y
            found[attacked] = ascend_from(
                _starts(self.threat, self.random_state, self.n_restarts),
                given.model,
                given.x[attacked],
                torch.stack([source, given.y], 1)[attacked],
                threat=self.threat,
                n_iter=self.n_iter,
                objective=TARGETED[self.loss],
                broken=_reached_target if self.strict_target else _left_source,
            )
            return given.returned(found, self.threat)


def _check_classes(loss: str, n_classes: int, *, needed: int) -> None:
    if loss == "dlr" and n_classes < needed:
        raise InvalidInputError(f"loss 'dlr' needs at least {needed} classes, the model has {n_classes}; use loss='ce'")


def _check_restarts(n_restarts: int, random_state: int | None) -> None:
    check_count(n_restarts, "n_restarts")
    if n_restarts > 1 and random_state is None:
        raise InvalidInputError(f"n_restarts={n_restarts} starts from x would all be the same; pass a random_state")


def _starts(threat: Lp, random_state: int | None, n_restarts: int) -> list[Start]:
    if random_state is None:
        return [lambda x, labels: x]
    options = {"threat": threat, "random_state": random_state}
    return [partial(start_on_surface, restart=restart, **options) for restart in range(n_restarts)]


def _ce(logits: Tensor, y: Tensor) -> Tensor:
    return -logits.log_softmax(1).gather(1, y[:, None]).squeeze(1)


def _dlr(logits: Tensor, y: Tensor) -> Tensor:
    highest = logits.topk(3, dim=1).values
    gap = logits.gather(1, y[:, None]).squeeze(1) - best_other(logits, y)
    return -gap / (highest[:, 0] - highest[:, 2]).clamp_min(1e-12)


def _targeted_ce(logits: Tensor, labels: Tensor) -> Tensor:
    return logits.log_softmax(1).gather(1, labels[:, 1:]).squeeze(1)


def _targeted_dlr(logits: Tensor, labels: Tensor) -> Tensor:
    highest = logits.topk(4, dim=1).values
    scale = highest[:, 0] - (highest[:, 2] + highest[:, 3]) / 2
    source, target = logits.gather(1, labels).unbind(1)
    return -(source - target) / scale.clamp_min(1e-12)


def _left_source(predicted: Tensor, labels: Tensor) -> Tensor:
    return predicted != labels[:, 0]


def _reached_target(predicted: Tensor, labels: Tensor) -> Tensor:
    return predicted == labels[:, 1]


UNTARGETED: dict[str, Objective] = {"ce": _ce, "dlr": _dlr}
TARGETED: dict[str, Objective] = {"dlr": _targeted_dlr, "ce": _targeted_ce}
