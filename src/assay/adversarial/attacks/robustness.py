"""Robust accuracy under an ensemble of attacks (Croce and Hein, 2020, section 5)."""

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from assay.adversarial.attacks.apgd import APGD, TargetedAPGD
from assay.adversarial.attacks.base import (
    Attack,
    attack_batches,
    check_attack,
    join_results,
)
from assay.adversarial.attacks.door import check_attackable, returns_probabilities
from assay.adversarial.attacks.expectation import ExpectedScores
from assay.adversarial.attacks.interval_propagation import bound_margins, knows_intervals
from assay.adversarial.attacks.malt import MALT
from assay.adversarial.attacks.masking import find_masking
from assay.adversarial.attacks.robustness_report import AttackTally, RobustnessReport
from assay.adversarial.attacks.square import Square
from assay.adversarial.attacks.threat import Lp
from assay.core import (
    InvalidInputError,
    LogProbabilities,
    check_count,
    check_samples,
    inspect_model,
    predict,
    preserved,
    spawn_seeds,
    stays_in_unit_interval,
    track,
)

_FEW = 200  # samples whose outputs are looked at far away


def standard_attacks(
    threat: Lp,
    n_classes: int,
    *,
    n_iter: int = 100,
    n_queries: int = 5000,
    n_restarts: int = 1,
    random_state: int = 0,
) -> dict[str, Attack]:
    """Return the attacks of `robust_accuracy` by name: untargeted Auto-PGD on two objectives, MALT, and Square.

    They fail in different ways: the gradient of the cross-entropy vanishes for confident networks, that of the
    difference of logits ratio (which needs three classes) does not; MALT attacks towards chosen classes, where both
    objectives follow the likeliest one; Square takes no gradients. Each attack has random starts of its own.

    Args:
        threat: Threat model.
        n_classes: Outputs of the model.
        n_iter: Gradient steps of each run. Paper: 100.
        n_queries: Forward passes of Square a sample. Paper: 5000.
        n_restarts: Runs of each attack by gradient from different starts. Paper: 1.
        random_state: Seed of the starts and of the random search.

    Raises:
        InvalidInputError: `n_iter`, `n_queries` or `n_restarts` is below one.

    Source: Croce, Hein, "Reliable evaluation of adversarial robustness with an ensemble of diverse parameter-free
    attacks" (2020), section 5; Melamed, Yehudai, Shamir, "MALT Powers Up Adversarial Attacks" (2024), algorithm 1.
    Deviation: MALT's targets take the place of the nine likeliest ones, towards which the paper's ensemble runs both
    Auto-PGD and FAB.

    >>> list(standard_attacks(Lp(norm=2, eps=1.0, input_range=(0.0, 1.0)), n_classes=10))
    ['APGD-CE', 'APGD-DLR', 'MALT', 'Square']
    """
    check_count(n_iter, "n_iter")
    *seeds, last = spawn_seeds(random_state, 4)
    options: list[dict[str, Any]] = [{"n_restarts": n_restarts, "random_state": seed} for seed in seeds]
    attacks: dict[str, Attack] = {"APGD-CE": APGD(threat, n_iter, "ce", **options[0])}
    if n_classes >= 3:
        attacks["APGD-DLR"] = APGD(threat, n_iter, "dlr", **options[1])
    attacks["MALT"] = MALT(TargetedAPGD(threat, n_iter, "dlr" if n_classes >= 4 else "ce", **options[2]))
    attacks["Square"] = Square(threat, n_queries, random_state=last)
    return attacks


