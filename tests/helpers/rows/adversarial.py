"""The rows of `assay.adversarial`."""

import math
from dataclasses import dataclass

import torch

from assay.adversarial import (
    APGD,
    FGSM,
    FMN,
    MALT,
    PGD,
    DeepFool,
    EntropyRegularizedLoss,
    ExpectedScores,
    Lp,
    OffSubspaceAttack,
    Square,
    StepLeastLikely,
    SubspaceBasis,
    TargetedAPGD,
    TargetedStep,
    adversarial_error_curve,
    almost_linearity,
    interval_certificate,
    linear_response_radius,
    logit_differences,
    malt_scores,
    malt_targets,
    off_subspace_gradient,
    off_subspace_radius,
    robust_accuracy,
    run_attack,
    transfer_attack,
)
from assay.adversarial.attacks import (
    PassCounter,
    attack_batches,
    attackable,
    check_attackable,
    expected_gradient_change,
    find_masking,
    interval_bounds,
    naive_targets,
    standard_attacks,
)
from assay.adversarial.logit_gaps import gap_exponent, linear_response_error
from assay.adversarial.subspace import expected_off_gradient, orthogonal_complement, universal_off_subspace_direction
from assay.core import predict, preserved
from assay.nets import mlp
from helpers.rows.base import Analysis, Attack
from helpers.rows.standalone import Formula, Module, Sampler
from helpers.rows.subjects import relu_network, two_layer

THREAT = Lp(norm=math.inf, eps=0.1, input_range=(0.0, 1.0))
UNBOUNDED = (-math.inf, math.inf)


def _plane(x):
    return SubspaceBasis(torch.eye(4, 2, dtype=x.dtype, device=x.device))


def _malt(threat):
    return MALT(TargetedAPGD(threat, n_iter=10, loss="ce"), k=2)


def _apgd_dlr(model, x, y, generator):
    return APGD(Lp(norm=2, eps=0.1, input_range=(0.0, 1.0)), n_iter=10, loss="dlr")(model, x, y)


def _malt_result(model, x, y, generator, batch_size=256):
    result = _malt(THREAT).run(model, x, y, batch_size=batch_size)
    return result.x_adv, result.success, result.target


@dataclass(frozen=True)
class _OffThePlane:
    """The attack with a plane of the inputs' type, which is known at the call only."""

    threat: Lp
    targeted: bool = False

    def __call__(self, model, x, y):
        return OffSubspaceAttack(_plane(x), self.threat.eps, n_iter=5)(model, x, y)


def _robust_accuracy(model, x, y, generator, batch_size=256):
    attacks = standard_attacks(THREAT, 3, n_iter=3, n_queries=3)
    report = robust_accuracy(model, x, y, threat=THREAT, attacks=attacks, batch_size=batch_size)
    return report.x_adv, report.correct, report.broken_by, report.distance


def _run_attack(model, x, y, generator, batch_size=256):
    result = run_attack(model, x, y, attack=FGSM(THREAT), batch_size=batch_size)
    return result.x_adv, result.success, result.distance


def _interval_certificate(model, x, y, generator, batch_size=256):
    return interval_certificate(model, x, y, threat=THREAT, batch_size=batch_size).margin


def _transfer_attack(model, x, y, generator, batch_size=256):
    return transfer_attack(model, model, x, y, attack=FGSM(THREAT), batch_size=batch_size)


def _attack_batches(model, x, y, generator, batch_size=256):
    with preserved(model):
        result = attack_batches(model, *check_attackable(model, x, y)[:2], FGSM(THREAT), batch_size)
    return result.x_adv, result.success, result.distance


def _attackable(model, x, y, generator):
    with attackable(model, x, y) as given:
        return predict(given.model, given.x), given.y, given.n_outputs


def _find_masking(model, x, y, generator, batch_size=256):
    with preserved(model):
        x, y, _ = check_attackable(model, x, y)
        return find_masking(model, x, y, y > 0, threat=THREAT, attacks=[FGSM(THREAT)], batch_size=batch_size)


def _almost_linearity(model, x, y):
    pair = torch.stack([(y + 1) % 3, y], dim=1)
    return {"direction": torch.ones_like(x), "radii": torch.tensor([0.5, 1.0]).to(x), "class_pair": pair}


def _off_radius(model, x, y):
    return {"y": y % 2, "basis": _plane(x), "max_norm": 5.0, "direction": "universal"}


def _error_curve(model, x, y):
    return {"eps": torch.tensor([0.1, 1.0]).to(x), "attack": FGSM}


def _points(source, n):
    x = torch.rand(n, 4, generator=source, dtype=torch.float64)
    return 3 * x - 1, x


def _logits(source, n):
    return (torch.randn(n, 5, generator=source, dtype=torch.float64),)


def _labelled(source, n):
    return *_logits(source, n), torch.arange(n) % 5


def _threat_model(x_adv, x, norm):
    threat = Lp(norm, 0.2, (0.0, 1.0))
    return threat.project(x_adv, x), threat.distance(x_adv, x), threat.steepest(x_adv)


