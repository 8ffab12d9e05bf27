"""Threat models, the attack protocol, and the measurement of an attack's success."""

import math
from dataclasses import dataclass, fields
from typing import Any, Protocol, TypeVar, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from assay.adversarial.attacks.counting import PassCounter
from assay.core import (
    InvalidInputError,
    NumericalError,
    check_choice,
    check_finite,
    check_labels,
    check_logits,
    check_model,
    check_pairs,
    check_positive,
    predict,
    track,
)

ResultType = TypeVar("ResultType")


@dataclass(frozen=True)
class Lp:
    r"""Threat model: $\lVert x' - x\rVert_p \le \varepsilon$ and $x'$ within the input range.

    Args:
        norm: 2 or `math.inf`.
        eps: Largest distance, in units of the input.
        input_range: Lowest and highest value of an input entry; `(-math.inf, math.inf)` for unbounded features.
            The model must take inputs of this range: normalisation belongs inside the model.

    Raises:
        InvalidInputError: The norm is neither 2 nor infinity, the radius is not positive, or the range is empty.

    >>> threat = Lp(norm=math.inf, eps=0.1, input_range=(0.0, 1.0))
    >>> threat.project(torch.tensor([[0.9, -0.3]]), torch.tensor([[0.5, 0.05]])).tolist()
    [[0.6000000238418579, 0.0]]
    """

    norm: float
    eps: float
    input_range: tuple[float, float]

    def __post_init__(self) -> None:
        check_norm(self.norm)
        check_positive(self.eps, "eps")
        low, high = self.input_range
        if not low < high:
            raise InvalidInputError(f"input_range must be (lowest, highest), got {self.input_range}; e.g. (0.0, 1.0)")

    def check_inside(self, x: Float[Tensor, "n *d"]) -> None:
        """Require inputs within the range.

        Raises:
            InvalidInputError: Some entry lies outside.
        """
        low, high = self.input_range
        if bool((x < low).any() or (x > high).any()):
            raise InvalidInputError(
                f"x spans [{x.min():.4g}, {x.max():.4g}] but input_range is {self.input_range}; give the true range, "
                "or move the normalisation into the model and pass unnormalised inputs"
            )

    def project(self, x_adv: Float[Tensor, "n *d"], x: Float[Tensor, "n *d"]) -> Float[Tensor, "n *d"]:
        """Project perturbed inputs onto the ball around `x` and the range.

        For the infinity norm this is the nearest point of both. For the 2-norm the perturbation is shortened and then
        clamped; clamping to a range that contains `x` only shortens it further.
        """
        low, high = self.input_range
        if self.norm == math.inf:
            return torch.minimum(torch.maximum(x_adv, x - self.eps), x + self.eps).clamp(low, high)
        change = x_adv - x
        shrink = (self.eps / self.distance(x_adv, x).clamp_min(self.eps)).view(-1, *[1] * (x.ndim - 1))
        return (x + change * shrink).clamp(low, high)

    def distance(self, x_adv: Float[Tensor, "n *d"], x: Float[Tensor, "n *d"]) -> Float[Tensor, " n"]:
        r"""Return $\lVert x' - x\rVert_p$ of every sample."""
        return (x_adv - x).flatten(1).norm(p=self.norm, dim=1)

    def steepest(self, gradient: Float[Tensor, "n *d"]) -> Float[Tensor, "n *d"]:
        r"""Return the direction of steepest ascent of unit $p$-norm: the sign, or the gradient scaled to length one.

        A zero gradient gives a zero direction.
        """
        if self.norm == math.inf:
            return gradient.sign()
        # Dividing by the largest entry first keeps the squares of tiny gradients from underflow.
        scaled = gradient.flatten(1)
        scaled = scaled / scaled.abs().amax(1, keepdim=True).clamp_min(torch.finfo(gradient.dtype).tiny)
        return (scaled / scaled.norm(dim=1, keepdim=True).clamp_min(1e-12)).view_as(gradient)

    def random_start(self, x: Float[Tensor, "n *d"], *, generator: torch.Generator) -> Float[Tensor, "n *d"]:
        """Draw a point uniformly from the ball around each sample, then clamp it to the range."""
        kind = {"generator": generator, "dtype": x.dtype, "device": generator.device}
        if self.norm == math.inf:
            change = 2 * torch.rand(x.shape, **kind) - 1
        else:
            normal, radius = torch.randn(x.shape, **kind), torch.rand(len(x), **kind) ** (1 / x[0].numel())
            change = self.steepest(normal) * radius.view(-1, *[1] * (x.ndim - 1))
        return self.project(x + self.eps * change.to(x), x)


def check_norm(norm: float) -> None:
    """Require the norm 2 or infinity.

    Raises:
        InvalidInputError: It is neither.
    """
    check_choice(norm, (2, math.inf), "norm")


def dual_norms(gradient: Float[Tensor, "n *d"], norm: float) -> Float[Tensor, " n"]:
    r"""Return the dual norm of each gradient, the largest gain of a unit step: $\max_{\|u\|_p\le1}\langle g,u\rangle$.

    >>> dual_norms(torch.tensor([[3.0, -4.0]]), math.inf).item(), dual_norms(torch.tensor([[3.0, -4.0]]), 2).item()
    (7.0, 5.0)
    """
    return gradient.flatten(1).norm(p=1 if norm == math.inf else 2, dim=1)


