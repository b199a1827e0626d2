"""An environment of gym-donkeycar 1.3 as a simulator: its car under this project's tasks.

Nothing of gym-donkeycar is imported: any Gymnasium environment does that has its interface,
which is an image (h, w, 3) as observation, steering and throttle as action, and in `info` what
the simulator reports, see `gym_info`.
"""

from __future__ import annotations

import pathlib
import queue
import threading
from collections.abc import Callable, Mapping
from concurrent import futures
from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from donkey_rl.configuration import validate
from donkey_rl.envs import gym_info, registration
from donkey_rl.envs.environment import DonkeyEnv
from donkey_rl.envs.remote import RemoteWorld
from donkey_rl.envs.settings import EnvironmentConfig
from donkey_rl.envs.simulator import vehicle as vehicles
from donkey_rl.envs.sources import Place, Sight
from donkey_rl.envs.tasks import STEP_S
from donkey_rl.errors import ConfigurationError, DonkeyRLError, LinkClosed, LinkTimeout

_AFTER_FAILURE = "See whether its simulator still runs; then make another environment."


class GymDonkeycarSource:
    """One car that a gym-donkeycar environment drives, a `sources.Source`.

    The environment's steps run in a thread, so that several of them wait at the same time, and
    so that one that never answers is noticed: gym-donkeycar waits without end for a simulator
    that fell silent. Its thread is then left behind.

    gym-donkeycar stops looking for hits when its own episode ends. Its end is therefore switched
    off with `set_episode_over_fn`; an environment without that is driven on beyond its end, and
    the hit that ended it is told once.
    """

    def __init__(
        self,
        env: gymnasium.Env[Any, Any],
        *,
        vehicle: str = vehicles.DEFAULT_VEHICLE,
        patience_s: float = 30.0,
    ) -> None:
        """Takes over an environment.

        Args:
            env: The environment; it is closed with this source.
            vehicle: The generation of its car, which says in which units it reports.
            patience_s: How long a step or a reset may take (s).

        Raises:
            ConfigurationError: The environment has not gym-donkeycar's spaces.
        """
        self._limits = _limits(env)
        self.image_shape = _image_shape(env)
        self._env = env
        self._older = vehicles.load(vehicle).gyro_as_rotation
        self._patience = patience_s
        self._step_s = STEP_S * int(getattr(env.unwrapped, "frame_skip", 1))
        self._steps = 0
        self._ended_by = "none"
        self._command = np.zeros(2)
        self._pending: futures.Future[Any] | None = None
        self._stuck = False
        self._closed = False
        self._thread = _Thread(f"gym-donkeycar {env}")
        switch_off = getattr(env.unwrapped, "set_episode_over_fn", None)
        if callable(switch_off):
            switch_off(_never_over)

    def reset(self, place: Place | None = None) -> Sight:
        """Resets the environment; it knows no other start than its own.

        Raises:
            LinkError: It failed, or did not answer in time.
        """
        if self._pending is not None:
            self._wait("the step before the reset")
        self._begin(self._env.reset)
        image, info = self._unpacked(self._wait("the first frame after a reset"), 2)
        self._steps = 0
        self._ended_by = "none"
        self._command[:] = 0.0
        return self._sight(image, info, gym_info.read_hit(info))

    def send(self, steering: float, throttle: float, brake: float = 0.0) -> None:
        """Begins a step; commands outside the environment's limits are clipped to them.

        gym-donkeycar has no brake: while one is wanted the throttle is 0 at most.

        Raises:
            LinkError: The step before has not ended in time.
        """
        if self._pending is not None:
            self._wait("the step before")
        low, high = self._limits
        wanted = np.array([steering, min(throttle, 0.0) if brake > 0.0 else throttle])
        action = np.clip(wanted.astype(low.dtype), low, high)
        self._command = action.astype(np.float64)
        self._begin(lambda: self._env.step(action))

    def receive(self) -> Sight:
        """Waits for the end of the step.

        Raises:
            LinkError: The environment failed, or did not answer in time.
        """
        image, _, terminated, _, info = self._unpacked(self._wait("telemetry"), 5)
        self._steps += 1
        hit = gym_info.read_hit(info)
        told = "none" if hit == self._ended_by else hit
        if terminated:
            self._ended_by = hit
        return self._sight(image, info, told)

    def close(self) -> None:
        """Closes the environment; may be called twice."""
        if self._closed:
            return
        self._closed = True
        if self._pending is not None and not self._stuck:
            futures.wait([self._pending], timeout=self._patience)
        self._env.close()
        self._thread.end()

    def _begin(self, call: Callable[[], Any]) -> None:
        if self._closed:
            raise self._failure(LinkClosed, "The environment was closed", "a step", "Make one.")
        self._pending = self._thread.begin(call)

    def _wait(self, awaited: str) -> Any:
        """Returns what the call that was begun gives."""
        if self._pending is None:
            raise self._failure(LinkClosed, "Nothing was sent", awaited, "Send a command first.")
        ended, _ = futures.wait([self._pending], 0.0 if self._stuck else self._patience)
        if not ended:
            self._stuck = True
            what = f"The environment has not answered for {self._patience:g} s"
            raise self._failure(LinkTimeout, what, awaited, _AFTER_FAILURE)
        call, self._pending, self._stuck = self._pending, None, False
        try:
            return call.result()
        except DonkeyRLError:
            raise
        except Exception as error:
            what = f"The environment failed: {type(error).__name__}: {error}"
            raise self._failure(LinkClosed, what, awaited, _AFTER_FAILURE) from error

    def _failure(
        self, kind: type[LinkClosed] | type[LinkTimeout], what: str, awaited: str, remedy: str
    ) -> LinkClosed | LinkTimeout:
        """Returns an error with what gym-donkeycar knows about its simulator."""
        viewer = getattr(self._env.unwrapped, "viewer", None)
        host, port = getattr(viewer, "address", ("unknown", 0))
        scene = getattr(getattr(viewer, "handler", None), "SceneToLoad", None)
        return kind(
            what, host=str(host), port=int(port), scene=scene, awaited=awaited, remedy=remedy
        )

    def _unpacked(self, result: Any, count: int) -> tuple[Any, ...]:
        if isinstance(result, tuple) and len(result) == count and isinstance(result[-1], Mapping):
            return result
        raise ConfigurationError(
            f"The environment must return Gymnasium's {count} values, the last of them info. "
            f"Received: {_described(result)}. Install gym-donkeycar 1.3 or newer."
        )

    def _image(self, seen: Any) -> npt.NDArray[np.uint8]:
        """Returns a copy of what the camera saw: the environment may use its array again."""
        if getattr(seen, "shape", None) != self.image_shape or seen.dtype != np.uint8:
            raise ConfigurationError(
                f"The environment must give images of shape {self.image_shape}, uint8. Received: "
                f"{_described(seen)}. Set img_h and img_w of its cam_config as in cam_resolution."
            )
        return np.array(seen, dtype=np.uint8)

    def _sight(self, seen: Any, info: Mapping[str, Any], hit: str) -> Sight:
        """Returns a message as if the simulator had sent it here."""
        command = self._command.tolist()
        told = gym_info.read_telemetry(
            info, hit, time=self._steps * self._step_s, command=command, older=self._older
        )
        return Sight(told, self._image(seen))


