"""Assumptions of probes that a subject does not meet, a sentence each, and figures in words."""

from collections.abc import Iterator

from torch import Tensor

FEW = 20  # samples; with fewer, one more or less changes a share by over 5%


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


def percent(share: float) -> str:
    """Return a share in percent, with two digits.

    >>> percent(0.0033), percent(0.117), percent(1.0), percent(0.0)
    ('0.33%', '12%', '100%', '0%')
    """
    return f"{float(f'{100 * share:.2g}'):g}%"
