"""How large may the learning rate be at each batch size?"""

from torch import Tensor

from assay.audit.assumptions import few_caveat, joined
from assay.audit.budget import affordable, cut_short, measure_seconds, too_slow
from assay.audit.probe import Context, Finding, Probe, SkipProbe, Table
from assay.audit.subject import Subject
from assay.core import HessianOperator, named_parameters
from assay.landscape import estimate_hessian_noise, max_learning_rate
from assay.landscape.learning_rates import HessianNoise

_STEPS, _BATCHES, _BATCH = 20, 5, 64
_SIZES = (16, 64, 256)
_SAMPLES, _FEWEST = 1000, 128
_MOMENTUM = 0.9
_MEMORY = 1_600_000_000  # bytes: Lanczos keeps a vector of the parameters' length for each step

_RULE = "Always info: the learning rate is a choice of training, no defect of the network."
_LIMITS = (
    "The limit 2 / largest eigenvalue is that of plain SGD on the quadratic that fits the loss at these weights, and "
    "momentum raises it as in the table. Adam and other adaptive optimisers divide by the size of the gradients and "
    "have limits of their own, which grow about as the square root of the batch size. Curvature changes as training "
    "goes on: at the start of training the limit was another one, and a network can pass it for a while and return. "
    "Weight decay and other penalties are not part of this loss, dropout is off and batch-norm uses its running "
    "statistics. Largest eigenvalues are Lanczos estimates, which can be too low, so that the limits can be too high."
)


def run(subject: Subject, context: Context) -> Finding:
    """Measure the Hessian's largest eigenvalue on a few batches and on all samples, and predict other batch sizes."""
    trained = sum(value.numel() for value in named_parameters(subject.model, params="trainable").values())
    if 4 * trained * _STEPS > _MEMORY:
        raise SkipProbe(
            f"it keeps {_STEPS} copies of the parameters, and takes at most {_MEMORY // (4 * _STEPS):,} parameters, "
            f"not {trained:,}"
        )
    x, y = context.sample(subject.train, _SAMPLES)
    n_wanted = len(x)
    if n_wanted < 4:
        raise SkipProbe(f"batches are compared with all samples, of which there are only {n_wanted}; it needs four")
    batch = min(_BATCH, n_wanted // 4)
    each = _time_each(subject, x, y)
    on_batches = _BATCHES * (_STEPS + 1) * batch * each
    on_each = (_STEPS + _BATCHES) * each
    n = affordable(n_wanted, each=on_each, seconds=context.seconds - on_batches)
    if n < min(n_wanted, _FEWEST):
        least = on_batches + min(n_wanted, _FEWEST) * on_each
        work = f"{_STEPS} steps on {min(n_wanted, _FEWEST)} samples and on {_BATCHES} batches"
        raise SkipProbe(too_slow("learning_rate", work, least, context.seconds))
    options = {"batch_size": batch, "n_batches": _BATCHES, "n_iter": _STEPS, "generator": context.generator()}
    found = estimate_hessian_noise(subject.model, x[:n], y[:n], loss=subject.loss, progress=context.progress, **options)
    if found.largest <= 0:
        raise SkipProbe("the loss has no positive curvature at these weights, so that no learning rate is too large")
    on_some = cut_short("learning_rate", n, n_wanted, "training samples", on_batches + n_wanted * on_each)
    return _finding(found, joined(*few_caveat(n), _LIMITS, on_some))


def _time_each(subject: Subject, x: Tensor, y: Tensor) -> float:
    """Return the time of a product with the Hessian on one sample."""
    some = x[:_BATCH], y[:_BATCH]
    operator = HessianOperator(subject.model, *some, subject.loss)
    column = some[0].new_ones(operator.shape[0], dtype=operator.dtype)
    return measure_seconds(lambda: operator @ column) / len(some[0])


def _finding(found: HessianNoise, limits: str) -> Finding:
    n, batch = found.dataset_size, found.batch_size
    sizes = sorted({size for size in (*_SIZES, batch) if size < n} | {n})
    rows = tuple(_row(found, size) for size in sizes)
    tops = found.batch_largest.double()
    return Finding(
        headline=_headline(max_learning_rate(batch, found), batch, max_learning_rate(n, found), n),
        severity="info",
        rule=_RULE,
        advice=(
            "When you train on from here on batches of another size, move the learning rate in proportion to the "
            "table: assay.landscape.scale_learning_rate with rule='rmt' does it for any two sizes. Stay well below the "
            "limit, since it falls where curvature grows."
        ),
        limits=limits,
        measures={
            "largest eigenvalue": found.largest,
            f"largest eigenvalue on batches of {batch}, mean": tops.mean().item(),
            f"largest eigenvalue on batches of {batch}, standard deviation": tops.std().item(),
            "batches above all samples": float((tops > found.largest).sum()),
            "samples used": float(n),
        },
        tables=(
            Table(
                f"Limits of the learning rate; measured on {_BATCHES} batches of {batch} and on all {n} samples, the "
                "rest predicted as eigenvalue + k / batch size",
                ("batch size", "largest eigenvalue", "plain SGD", f"momentum {_MOMENTUM:g}"),
                rows,
            ),
        ),
    )


def _row(found: HessianNoise, size: int) -> tuple[str, ...]:
    figures = (
        found.largest_at(size),
        max_learning_rate(size, found),
        max_learning_rate(size, found, momentum=_MOMENTUM),
    )
    return (str(size), *(f"{value:.2g}" for value in figures))


def _headline(small: float, batch: int, whole: float, n: int) -> str:
    return (
        f"From these weights plain SGD is stable up to a learning rate of about {small:.2g} on batches of {batch}, and "
        f"{whole:.2g} on all {n} samples."
    )


PROBE = Probe(
    name="learning_rate",
    question="How large may the learning rate be at each batch size?",
    topic="training",
    needs=frozenset({"gradients", "training_data"}),
    run=run,
)
