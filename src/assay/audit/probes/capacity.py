"""How many samples can this network fit with random labels?"""

from functools import partial

import torch
from torch import Tensor, nn

from assay.audit.assumptions import joined
from assay.audit.budget import affordable, cut_short, measure_seconds, too_slow
from assay.audit.pictures import plot_picture
from assay.audit.probe import Context, Figure, Finding, Probe, Severity, SkipProbe
from assay.audit.reinitialization import reinitialized
from assay.audit.subject import Subject
from assay.core import InvalidInputError, NumericalError, loss_kind, predict, seeded
from assay.generalization import effective_model_complexity
from assay.generalization.capacity import EffectiveModelComplexity, TrainingProcedure

_SAMPLES = 4096
_STEPS, _FEWEST_STEPS, _TIMED = 2000, 300, 10
_LOOK_EVERY = 25  # steps of `TrainingProcedure` between two looks whether all samples are fitted
_BATCH, _LEARNING_RATE = 64, 2e-3
_SEARCH = {"start": 16, "growth": 2.0, "tolerance": 0.2}
# Up to eight numbers of samples that are fitted, most in part of the steps, and four that are not, in twice as many.
_TRAININGS = 13

_RULE = (
    "Low: fresh copies fit every training sample there is with random labels, so that a high training accuracy is no "
    "evidence that the network learnt a rule. Otherwise info."
)
_LIMITS = (
    "One order of the samples and one draw of the labels, uniform over the classes. Each copy has the subject's "
    "architecture and newly drawn weights (frozen ones stay the subject's), and was trained for up to {steps} steps of "
    "Adam, with batches of {batch} and a learning rate that falls to zero from {lr:g}, or twice as long where it had "
    "not ended. Another procedure, more steps or another start may fit more, so the number is no upper bound."
)
_UNDECIDED = "Training had not ended at the failure that bounds the number: longer training might fit more."
_ADVICE: dict[Severity, str] = {
    "low": "Judge this network by held-out samples alone, and see to the privacy findings: it has room to store its "
    "training set. A smaller network, regularisation or more data leave less room.",
    "info": "Nothing to do. Compare this number between architectures: one that fits fewer random labels at the same "
    "held-out accuracy stores less.",
}


def run(subject: Subject, context: Context) -> Finding:
    """Search for the largest part of the training samples that fresh copies of the network fit with random labels."""
    if loss_kind(subject.loss) not in ("cross_entropy", "binary_cross_entropy"):
        raise SkipProbe("it needs a classifier, trained with cross_entropy or binary_cross_entropy")
    x, y = context.sample(subject.train, _SAMPLES)
    if len(y.unique()) < 2:
        raise SkipProbe("random labels need two classes, and the training samples here are of one")
    build = partial(reinitialized, subject.model)
    try:
        each = _seconds_a_step(subject, build(seeded(0)), x, y)
        steps = affordable(_STEPS, each=_TRAININGS * each, seconds=context.seconds)
        if steps < _FEWEST_STEPS:
            work = f"{_TRAININGS} trainings of {_FEWEST_STEPS} steps"
            raise SkipProbe(too_slow("capacity", work, _TRAININGS * _FEWEST_STEPS * each, context.seconds))
        found = effective_model_complexity(
            build,
            _procedure(subject, steps),
            x,
            y,
            labels="random",
            loss=subject.loss,
            eigenvalues=False,
            generator=context.generator(),
            progress=context.progress,
            **_SEARCH,
        )
    except (InvalidInputError, NumericalError) as error:
        raise SkipProbe(f"fresh copies of the network cannot be trained: {error}") from error
    cut = cut_short("capacity", steps, _STEPS, "steps of each training", _TRAININGS * _STEPS * each)
    return _finding(found, steps, cut)


def _procedure(subject: Subject, steps: int) -> TrainingProcedure:
    adam = partial(torch.optim.Adam, lr=_LEARNING_RATE)
    return TrainingProcedure(subject.loss, adam, n_iter=steps, batch_size=_BATCH)


def _seconds_a_step(subject: Subject, fresh: nn.Module, x: Tensor, y: Tensor) -> float:
    """Measure a step, with its part of the looks whether all samples are fitted, at half of the samples."""
    _procedure(subject, 1)(fresh, x[:_BATCH], y[:_BATCH], seeded(0))  # what is slow only once does not count
    few, half = _procedure(subject, _TIMED), x[: max(1, len(x) // 2)]
    look = measure_seconds(lambda: predict(fresh, half)) / _LOOK_EVERY
    return measure_seconds(lambda: few(fresh, x[:_BATCH], y[:_BATCH], seeded(0))) / _TIMED + look


def _finding(found: EffectiveModelComplexity, steps: int, cut: str) -> Finding:
    (n,), (censored,), (decided,) = found.n_fitted, found.censored, found.decided
    size = found.n_parameters or 0
    severity: Severity = "low" if censored else "info"
    count = f"all {n:,} training samples here" if censored else f"{n:,} training samples"
    failed = [probe for probe in found.probes if probe.n == found.n_failed[0]]
    alt = (
        f"Training accuracy with random labels against the number of samples: "
        f"{'all are fitted' if censored else f'perfect up to {n} samples, below that beyond'}"
    )
    limits = _LIMITS.format(steps=steps, batch=_BATCH, lr=_LEARNING_RATE)
    return Finding(
        headline=f"A fresh copy fits {count} with random labels, {n / size:.2g} for each of its {size:,} parameters.",
        severity=severity,
        rule=_RULE,
        advice=_ADVICE[severity],
        limits=joined(limits, _UNDECIDED if decided is False else "", cut),
        measures={
            "samples fitted with random labels": float(n),
            "different training samples there are": float(found.n_samples),
            "trainable parameters": float(size),
            "samples fitted for each parameter": n / size,
            "copies trained": float(len(found.probes)),
            "steps of a training": float(steps),
        }
        | ({} if not failed else {"accuracy at the failure that bounds the number": failed[0].accuracy}),
        figures=(
            Figure(
                (plot_picture("capacity", found.plot, alt),),
                "Training accuracy of fresh copies with random labels; the line is the largest set that was fitted.",
            ),
        ),
    )


PROBE = Probe(
    name="capacity",
    question="How many samples can this network fit with random labels?",
    topic="generalisation",
    needs=frozenset({"gradients", "training_data"}),
    run=run,
    opt_in=True,
)
