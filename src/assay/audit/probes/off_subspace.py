"""How sensitive are predictions to directions outside the data's subspace?"""

import time
from collections.abc import Iterator
from functools import partial

import torch
from matplotlib.axes import Axes
from torch import Tensor, nn

from assay.adversarial import SubspaceBasis, off_subspace_gradient, off_subspace_radius
from assay.adversarial.subspace import orthogonal_complement
from assay.audit.assumptions import constant_caveat, few_caveat, joined
from assay.audit.budget import affordable, cut_short, measure_seconds, too_slow
from assay.audit.perturbations import Rescaled, feature_spread
from assay.audit.pictures import is_image, plot_picture
from assay.audit.probe import Context, Figure, Finding, Probe, Severity, SkipProbe
from assay.audit.subject import Subject
from assay.core import loss_kind, predict

_SPANNING = 2000  # training samples that span the subspace
_SAMPLES, _FEWEST, _TIMED = 200, 20, 10
_ENERGY = 0.99  # share of the data's squared norm that the subspace holds
_LOST = 0.04  # share of held-out inputs' squared norm, beyond that of training inputs, that may lie outside
_LARGEST = 4096  # input entries: a basis of the complement takes its square in memory

_RULE = (
    "The median distance to a flipped prediction outside the subspace, divided by the one within it, each along the "
    "steepest direction: high below 1, medium below 2, low below 4, otherwise info; also info when at least half of "
    "the predictions do not flip outside the subspace within the distance searched."
)
_LIMITS = (
    f"The subspace holds {_ENERGY:.0%} of the squared norm of the training inputs, with any mean subtracted. Both "
    "distances are searched along a straight line and up to twice the median norm of an input, and may leave the input "
    "range: they compare directions and certify nothing. Distances are Euclidean, {unit}."
)
_ADVICE: dict[Severity, str] = {
    "high": "Train again with weight decay or a smaller initialisation: both shrink the weights that training leaves "
    "untouched.",
    "medium": "Weight decay or a smaller initialisation shrinks the gradient off the subspace: train again, and "
    "compare.",
    "low": "Weight decay would shrink the gradient that is left outside the subspace; projecting inputs onto the "
    "subspace removes it.",
    "info": "Nothing to do: directions outside the subspace hardly change the prediction.",
}
_FLAT = (
    "Nothing is known where the gradient vanishes: audit the network before quantisation, or with smaller scores, "
    "where it has gradients at its samples."
)


def run(subject: Subject, context: Context) -> Finding:
    """Split the gradient on and off the training data's subspace, and flip predictions in either."""
    kind = loss_kind(subject.loss)
    if kind not in ("cross_entropy", "binary_cross_entropy"):
        raise SkipProbe("it needs a classifier, trained with cross_entropy or binary_cross_entropy")
    start = time.perf_counter()
    model, spanning, scale, unit = _coordinates(subject, context)
    basis = _subspace(spanning)
    x, timed = _in_time(model, spanning[:_SAMPLES], basis, context.seconds, time.perf_counter() - start)
    n_wanted = len(spanning[:_SAMPLES])
    parts = off_subspace_gradient(model, x, basis=basis)
    total = parts.on_norm.square() + parts.off_norm.square()
    if not (total > 0).any():
        raise SkipProbe("the prediction has no gradient at any sample: the network is saturated or constant there")
    share = (parts.off_norm.square()[total > 0] / total[total > 0]).mean().item()
    decided = _decided(model, x)
    farthest = _farthest(x)
    if farthest == 0:
        raise SkipProbe("most training inputs are zero, which leaves no distance to search")
    radius = partial(off_subspace_radius, model, x, decided, max_norm=farthest)
    off, on = (radius(basis=side).clamp(max=farthest) for side in (basis, basis.complement))
    ratio = (off.median() / on.median().clamp_min(torch.finfo(on.dtype).tiny)).item()
    severity: Severity = "info" if off.median() >= farthest else _severity(ratio)
    n_features, rank = basis.on.shape
    return Finding(
        headline=_headline(off, on, farthest, f"{n_features - rank} of {n_features}"),
        severity=severity,
        rule=_RULE,
        advice=_FLAT if severity == "info" and 2 * (total == 0).sum() >= len(x) else _ADVICE[severity],
        limits=joined(
            *constant_caveat(decided),
            *_flat_caveat(total),
            _LIMITS.format(unit=unit),
            *_span_caveats(subject, spanning, scale, basis),
            *few_caveat(len(x)),
            cut_short("off_subspace", len(x), n_wanted, "training samples", timed),
        ),
        measures={
            "share of the squared gradient off the subspace": share,
            "share of dimensions off the subspace": 1 - rank / n_features,
            "gradient off the subspace (median)": parts.off_norm.median().item(),
            "gradient on the subspace (median)": parts.on_norm.median().item(),
            "distance to a flip off the subspace (median)": off.median().item(),
            "distance to a flip on the subspace (median)": on.median().item(),
            "distance searched": farthest,
            "dimension of the subspace": float(rank),
            "samples used": float(len(x)),
            "samples without a gradient": float((total == 0).sum()),
        },
        figures=(_figure(off, on, farthest),),
    )


def _coordinates(subject: Subject, context: Context) -> tuple[nn.Module, Tensor, Tensor | float, str]:
    """Return the network, the samples that span the subspace, and the size and name of the unit.

    Features of inputs that are no images are divided by their standard deviations; one that does not vary takes the
    median of the others', since directions that the data never take are what the probe is about.
    """
    x = context.sample(subject.train, _SPANNING)[0]
    if is_image(tuple(x.shape[1:])):
        return subject.model, x, 1.0, "in units of the inputs"
    spread = feature_spread(subject)[1]
    varying = spread[spread > 0]
    spread = spread.where(spread > 0, varying.median() if len(varying) else 1.0)
    words = "in standard deviations of each feature, since inputs of this shape are no images"
    return Rescaled(subject.model, torch.zeros_like(spread), spread), x / spread, spread, words


