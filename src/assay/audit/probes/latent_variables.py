"""Which latent variables does the autoencoder use?"""

import torch
from torch import Tensor, nn

from assay.audit.assumptions import few_caveat, joined
from assay.audit.budget import affordable, cut_short, measure_seconds, too_slow
from assay.audit.pictures import plot_picture
from assay.audit.probe import Context, Figure, Finding, Probe, Severity, SkipProbe, Table
from assay.audit.subject import Subject
from assay.core import AssayError, check_finite, preserved
from assay.representation import compare_representations
from assay.representation.latent_variables import RepresentationComparison

_SAMPLES, _FEWEST, _BATCH = 10_000, 50, 256
_CORRELATED = 0.3
_NOT_APPLICABLE = (
    "it is for variational autoencoders: a network with a method encode(x) that returns the mean and the log-variance "
    "of each latent variable, as two tensors of shape (n, k)"
)

_RULE = (
    "Medium when all variables are passive: the codes then say nothing of the input. Low when a passive variable has a "
    f"correlation above {_CORRELATED} with another one in the means. Otherwise info."
)
_LIMITS = (
    "A variable is active where its posterior variance has a mean of at most 0.1 over the samples and hardly varies, "
    "passive where the mean is within 0.1 of 1, and mixed otherwise; that assumes the prior N(0, 1). A passive one "
    "is noise in sampled codes, but its mean still moves a little, often along with other variables. What a variable "
    "stands for is not told."
)
_ADVICE: dict[Severity, str] = {
    "medium": "Lower the weight of the divergence, or raise it slowly from 0 in training, so that the encoder is used.",
    "low": "Before you feed means to another model, above all a linear one, drop the passive variables: "
    "assay.representation.ActiveVariableSelector, fitted on posterior variances.",
    "info": "Nothing to do.",
}


def run(subject: Subject, context: Context) -> Finding:
    """Encode samples, sort the latent variables, and compare means with sampled codes."""
    encoder = find_encoder(subject.model)
    pairs = subject.train or subject.test
    if pairs is None:
        raise SkipProbe("it needs samples to encode, which this subject does not have")
    x = pairs[0]
    if len(x) < _FEWEST:
        raise SkipProbe(f"it compares variables over {_FEWEST} samples or more, and there are {len(x)}")
    wanted = min(len(x), _SAMPLES)
    each = measure_seconds(lambda: encode(encoder, x[:_FEWEST])) / _FEWEST
    n = affordable(wanted, each=each, seconds=context.seconds / 2)
    if n < _FEWEST:
        raise SkipProbe(too_slow("latent_variables", f"{_FEWEST} samples", 2 * each * _FEWEST, context.seconds))
    chosen = torch.randperm(len(x), generator=context.generator())[:n].to(x.device)
    mean, log_variance = encode(encoder, x[chosen])
    try:
        found = compare_representations(mean, log_variance, generator=context.generator())
    except AssayError as error:  # as where more variables than samples are, or one is a copy of another
        raise SkipProbe(str(error)) from error
    types, largest = found.types, found.largest_passive_correlation(found.mean_correlation)
    severity = severity_of(found, largest)
    what = f"{'training' if subject.train is not None else 'held-out'} samples"
    alt = "Absolute correlations of latent variables: those of means above the diagonal, of samples below"
    return Finding(
        headline=_headline(len(types.active), len(types.mixed), len(types.passive), largest),
        severity=severity,
        rule=_RULE,
        advice=_ADVICE[severity],
        limits=joined(_LIMITS, *few_caveat(n), cut_short("latent_variables", n, wanted, what, 2 * each * wanted)),
        measures={
            "active variables": float(len(types.active)),
            "mixed variables": float(len(types.mixed)),
            "passive variables": float(len(types.passive)),
            "largest correlation of a passive variable, means": largest,
            "largest correlation of a passive variable, samples": found.largest_passive_correlation(
                found.sampled_correlation
            ),
            "total correlation of all variables, means, nats": found.mean["full"].total_correlation,
            "total correlation of all variables, samples, nats": found.sampled["full"].total_correlation,
            "samples used": float(n),
        },
        figures=(
            Figure(
                (plot_picture("correlations", found.plot, alt),),
                f"{alt}, over {n:,} {what}.",
            ),
        ),
        tables=(_table(found, mean),),
    )


