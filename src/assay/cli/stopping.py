"""Ctrl-C and SIGTERM: the first ends the work in order, and the page of what is finished is written."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_PATIENCE = b"assay: stopping already; once more ends it at once, without the page\n"


@dataclass
class Stop:
    """Handler of SIGINT and SIGTERM.

    The first signal raises KeyboardInterrupt in the main thread. The second, sent by who waits for that, only prints a
    line; later ones raise again.
    """

    number: int = signal.SIGINT  # of the first signal; Python's own KeyboardInterrupt is a SIGINT too
    count: int = 0

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Take a signal."""
        self.count += 1
        if self.count == 2:
            os.write(2, _PATIENCE)  # print() is not safe here: the signal may have come in the midst of another one
            return
        if self.count == 1:
            self.number = number
        raise KeyboardInterrupt

    @property
    def exit_code(self) -> int:
        """Exit code of an interrupted command, as shells count: 130 for SIGINT, 143 for SIGTERM."""
        return 128 + self.number


@contextmanager
def stoppable(*, ends_process: bool) -> Iterator[Stop]:
    """Handle SIGINT and SIGTERM while the block runs, where this is the main thread and nobody else handles them.

    Args:
        ends_process: Whether the process ends after the block: then a signal after the first does not disturb that.
    """
    stop = Stop()
    own = {}
    if threading.current_thread() is threading.main_thread():
        usual = (signal.default_int_handler, signal.SIG_DFL)
        own = {number: signal.getsignal(number) for number in _SIGNALS if signal.getsignal(number) in usual}
    for number in own:
        signal.signal(number, stop)
    try:
        yield stop
    finally:
        for number, handler in own.items():
            signal.signal(number, signal.SIG_IGN if ends_process and stop.count else handler)