def robust_accuracy(
    model: nn.Module,
    x: Float[Tensor, "n *d"],
    y: Shaped[Tensor, "n *one"],
    *,
    threat: Lp,
    attacks: Mapping[str, Attack] | None = None,
    batch_size: int = 256,
    time_limit: float = math.inf,
    random_state: int = 0,
    progress: bool = False,
) -> RobustnessReport:
    r"""Measure the share of samples that are classified correctly under every attack, $\frac1n\sum_i \min_a r_{ia}$.

    The attacks run in turn, each on the samples that earlier ones left, with the same result as all attacks on all
    samples. `run_attack` measures success by projection and a separate forward pass. The result is an upper bound of
    the true robust accuracy; its interval covers the choice of samples only. A certified accuracy stands beside it, a
    lower bound, where `interval_certificate` knows the network. Where gradients are masked (they vanish, are not
    finite, or are lost in a saturated softmax, or an attack without gradients breaks what those with gradients left)
    the report says at how many samples. Probabilities are attacked through their logarithm, a network that draws random
    numbers in evaluation mode through `ExpectedScores`, and the report says so.

    Args:
        model: Classifier with outputs `(n, c)`, `c >= 2`; it comes back as it was.
        x: Inputs within the threat's range.
        y: True labels.
        threat: Threat model.
        attacks: Untargeted attacks by name, all of this threat; `standard_attacks` when None.
        batch_size: Samples attacked at once.
        time_limit: Seconds after which no further batch starts. The report then covers the first samples only: put
            them in random order, in batches of a suitable size.
        random_state: Seed of the standard attacks, and of the draws of a random network.
        progress: Draw a bar on standard error.

    Returns:
        Accuracy and robust accuracy with their intervals, the attack that broke each sample, and where gradients are
        masked.

    Raises:
        InvalidInputError: The arguments do not fit each other, or an attack has another threat model.
        NumericalError: An attack returned NaN.

    Cost: time with the standard attacks at most 11 runs of 100 forward and backward passes and 5000 forward passes a
    sample, memory that of one batch; 20 times both for a random network.

    Source: Croce, Hein, "Reliable evaluation of adversarial robustness with an ensemble of diverse parameter-free
    attacks" (2020), section 5; `standard_attacks` says where its ensemble departs from the paper's.

    >>> threat = Lp(norm=math.inf, eps=0.5, input_range=(-9.0, 9.0))
    >>> layer = nn.Linear(1, 2, bias=False)
    >>> _ = layer.weight.data.copy_(torch.tensor([[1.0], [-1.0]]))
    >>> attacks = standard_attacks(threat, n_classes=2, n_queries=100)
    >>> x, y = torch.tensor([[0.4], [0.6]]), torch.tensor([0, 0])
    >>> report = robust_accuracy(layer, x, y, threat=threat, attacks=attacks)
    >>> report.robust.tolist(), report.robust_accuracy.mean
    ([False, True], 0.5)
    """
    check_count(batch_size, "batch_size")
    noise = _noise_of(model, x)
    model = ExpectedScores(model, random_state=random_state) if noise else model
    x, y, n_classes = check_attackable(model, x, y, threat=threat, allow_probabilities=True)
    of_probabilities = returns_probabilities(model, x)
    model = nn.Sequential(model, LogProbabilities()) if of_probabilities else model
    attacks = standard_attacks(threat, n_classes, random_state=random_state) if attacks is None else attacks
    named = _checked_attacks(attacks, threat)
    with preserved(model):
        batches, start = [], time.monotonic()
        pairs = list(zip(x.split(batch_size), y.split(batch_size), strict=True))
        for batch in track(pairs, "attacking", enabled=progress):
            batches.append(_attack_batch(model, *batch, threat, list(named.values())))
            if time.monotonic() - start > time_limit:
                break
        joined = join_results(batches)
        x, y = x[: len(joined.x_adv)], y[: len(joined.x_adv)]
        unbroken = joined.correct & (joined.broken_by < 0)
        options = {"threat": threat, "attacks": list(named.values()), "batch_size": batch_size}
        masking = find_masking(model, x, y, unbroken, **options)
        certified = _certified(model, x, y, threat, batch_size)
        outputs = "probabilities" if of_probabilities else _kind_of_scores(model, x, joined)
    tallies = _tallies(named, joined)
    commonest = y.bincount().max().item() / len(y)
    found = (joined.x_adv, joined.correct, joined.broken_by, joined.distance)
    return RobustnessReport(threat, tallies, *found, masking, commonest, outputs, certified, noise)