def _decided(model: nn.Module, x: Tensor) -> Tensor:
    scores = predict(model, x).reshape(len(x), -1)
    return (scores.flatten() > 0).long() if scores.shape[1] == 1 else scores.argmax(1)


def _farthest(x: Tensor) -> float:
    """Return the largest distance to search."""
    return 2 * x.flatten(1).double().norm(dim=1).median().item()


def _in_time(model: nn.Module, x: Tensor, basis: SubspaceBasis, seconds: float, spent: float) -> tuple[Tensor, float]:
    """Return as many samples as the rest of the time allows, and an estimate of the time for all."""
    trial = x[:_TIMED]
    search = partial(off_subspace_radius, model, trial, _decided(model, trial), basis=basis)
    each = 2 * measure_seconds(lambda: search(max_norm=max(_farthest(trial), 1.0))) / len(trial)
    n = affordable(len(x), each=each, seconds=max(seconds - spent, 0.0))
    if n < min(len(x), _FEWEST):
        raise SkipProbe(too_slow("off_subspace", f"moving {_FEWEST} samples", spent + _FEWEST * each, seconds))
    return x[:n], spent + len(x) * each


def _headline(off: Tensor, on: Tensor, farthest: float, directions: str) -> str:
    """Say how far a prediction is from a flip in the directions outside the subspace, and inside it."""
    outside = f"Outside the data's subspace ({directions} directions)"
    inside = f"inside it {on.median().item():.2g}" if on.median() < farthest else "nor inside it"
    if off.median() >= farthest:
        return f"{outside} half the predictions do not flip within a distance of {farthest:.2g}; {inside}."
    return f"{outside} half the predictions flip within a distance of {off.median().item():.2g}; {inside}."


def _flat_caveat(total: Tensor) -> Iterator[str]:
    n_flat = int((total == 0).sum())
    if n_flat:
        yield (
            f"The gradient vanishes at {n_flat} of {len(total)} samples, which are left out of its share and count as "
            "never flipped."
        )


def _span_caveats(subject: Subject, spanning: Tensor, scale: Tensor | float, basis: SubspaceBasis) -> Iterator[str]:
    """Yield what speaks against the samples' subspace being that of the data."""
    n, n_features = len(spanning), spanning[0].numel()
    if n < n_features:
        yield f"{n} samples span at most {n} of {n_features} dimensions, so that data may lie outside the subspace too."
    if subject.test is not None:
        kept = _energy(subject.test[0] / scale, basis)
        if kept < _ENERGY - _LOST:
            yield (
                f"Only {kept:.0%} of the squared norm of held-out inputs lies in the subspace: it is that of the "
                "training samples rather than of the data, and what lies outside it may still be data."
            )


def _energy(x: Tensor, basis: SubspaceBasis) -> float:
    """Return the share of the inputs' squared norm that lies in the subspace."""
    flat = x.flatten(1).to(basis.on)
    return (basis.project_on(flat).double().square().sum() / flat.double().square().sum().clamp_min(1e-300)).item()


def _subspace(x: Tensor) -> SubspaceBasis:
    """Return the fewest principal directions that hold the stated share of the inputs' squared norm."""
    n_features = x[0].numel()
    if n_features > _LARGEST:
        raise SkipProbe(f"an input has {n_features:,} entries, and the probe takes at most {_LARGEST:,}")
    energy = torch.linalg.svdvals(x.flatten(1).double()).square()
    rank = 1 + int((energy.cumsum(0) < _ENERGY * energy.sum()).sum())
    if energy.sum() == 0 or rank >= n_features:
        raise SkipProbe(
            f"the training inputs fill all {n_features} dimensions, so there is no direction off their subspace"
        )
    return orthogonal_complement(x, rank=rank)


def _severity(ratio: float) -> Severity:
    return "high" if ratio < 1 else "medium" if ratio < 2 else "low" if ratio < 4 else "info"


def _figure(off: Tensor, on: Tensor, farthest: float) -> Figure:
    """Draw the share of flipped predictions by distance, off and within the subspace."""

    def draw(axes: Axes) -> None:
        for radius, label in ((off, "off the subspace"), (on, "within the subspace")):
            flipped = radius[radius < farthest].sort().values.tolist()
            shares = [(rank + 1) / len(radius) for rank in range(len(flipped))]
            last = shares[-1] if shares else 0.0
            axes.step([0.0, *flipped, farthest], [0.0, *shares, last], where="post", label=label)
        axes.set_ylim(-0.03, 1.03)
        axes.set_xlabel("distance moved (2-norm)")
        axes.set_ylabel("share of predictions flipped")
        axes.legend()

    alt = (
        f"Share of predictions flipped, by distance: half of them off the subspace at {off.median():.2g}, within it at "
        f"{on.median():.2g}"
    )
    caption = (
        "Share of training samples whose prediction flips, by the distance moved off or within the data's subspace."
    )
    return Figure((plot_picture("distances", draw, alt),), caption)


PROBE = Probe(
    name="off_subspace",
    question="How sensitive are predictions to directions outside the data's subspace?",
    topic="robustness",
    needs=frozenset({"gradients", "input_gradients", "training_data"}),
    run=run,
)
