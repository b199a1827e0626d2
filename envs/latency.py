"""Two-way delay between a car and its driver, with jitter and losses.

A frame reaches the driver after its way, the driver answers at once, and the command reaches the
car after its own way. Which decisions are taken on which frames does not change: the command for
the frame of time ``t`` takes effect at ``t + delay``, never before an earlier one, since the
connection keeps the order. A driver that sees its last commands as far back as any of them may
be under way faces a Markov decision process again (Katsikopoulos and Engelbrecht 2003, "Markov
decision processes with delays and asynchronous cost collection", IEEE Transactions on Automatic
Control 48(4); Bouteiller et al. 2021, "Reinforcement learning with random delays", ICLR).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from pydantic import Field, field_validator, model_validator

from donkey_rl import user_paths
from donkey_rl.configuration import Config
from donkey_rl.envs import latency_profile
from donkey_rl.envs.simulator.interface import PhysicsStepped, Simulator
from donkey_rl.envs.simulator.physics import TIME_STEP
from donkey_rl.errors import InputError

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

MOST_MS = latency_profile.MOST_MS

STEP_MS = 50.0
"""A control step on average (ms)."""

_STREAM = 61_007
"""Delays are drawn from streams of their own."""

_BLOCK = 64
"""Steps whose random numbers are drawn at once."""

_FRAME_WAY, _COMMAND_WAY, _FRAME_DROP, _COMMAND_DROP = range(4)


class LatencyConfig(Config):
    """How late commands arrive, drawn anew for each episode; nothing is late by default.

    Attributes:
        low_ms: Lowest two-way delay of an episode.
        high_ms: Highest two-way delay of an episode.
        jitter_ms: Two-way at most, to either side, drawn for each message.
        added_ms: Added to each delay, as where commands wait before they are sent.
        frame_drop: Share of frames that never reach the driver, which then takes no decision.
        command_drop: Share of commands that never reach the car.
        profile: CSV file of measured delays, `time_s,delay_ms`, in place of range and jitter.
    """

    low_ms: float = Field(default=0.0, ge=0.0, le=MOST_MS)
    high_ms: float = Field(default=0.0, ge=0.0, le=MOST_MS)
    jitter_ms: float = Field(default=0.0, ge=0.0, le=MOST_MS)
    added_ms: float = Field(default=0.0, ge=0.0, le=MOST_MS)
    frame_drop: float = Field(default=0.0, ge=0.0, lt=1.0)
    command_drop: float = Field(default=0.0, ge=0.0, lt=1.0)
    profile: str | None = None

    @field_validator("profile")
    @classmethod
    def _readable(cls, value: str | None) -> str | None:
        if value is None:
            return None
        try:
            latency_profile.read(value)
        except InputError as error:
            raise ValueError(str(error)) from error
        # It is read again when a run goes on, perhaps from another folder.
        return str(user_paths.path_of(value).resolve())

    @model_validator(mode="after")
    def _range_in_order(self) -> Self:
        if self.high_ms < self.low_ms:
            raise ValueError(
                f"high_ms must be at least low_ms, received {self.high_ms:g} and {self.low_ms:g}"
            )
        if self.range_ms[1] > MOST_MS:
            raise ValueError(
                f"delays with added_ms must be at most {MOST_MS:g} ms, received "
                f"{self.range_ms[1]:g}"
            )
        if self.profile is not None and (self.high_ms or self.jitter_ms):
            raise ValueError(
                "a profile takes the place of low_ms, high_ms and jitter_ms: leave them 0, "
                "or the profile out"
            )
        return self

    @property
    def wanted(self) -> bool:
        """Whether anything is late or lost."""
        return self != LatencyConfig()

    @property
    def range_ms(self) -> tuple[float, float]:
        """Lowest and highest two-way delay; of a profile its 5th and 95th percentile."""
        low, high = self.low_ms, self.high_ms
        if self.profile is not None:
            low, high = np.percentile(latency_profile.read(self.profile).delay_ms, [5, 95])
        return round(float(low) + self.added_ms, 1), round(float(high) + self.added_ms, 1)

    @property
    def longest_ms(self) -> float:
        """The longest delay that may be drawn."""
        longest = self.high_ms + self.jitter_ms
        if self.profile is not None:
            longest = float(latency_profile.read(self.profile).delay_ms.max())
        return longest + self.added_ms

    @property
    def spanned_steps(self) -> int:
        """How many control steps the longest delay spans.

        >>> LatencyConfig(high_ms=300).spanned_steps, LatencyConfig().spanned_steps
        (6, 0)
        """
        return math.ceil(self.longest_ms / STEP_MS)

    def draw_steps(self, random: np.random.Generator, count: int) -> IntArray:
        """Returns the delays of some episodes in whole control steps, without jitter, (count,)."""
        drawn = random.random(count)
        if self.profile is None:
            delay_ms = self.low_ms + drawn * (self.high_ms - self.low_ms)
        else:
            measured = latency_profile.read(self.profile).delay_ms
            delay_ms = measured[(drawn * len(measured)).astype(np.int64)]
        return np.rint((delay_ms + self.added_ms) / STEP_MS).astype(np.int64)

    def share_of_range(self, delay_ms: FloatArray) -> FloatArray:
        """Returns where delays lie in `range_ms`, from 0 at its lower end to 1, of any shape.

        Where all are alike they are the longest there are, so 1, and 0 where nothing is late.

        >>> LatencyConfig(high_ms=300).share_of_range(np.array([0.0, 75.0, 400.0])).tolist()
        [0.0, 0.25, 1.0]
        """
        low, high = self.range_ms
        if high == low:
            return np.full(np.shape(delay_ms), float(high > 0.0))
        share: FloatArray = np.clip((delay_ms - low) / (high - low), 0.0, 1.0)
        return share

    def check_history(self, history: int) -> None:
        """Refuses a history in which commands under way are not seen.

        Raises:
            ValueError: It is too short.
        """
        if self.wanted and history < self.spanned_steps + 1:
            raise ValueError(
                f"history must be at least {self.spanned_steps + 1} where latency is up to "
                f"{self.longest_ms:g} ms, so that the driver sees all its commands that may be "
                f"under way, received {history}. Set history={self.spanned_steps + 1}"
            )


def one_way_ms(latency_ms: Any, jitter_ms: float, drawn: Any) -> Any:
    """Returns how long a message takes one way (ms): half of both, and never below 0.

    Args:
        latency_ms: Two-way, a number or one for each message.
        jitter_ms: Two-way at most.
        drawn: Uniform in [-1, 1], of the same shape as `latency_ms`.

    >>> float(one_way_ms(160.0, 40.0, -0.5)), float(one_way_ms(10.0, 40.0, -1.0))
    (70.0, 0.0)
    """
    return np.maximum(0.0, 0.5 * (latency_ms + jitter_ms * drawn))


class DelayedLink:
    """Commands on their way to N cars.

    In the embedded simulator commands arrive at the nearest physics step; elsewhere at the
    nearest control step, since nobody else can be told of a command in between.

    Attributes:
        paused: Whether nothing is late or lost; to be changed between episodes only.
        taken: Whether the driver took a decision in the last step: its frame came, shape (N,).
        delay_ms: From the frame to the effect of the last command, NaN where it was lost, (N,).
        landing: Control step of the episode at whose frame the last command takes effect, or
            would but for a loss, shape (N,).
    """

    def __init__(
        self, config: LatencyConfig, world: Simulator, seed: int | Sequence[int] = 0
    ) -> None:
        """Puts the delay before cars.

        Args:
            config: How late, and how much is lost.
            world: The cars; those of other programs must be told something in every step.
            seed: See `seed`.
        """
        count = len(world)
        self._config, self._world = config, world
        self._fine = isinstance(world, PhysicsStepped)
        self._tick_ms = 1000.0 * TIME_STEP if self._fine else STEP_MS
        self._profile = None if config.profile is None else latency_profile.read(config.profile)
        self._cars = np.arange(count)
        room = math.ceil(config.longest_ms / self._tick_ms) + 4
        self._arriving = np.full((count, room, 2), np.nan)
        self._latest = np.zeros(count, dtype=np.int64)
        self._drawn = np.zeros((count, _BLOCK, 4))
        self._used = np.zeros(count, dtype=np.int64)
        self._base_ms = np.zeros(count)
        self._row_s = np.zeros(count)
        self._told = np.zeros((count, 3))
        self.paused = False
        self.taken: Flags = np.ones(count, np.bool_)
        self.delay_ms = np.full(count, np.nan)
        self.landing = np.zeros(count, dtype=np.int64)
        self.seed(seed)

    def seed(self, seed: int | Sequence[int]) -> None:
        """Starts every car's random stream anew, as `World.seed` does."""
        if isinstance(seed, int | np.integer):
            keys = [(int(seed), i) for i in range(len(self._cars))]
        else:
            keys = [(int(own), 0) for own in seed]
        self._streams = [np.random.default_rng([*key, _STREAM]) for key in keys]

    def begin(self, cars: IntArray) -> None:
        """Empties the link of cars whose episode begins, and draws their delay.

        A car that starts at rest holds its brake until the first command comes; one that starts
        in motion rolls on, straight.
        """
        config = self._config
        self._arriving[cars] = np.nan
        self._latest[cars] = 0
        self._told[cars] = (0.0, 0.0, 1.0)
        self.delay_ms[cars] = np.nan
        for i in cars:
            drawn = self._streams[i].random()
            if self._profile is not None:
                row = int(drawn * len(self._profile.time_s))
                self._row_s[i] = self._profile.time_s[row]
            else:
                self._base_ms[i] = config.low_ms + drawn * (config.high_ms - config.low_ms)
            self._refill(int(i))
        speed = np.abs(self._world.cars.motion[cars, 3:5]).sum(axis=1)
        rolling = cars[speed > 0.0]
        if isinstance(self._world, PhysicsStepped) and len(rolling) and not self.paused:
            self._world.command(rolling, np.zeros((len(rolling), 2)))

    @property
    def episode_ms(self) -> FloatArray:
        """Two-way delay of each car's episode without jitter, of a profile at its begin, (N,)."""
        config = self._config
        base = self._base_ms if self._profile is None else self._profile.at(self._row_s)
        return base + config.added_ms

    def _refill(self, i: int) -> None:
        self._drawn[i] = self._streams[i].random((_BLOCK, 4))
        self._used[i] = 0

    def drive(self, commands: FloatArray, steps: IntArray) -> FloatArray:
        """Sends commands and drives all cars on by one control step.

        Args:
            commands: Steering and throttle of each car, shape (N, 2).
            steps: Control steps of each car's episode so far, shape (N,).

        Returns:
            Steering and throttle that the cars hold at the end of the step, shape (N, 2).

        Raises:
            LinkError: The simulator failed.
        """
        if self.paused:
            self.taken[:], self.delay_ms[:], self.landing[:] = True, 0.0, steps
            self._world.step(commands)
            return commands
        arriving = self._send(commands, steps)
        if isinstance(self._world, PhysicsStepped):
            self._world.step_arriving(arriving)
            held: FloatArray = self._world.cars.command[:, :2].copy()
            return held
        came = ~np.isnan(arriving[:, 0, 0])
        self._told[came, :2], self._told[came, 2] = arriving[came, 0], 0.0
        self._world.step(self._told)
        return self._told[:, :2].copy()

    def _send(self, commands: FloatArray, steps: IntArray) -> FloatArray:
        """Puts commands under way; returns those that arrive in this step, (N, ticks, 2).

        They stand at the tick before which they arrive, NaN where none does.
        """
        config, cars = self._config, self._cars
        drawn = self._drawn[cars, self._used]
        now = (5 * steps + 1) // 2 if self._fine else steps
        delay_ms = self._delays_ms(steps, drawn) + config.added_ms
        arrival = now + np.rint(delay_ms / self._tick_ms).astype(np.int64)
        arrival = np.maximum(arrival, self._latest)
        self.landing = np.rint(arrival / 2.5).astype(np.int64) if self._fine else arrival
        self.taken = drawn[:, _FRAME_DROP] >= config.frame_drop
        sent = self.taken & (drawn[:, _COMMAND_DROP] >= config.command_drop)
        self._latest = np.where(sent, arrival, self._latest)
        self.delay_ms = np.where(sent, (arrival - now) * self._tick_ms, np.nan)
        room = self._arriving.shape[1]
        self._arriving[cars[sent], arrival[sent] % room] = commands[sent]
        self._used += 1
        for i in np.flatnonzero(self._used == _BLOCK):
            self._refill(int(i))
        # Messages lie three and two physics steps apart, in turn.
        length = 3 - steps % 2 if self._fine else np.ones_like(steps)
        ticks = np.arange(3 if self._fine else 1)
        places = (now[:, None] + ticks) % room
        found: FloatArray = self._arriving[cars[:, None], places]
        found[ticks >= length[:, None]] = np.nan
        rows, columns = np.nonzero(ticks < length[:, None])
        self._arriving[rows, places[rows, columns]] = np.nan
        return found

    def _delays_ms(self, steps: IntArray, drawn: FloatArray) -> FloatArray:
        """Returns the two-way delay of each car's command for the frame of now (ms)."""
        if self._profile is not None:
            return self._profile.at(self._row_s + 0.001 * STEP_MS * steps)
        ways = [
            one_way_ms(self._base_ms, self._config.jitter_ms, 2.0 * drawn[:, way] - 1.0)
            for way in (_FRAME_WAY, _COMMAND_WAY)
        ]
        return np.asarray(ways[0] + ways[1])
