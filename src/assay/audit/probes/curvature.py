"""How sharp is the loss around these weights?"""

import time
from dataclasses import dataclass

import torch
from torch import Tensor

from assay.audit.assumptions import joined
from assay.audit.budget import affordable, cut_short, measure_seconds, too_slow
from assay.audit.pictures import plot_picture
from assay.audit.probe import Context, Figure, Finding, Probe, Severity, SkipProbe
from assay.audit.subject import Subject
from assay.core import HessianOperator, InvalidInputError, named_parameters, parameter_gradients
from assay.landscape import SpectrumReport, hessian_spectrum, lanczos
from assay.landscape.spectrum import DENSE_LIMIT

_STEPS, _MOST_STEPS, _PROBES = 40, 320, 2
_MEMORY = 1_600_000_000  # bytes: Lanczos keeps steps x probes vectors of the parameters' length
_BRIEF = 15  # steps with one vector, where time allows no more: the ends of the spectrum alone
_SAMPLES, _FEWEST = 1000, 50
_FIRST = 0.3  # of the time: for the first steps, so that twice as many can follow where they do not converge
_NEGATIVE = 0.05
_LOOSE = 0.1  # of the largest eigenvalue

_RULE = (
    f"Low when the smallest eigenvalue is below -{_NEGATIVE:.0%} of the largest: the weights then lie "
    "at a saddle or on a slope, not at a minimum. Otherwise info, since sharpness alone is no defect."
)
_LIMITS = (
    "Sharpness depends on how a network is parametrised: scaling one layer up and the next one down changes it but "
    "not the function. Compare it only between runs of one architecture at equal loss. Weight decay and other "
    "penalties are not part of this loss, and frozen parameters are left out. At a minimum the gradient is zero: where "
    "its norm is not small, this is the curvature of a place on the way. The density is an "
    f"estimate from {_PROBES} random vectors; an eigenvalue that is repeated exactly counts once."
)


@dataclass(frozen=True)
class _Ends:
    """The ends of a spectrum that did not converge.

    Attributes:
        largest: Estimate of the largest eigenvalue, which is at least that.
        error: Some eigenvalue lies within this distance of it.
        smallest: Estimate of the smallest eigenvalue, which is at most that.
        n_iter: Lanczos steps.
    """

    largest: float
    error: float
    smallest: float
    n_iter: int


def run(subject: Subject, context: Context) -> Finding:
    """Measure the spectrum of the Hessian of the training loss, with as many steps as it takes and time allows."""
    trained = sum(value.numel() for value in named_parameters(subject.model, params="trainable").values())
    most = _MEMORY // (_PROBES * 4 * trained)
    if most < _STEPS:
        raise SkipProbe(
            f"it keeps {_STEPS * _PROBES} copies of the parameters, and takes at most "
            f"{_MEMORY // (4 * _STEPS * _PROBES):,} parameters, not {trained:,}"
        )
    dense, each = _time_each(subject, trained, context)
    x, y = context.sample(subject.train, _SAMPLES)
    n_wanted, least = len(x), each * (trained if dense else _STEPS / _FIRST)
    n, few = affordable(n_wanted, each=least, seconds=context.seconds), min(len(x), _FEWEST)
    brief = n < few
    if brief and few * each * _BRIEF / _PROBES > context.seconds:
        work = f"{_BRIEF} steps on {few} samples"
        raise SkipProbe(too_slow("curvature", work, few * each * _BRIEF / _PROBES, context.seconds))
    n = max(n, few)
    x, y = x[:n], y[:n]
    if dense:
        found = hessian_spectrum(subject.model, x, y, loss=subject.loss, method="dense")
    elif brief:
        found = _ends(subject, x, y, _BRIEF, context)
    else:
        found = _search(subject, x, y, min(most, _MOST_STEPS), context)
    slope = parameter_gradients(subject.model, x, y, subject.loss, per_sample=False).double().norm().item()
    on_some = cut_short("curvature", n, n_wanted, "training samples", n_wanted * least)
    measures = {"norm of the gradient": slope, "samples used": float(n)}
    if isinstance(found, _Ends):
        return _unresolved(found, measures, joined(on_some, _LIMITS))
    return _resolved(found, measures, joined(_LIMITS, on_some))


def _time_each(subject: Subject, n_parameters: int, context: Context) -> tuple[bool, float]:
    """Return whether the whole matrix is computed, and the time of a step, or of one of its columns, on one sample."""
    x, y = context.sample(subject.train, _FEWEST)
    operator = HessianOperator(subject.model, x, y, subject.loss)
    columns = torch.ones(n_parameters, _PROBES, dtype=operator.dtype, device=x.device)
    step = measure_seconds(lambda: operator @ columns) / len(x)
    n = min(_SAMPLES, len(subject.train[0])) if subject.train is not None else 0
    whole = n * n_parameters * step / _PROBES
    dense = n_parameters <= DENSE_LIMIT and whole <= context.seconds
    return dense, step / _PROBES if dense else step


