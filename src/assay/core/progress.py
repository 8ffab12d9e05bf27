"""Progress bars."""

from collections.abc import Iterable, Iterator, Sized
from typing import TypeVar

T = TypeVar("T")


def track(iterable: Iterable[T], description: str, *, total: int | None = None, enabled: bool = False) -> Iterator[T]:
    """Yield from `iterable`, drawing a bar on standard error when `enabled`.

    The bar goes when it ends, so that only results stay on the screen.

    Args:
        iterable: Items to process.
        description: Label of the bar.
        total: Number of steps, where `iterable` has no length.
        enabled: Draw the bar; otherwise this is `iter(iterable)`.

    >>> list(track([1, 2], "adding"))
    [1, 2]
    """
    if not enabled:
        yield from iterable
        return
    from rich.console import Console
    from rich.progress import track as rich_track

    if total is None and isinstance(iterable, Sized):
        total = len(iterable)
    yield from rich_track(iterable, description, total=total, console=Console(stderr=True), transient=True)
