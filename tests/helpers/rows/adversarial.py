"""The rows of `assay.adversarial`."""

import math

import torch

from assay.adversarial import (
    APGD,
    FGSM,
    MALT,
    PGD,
    Lp,
    OffSubspaceAttack,
    StepLeastLikely,
    SubspaceBasis,
    TargetedAPGD,
    TargetedStep,
    adversarial_error_curve,
    almost_linearity,
    linear_response_radius,
    malt_scores,
    malt_targets,
    off_subspace_gradient,
    off_subspace_radius,
    robust_accuracy,
)
from assay.adversarial.logit_gaps import (
    linear_response_error,
)
from helpers.rows.base import Row, two_layer


def _malt_scores(model, x, y, generator, **options):
    # The own class scores infinity, which no comparison of magnitudes survives.
    return {"scores": malt_scores(model, x, y, **options).nan_to_num(posinf=0.0)}


def _malt_targets(model, x, y, generator, **options):
    return {"targets": malt_targets(model, x, y, k=2, **options)}


def _malt(model, x, y, generator, **options):
    threat = Lp(norm=math.inf, eps=0.1, input_range=(0.0, 1.0))
    result = MALT(TargetedAPGD(threat, n_iter=10, loss="ce"), k=2).run(model, x, y, **options)
    return {"x_adv": result.x_adv, "success": result.success, "target": result.target}


def _pgd(model, x, y, generator, **options):
    # From x itself: a random start is drawn in the type of the inputs, so that float32 starts elsewhere.
    threat = Lp(norm=2, eps=0.1, input_range=(0.0, 1.0))
    return {"x_adv": PGD(threat, n_iter=3, step_size=0.05)(model, x, y, **options)}


def _fgsm(model, x, y, generator, **options):
    return {"x_adv": FGSM(Lp(norm=math.inf, eps=0.1, input_range=(0.0, 1.0)))(model, x, y, **options)}


def _apgd(model, x, y, generator, **options):
    threat = Lp(norm=2, eps=0.1, input_range=(0.0, 1.0))
    return {"x_adv": APGD(threat, n_iter=10, loss="dlr")(model, x, y, **options)}


def _targeted_apgd(model, x, y, generator, **options):
    threat = Lp(norm=math.inf, eps=0.1, input_range=(0.0, 1.0))
    return {"x_adv": TargetedAPGD(threat, n_iter=10, loss="ce")(model, x, (y + 1) % 3, **options)}


def _robust_accuracy(model, x, y, generator, **options):
    threat = Lp(norm=math.inf, eps=0.1, input_range=(0.0, 1.0))
    report = robust_accuracy(model, x, y, threat=threat, **options)
    return {"x_adv": report.x_adv, "correct": report.correct, "broken_by": report.broken_by}


def _almost_linearity(model, x, y, generator, **options):
    pair = torch.stack([(y + 1) % 3, y], dim=1)
    curve = almost_linearity(model, x, torch.ones_like(x), torch.tensor([0.5, 1.0]).to(x), pair, **options)
    return {"gradient_change": curve.gradient_change, "logit_error": curve.logit_error}


def _plane(x):
    return SubspaceBasis(torch.eye(4, 2, dtype=x.dtype, device=x.device))


def _off_subspace_gradient(model, x, y, generator, **options):
    parts = off_subspace_gradient(model, x, basis=_plane(x), **options)
    return {"on": parts.on_norm, "off": parts.off_norm}


def _off_subspace_attack(model, x, y, generator, **options):
    return {"x_adv": OffSubspaceAttack(_plane(x), max_norm=0.5, n_iter=5)(model, x, y, **options)}


def _off_subspace_radius(model, x, y, generator, **options):
    radius = off_subspace_radius(model, x, y % 2, basis=_plane(x), max_norm=5.0, direction="universal", **options)
    return {"radius": radius.nan_to_num(posinf=-1.0)}


def _linear_response(model, x, y, generator, **options):
    radius = linear_response_radius(model, x, **options)
    along = linear_response_radius(model, x, direction=torch.ones_like(x), **options).nan_to_num(posinf=-1.0)
    error = linear_response_error(model, x, eps=torch.tensor([0.1, 1.0]).to(x), **options)
    return {"radius": radius, "along": along, "error": error}


def _adversarial_error_curve(model, x, y, generator, **options):
    curve = adversarial_error_curve(model, x, y, eps=torch.tensor([0.1, 1.0]).to(x), attack=FGSM, **options)
    return {"error": curve.error, "excess": curve.excess}


def _single_step(kind):
    def run(model, x, y, generator, **options):
        return {"x_adv": kind(Lp(norm=2, eps=0.1, input_range=(0.0, 1.0)))(model, x, y, **options)}

    return run


ROWS = (
    Row("malt_scores", _malt_scores, batch_option="batch_size"),
    Row("malt_targets", _malt_targets, batch_option="batch_size"),
    Row("MALT", _malt, batch_option="batch_size"),
    Row("PGD", _pgd),
    Row("FGSM", _fgsm),
    Row("APGD", _apgd),
    Row("TargetedAPGD", _targeted_apgd),
    Row("robust_accuracy", _robust_accuracy, batch_option="batch_size"),
    Row("almost_linearity", _almost_linearity),
    Row("off_subspace_gradient", _off_subspace_gradient, batch_option="batch_size"),
    Row("OffSubspaceAttack", _off_subspace_attack),
    Row("off_subspace_radius", _off_subspace_radius, model=two_layer, batch_option="batch_size"),
    Row("linear_response", _linear_response, batch_option="batch_size"),
    Row("adversarial_error_curve", _adversarial_error_curve, batch_option="batch_size"),
    Row("StepLeastLikely", _single_step(StepLeastLikely)),
    Row("TargetedStep", _single_step(TargetedStep)),
)