def _near(norm):
    threat = Lp(norm, 0.2, (0.0, 1.0))
    return lambda generator, n: threat.random_start(torch.full((n, 4), 0.9), generator=generator)


def _span(x):
    basis = orthogonal_complement(x)
    return basis.on @ basis.on.T  # the basis itself is known up to a rotation


ROWS = (
    Attack(FGSM),
    # From x itself: a random start is drawn in the type of the inputs, so that float32 starts elsewhere.
    Attack(PGD, options={"n_iter": 3}),
    # The best of points around a maximum, which float32 tells apart to the square root of its precision only.
    Attack(APGD, options={"n_iter": 10}, tolerance=1e-3),
    Analysis(APGD, variant="on the difference of logits ratio", run=_apgd_dlr),
    Attack(TargetedAPGD, options={"n_iter": 10, "loss": "ce"}, targeted=True, tolerance=1e-3),
    Attack(MALT, build=_malt),
    Analysis(MALT, variant="in batches", run=_malt_result),
    # Where float32 cannot tell two margins apart, it keeps the other point of the ball.
    Attack(Square, options={"n_queries": 60}, tolerance=0.25),
    Attack(DeepFool),
    # Its steps are long at first, and grow what float32 rounds.
    Attack(FMN, options={"n_iter": 60}, tolerance=1e-2),
    Attack(StepLeastLikely),
    Attack(TargetedStep, targeted=True),
    Attack(OffSubspaceAttack, build=_OffThePlane, norms=(2,), input_range=UNBOUNDED),
    Analysis((robust_accuracy, standard_attacks), run=_robust_accuracy),
    Analysis(run_attack, run=_run_attack),
    Analysis(transfer_attack, run=_transfer_attack),
    Analysis(interval_certificate, run=_interval_certificate, model=relu_network),
    Analysis(interval_bounds, run=lambda net, x, y, source: interval_bounds(net, x - 0.1, x + 0.1), model=relu_network),
    Analysis(check_attackable),
    Analysis(attack_batches, run=_attack_batches),
    Analysis(attackable, run=_attackable),
    Analysis(find_masking, run=_find_masking),
    Analysis(malt_scores, infinite=True),
    Analysis(malt_targets, options={"k": 2}),
    Analysis(naive_targets, options={"k": 2}),
    Analysis(almost_linearity, options=_almost_linearity),
    Analysis(linear_response_radius),
    Analysis(
        linear_response_radius,
        variant="along a direction",
        options=lambda model, x, y: {"direction": torch.ones_like(x)},
        infinite=True,
    ),
    Analysis(linear_response_error, options=lambda model, x, y: {"eps": torch.tensor([0.1, 1.0]).to(x)}),
    Analysis(adversarial_error_curve, options=_error_curve),
    Analysis(off_subspace_gradient, options=lambda model, x, y: {"basis": _plane(x)}),
    Analysis(off_subspace_radius, options=_off_radius, model=two_layer, infinite=True),
    Analysis(
        universal_off_subspace_direction,
        options=lambda model, x, y: {"basis": _plane(x)},
        model=two_layer,
        needs_data=False,
    ),
    Module(EntropyRegularizedLoss, _labelled, options={"weight": 0.5}, loss=True),
    Module(
        PassCounter,
        lambda source, n: (torch.rand(n, 4, generator=source).double(),),
        build=lambda source: PassCounter(mlp((4, 6, 3), generator=source)),
        refuses=(),  # it takes what the network takes
    ),
    Module(
        ExpectedScores,
        lambda source, n: (torch.rand(n, 4, generator=source).double(),),
        build=lambda source: ExpectedScores(mlp((4, 6, 3), generator=source), n_draws=2),
        refuses=(),  # it takes what the network takes
    ),
    *(
        Formula(
            Lp,
            _points,
            variant=f"of norm {norm:g}",
            run=lambda x_adv, x, norm=norm: _threat_model(x_adv, x, norm),
        )
        for norm in (1, 2, math.inf)
    ),
    *(Sampler(Lp, _near(norm), (4,), variant=f"of norm {norm:g}", optional=False) for norm in (1, 2, math.inf)),
    Formula(SubspaceBasis, lambda source, n: _points(source, n)[:1], run=lambda x: _plane(x).project_off(x)),
    Formula(orthogonal_complement, lambda source, n: (_points(source, n)[0][:3],), run=_span, rowwise=False),
    Formula(logit_differences, _logits),
    Formula(
        gap_exponent,
        lambda source, n: (torch.rand(2000, generator=source).double(),),
        options={"quantiles": (0.01, 0.5)},
        rowwise=False,
        wrong={"too few": lambda: (torch.rand(3),)},
    ),
    Formula(expected_gradient_change, lambda source, n: (0.5, 10), rowwise=False),
    Formula(
        expected_off_gradient,
        lambda source, n: (40, 20, 6, 4),
        run=lambda width, active, dim, codim: expected_off_gradient(width=width, active=active, dim=dim, codim=codim),
        rowwise=False,
        wrong={"more active units than units": lambda: (40, 41, 6, 4)},
    ),
)