def adapted(
    env: gymnasium.Env[Any, Any],
    config: EnvironmentConfig | None = None,
    *,
    patience_s: float = 30.0,
    telemetry_log: pathlib.Path | str | None = None,
    render_mode: str | None = None,
) -> DonkeyEnv:
    """Returns this project's environment over one of gym-donkeycar.

    Spaces, task, reward and `info` are those of `DonkeyEnv`.

    Args:
        env: The environment of gym-donkeycar; it is closed with the one returned.
        config: What is driven; by default what `read_configuration` reads.
        patience_s: How long a step or a reset may take (s).
        telemetry_log: CSV file to write each step to.
        render_mode: None or `rgb_array`.

    Raises:
        ConfigurationError: The two do not fit.
    """
    config = config or read_configuration(env)
    if _image_shape(env) != config.camera.shape:
        raise ConfigurationError(
            f"The environment's images must have the size of the configured camera, "
            f"{config.camera.shape}. Received: {_image_shape(env)}. Set camera.img_h "
            f"and camera.img_w, or cam_resolution and cam_config of the environment."
        )
    source = GymDonkeycarSource(env, vehicle=config.vehicle, patience_s=patience_s)
    world = RemoteWorld(config, [source])
    return DonkeyEnv(config, world=world, telemetry_log=telemetry_log, render_mode=render_mode)


