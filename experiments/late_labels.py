"""Which action a frame is given as its label: at once, or when its command would arrive.

The expert acts on where a car is now. A driver whose commands are late must do on a frame what
the expert will do when the command for it takes effect.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from donkey_rl.agents.observations import FloatArray
from donkey_rl.envs.joined_view import Cars
from donkey_rl.envs.latency import STEP_MS, DelayedLink, LatencyConfig
from donkey_rl.experiments.collection import Collection

Observation = Mapping[str, npt.NDArray[Any]]
IntArray = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

_NEVER = -1

_READ = "read"
"""Beside the parts of an observation: what the policy reads of it, where that is numbers."""


class Seen(NamedTuple):
    """What all cars see.

    Attributes:
        observation: The images are a buffer that is used again.
        read: What the policy reads of it.
    """

    observation: Observation
    read: Any


class Lesson(Protocol):
    """Takes what is seen and what the expert would do, step by step."""

    @property
    def delay_ms(self) -> npt.NDArray[np.float64]:
        """How late the commands are of each car's episode that this is a lesson for, (N,)."""

    def see(self, seen: Seen, wanted: FloatArray, *, kept: bool) -> None:
        """Takes what all cars see before a step, and the expert's actions, (N, 2).

        Args:
            seen: By all cars.
            wanted: The expert's actions on where the cars are.
            kept: Whether this is kept for the report, not learned from.
        """

    def go_on(self, ended: Flags) -> None:
        """Is told after a step which episodes it ended, (N,)."""


class AtOnce:
    """Commands take effect at once: a frame's label is what the expert does on it."""

    def __init__(self, collection: Collection, cars: Cars) -> None:
        """Takes where the lesson goes, and whose it is."""
        self._collection = collection
        self.delay_ms = np.zeros(cars.num_envs)

    def see(self, seen: Seen, wanted: FloatArray, *, kept: bool) -> None:
        """See `Lesson.see`."""
        self._collection.add(seen.observation, wanted, kept=kept, read=seen.read)

    def go_on(self, ended: Flags) -> None:
        """See `Lesson.go_on`."""


class Shifted:
    """Makes a drive without latency one under latency.

    Under a delay of D steps the command of step k answers the frame of step k - D, on which the
    driver had sent the commands before step k already. So that frame's label is the expert's
    action at step k, and its last actions are those before step k.
    """

    def __init__(
        self,
        collection: Collection,
        cars: Cars,
        latency: LatencyConfig,
        random: np.random.Generator,
    ) -> None:
        """Draws the delay of each car's first episode.

        Args:
            collection: Where the lesson goes.
            cars: The cars, driven without latency.
            latency: The delays to learn for, drawn by the episode, in whole steps.
            random: What they are drawn from.
        """
        self._collection, self._cars = collection, cars
        self._latency, self._random = latency, random
        self._frames = _Frames(latency.spanned_steps + 2)
        self._delay = latency.draw_steps(random, cars.num_envs)

    @property
    def delay_ms(self) -> npt.NDArray[np.float64]:
        """See `Lesson.delay_ms`."""
        return np.asarray(STEP_MS * self._delay, np.float64)

    def see(self, seen: Seen, wanted: FloatArray, *, kept: bool) -> None:
        """See `Lesson.see`."""
        self._frames.keep(seen.observation)
        cars = np.flatnonzero(steps(self._cars) >= self._delay)
        if len(cars):
            before = self._frames.before(cars, self._delay[cars])
            before["last_actions"] = seen.observation["last_actions"][cars]
            self._collection.add(before, wanted[cars], kept=kept)

    def go_on(self, ended: Flags) -> None:
        """See `Lesson.go_on`."""
        anew = np.flatnonzero(ended)
        self._delay[anew] = self._latency.draw_steps(self._random, len(anew))


