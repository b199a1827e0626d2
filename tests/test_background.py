"""Jobs in a thread of their own."""

from __future__ import annotations

import threading

import pytest

from donkey_rl.agents.background import Background


def test_jobs_run_in_their_order_beside_the_caller():
    background: Background[int] = Background()
    gate = threading.Event()
    done = []

    def job(number: int) -> int:
        gate.wait(60.0)
        done.append((number, threading.current_thread() is threading.main_thread()))
        return number

    for number in range(3):
        background.give(lambda number=number: job(number))
    assert background.waiting == 3
    assert background.finished() == []
    gate.set()
    assert background.join() == [0, 1, 2]
    assert done == [(0, False), (1, False), (2, False)]
    assert background.waiting == 0
    assert background.join() == []


def test_what_a_job_raises_comes_out_once_and_in_its_place():
    background: Background[int] = Background()

    def fail() -> int:
        raise ValueError("no")

    background.give(lambda: 1)
    background.give(fail)
    background.give(lambda: 3)
    with pytest.raises(ValueError, match="no"):
        background.join()
    assert background.join() == [3]


def test_jobs_that_are_dropped_are_waited_for_and_raise_nothing():
    background: Background[int] = Background()
    gate = threading.Event()

    def fail() -> int:
        gate.wait(60.0)
        raise ValueError("no")

    background.give(fail)
    threading.Timer(0.05, gate.set).start()
    background.drop()
    assert gate.is_set()
    assert background.join() == []
