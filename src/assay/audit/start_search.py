"""Search for a subject's weights before training: those it comes with, or the draws of seeds that scripts use."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import torch

from assay.audit.subject import Subject
from assay.reconstruction import InitialState, guess_initial_state

_COMMON = (0, 42, 1, 1234, 123, 1337, 2024, 2025)
_OTHERS = (
    *(2020, 2021, 2022, 2023, 2026, 3407, 12345, 123456, 1234567, 12345678, 123456789, 1234567890, 987654321, 54321),
    *(4321, 4242, 424242, 42424242, 31337, 1111, 2222, 5555, 6666, 7777, 8888, 9999, 99999, 10000, 100000, 1000000),
    *(31415, 314159, 3141592, 27182, 271828, 1000000007, 19260817, 114514, 998244353),
    *(0xBEEF, 0xCAFE, 0xC0FFEE, 0xDEADBEEF, 2**31 - 1, 2**32 - 1),
)
SEEDS = tuple(dict.fromkeys((*_COMMON, *_OTHERS, *range(1000), *range(1980, 2031))))
"""Seeds that are tried, the likeliest first."""

TRIED = "from 0 to 999, the years 1980 to 2030, and " + ", ".join(
    str(seed) for seed in sorted({*_COMMON, *_OTHERS}) if seed > 2030
)
"""The same in words."""

_SIZES = (60000, 50000)  # training images of MNIST and of CIFAR-10, which scripts shuffle or split first
_SHUFFLED = 150  # seeds that are tried after a shuffle of the data
_BATCHES = (1, 8, 64, 512)  # places in the list before which the time is looked at


@dataclass(frozen=True, eq=False)
class StartSearch:
    """Hold the start of a subject's training, or the best of those tried.

    Attributes:
        start: The initial weights; see its `found`.
        is_given: Whether the subject came with them.
        n_seeds: Seeds tried.
        seconds: Estimate of the time for all seeds.
    """

    start: InitialState
    is_given: bool
    n_seeds: int
    seconds: float


def find_start(subject: Subject, seconds: float) -> StartSearch:
    """Take a subject's initial weights, or guess the seed that drew them.

    Each layer is drawn by its own rule after `torch.manual_seed`, then by the other initialisers of
    `guess_initial_state`; then, for the first 150 seeds, after a shuffle of 60,000, 50,000 or the subject's own
    samples.

    Args:
        subject: The subject.
        seconds: Time that the guess may take; fewer seeds are tried where it would take more.

    Raises:
        InvalidInputError: The given weights do not fit, or the layers do not tell how they are drawn.
    """
    if subject.initial_state is not None:
        return StartSearch(InitialState.from_checkpoint(subject.model, subject.initial_state), True, 0, 0.0)
    begin, best, done = time.perf_counter(), None, 0
    estimate = seconds
    for seeds, shuffles in _parts(subject):
        since = time.perf_counter()
        if done and since - begin + estimate * len(seeds) * max(1, len(shuffles)) > seconds:
            break
        skips = shuffles or (0,)
        found = guess_initial_state(subject.model, seeds=seeds, skips=skips)
        estimate = (time.perf_counter() - since) / len(seeds) / len(skips)
        done += 0 if shuffles else len(seeds)
        best = found if best is None or found.found or found.z > best.z else best
        if best.found:
            break
    assert best is not None
    return StartSearch(best, False, done, estimate * len(SEEDS))


def _parts(subject: Subject) -> Iterator[tuple[Sequence[int], tuple[Callable[[], object], ...]]]:
    """Yield the seeds in growing parts, and the first of them again with the shuffles before the network."""
    edges = [*(edge for edge in _BATCHES if edge < len(SEEDS)), len(SEEDS)]
    for first, last in zip([0, *edges], edges, strict=False):
        yield SEEDS[first:last], ()
    own = [len(pairs[0]) for pairs in (subject.train, subject.test) if pairs is not None]
    sizes = dict.fromkeys((*_SIZES, *own[:1], sum(own) or _SIZES[0]))
    yield SEEDS[:_SHUFFLED], tuple(partial(_shuffle, size) for size in sizes)


def _shuffle(size: int) -> None:
    torch.randperm(size)
