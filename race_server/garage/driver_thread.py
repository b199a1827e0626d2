"""A driver in a thread of its own, so that whoever asks it waits no longer than it wants to."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from donkey_rl.agents.manifest import ACTIONS
from donkey_rl.race_server.interface import Answer

Observation = Mapping[str, npt.NDArray[Any]]

_FAULT_LENGTH = 200
_GOODBYE_S = 0.2


class Acting(Protocol):
    """What drives one car, such as `donkey_rl.agents.lite_driver.LiteDriver`."""

    def act(self, observation: Observation) -> npt.ArrayLike:
        """Returns steering and throttle in [-1, 1], (2,)."""
        ...


class _Reply(NamedTuple):
    """What a driver has answered: an action, or why there is none."""

    action: npt.NDArray[np.float32] | None
    fault: str


class DriverThread:
    """Asks a driver, and takes no for an answer.

    There is one thread for each driver and at most one question under way to it, however often it
    is asked while it does not answer. One thread at a time may call the methods.

    Attributes:
        last_fault: What was wrong with the last answer that it gave; empty if nothing was.
    """

    def __init__(self, name: str, driver: Acting) -> None:
        """Starts the thread.

        Args:
            name: Of the driver.
            driver: Only the thread calls it from now on.
        """
        self._driver = driver
        # These are the quickest way from thread to thread that Python has with a time limit.
        self._questions: queue.SimpleQueue[Observation | None] = queue.SimpleQueue()
        self._replies: queue.SimpleQueue[_Reply] = queue.SimpleQueue()
        self._under_way = False
        self.last_fault = ""
        self._thread = threading.Thread(target=self._run, name=f"driver {name}", daemon=True)
        self._thread.start()

    def ask(self, observation: Observation, within_s: float) -> Answer:
        """Returns the action to an observation, or says that there is none in time.

        A driver that still has an earlier question is not asked again before it has answered
        that one; what it answers then is of no use any more.

        Args:
            observation: What the car sees.
            within_s: How long to wait at most.
        """
        began = time.perf_counter()
        if self._under_way and self._take(within_s) is None:
            return Answer(None, "late: still busy with an earlier frame", _since(began))
        self._questions.put(observation)
        self._under_way = True
        reply = self._take(max(0.0, within_s - _since(began)))
        took_s = _since(began)
        if reply is None:
            return Answer(None, f"late: no answer within {1000.0 * within_s:.0f} ms", took_s)
        return Answer(reply.action, reply.fault, took_s)

    def is_busy(self) -> bool:
        """Whether it still owes an answer."""
        return self._under_way and self._take(0.0) is None

    def close(self) -> None:
        """Ends the thread; one whose driver does not come back is left behind."""
        self._questions.put(None)
        self._thread.join(_GOODBYE_S)

    def _take(self, within_s: float) -> _Reply | None:
        """Takes the answer that it owes, if that comes in time."""
        try:
            reply = self._replies.get(within_s > 0.0, within_s or None)
        except queue.Empty:
            return None
        self._under_way = False
        self.last_fault = reply.fault
        return reply

    def _run(self) -> None:
        while (observation := self._questions.get()) is not None:
            self._replies.put(self._reply(observation))

    def _reply(self, observation: Observation) -> _Reply:
        try:
            action = np.array(self._driver.act(observation), np.float32)
        except Exception as error:
            text = " ".join(str(error).split())[:_FAULT_LENGTH]
            return _Reply(None, f"failed: {type(error).__name__}: {text}")
        if action.shape != (ACTIONS,):
            return _Reply(None, f"failed: an action of shape {action.shape}, not ({ACTIONS},)")
        if not np.isfinite(action).all():
            return _Reply(None, f"not finite: {action[0]}, {action[1]}")
        return _Reply(np.clip(action, -1.0, 1.0), "")


def _since(began: float) -> float:
    return time.perf_counter() - began