@runtime_checkable
class Attack(Protocol):
    """An attack: its threat model, and a call `attack(model, x, y) -> x_adv`.

    A *targeted* attack takes the target class instead of the true label. An attack of another library needs a class of
    three lines that states its threat model and forwards the call.
    """

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
    """

    x_adv: Float[Tensor, "n *d"]
    success: Bool[Tensor, " n"]
    distance: Float[Tensor, " n"]
    n_forward: int
    n_backward: int

    @property
    def robust_accuracy(self) -> float:
        """Fraction of samples that are classified correctly under attack."""
        return 1.0 - self.success.double().mean().item()

    def __str__(self) -> str:
        return (
            f"{len(self.success)} samples attacked: {self.robust_accuracy:.1%} stay correct "
            f"({self.n_forward} forward and {self.n_backward} backward passes)."
        )


def run_attack(
    model: nn.Module,
    x: Float[Tensor, "n *d"],
    y: Int[Tensor, " n"],
    *,
    attack: Attack,
    batch_size: int = 256,
    progress: bool = False,
) -> AttackResult:
    """Run an attack against true labels and measure its success.

    The attack's points are projected onto its threat model, and success is measured by a separate forward pass. Samples
    that the model already misclassifies are not attacked and count as successes.

    Args:
        model: Classifier with outputs `(n, c)`, `c >= 2`; it comes back as it was.
        x: Inputs within the threat's range.
        y: True labels, or the model's predictions to measure changes of the decision.
        attack: An untargeted attack, such as `MALT`.
        batch_size: Samples attacked at once.
        progress: Draw a bar on standard error.

    Returns:
        The perturbed inputs, their success and distance, and the passes.

    Raises:
        InvalidInputError: The model, inputs and labels do not fit each other or the threat model.
        NumericalError: The attack returned NaN.

    >>> from assay.adversarial import MALT, TargetedAPGD
    >>> threat = Lp(norm=2, eps=1.0, input_range=(-9.0, 9.0))
    >>> model, attack = nn.Linear(2, 3), MALT(TargetedAPGD(threat, n_iter=3, loss="ce"))
    >>> run_attack(model, torch.zeros(1, 2), torch.tensor([0]), attack=attack).success.shape
    torch.Size([1])
    """
    check_attackable(model, x, y, threat=attack.threat)
    batches = track(list(zip(x.split(batch_size), y.split(batch_size), strict=True)), "attacking", enabled=progress)
    return join_results([_attack_batch(model, *batch, attack) for batch in batches])


def _attack_batch(model: nn.Module, x: Tensor, y: Tensor, attack: Attack) -> AttackResult:
    counted = PassCounter(model)
    success = predict(counted, x, batch_size=len(x)).argmax(1) != y
    x_adv, correct = x.clone(), (~success).nonzero().squeeze(1)
    if len(correct):
        proposed, predicted = measure(counted, attack(counted, x[correct], y[correct]), x[correct], attack.threat)
        broken = predicted != y[correct]
        x_adv[correct[broken]], success[correct[broken]] = proposed[broken], True
    distance = attack.threat.distance(x_adv, x)
    return AttackResult(x_adv, success, distance, counted.n_forward, counted.n_backward)


def measure(model: nn.Module, proposed: Tensor, x: Tensor, threat: Lp) -> tuple[Tensor, Tensor]:
    """Project an attack's points onto the threat model; return them and their predicted classes.

    Raises:
        InvalidInputError: The attack changed the shape of its inputs.
        NumericalError: The attack returned NaN.
    """
    if proposed.shape != x.shape:
        raise InvalidInputError(f"the attack returned shape {tuple(proposed.shape)} for inputs {tuple(x.shape)}")
    if proposed.isnan().any():
        raise NumericalError("the attack returned NaN; check its step size and the model's gradients")
    x_adv = threat.project(proposed.detach(), x)
    logits = predict(model, x_adv, batch_size=len(x))
    check_finite(logits, "the model's scores on perturbed inputs")
    return x_adv, logits.argmax(1)


def check_attackable(
    model: nn.Module, x: Float[Tensor, "n *d"], y: Int[Tensor, " n"], *, threat: Lp | None = None
) -> int:
    """Check a classifier, its inputs and labels; return the number of classes.

    Raises:
        InvalidInputError: One of them does not fit, or the model has a single output.
    """
    check_model(model)
    check_pairs(x, y)
    n_classes = check_logits(model, x).shape[1]
    if n_classes < 2:
        raise InvalidInputError(
            "the model has one output, but an attack needs one score a class; wrap it to return (0, f(x))"
        )
    check_labels(y, n_classes)
    if threat is not None:
        threat.check_inside(x)
    return n_classes


def join_results(parts: list[ResultType]) -> ResultType:
    """Join the results of consecutive batches: tensors are concatenated, counts added."""
    names = [field.name for field in fields(parts[0])]  # type: ignore[arg-type]
    columns = {name: [getattr(part, name) for part in parts] for name in names}
    joined: dict[str, Any] = {
        name: torch.cat(values) if isinstance(values[0], Tensor) else sum(values) for name, values in columns.items()
    }
    return type(parts[0])(**joined)
