"""The loop that every environment runs: simulator, task, observations.

One `Batch` drives N cars. The Gymnasium and Stable-Baselines3 environments are thin views of it.
"""

from __future__ import annotations

import reprlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from donkey_rl.envs import observing, rewards, sensing, simulators, tasks
from donkey_rl.envs.lap_timer import LapTimer
from donkey_rl.envs.latency import DelayedLink
from donkey_rl.envs.observing import IMU_LIMIT, SPEED_LIMIT
from donkey_rl.envs.settings import EnvironmentConfig
from donkey_rl.envs.simulator import physics, stepping, vehicle
from donkey_rl.envs.simulator.interface import Simulator
from donkey_rl.envs.simulator.world import Start, World
from donkey_rl.envs.traffic import Traffic
from donkey_rl.errors import ActionError, ConfigurationError

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
Observation = observing.Observation


class Transition(NamedTuple):
    """What one step of all cars brought.

    Attributes:
        observation: Next observation, arrays with the car as axis 0. The images are a buffer
            that stays valid until the step after the next.
        reward: Shape (N,).
        terminated: Whether the task ended the episode, shape (N,).
        truncated: Whether time or road ended while the task went on, shape (N,).
        terms: Named terms of the reward, shape (N,) each; an own reward is one of its own name.
        ending: What ended each episode: flags by the names of `tasks.ENDINGS`, and `road_end`,
            `time_limit` and `connection` (it was lost and made anew) for truncation.
    """

    observation: Observation
    reward: FloatArray
    terminated: Flags
    truncated: Flags
    terms: dict[str, FloatArray]
    ending: dict[str, Flags]

    @property
    def ending_names(self) -> npt.NDArray[Any]:
        """What ended each episode by name, the first flag that is set; "" for nothing, (N,)."""
        names = np.full(len(self.reward), "", dtype=object)
        for reason, flags in self.ending.items():
            names[flags & (names == "")] = reason
        return names


def observation_space(config: EnvironmentConfig) -> spaces.Dict:
    """Returns the race-faithful observation: only what a race host sends.

    ``image`` (h, w, 3), ``speed`` (1,) as reported, ``imu`` (6,): acceleration (right, up,
    forward; as reported) and angular velocity (x, y, z; rad/s), ``last_actions``: the last K
    actions, oldest first, flat (2 K,).
    """
    flat = 2 * config.history
    return spaces.Dict(
        {
            "image": spaces.Box(0, 255, config.camera.shape, np.uint8),
            "speed": spaces.Box(0.0, SPEED_LIMIT, (1,), np.float32),
            "imu": spaces.Box(-IMU_LIMIT, IMU_LIMIT, (6,), np.float32),
            "last_actions": spaces.Box(-1.0, 1.0, (flat,), np.float32),
        }
    )


def action_space() -> spaces.Box:
    """Returns steering and throttle, each in [-1, 1]."""
    return spaces.Box(-1.0, 1.0, (2,), np.float32)


def numbers(actions: npt.ArrayLike) -> FloatArray:
    """Returns actions as an array.

    Raises:
        ActionError: They are no numbers, or rows of several lengths.
    """
    try:
        return np.asarray(actions, dtype=np.float64)
    except (TypeError, ValueError):
        raise ActionError(
            f"An action is steering and throttle, two numbers. Received: {reprlib.repr(actions)}."
        ) from None


def check_made(config: object, render_mode: str | None, cars: int = 1) -> None:
    """Refuses what no environment can be made of.

    Args:
        config: What to drive.
        render_mode: As Gymnasium has it.
        cars: How many.

    Raises:
        ConfigurationError: It is no configuration, no mode that is drawn, or no car.
    """
    if not isinstance(config, EnvironmentConfig):
        raise ConfigurationError(
            "An environment is made of an EnvironmentConfig, such as "
            f"EnvironmentConfig(track='warehouse'). Received: {reprlib.repr(config)}."
        )
    if render_mode not in (None, "rgb_array"):
        raise ConfigurationError(
            f"render_mode is None or 'rgb_array'. Received: {render_mode!r}. "
            "gymnasium.make(ID, render_mode='human') shows a window, by pygame."
        )
    if cars < 1:
        raise ConfigurationError(f"A vector environment has one car or more. Received: {cars}.")


