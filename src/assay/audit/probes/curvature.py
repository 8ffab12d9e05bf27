"""How sharp is the loss around these weights?"""

from assay.audit.pictures import plot_picture
from assay.audit.probe import Context, Figure, Finding, Probe, SkipProbe
from assay.audit.subject import Subject
from assay.core import named_parameters, parameter_gradients
from assay.landscape import hessian_spectrum

_STEPS, _PROBES = 40, 2
_LARGEST = 5_000_000  # parameters: Lanczos keeps n_iter x probes vectors of that length, here 1.6 GB in float32
_SAMPLES = 1000
_NEGATIVE = 0.05

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


def run(subject: Subject, context: Context) -> Finding:
    """Measure the spectrum of the Hessian of the training loss."""
    trained = sum(value.numel() for value in named_parameters(subject.model, params="trainable").values())
    if trained > _LARGEST:
        raise SkipProbe(
            f"it keeps {_STEPS * _PROBES} copies of the parameters, and takes at most {_LARGEST:,} parameters"
        )
    x, y = context.sample(subject.train, _SAMPLES)
    report = hessian_spectrum(
        subject.model,
        x,
        y,
        loss=subject.loss,
        n_iter=_STEPS,
        probes=_PROBES,
        generator=context.generator(),
        progress=context.progress,
    )
    sharpness, lowest = report.lambda_max, report.lambda_min
    slope = parameter_gradients(subject.model, x, y, subject.loss, per_sample=False).double().norm().item()
    alt = (
        f"Density of the Hessian's eigenvalues on a logarithmic scale: a bulk near zero and {report.n_outliers} "
        f"outliers up to {sharpness:.3g}"
    )
    figure = Figure(
        (plot_picture("density", report.plot, alt),),
        f"Density of the Hessian's eigenvalues over {len(x)} training samples; outliers are marked.",
    )
    return Finding(
        headline=(
            f"The Hessian's largest eigenvalue is {sharpness:.3g}; {report.n_outliers} of {report.n_parameters:,} "
            f"eigenvalues are outliers, and {report.bulk_fraction:.1%} lie in a bulk near zero."
        ),
        severity="low" if lowest < -_NEGATIVE * sharpness else "info",
        rule=_RULE,
        advice=_advice(sharpness),
        limits=_LIMITS,
        measures={
            "largest eigenvalue": sharpness,
            "smallest eigenvalue": lowest,
            "norm of the gradient": slope,
            "outliers (above 10% of the largest)": float(report.n_outliers),
            "share of eigenvalues in the bulk": report.bulk_fraction,
            "mean eigenvalue": report.density.moment(1),
            "samples used": float(len(x)),
        },
        figures=(figure,),
    )


def _advice(sharpness: float) -> str:
    if sharpness <= 0:
        return "The loss has no positive curvature here: train longer before you rely on this finding."
    return (
        f"With a learning rate above 2 / largest eigenvalue = {2 / sharpness:.3g}, plain gradient descent moves away "
        "from here; adaptive optimisers have limits of their own. Among runs with equal loss, prefer the flatter one; "
        "a larger learning rate or weight decay favours it."
    )


PROBE = Probe(
    name="curvature",
    question="How sharp is the loss around these weights?",
    needs=frozenset({"gradients", "training_data"}),
    run=run,
)
