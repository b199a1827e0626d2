"""SIGTERM and the end of a terminal are as Ctrl-C, and said twice they are heard once."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator

import pytest

from donkey_rl import stop_signals
from donkey_rl.experiments.interruption import Interruption, at_once

NAMES = ["SIGTERM"] if sys.platform == "win32" else ["SIGTERM", "SIGHUP"]


@pytest.fixture(autouse=True)
def by_default() -> Iterator[None]:
    """The tests themselves may run under nohup, which has some ignored."""
    before = {name: signal.signal(getattr(signal, name), signal.SIG_DFL) for name in NAMES}
    yield
    for name, handler in before.items():
        signal.signal(getattr(signal, name), handler)


@pytest.mark.parametrize("name", NAMES)
def test_signals_that_end_a_process_are_raised_once(name: str) -> None:
    number = getattr(signal, name)
    with stop_signals.as_ctrl_c():
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(number)
        # What is being stored by now is not disturbed.
        signal.raise_signal(number)
    signal.raise_signal(number)


@pytest.mark.parametrize("name", NAMES)
def test_what_was_not_asked_to_end_has_its_signals_as_before(name: str) -> None:
    with stop_signals.as_ctrl_c():
        assert callable(signal.getsignal(getattr(signal, name)))
    assert signal.getsignal(getattr(signal, name)) is signal.SIG_DFL


@pytest.mark.skipif(sys.platform == "win32", reason="no terminal's end is told there")
def test_what_nohup_has_ignored_stays_ignored() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with stop_signals.as_ctrl_c(), Interruption() as interruption:
        signal.raise_signal(signal.SIGHUP)
        interruption.check()
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN


@pytest.mark.parametrize("name", NAMES)
def test_a_training_is_ended_at_a_safe_point_and_then_left_in_peace(name: str) -> None:
    number = getattr(signal, name)
    with stop_signals.as_ctrl_c():
        with Interruption() as interruption:
            signal.raise_signal(number)
            signal.raise_signal(number)
            with pytest.raises(KeyboardInterrupt):
                interruption.check()
        signal.raise_signal(number)


def test_ctrl_c_behind_another_signal_does_not_wait() -> None:
    with Interruption():
        signal.raise_signal(signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_where_nobody_checks_other_signals_do_not_wait() -> None:
    with Interruption() as interruption:
        with pytest.raises(KeyboardInterrupt), at_once():
            signal.raise_signal(signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):
            interruption.check()
