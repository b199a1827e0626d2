"""Processes that are not to be left behind."""

from __future__ import annotations

import signal
import sys

import pytest

from donkey_rl import process_groups


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_signals_that_end_a_process_are_raised_and_afterwards_as_before(name: str) -> None:
    if not hasattr(signal, name):
        pytest.skip(f"{sys.platform} has no {name}")
    number = getattr(signal, name)
    # The tests themselves may run under nohup, which has it ignored.
    before = signal.signal(number, signal.SIG_DFL)
    try:
        with pytest.raises(KeyboardInterrupt), process_groups.interrupted():
            signal.raise_signal(number)
        assert signal.getsignal(number) is signal.SIG_DFL
    finally:
        signal.signal(number, before)


@pytest.mark.skipif(sys.platform == "win32", reason="no terminal's end is told there")
def test_what_nohup_has_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with process_groups.interrupted():
            signal.raise_signal(signal.SIGHUP)
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
