"""Ctrl-C between the runs of Ray Tune."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_SIGNALS = (signal.SIGINT, signal.SIGUSR1)


@contextmanager
def signals_given_back() -> Iterator[Callable[[], bool]]:
    """Give SIGINT and SIGUSR1 back after a run of Tune, which keeps them: the next one would be lost without a word.

    Yields:
        whether a signal came: Tune answers it by giving SIGINT back itself. It is asked before the block ends.
    """
    if threading.current_thread() is not threading.main_thread():  # Tune takes none there
        yield lambda: False
        return
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    is_taken = not int(os.environ.get("TUNE_DISABLE_SIGINT_HANDLER", "0"))
    try:
        yield lambda: is_taken and signal.getsignal(signal.SIGINT) is before[signal.SIGINT]
    finally:
        for number, handler in before.items():
            if handler is not None:  # None: not of Python
                signal.signal(number, handler)
