"""Ctrl-C waits until a block is over."""

import os
import signal
import threading

import pytest

from keras_dnn._interrupts import interrupts_held


@pytest.fixture
def _interruptible():
    """Background jobs of a shell ignore interrupts by default."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("_interruptible")
def test_an_interrupt_waits_for_the_end():
    done = []

    def held():
        with interrupts_held():
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)
            done.append(True)

    with pytest.raises(KeyboardInterrupt):
        held()
    assert done
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.usefixtures("_interruptible")
def test_nothing_changes_without_an_interrupt_or_in_another_thread():
    found = []

    def held():
        with interrupts_held():
            found.append(signal.getsignal(signal.SIGINT))

    held()
    assert found[0] is not signal.default_int_handler
    thread = threading.Thread(target=held)
    thread.start()
    thread.join()
    assert found[1] is signal.default_int_handler
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