def find_encoder(model: nn.Module) -> nn.Module:
    """Return the first module that has a method `encode`.

    Raises:
        SkipProbe: There is none.
    """
    for module in model.modules():
        if callable(getattr(module, "encode", None)):
            return module
    raise SkipProbe(_NOT_APPLICABLE)


def encode(encoder: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    """Return means and log-variances of samples, computed in batches.

    Raises:
        SkipProbe: The encoder gives something else.
    """
    parts = []
    with preserved(encoder), torch.no_grad():
        for batch in x.split(_BATCH):
            try:
                answer = encoder.encode(batch)  # type: ignore[operator]
            except (TypeError, ValueError, RuntimeError) as error:
                raise SkipProbe(f"{_NOT_APPLICABLE}; its encode(x) raises {type(error).__name__}") from error
            if not (isinstance(answer, (tuple, list)) and len(answer) == 2 and _are_codes(answer, len(batch))):
                raise SkipProbe(f"{_NOT_APPLICABLE}; its encode(x) returns something else")
            parts.append((answer[0].detach(), answer[1].detach()))
    mean, log_variance = (torch.cat(tensors) for tensors in zip(*parts, strict=True))
    if log_variance.min() >= 0:
        raise SkipProbe(
            "the second tensor of encode(x) is never negative, and so no log-variance of a trained encoder; let it "
            "return the logarithm of the variance"
        )
    try:
        check_finite(log_variance.exp() + mean.square(), "the codes")
    except AssayError as error:
        raise SkipProbe(str(error)) from error
    return mean, log_variance


def _are_codes(answer: tuple[object, ...] | list[object], n: int) -> bool:
    shapes = [part.shape for part in answer if isinstance(part, Tensor) and part.is_floating_point() and part.ndim == 2]
    return len(shapes) == 2 and shapes[0] == shapes[1] and shapes[0][0] == n and shapes[0][1] > 0


def severity_of(found: RepresentationComparison, largest: float) -> Severity:
    """Return the severity by the rule."""
    if len(found.types.passive) == len(found.types.means):
        return "medium"
    return "low" if largest > _CORRELATED else "info"


def _table(found: RepresentationComparison, mean: Tensor) -> Table:
    types, rows = found.types, []
    kinds = {int(index): kind for kind in ("active", "mixed", "passive") for index in getattr(types, kind)}
    means, samples = (
        correlation.abs().fill_diagonal_(0.0).amax(1).tolist()
        for correlation in (found.mean_correlation.clone(), found.sampled_correlation.clone())
    )
    spread = mean.double().std(0).tolist()
    for index in torch.cat([types.active, types.mixed, types.passive]).tolist():
        figures = (float(types.means[index]), spread[index], means[index], samples[index])
        rows.append((index, kinds[index], *(f"{figure:.2g}" for figure in figures)))
    columns = ("variable", "type", "mean posterior variance", "deviation of the mean")
    columns = (*columns, "largest correlation, means", "largest correlation, samples")
    return Table("Latent variables by type", columns, tuple(rows))


def _headline(active: int, mixed: int, passive: int, largest: float) -> str:
    total = active + mixed + passive
    used = f"{active:,} of {total:,} latent variables are active, {mixed:,} mixed and {passive:,} passive"
    if passive == 0:
        return f"{used}: all carry information."
    return f"{used}; the means of passive ones correlate with others by up to {largest:.2f}."


PROBE = Probe(
    name="latent_variables",
    question="Which latent variables does the autoencoder use?",
    topic="training",
    needs=frozenset({"weights"}),
    run=run,
)
