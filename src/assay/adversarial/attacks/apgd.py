"""Auto-PGD (Croce, Hein, 2020): away from the true class, or towards a given one, without a step size to tune."""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from assay.adversarial.attacks.ascent import Objective, ascend
from assay.adversarial.attacks.base import Lp, check_attackable, check_count
from assay.core import InvalidInputError, best_other, predict, preserved, seeded


@dataclass(frozen=True)
class APGD:
    r"""Push each sample away from its true class by Auto-PGD, without a step size to tune.

    Ascent with momentum on the objective, from a first step of $2\varepsilon$. At checkpoints $w_j$, a sample whose
    objective rose in fewer than 75% of the steps since the last one, or whose step and best value both stayed the
    same, halves its step and restarts from its best point. Samples leave the batch as soon as they are broken.

    Objectives, with $z_{\pi_1}\ge z_{\pi_2}\ge\dots$ the sorted scores and $y$ the true class: "ce" $-\log p_y$;
    "dlr" $-(z_y - \max_{k\ne y} z_k)/(z_{\pi_1} - z_{\pi_3})$, which ignores the scale of the scores and needs three
    classes.

    Args:
        threat: What the attack may change.
        n_iter: Gradient steps. Paper: 100.
        loss: "ce" or "dlr". The paper's ensemble runs both.
        seed: Start from a random point in the ball, drawn with this seed; by default start from `x`.

    Raises:
        InvalidInputError: `n_iter` is below one, or the loss is unknown.

    Cost: `n_iter` forward and backward passes a sample, less where it breaks earlier; memory of one batch.

    Source: Croce, Hein, "Reliable evaluation of adversarial robustness with an ensemble of diverse parameter-free
    attacks" (2020), algorithm 1 and equation 6. Deviation: the paper's random start is an option here.

    >>> attack = APGD(Lp(norm=2, eps=1.0, input_range=(-9.0, 9.0)), n_iter=5)
    >>> attack(nn.Linear(2, 3), torch.zeros(4, 2), torch.tensor([0, 1, 2, 0])).shape
    torch.Size([4, 2])
    """

    threat: Lp
    n_iter: int = 100
    loss: Literal["ce", "dlr"] = "ce"
    seed: int | None = None

    def __post_init__(self) -> None:
        _check_options(self.n_iter, self.loss, UNTARGETED)

    def __call__(self, model: nn.Module, x: Float[Tensor, "n *d"], y: Int[Tensor, " n"]) -> Float[Tensor, "n *d"]:
        """Return perturbed inputs: the first that the model does not give its true class, else the best found.

        Args:
            model: Classifier with outputs `(n, c)`; it comes back as it was.
            x: Inputs within the threat's range.
            y: True labels; a sample that is misclassified where the search starts is returned as it is there.

        Raises:
            InvalidInputError: The arguments do not fit each other, or "dlr" meets fewer than three classes.
        """
        _check_classes(self.loss, check_attackable(model, x, y, threat=self.threat), needed=3)
        x = x.detach()
        with preserved(model):
            return ascend(
                model,
                x,
                y,
                start=_start(x, self.threat, self.seed),
                threat=self.threat,
                n_iter=self.n_iter,
                objective=UNTARGETED[self.loss],
                broken=torch.ne,
            )


