"""Assumptions of the probes that perturb inputs: one sentence for each that a subject does not meet."""

from collections.abc import Iterator

from torch import Tensor

from assay.audit.pictures import is_image
from assay.audit.subject import Subject

FEW = 20  # samples; with fewer, one more or less changes a share by over 5%
NARROW = 0.1  # of the input range: a feature that spans less has a scale of its own


def step_caveats(subject: Subject, x: Tensor, share: float, name: str) -> Iterator[str]:
    """Yield what makes a step of a share of the input range mean something else for these raw inputs.

    Args:
        subject: The subject.
        x: Inputs, before any mean is subtracted.
        share: Size of the step in units of the range's width.
        name: What the step is called, such as "8/255".
    """
    low, high = subject.input_range
    step = share * (high - low)
    if (low, high) != (0.0, 1.0):
        yield f"{name} of the input range [{low:g}, {high:g}] is {step:.2g} in the units of the inputs."
    seen = (x.max() - x.min()).item()
    if 2 * seen < high - low:
        yield (
            f"The inputs span only [{x.min().item():.3g}, {x.max().item():.3g}] of the stated range [{low:g}, "
            f"{high:g}], so that {name} of the range is {step / seen if seen else float('inf'):.0%} of what they span; "
            "state the range that holds."
        )
    spread = _spread(x)
    if len(spread):
        yield f"For the median feature {name} of the range is {step / spread.median().item():.2g} standard deviations."
    for difference in scale_caveat(subject, x):
        yield f"{difference} One size of step is large for some and small for others; scale them alike and audit again."


def scale_caveat(subject: Subject, x: Tensor) -> Iterator[str]:
    """Yield a sentence where features that are no pixels have scales of their own."""
    spread, (low, high) = _spread(x), subject.input_range
    spans = x.flatten(1).amax(0) - x.flatten(1).amin(0)
    if len(spread) and (spans[spans > 0] < NARROW * (high - low)).double().mean() >= 0.25:
        lowest, highest = spread.min().item(), spread.max().item()
        yield f"Features differ in scale: their standard deviations go from {lowest:.2g} to {highest:.2g}."


def _spread(x: Tensor) -> Tensor:
    """Return the standard deviations of features that vary; none for images, whose pixels have one unit."""
    if is_image(tuple(x.shape[1:])) or len(x) < 2:
        return x.new_zeros(0)
    spread = x.flatten(1).double().std(0)
    return spread[spread > 0]


def few_caveat(n: int) -> Iterator[str]:
    """Yield a sentence where there are few samples."""
    if n < FEW:
        yield f"The figures rest on {n} sample{'s' if n > 1 else ''} only: each changes a share by {1 / n:.0%}."


def constant_caveat(predicted: Tensor) -> Iterator[str]:
    """Yield a sentence where all samples are given one class."""
    if len(predicted) > 1 and bool((predicted == predicted[0]).all()):
        yield "The network gives all samples the same class: check its weights and its data first."


def joined(*sentences: str) -> str:
    """Return sentences as one text."""
    return " ".join(filter(None, sentences))
