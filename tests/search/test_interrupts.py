"""Beside Ray Tune's own handler of signals."""

from __future__ import annotations

import os
import signal

import pytest

from raywce.search.interrupts import signals_given_back


def tune_takes_signals() -> bool:
    from ray.tune import tune

    return not tune._setup_signal_catching().is_set()


def test_tune_leaves_a_handler_behind_and_it_is_removed() -> None:
    before = signal.getsignal(signal.SIGINT)
    with signals_given_back() as came:
        assert tune_takes_signals()
        assert signal.getsignal(signal.SIGINT) is not before
        assert not came()
    assert signal.getsignal(signal.SIGINT) is before
    with pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGINT)


def test_a_signal_that_came_while_tune_ran_is_known() -> None:
    with signals_given_back() as came:
        assert tune_takes_signals()
        os.kill(os.getpid(), signal.SIGINT)  # Tune ends its run
        assert came()