@dataclass(frozen=True)
class TargetedAPGD:
    r"""Push each sample towards a target class by Auto-PGD: the ascent of `APGD` on another objective.

    Objectives, with $z_{\pi_1}\ge z_{\pi_2}\ge\dots$ the sorted scores, $y$ the class predicted on `x` and $t$ the
    target: "dlr" $-(z_y - z_t)/(z_{\pi_1} - \frac12(z_{\pi_3}+z_{\pi_4}))$, which ignores the scale of the scores
    and needs four classes; "ce" $\log p_t$.

    Args:
        threat: What the attack may change.
        n_iter: Gradient steps. Paper: 100.
        loss: "dlr" or "ce". Paper: "dlr" for targeted attacks.
        strict_target: Go on until the prediction is the target; otherwise any change of the prediction ends the search.
        seed: Start from a random point in the ball, drawn with this seed; by default start from `x`.

    Raises:
        InvalidInputError: `n_iter` is below one, or the loss is unknown.

    Cost: one forward pass, and `n_iter` forward and backward passes a sample, less where it breaks earlier.

    Source: Croce, Hein, "Reliable evaluation of adversarial robustness with an ensemble of diverse parameter-free
    attacks" (2020), algorithm 1 and equation 7. Deviation: the paper's random start is an option here.

    >>> attack = TargetedAPGD(Lp(norm=2, eps=1.0, input_range=(-9.0, 9.0)), n_iter=5, loss="ce")
    >>> attack(nn.Linear(2, 3), torch.zeros(4, 2), torch.tensor([0, 1, 2, 0])).shape
    torch.Size([4, 2])
    """

    threat: Lp
    n_iter: int = 100
    loss: Literal["dlr", "ce"] = "dlr"
    strict_target: bool = False
    seed: int | None = None

    def __post_init__(self) -> None:
        _check_options(self.n_iter, self.loss, TARGETED)

    def __call__(self, model: nn.Module, x: Float[Tensor, "n *d"], target: Int[Tensor, " n"]) -> Float[Tensor, "n *d"]:
        """Return perturbed inputs: the first that breaks the sample, else the best found.

        Args:
            model: Classifier with outputs `(n, c)`; it comes back as it was.
            x: Inputs within the threat's range.
            target: Class to reach; a sample already predicted as its target is returned unchanged.

        Raises:
            InvalidInputError: The arguments do not fit each other, or "dlr" meets fewer than four classes.
        """
        _check_classes(self.loss, check_attackable(model, x, target, threat=self.threat), needed=4)
        x = x.detach()
        with preserved(model):
            source = predict(model, x, batch_size=len(x)).argmax(1)
            x_adv, apart = x.clone(), source != target
            x_adv[apart] = ascend(
                model,
                x[apart],
                torch.stack([source, target], 1)[apart],
                start=_start(x, self.threat, self.seed)[apart],
                threat=self.threat,
                n_iter=self.n_iter,
                objective=TARGETED[self.loss],
                broken=_reached if self.strict_target else _left,
            )
        return x_adv


def apgd(
    model: nn.Module,
    x: Float[Tensor, "n *d"],
    y: Int[Tensor, " n"],
    *,
    threat: Lp,
    n_iter: int = 100,
    loss: Literal["ce", "dlr"] = "ce",
    seed: int | None = None,
) -> Float[Tensor, "n *d"]:
    """Return `APGD(threat, ...)(model, x, y)`: the attack as a function, with the same arguments.

    >>> threat = Lp(norm=2, eps=1.0, input_range=(-9.0, 9.0))
    >>> apgd(nn.Linear(2, 4), torch.zeros(3, 2), torch.tensor([0, 1, 2]), threat=threat, n_iter=2, loss="dlr").shape
    torch.Size([3, 2])
    """
    return APGD(threat, n_iter, loss, seed)(model, x, y)


def targeted_apgd(
    model: nn.Module,
    x: Float[Tensor, "n *d"],
    target: Int[Tensor, " n"],
    *,
    threat: Lp,
    n_iter: int = 100,
    loss: Literal["dlr", "ce"] = "dlr",
    strict_target: bool = False,
    seed: int | None = None,
) -> Float[Tensor, "n *d"]:
    """Return `TargetedAPGD(threat, ...)(model, x, target)`: the attack as a function, with the same arguments.

    >>> threat = Lp(norm=2, eps=1.0, input_range=(-9.0, 9.0))
    >>> targeted_apgd(nn.Linear(2, 4), torch.zeros(3, 2), torch.tensor([0, 1, 2]), threat=threat, n_iter=2).shape
    torch.Size([3, 2])
    """
    return TargetedAPGD(threat, n_iter, loss, strict_target, seed)(model, x, target)


def _check_options(n_iter: int, loss: str, objectives: dict[str, Objective]) -> None:
    check_count(n_iter, "n_iter")
    if loss not in objectives:
        raise InvalidInputError(f"loss must be one of {sorted(objectives)}, got {loss!r}")


def _check_classes(loss: str, n_classes: int, *, needed: int) -> None:
    if loss == "dlr" and n_classes < needed:
        raise InvalidInputError(f"loss 'dlr' needs at least {needed} classes, the model has {n_classes}; use loss='ce'")


def _start(x: Tensor, threat: Lp, seed: int | None) -> Tensor:
    return x if seed is None else threat.random_start(x, generator=seeded(seed))


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


def _left(predicted: Tensor, labels: Tensor) -> Tensor:
    return predicted != labels[:, 0]


def _reached(predicted: Tensor, labels: Tensor) -> Tensor:
    return predicted == labels[:, 1]


UNTARGETED: dict[str, Objective] = {"ce": _ce, "dlr": _dlr}
TARGETED: dict[str, Objective] = {"dlr": _targeted_dlr, "ce": _targeted_ce}