class Batch:
    """N cars that drive one task on one track.

    Attributes:
        link: What delays the commands, None where nothing does.
    """

    def __init__(
        self,
        config: EnvironmentConfig,
        count: int,
        *,
        seed: int = 0,
        together: bool = False,
        world: Simulator | None = None,
    ) -> None:
        """Builds the world.

        Args:
            config: Track, car, camera, task.
            count: Number of cars N.
            seed: Seed of all random streams.
            together: Whether all cars share one scene, see each other and collide.
            world: Cars to drive that are there already; whoever made them closes them.

        Raises:
            LinkError: The configuration names a simulator that cannot be reached.
            InputError: The task's own reward cannot be used, see `rewards.load`.
        """
        self.config = config
        own = config.task.reward
        self._own_reward = None if own is None else rewards.load(own)
        self.world: Simulator = world or simulators.open_simulator(
            config, count, seed=seed, together=together
        )
        self._owns_world = world is None
        late = config.latency.wanted
        self.link = DelayedLink(config.latency, self.world, seed) if late else None
        self._may_be_lost = not isinstance(self.world, World | Traffic)
        self.track = self.world.track
        self.vehicle = self.world.vehicle
        self._steps_allowed = tasks.count_steps(config.task.time_limit_s)
        self._frames = np.zeros((2, count, *config.camera.shape), dtype=np.uint8)
        self._front = 0
        self._history = np.zeros((count, 2 * config.history), dtype=np.float32)
        self.timer = LapTimer(self.track, count)
        self.best_progress = np.zeros(count)
        self.still_s = np.zeros(count)
        self.steps = np.zeros(count, dtype=np.int64)
        self.off_track = np.zeros(count, dtype=np.bool_)
        self.commands = np.zeros((count, 2))

    def __len__(self) -> int:
        """Number of cars."""
        return len(self.world)

    def close(self) -> None:
        """Gives up the world; only simulators of other programs hold anything."""
        if self._owns_world:
            self.world.close()

    @property
    def sensed(self) -> FloatArray:
        """Telemetry beyond the motion, see `stepping.Cars`."""
        return self.world.cars.sensed

    @property
    def motion(self) -> FloatArray:
        """Motion of the cars, see `physics`."""
        return self.world.cars.motion

    @property
    def speed(self) -> FloatArray:
        """Speed of each car (u/s), shape (N,)."""
        motion = self.motion
        return np.hypot(motion[:, physics.FORWARD], motion[:, physics.RIGHTWARD])

    def seed(self, seed: int | Sequence[int]) -> None:
        """Starts all random streams anew, see `World.seed`."""
        self.world.seed(seed)
        if self.link is not None:
            self.link.seed(seed)

    def restart(self) -> None:
        """Starts a new episode for all cars; frames that were returned last stay as they are."""
        self._front = 1 - self._front
        self.reset(np.arange(len(self)))

    def reset(self, cars: IntArray, start: Start | None = None) -> None:
        """Starts a new episode for some cars and draws what they see."""
        self.world.reset(cars, start)
        if self.link is not None:
            self.link.begin(cars)
        self._history[cars] = 0.0
        self.commands[cars] = 0.0
        self.best_progress[cars] = 0.0
        self.still_s[cars] = 0.0
        self.steps[cars] = 0
        self.off_track[cars] = self._outside()[cars]
        sensed = self.sensed[cars]
        self.timer.restart(cars, sensed[:, stepping.ARC], sensed[:, stepping.TIME])
        frames = self._frames[self._front]
        if len(cars) == len(self):
            self.world.render(frames)
        else:
            drawn = np.empty((len(cars), *frames.shape[1:]), dtype=np.uint8)
            self.world.render(drawn, cars)
            frames[cars] = drawn

    def _outside(self) -> Flags:
        lateral = self.sensed[:, stepping.LATERAL]
        reach: FloatArray | float = 0.0
        if self.config.task.whole_car:
            turned = self.sensed[:, stepping.HEADING_ERROR]
            reach = vehicle.WHEEL_LATERAL * np.abs(np.cos(turned))
            reach += vehicle.WHEEL_LONGITUDINAL * np.abs(np.sin(turned))
        left, right = self.track.road_left + reach, self.track.road_right - reach
        return np.asarray((lateral < left) | (lateral > right))

    def observation(self) -> Observation:
        """Returns what all cars see now; arrays have the car as axis 0."""
        frames, history = self._frames[self._front], self._history.copy()
        return sensing.sensed(self.world.cars, self.vehicle, frames, history)

    def step(self, actions: npt.ArrayLike) -> Transition:
        """Drives all cars for one step.

        Args:
            actions: Steering and throttle in [-1, 1], shape (N, 2).

        Raises:
            ActionError: Wrong shape or not finite; nothing has changed then.
            InputError: The task's own reward fails, see `rewards.OwnReward`.
        """
        wanted = self._checked(actions)
        config = self.config
        previous = self.sensed[:, stepping.PROGRESS].copy()
        before = self.sensed[:, stepping.TIME].copy()
        earlier = self.observation() if self._may_be_lost else None
        change = self._drive(wanted)
        self.steps += 1
        facts = self._facts(previous, before, wanted, change)
        self.timer.advance(
            self.sensed[:, stepping.TIME],
            self.sensed[:, stepping.PROGRESS],
            facts.off_track | self._hit(),
        )
        ending = tasks.endings(config.task, facts)
        terminated = np.logical_or.reduce(list(ending.values()))
        if self._own_reward is None:
            terms = tasks.reward_terms(config.task, facts, ending)
        else:
            terms = {self._own_reward.name: self._own_reward(facts, terminated)}
        cut = {
            "road_end": self._road_ends(),
            "time_limit": self.steps >= self._steps_allowed,
            "connection": self.world.restarted.copy(),
        }
        ending |= cut
        embedded = self.world.world if isinstance(self.world, Traffic) else self.world
        if isinstance(embedded, World) and terminated.any():
            embedded.failures.add(self.sensed[terminated, stepping.ARC])
        truncated = np.logical_or.reduce(list(cut.values()))
        self._front = 1 - self._front
        self.world.render(self._frames[self._front])
        observed = self.observation()
        if earlier is not None and cut["connection"].any():
            # What comes after a lost connection is no part of the episode that it ended.
            for name, value in observed.items():
                value[cut["connection"]] = earlier[name][cut["connection"]]
        return Transition(
            observation=observed,
            reward=np.sum(list(terms.values()), axis=0),
            terminated=terminated,
            truncated=truncated & ~terminated,
            terms=terms,
            ending=ending,
        )

    def _drive(self, wanted: FloatArray) -> FloatArray:
        """Sends actions, drives the world on, and returns the changes of steering, (N,)."""
        config = self.config
        middle = 0.5 * (config.throttle_max + config.throttle_min)
        half = 0.5 * (config.throttle_max - config.throttle_min)
        commands = np.column_stack(
            [wanted[:, 0] * config.steer_limit, middle + half * wanted[:, 1]]
        )
        taken: Flags | slice = slice(None)
        if self.link is None:
            self.world.step(commands)
            self.commands[:] = commands
        else:
            self.commands[:] = self.link.drive(commands, self.steps)
            taken = self.link.taken
            # Whoever saw no frame took no decision.
            wanted[~taken] = self._history[~taken, -2:]
        change: FloatArray = wanted[:, 0] - self._history[:, -2]
        sent = np.concatenate([self._history[:, 2:], wanted.astype(np.float32)], axis=1)
        self._history[taken] = sent[taken]
        return change

    def _checked(self, actions: npt.ArrayLike) -> FloatArray:
        wanted = numbers(actions)
        if wanted.shape != (len(self), 2):
            raise ActionError(
                f"An action is steering and throttle in [-1, 1]: expected shape "
                f"({len(self)}, 2) for {len(self)} car(s). Received: shape {wanted.shape}."
            )
        if not np.isfinite(wanted).all():
            raise ActionError(
                f"An action must be finite numbers in [-1, 1]. Received: {wanted.tolist()}."
                if len(self) == 1
                else "An action must be finite numbers in [-1, 1]. Received: NaN or infinity for "
                f"car(s) {np.flatnonzero(~np.isfinite(wanted).all(axis=1)).tolist()}."
            )
        return np.clip(wanted, -1.0, 1.0)

    def _hit(self) -> Flags:
        """Returns which cars touched something, whosever fault it was."""
        return np.asarray(self.world.cars.hit != stepping.NO_HIT)

    @property
    def blameless(self) -> Flags:
        """Cars that were touched in the last step by an opponent whose fault it was, (N,)."""
        world = self.world
        return world.blameless if isinstance(world, Traffic) else np.zeros(len(self), np.bool_)

    def _road_ends(self) -> Flags:
        if self.track.closed:
            return np.zeros(len(self), dtype=np.bool_)
        return self.sensed[:, stepping.ARC] >= self.track.length

    def _facts(
        self, previous: FloatArray, before: FloatArray, wanted: FloatArray, change: FloatArray
    ) -> tasks.Facts:
        sensed = self.sensed
        progress = sensed[:, stepping.PROGRESS]
        self.best_progress = np.maximum(self.best_progress, progress)
        elapsed = sensed[:, stepping.TIME] - before
        speed, lateral = self.speed, sensed[:, stepping.LATERAL]
        moving = speed > self.config.task.stuck_speed
        self.still_s = np.where(moving, 0.0, self.still_s + elapsed)
        outside = self._outside()
        left = outside & ~self.off_track
        self.off_track = outside
        return tasks.Facts(
            gain=progress - previous,
            setback=self.best_progress - progress,
            off_track=outside.copy(),
            left_track=left,
            wheels_off=self.world.cars.wheels_off.copy(),
            cte=sensed[:, stepping.CTE].copy(),
            hit=self._hit() & ~self.blameless,
            still_s=self.still_s.copy(),
            steering_change=change,
            steering=wanted[:, 0].copy(),
            throttle=wanted[:, 1].copy(),
            speed=speed,
            heading=sensed[:, stepping.HEADING_ERROR].copy(),
            left_edge=lateral - self.track.road_left,
            right_edge=self.track.road_right - lateral,
        )