def read_configuration(env: gymnasium.Env[Any, Any]) -> EnvironmentConfig:
    """Returns the configuration that an environment speaks of by its id and spaces.

    Raises:
        ConfigurationError: The id is not one of gym-donkeycar's, or the spaces are not.
    """
    # Where both packages are imported, one of them needs a namespace: stock/donkey-warehouse-v0.
    identifier = env.spec.id.rpartition("/")[2] if env.spec else "none"
    if identifier not in registration.IDS:
        raise ConfigurationError(
            f"The environment's id must be one of gym-donkeycar's, such as "
            f"'{next(iter(registration.IDS))}'. Received: {identifier}. Pass a configuration "
            f"that names the track."
        )
    low, high = _limits(env)
    height, width, _ = _image_shape(env)
    values = {
        "track": registration.IDS[identifier],
        "camera": {"img_h": height, "img_w": width},
        # Single precision makes 0.30000001 of 0.3.
        "steer_limit": round(float(high[0]), 6),
        "throttle_min": round(float(low[1]), 6),
        "throttle_max": round(float(high[1]), 6),
    }
    return validate(EnvironmentConfig, values)


class _Thread:
    """Runs calls one after another beside the program, which may end without it."""

    def __init__(self, name: str) -> None:
        self._jobs: queue.SimpleQueue[tuple[Callable[[], Any], futures.Future[Any]] | None]
        self._jobs = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def begin(self, call: Callable[[], Any]) -> futures.Future[Any]:
        result: futures.Future[Any] = futures.Future()
        self._jobs.put((call, result))
        if self._thread.ident is None:
            self._thread.start()
        return result

    def end(self) -> None:
        if self._thread.ident is not None:
            self._jobs.put(None)
            self._thread.join(timeout=1.0)

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            call, result = job
            try:
                result.set_result(call())
            except BaseException as error:
                result.set_exception(error)


def _never_over(handler: Any) -> None:
    """Leaves the end of an episode to the task of this project."""


def _limits(env: gymnasium.Env[Any, Any]) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Returns the least and the greatest action.

    Raises:
        ConfigurationError: The actions are not steering and throttle.
    """
    space = env.action_space
    if isinstance(space, spaces.Box) and space.shape == (2,):
        return space.low, space.high
    raise ConfigurationError(
        f"An environment of gym-donkeycar takes steering and throttle, a Box of shape (2,). "
        f"Received: {space}. Pass the environment without wrappers that change its actions."
    )


def _image_shape(env: gymnasium.Env[Any, Any]) -> tuple[int, int, int]:
    """Returns height, width and channels of the images.

    Raises:
        ConfigurationError: The observations are not images.
    """
    space = env.observation_space
    shape = space.shape if isinstance(space, spaces.Box) and space.dtype == np.uint8 else None
    if shape is not None and len(shape) == 3 and shape[2] == 3:
        return shape[0], shape[1], 3
    raise ConfigurationError(
        f"An environment of gym-donkeycar shows images, a Box of shape (h, w, 3), uint8. "
        f"Received: {space}. Pass the environment without wrappers that change what it shows."
    )


def _described(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"shape {value.shape}, {value.dtype}"
    return f"{len(value)} values" if isinstance(value, tuple) else type(value).__name__
