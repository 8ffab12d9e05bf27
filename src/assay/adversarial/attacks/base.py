"""The attack protocol, and the measurement of an attack's success."""

from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any, ClassVar, Protocol, TypeVar, runtime_checkable

import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor, nn

from assay.adversarial.attacks.counting import PassCounter
from assay.adversarial.attacks.door import check_attackable
from assay.adversarial.attacks.masking import GradientMasking, find_masking, no_masking
from assay.adversarial.attacks.threat import Lp
from assay.core import (
    InvalidInputError,
    NumericalError,
    check_count,
    check_finite,
    predict,
    preserved,
    track,
)

ResultType = TypeVar("ResultType")


@runtime_checkable
class Attack(Protocol):
    """An attack: its threat model, whether it is targeted, and a call `attack(model, x, y) -> x_adv`.

    A *targeted* attack takes the class to reach, another the true label. An attack of another library needs a class of
    four lines that states its threat model and whether it is targeted, and forwards the call.
    """

    targeted: ClassVar[bool]

    @property
    def threat(self) -> Lp: ...  # noqa: D102

    def __call__(self, model: nn.Module, x: Tensor, y: Tensor, /) -> Tensor: ...  # noqa: D102


@dataclass(frozen=True)
class AttackResult:
    """Result of an attack, measured by a separate forward pass.

    Attributes:
        x_adv: Perturbed inputs; the input itself where the attack failed or the sample was already misclassified.
        success: Whether the model misclassifies `x_adv`.
        distance: Size of the perturbation in the threat's norm.
        n_forward: Forward passes, counted by sample: the attack, its input checks and the measurement.
        n_backward: Backward passes, counted by sample.
        masking: Samples that stay correct and where the gradient gives the attack no direction.
    """

    x_adv: Float[Tensor, "n *d"]
    success: Bool[Tensor, " n"]
    distance: Float[Tensor, " n"]
    n_forward: int
    n_backward: int
    masking: GradientMasking

    @property
    def robust_accuracy(self) -> float:
        """Fraction of samples that are classified correctly under attack."""
        return 1.0 - self.success.double().mean().item()

    def __str__(self) -> str:
        said = (
            f"{len(self.success)} samples attacked: {self.robust_accuracy:.1%} stay correct "
            f"({self.n_forward} forward and {self.n_backward} backward passes)."
        )
        return f"{said} {self.masking}" if self.masking.masked.any() else said


def run_attack(
    model: nn.Module,
    x: Float[Tensor, "n *d"],
    y: Shaped[Tensor, "n *one"],
    *,
    attack: Attack,
    batch_size: int = 256,
    progress: bool = False,
) -> AttackResult:
    """Run an attack against true labels and measure its success.

    The attack's points are projected onto its threat model, and success is measured by a separate forward pass. Samples
    that the model already misclassifies are not attacked and count as successes. The result says where gradients are
    masked, so that a failure proves little.

    Args:
        model: Classifier with outputs `(n, c)`, `c >= 2`; it comes back as it was.
        x: Inputs within the threat's range.
        y: True labels, or the model's predictions to measure changes of the decision.
        attack: An untargeted attack, such as `MALT`.
        batch_size: Samples attacked at once.
        progress: Draw a bar on standard error.

    Returns:
        The perturbed inputs, their success and distance, the passes, and where gradients are masked.

    Raises:
        InvalidInputError: The model, inputs and labels do not fit each other or the threat model, or the attack is
            targeted.
        NumericalError: The attack returned NaN.

    >>> from assay.adversarial import MALT, TargetedAPGD
    >>> threat = Lp(norm=2, eps=1.0, input_range=(-9.0, 9.0))
    >>> model, attack = nn.Linear(2, 3), MALT(TargetedAPGD(threat, n_iter=3, loss="ce"))
    >>> run_attack(model, torch.zeros(1, 2), torch.tensor([0]), attack=attack).success.shape
    torch.Size([1])
    """
    check_attack(attack, targeted=False)
    check_count(batch_size, "batch_size")
    x, y, _ = check_attackable(model, x, y, threat=attack.threat)
    with preserved(model):
        result = attack_batches(model, x, y, attack, batch_size, progress=progress)
        options = {"threat": attack.threat, "attacks": [attack], "batch_size": batch_size}
        return replace(result, masking=find_masking(model, x, y, ~result.success, **options))