def _search(subject: Subject, x: Tensor, y: Tensor, most: int, context: Context) -> SpectrumReport | _Ends:
    """Double the Lanczos steps, up to `most`, until the outliers are resolved; out of time, return the ends."""
    steps, start = _STEPS, time.perf_counter()
    while True:
        options = {"probes": _PROBES, "generator": context.generator(), "progress": context.progress}
        began = time.perf_counter()
        try:
            return hessian_spectrum(subject.model, x, y, loss=subject.loss, method="lanczos", n_iter=steps, **options)
        except InvalidInputError as error:
            if "raise n_iter" not in str(error):
                raise
        # Twice the steps take up to four times as long, since each new vector is compared with all before it; the ends
        # take one vector instead of two.
        longer, left = 4 * (time.perf_counter() - began), context.seconds - (time.perf_counter() - start)
        if 2 * steps > most or longer > left:
            return _ends(subject, x, y, 2 * steps if 2 * steps <= most and longer / 2 < left else steps, context)
        steps *= 2


def _ends(subject: Subject, x: Tensor, y: Tensor, n_iter: int, context: Context) -> _Ends:
    operator = HessianOperator(subject.model, x, y, subject.loss)
    start = torch.randn(operator.shape[0], 1, generator=context.generator()).to(x.device, operator.dtype)
    values, _, errors = lanczos(operator, start, n_iter=n_iter, progress=context.progress).ritz()
    rounding = 10 * torch.finfo(values.dtype).eps * values.abs().max().item()
    return _Ends(values[0, -1].item(), max(errors[0, -1].item(), rounding), values[0, 0].item(), values.shape[1])


def _severity(smallest: float, largest: float) -> Severity:
    return "low" if smallest < -_NEGATIVE * largest else "info"


def _resolved(report: SpectrumReport, measures: dict[str, float], limits: str) -> Finding:
    sharpness, lowest = report.lambda_max, report.lambda_min
    alt = (
        f"Density of the Hessian's eigenvalues on a logarithmic scale: a bulk near zero and {report.n_outliers} "
        f"outliers up to {sharpness:.2g}"
    )
    figure = Figure(
        (plot_picture("density", report.plot, alt),),
        f"Density of the Hessian's eigenvalues over {measures['samples used']:.0f} training samples; outliers are "
        "marked.",
    )
    return Finding(
        headline=_headline(sharpness, report.n_outliers, report.n_parameters),
        severity=_severity(lowest, sharpness),
        rule=_RULE,
        advice=_advice(sharpness),
        limits=limits,
        measures=measures
        | {
            "largest eigenvalue": sharpness,
            "smallest eigenvalue": lowest,
            "outliers (above 10% of the largest)": float(report.n_outliers),
            "mean eigenvalue": report.density.moment(1),
        }
        | ({} if report.bulk_fraction is None else {"share of eigenvalues in the bulk": report.bulk_fraction}),
        figures=(figure,),
    )


def _unresolved(ends: _Ends, measures: dict[str, float], limits: str) -> Finding:
    """Say what is known where the outliers did not converge: both ends of the spectrum, and how exactly."""
    known = (
        f"{ends.n_iter} Lanczos steps, as many as time and memory allowed, did not resolve every eigenvalue above a "
        "tenth of the largest, so that none are counted and no density is drawn. An eigenvalue lies within the stated "
        "error of the largest one; the true largest may be larger, and the true smallest smaller."
    )
    return Finding(
        headline=_unresolved_headline(ends),
        severity=_severity(ends.smallest, ends.largest),
        rule=_RULE,
        advice=_advice(ends.largest),
        limits=joined(known, limits),
        measures=measures
        | {
            "largest eigenvalue": ends.largest,
            "error of the largest eigenvalue": ends.error,
            "smallest eigenvalue": ends.smallest,
            "Lanczos steps": float(ends.n_iter),
        },
    )


def _headline(sharpness: float, n_outliers: int, n_parameters: int) -> str:
    return (
        f"The loss curves most by {sharpness:.2g}, its Hessian's largest eigenvalue; {n_outliers} of "
        f"{n_parameters:,} eigenvalues exceed a tenth of it."
    )


def _unresolved_headline(ends: _Ends) -> str:
    loose = ", too loose to rely on" if ends.error > _LOOSE * abs(ends.largest) else ""
    return (
        f"The loss curves by at least {ends.largest:.2g}: an eigenvalue of its Hessian is within {ends.error:.1g} of "
        f"that{loose}; the others did not converge."
    )


def _advice(sharpness: float) -> str:
    if sharpness <= 0:
        return "The loss has no positive curvature here: train longer before you rely on this finding."
    return (
        f"With a learning rate above 2 / largest eigenvalue = {2 / sharpness:.2g}, plain gradient descent moves away "
        "from here; adaptive optimisers have limits of their own. Among runs with equal loss, prefer the flatter one; "
        "a larger learning rate or weight decay favours it."
    )


PROBE = Probe(
    name="curvature",
    question="How sharp is the loss around these weights?",
    topic="training",
    needs=frozenset({"gradients", "training_data"}),
    run=run,
)