def _noise_of(model: nn.Module, x: Tensor) -> str:
    """Say how a network draws random numbers in evaluation mode; nothing where it does not or has no mean."""
    if not isinstance(model, nn.Module):
        return ""
    noise = [problem for problem in inspect_model(model, check_samples(x)[:3]) if problem.kind == "noise"]
    if not noise:
        return ""
    try:
        with preserved(model), torch.no_grad():
            ExpectedScores(model)(x[:1])
    except InvalidInputError:  # of vmap; what the door says of the noise helps more
        return ""
    return f"{noise[0].what}; if that is not meant, {noise[0].mend}"


def _certified(model: nn.Module, x: Tensor, y: Tensor, threat: Lp, batch_size: int) -> Tensor | None:
    if threat.norm != math.inf or not knows_intervals(model, x):
        return None
    return bound_margins(model, x, y, threat, batch_size).certified


def _kind_of_scores(model: nn.Module, x: Tensor, joined: "_Batch") -> Literal["scores", "sigmoids"]:
    return "sigmoids" if joined.squashed.all() and stays_in_unit_interval(model, x[:_FEW]) else "scores"


def _checked_attacks(attacks: Mapping[str, Attack], threat: Lp) -> dict[str, Attack]:
    if not isinstance(attacks, Mapping) or not attacks:
        raise InvalidInputError(
            f"attacks must hold at least one attack by name, all with threat {threat}, got {attacks!r}; e.g. "
            "{'PGD': PGD(threat)}"
        )
    for attack in attacks.values():
        check_attack(attack, targeted=False)
    different = [name for name, attack in attacks.items() if attack.threat != threat]
    if different:
        raise InvalidInputError(f"attacks must be all with threat {threat}; got another threat in {different}")
    return dict(attacks)


@dataclass(frozen=True)
class _Batch:
    """Results of one batch: one row a sample, except `passes`, of shape (1, attacks, 2), with one row a batch."""

    x_adv: Tensor
    correct: Tensor
    squashed: Tensor
    broken_by: Tensor
    distance: Tensor
    passes: Tensor


def _attack_batch(model: nn.Module, x: Tensor, y: Tensor, threat: Lp, attacks: list[Attack]) -> _Batch:
    scores = predict(model, x, batch_size=len(x), look=False)
    correct, squashed = scores.argmax(1) == y, ((scores >= 0) & (scores <= 1)).all(1)
    x_adv, broken_by = x.clone(), torch.full_like(y, -1)
    remaining, passes = correct.nonzero().squeeze(1), torch.zeros(1, len(attacks), 2, dtype=torch.long)
    for number, attack in enumerate(attacks):
        if not len(remaining):
            break
        result = attack_batches(model, x[remaining], y[remaining], attack, len(remaining))
        hit = remaining[result.success]
        x_adv[hit], broken_by[hit] = result.x_adv[result.success], number
        remaining = remaining[~result.success]
        passes[0, number] = torch.tensor([result.n_forward, result.n_backward])
    return _Batch(x_adv, correct, squashed, broken_by, threat.distance(x_adv, x), passes)


def _tallies(attacks: Mapping[str, Attack], joined: _Batch) -> tuple[AttackTally, ...]:
    tallies, remaining = [], int(joined.correct.sum())
    for number, ((name, attack), passes) in enumerate(zip(attacks.items(), joined.passes.sum(0).tolist(), strict=True)):
        broken = int((joined.broken_by == number).sum())
        n_forward, n_backward = passes
        by_gradient = getattr(attack, "uses_gradients", True)
        tallies.append(AttackTally(name, remaining, broken, n_forward, n_backward, by_gradient))
        remaining -= broken
    return tuple(tallies)