class Landed:
    """Commands take effect late: a frame's label waits until its command has arrived.

    Frames whose episode ends before that are left out.
    """

    def __init__(self, collection: Collection, cars: Cars, latency: LatencyConfig) -> None:
        """Waits for nothing yet.

        Args:
            collection: Where the lesson goes.
            cars: The cars, driven under latency.
            latency: How late their commands are.
        """
        self._collection, self._cars = collection, cars
        self._frames = _Frames(latency.spanned_steps + 2)
        self._now = steps(cars)

    @property
    def delay_ms(self) -> npt.NDArray[np.float64]:
        """See `Lesson.delay_ms`."""
        return np.concatenate([link.episode_ms for link in self._links])

    @property
    def _links(self) -> list[DelayedLink]:
        links = [view.batch.link for view in self._cars.views]
        return [link for link in links if link is not None]

    def see(self, seen: Seen, wanted: FloatArray, *, kept: bool) -> None:
        """See `Lesson.see`."""
        numbers = isinstance(seen.read, np.ndarray)
        self._frames.keep({**seen.observation, **({_READ: seen.read} if numbers else {})})
        self._now, self._wanted, self._kept = steps(self._cars), wanted, kept

    def go_on(self, ended: Flags) -> None:
        """See `Lesson.go_on`."""
        self._frames.await_landing(np.concatenate([link.landing for link in self._links]))
        cars, seen = self._frames.landed(self._now)
        if len(cars):
            read = seen.pop(_READ, None)
            self._collection.add(seen, self._wanted[cars], kept=self._kept, read=read)
        self._frames.forget(ended)


def steps(cars: Cars) -> IntArray:
    """Returns the steps of each car's episode so far, (N,)."""
    return np.concatenate([view.batch.steps for view in cars.views])


class _Frames:
    """The newest frames of N cars, and at which step of its episode the command of each lands."""

    def __init__(self, frames: int) -> None:
        """Keeps nothing yet.

        Args:
            frames: How many of each car are kept: one more than the longest delay has steps.
        """
        self._room, self._newest = frames, -1
        self._seen: dict[str, npt.NDArray[Any]] = {}
        self._landing: IntArray = np.zeros((frames, 0), np.int64)

    def keep(self, observation: Observation) -> None:
        """Keeps what all cars see now, (N, ...) each; the oldest frames give way."""
        if not self._seen:
            self._seen = {
                name: np.empty((self._room, *part.shape), part.dtype)
                for name, part in observation.items()
            }
            cars = len(observation["speed"])
            self._landing = np.full((self._room, cars), _NEVER, np.int64)
        self._newest = (self._newest + 1) % self._room
        for name, part in observation.items():
            self._seen[name][self._newest] = part
        self._landing[self._newest] = _NEVER

    def await_landing(self, steps: IntArray) -> None:
        """Says at which step of each car's episode the command for the newest frame lands."""
        self._landing[self._newest] = steps

    def landed(self, steps: IntArray) -> tuple[IntArray, dict[str, npt.NDArray[Any]]]:
        """Returns the frames whose command lands now, oldest first.

        Args:
            steps: Of each car's episode so far, shape (N,).

        Returns:
            The cars that saw them, (m,), and what they saw, (m, ...) each.
        """
        order = (self._newest + 1 + np.arange(self._room)) % self._room
        ages, cars = np.nonzero(self._landing[order] == steps)
        return cars, {name: part[order[ages], cars] for name, part in self._seen.items()}

    def before(self, cars: IntArray, delay: IntArray) -> dict[str, npt.NDArray[Any]]:
        """Returns what some cars saw some steps ago, (m, ...) each.

        Args:
            cars: Which ones, (m,).
            delay: How many steps ago, (m,); nobody looks whether that was in the same episode.
        """
        frames = (self._newest - delay) % self._room
        return {name: part[frames, cars] for name, part in self._seen.items()}

    def forget(self, ended: npt.NDArray[np.bool_]) -> None:
        """Lets nothing land any more of cars whose episode has ended, (N,)."""
        self._landing[:, ended] = _NEVER