def attack_batches(
    model: nn.Module, x: Tensor, y: Tensor, attack: Attack, batch_size: int, *, progress: bool = False
) -> AttackResult:
    """Attack inputs that `check_attackable` returned, with no test of masking; the caller holds the model `preserved`.

    Raises:
        NumericalError: The attack returned NaN or infinite values.
    """
    batches = track(list(zip(x.split(batch_size), y.split(batch_size), strict=True)), "attacking", enabled=progress)
    return join_results([_attack_batch(model, *batch, attack) for batch in batches])


def _attack_batch(model: nn.Module, x: Tensor, y: Tensor, attack: Attack) -> AttackResult:
    counted = PassCounter(model, checked=True)
    success = predict(counted, x, batch_size=len(x), look=False).argmax(1) != y
    x_adv, correct = x.clone(), (~success).nonzero().squeeze(1)
    if len(correct):
        proposed, predicted = measure(counted, attack(counted, x[correct], y[correct]), x[correct], attack.threat)
        broken = predicted != y[correct]
        x_adv[correct[broken]], success[correct[broken]] = proposed[broken], True
    distance = attack.threat.distance(x_adv, x)
    return AttackResult(x_adv, success, distance, counted.n_forward, counted.n_backward, no_masking(x))


def measure(model: nn.Module, proposed: Tensor, x: Tensor, threat: Lp) -> tuple[Tensor, Tensor]:
    """Project an attack's points onto the threat model; return them and their predicted classes.

    Raises:
        InvalidInputError: The attack changed the shape of its inputs.
        NumericalError: The attack returned NaN or infinite values.
    """
    if proposed.shape != x.shape:
        raise InvalidInputError(f"the attack returned shape {tuple(proposed.shape)} for inputs {tuple(x.shape)}")
    if not proposed.isfinite().all():
        raise NumericalError("the attack returned NaN or infinity; check its step size and the model's gradients")
    x_adv = threat.project(proposed.detach(), x)
    logits = predict(model, x_adv, batch_size=len(x), look=False)
    check_finite(logits, "the model's scores on perturbed inputs")
    return x_adv, logits.argmax(1)


def check_attack(attack: Attack, *, targeted: bool) -> None:
    """Require an attack that takes the class to reach, or one that takes true labels.

    Raises:
        InvalidInputError: It is no attack, does not say of which kind it is, or is of the other kind.
    """
    if (
        not isinstance(attack, type)
        and callable(attack)
        and hasattr(attack, "threat")
        and not hasattr(attack, "targeted")
    ):
        raise InvalidInputError(
            f"{type(attack).__name__} does not say what it takes: give it an attribute targeted, False if it is called "
            "with true labels, True if with the classes to reach"
        )
    if not isinstance(attack, Attack) or isinstance(attack, type):
        given = attack.__name__ if isinstance(attack, type) else type(attack).__name__
        raise InvalidInputError(
            f"an attack is a callable with a threat model, got {given}; build it first, as in FGSM(threat)"
        )
    name = type(attack).__name__
    if attack.targeted is not targeted:
        raise InvalidInputError(
            f"{name} takes the true label, not the class to reach; give MALT a targeted attack, such as TargetedAPGD"
            if targeted
            else f"{name} takes the class to reach, not the true label; wrap it: MALT({name}(threat))"
        )


def join_results(parts: list[ResultType]) -> ResultType:
    """Join the results of consecutive batches: tensors are concatenated, counts added."""
    names = [field.name for field in fields(parts[0])]  # type: ignore[arg-type]
    columns = {name: [getattr(part, name) for part in parts] for name in names}
    joined: dict[str, Any] = {name: _join(values) for name, values in columns.items()}
    return type(parts[0])(**joined)


def _join(values: list[Any]) -> Any:
    if isinstance(values[0], Tensor):
        return torch.cat(values)
    return join_results(values) if is_dataclass(values[0]) else sum(values)
