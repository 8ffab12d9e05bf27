import signal
import threading

import pytest

from assay.audit.interrupts import held_signals


@pytest.fixture
def handled():
    """Signals that reach the handlers outside, in order."""
    came = []
    usual = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number in usual:
        signal.signal(number, lambda number, frame: came.append(signal.Signals(number)))
    yield came
    for number, handler in usual.items():
        signal.signal(number, handler)


@pytest.fixture
def ctrl_c_interrupts():
    """Python's own handler of Ctrl-C, which a job in the background starts without."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_a_signal_waits_until_the_work_is_written(handled):
    with held_signals():
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGINT)
        assert handled == []
    assert handled == [signal.SIGTERM]
    signal.raise_signal(signal.SIGINT)
    assert handled == [signal.SIGTERM, signal.SIGINT]


@pytest.mark.usefixtures("ctrl_c_interrupts")
def test_ctrl_c_is_an_interrupt_as_soon_as_the_block_ends():
    done = []

    def write():
        with held_signals():
            signal.raise_signal(signal.SIGINT)
            done.append("written")

    with pytest.raises(KeyboardInterrupt):
        write()
    assert done == ["written"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_failure_keeps_the_handlers_as_they_were(handled):
    with pytest.raises(ZeroDivisionError), held_signals():
        raise ZeroDivisionError
    signal.raise_signal(signal.SIGINT)
    assert handled == [signal.SIGINT]


def test_another_thread_holds_nothing():
    def work():
        with held_signals():
            done.append(threading.current_thread())

    done = []
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert done == [thread]
