"""Work that goes on in a thread of its own while the main thread does something else."""

from __future__ import annotations

import collections
import concurrent.futures
from collections.abc import Callable
from typing import Generic, TypeVar

Result = TypeVar("Result")


class Background(Generic[Result]):
    """Does jobs one after the other, in the order they are given.

    It pays where a job leaves Python's lock alone for most of its time, as compiled functions of
    TensorFlow do.
    """

    def __init__(self) -> None:
        """Prepares; the thread starts with the first job."""
        self._executor = concurrent.futures.ThreadPoolExecutor(1, "donkey-rl background")
        self._given: collections.deque[concurrent.futures.Future[Result]] = collections.deque()

    @property
    def waiting(self) -> int:
        """Number of jobs that are not finished."""
        return sum(not job.done() for job in self._given)

    def give(self, job: Callable[[], Result]) -> None:
        """Takes a job that runs as soon as those before it are finished."""
        self._given.append(self._executor.submit(job))

    def finished(self) -> list[Result]:
        """Returns, once each, the results of the jobs that have finished, in their order.

        Raises:
            Exception: What a job raised. Results before it are lost, those after it are there at
                the next call.
        """
        found = []
        while self._given and self._given[0].done():
            found.append(self._given.popleft().result())
        return found

    def drop(self) -> None:
        """Waits for all jobs, and forgets what they return or raise."""
        concurrent.futures.wait(self._given)
        self._given.clear()

    def join(self) -> list[Result]:
        """Waits for all jobs; returns and raises what `finished` does."""
        concurrent.futures.wait(self._given)
        return self.finished()
