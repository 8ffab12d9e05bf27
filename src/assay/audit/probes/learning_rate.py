"""How large may the learning rate be at each batch size?"""

from dataclasses import dataclass, replace

from torch import Tensor

from assay.audit.assumptions import few_caveat, joined
from assay.audit.budget import affordable, cut_short, measure_seconds, too_slow
from assay.audit.probe import Context, Finding, Probe, SkipProbe, Table
from assay.audit.subject import Subject
from assay.core import HessianOperator, named_parameters
from assay.landscape import estimate_hessian_noise, max_learning_rate
from assay.landscape.learning_rates import HessianNoise

_SIZES = (16, 64, 256)
_SAMPLES, _TIMED, _MOMENTUM = 1000, 64, 0.9
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


@dataclass(frozen=True)
class _Plan:
    """Work on batches and on all samples; its cost is counted in products with the Hessian on one sample."""

    steps: int
    batches: int
    batch: int
    fewest: int

    @property
    def on_batches(self) -> int:
        return self.batches * (self.steps + 1) * self.batch

    @property
    def on_each(self) -> int:
        return self.steps + self.batches

    def products(self, n: int) -> int:
        return self.on_batches + n * self.on_each


_PLANS = (_Plan(20, 5, 64, 128), _Plan(8, 3, 16, 64))  # the second where time allows no more


def run(subject: Subject, context: Context) -> Finding:
    """Measure the Hessian's largest eigenvalue on a few batches and on all samples, and predict other batch sizes."""
    trained = sum(value.numel() for value in named_parameters(subject.model, params="trainable").values())
    steps = _PLANS[0].steps
    if 4 * trained * steps > _MEMORY:
        raise SkipProbe(
            f"it keeps {steps} copies of the parameters, and takes at most {_MEMORY // (4 * steps):,} parameters, "
            f"not {trained:,}"
        )
    x, y = context.sample(subject.train, _SAMPLES)
    n_wanted = len(x)
    if n_wanted < 4:
        raise SkipProbe(f"batches are compared with all samples, of which there are only {n_wanted}; it needs four")
    each = _time_each(subject, x, y)
    plan = _plan(n_wanted, each, context.seconds)
    n = affordable(n_wanted, each=plan.on_each * each, seconds=context.seconds - plan.on_batches * each)
    found = estimate_hessian_noise(
        subject.model,
        x[:n],
        y[:n],
        loss=subject.loss,
        batch_size=plan.batch,
        n_batches=plan.batches,
        n_iter=plan.steps,
        generator=context.generator(),
        progress=context.progress,
    )
    if found.largest <= 0:
        raise SkipProbe("the loss has no positive curvature at these weights, so that no learning rate is too large")
    on_some = cut_short("learning_rate", n, n_wanted, "training samples", each * _PLANS[0].products(n_wanted))
    return _finding(found, joined(*few_caveat(n), _LIMITS, on_some))


def _plan(n: int, each: float, seconds: float) -> _Plan:
    """Return the larger plan that fits into the time, for as many samples as there are."""
    plans = [replace(full, batch=min(full.batch, n // 4), fewest=min(full.fewest, n)) for full in _PLANS]
    least = plans[-1]
    if each * least.products(least.fewest) > seconds:
        work = f"{least.steps} steps on {least.fewest} samples and on {least.batches} batches"
        raise SkipProbe(too_slow("learning_rate", work, each * least.products(least.fewest), seconds))
    return next(plan for plan in plans if each * plan.products(plan.fewest) <= seconds)


def _time_each(subject: Subject, x: Tensor, y: Tensor) -> float:
    """Return the time of a product with the Hessian on one sample."""
    some = x[:_TIMED], y[:_TIMED]
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
                f"Limits of the learning rate; measured on {len(tops)} batches of {batch} and on all {n} samples, the "
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
