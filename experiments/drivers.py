"""Anything that drives: a run's driver, a driver folder, a stranger's class, an expert.

A driver is what has one method::

    class Driver(Protocol):
        def act(self, observation): ...  # -> steering and throttle in [-1, 1]

It sees a dictionary of arrays: ``image`` (height, width, 3; uint8), ``speed`` (1,), ``imu`` (6,)
and ``last_actions`` (2 K,), the last K commands that it gave. ``reset()``, where there is one, is
called before each race.
"""

from __future__ import annotations

import abc
import ast
import contextlib
import dataclasses
import hashlib
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Final, Literal, Protocol

import numpy as np
import numpy.typing as npt

from donkey_rl import configuration, user_paths
from donkey_rl.agents import driver as learned
from donkey_rl.agents import ensemble, manifest
from donkey_rl.agents.encoders.lane import LaneEncoder
from donkey_rl.agents.ensemble import Ensemble
from donkey_rl.agents.manifest import DriverDescription
from donkey_rl.agents.sac import networks
from donkey_rl.agents.sac.config import SACConfig
from donkey_rl.agents.untrained import untrained
from donkey_rl.envs import batch as batches
from donkey_rl.envs import labels
from donkey_rl.envs.observing import Observation
from donkey_rl.envs.pursuit import Pursuit
from donkey_rl.envs.settings import EnvironmentConfig
from donkey_rl.envs.simulator import vehicle as vehicles
from donkey_rl.envs.tasks import STEP_S
from donkey_rl.envs.traffic import shown
from donkey_rl.errors import InputError, UnknownNameError, nearest
from donkey_rl.experiments import model_registry, pilots, stored_runs
from donkey_rl.experiments.foreign_driver import ForeignPilot
from donkey_rl.experiments.pilots import Actions, Pilot
from donkey_rl.experiments.racing import Field

PURSUIT: Final = "pursuit"
UNTRAINED: Final = "untrained"

_GIVEN: Final = (
    f"Give a run (`donkey-rl leaderboard` lists them), a folder with a {manifest.FILE_NAME}, "
    f"{model_registry.SCHEME}NAME@ALIAS, PATH.py:NAME, {PURSUIT} or {UNTRAINED}."
)

Kind = Literal["run", "folder", "file", "pursuit", "untrained"]
"""Where a driver comes from."""


class Driver(Protocol):
    """What drives one car. ``reset()`` may be there as well: a new race begins."""

    def act(self, observation: Mapping[str, npt.NDArray[Any]]) -> npt.ArrayLike:
        """Returns steering and throttle in [-1, 1], (2,).

        Args:
            observation: What the car sees; see this module.
        """
        ...


@dataclasses.dataclass(frozen=True)
class Entrant(abc.ABC):
    """A driver that is ready to race.

    Attributes:
        name: Its name in tables.
        kind: Where it comes from.
        environment: Track, car and camera that it was made for, or the usual ones.
        hash: SHA-256 of what it is.
        run_id: The run that it belongs to, empty for none.
        tracks: Tracks that it was trained on, as far as it says.
    """

    name: str
    kind: Kind
    environment: EnvironmentConfig
    hash: str = ""
    run_id: str = ""
    tracks: tuple[str, ...] = ()

    @property
    def is_privileged(self) -> bool:
        """Whether it knows what no driver is told in a race, such as where it is."""
        return self.kind == PURSUIT

    @property
    def trained_latency_ms(self) -> tuple[float, float]:
        """Two-way latency that it was trained for, lowest and highest."""
        return 0.0, 0.0

    @abc.abstractmethod
    def pilot(self, field: Field) -> AbstractContextManager[Pilot]:
        """Returns what drives the cars of a field, to be closed after the races.

        Raises:
            DriverError: It does not fit the field's cars.
        """

    def before_training(self) -> Entrant:
        """Returns the same agent untrained; the usual agent where it is none of ours."""
        return _usual(self.environment)


@dataclasses.dataclass(frozen=True)
class LearnedEntrant(Entrant):
    """A driver of this package, which drives all cars in one call."""

    driver: learned.Driver | Ensemble = dataclasses.field(kw_only=True)

    @property
    def trained_latency_ms(self) -> tuple[float, float]:
        """See `Entrant.trained_latency_ms`."""
        return self.driver.description.latency_ms

    @contextlib.contextmanager
    def pilot(self, field: Field) -> Iterator[Pilot]:
        """See `Entrant.pilot`."""
        self.driver.check_observation_space(batches.observation_space(field.config))
        ratio = self.units_of(field.config.vehicle)

        def act(observation: Observation) -> Actions:
            return self.driver.act(in_units(ratio, observation))

        yield Pilot(self.driver.act if ratio == 1.0 else act)

    def units_of(self, vehicle: str) -> float:
        """Returns the driver's unit of speed for each of another car's, see `in_units`."""
        own = vehicles.load(self.driver.description.vehicle).report_scale
        return vehicles.load(vehicle).report_scale / own

    def before_training(self) -> Entrant:
        """See `Entrant.before_training`."""
        fresh = untrained(self.driver)
        return LearnedEntrant(
            UNTRAINED, UNTRAINED, self.environment, fresh.hash, tracks=self.tracks, driver=fresh
        )


def in_units(ratio: float, observation: Observation) -> Observation:
    """Returns an observation with speeds and accelerations times a ratio.

    Cars of different generations report the same speed by different numbers
    (`Vehicle.report_scale`): a driver is to read those of the car that it was trained in.

    Args:
        ratio: See `LearnedEntrant.units_of`.
        observation: Of one car or of several.
    """
    speed, imu = (np.array(observation[name], np.float32) for name in ("speed", "imu"))
    speed *= ratio
    imu[..., :3] *= ratio
    return {**observation, "speed": speed, "imu": imu}


@dataclasses.dataclass(frozen=True)
class PursuitEntrant(Entrant):
    """The expert that knows where it is."""

    @contextlib.contextmanager
    def pilot(self, field: Field) -> Iterator[Pilot]:
        """See `Entrant.pilot`."""
        expert = Pursuit(field.config)
        yield Pilot(lambda _: shown(expert, field.batch))


@dataclasses.dataclass(frozen=True)
class ForeignEntrant(Entrant):
    """A stranger's class, in a process of its own."""

    path: pathlib.Path = dataclasses.field(kw_only=True)
    made_by: str = dataclasses.field(kw_only=True)
    limit_s: float = dataclasses.field(kw_only=True, default=STEP_S)

    def pilot(self, field: Field) -> ForeignPilot:
        """See `Entrant.pilot`."""
        config = field.config
        return ForeignPilot(
            self.path,
            self.made_by,
            batches.observation_space(config),
            pilots.neutral(config),
            limit_s=self.limit_s,
            waits=config.simulator == "embedded",
        )


def load(reference: str, settings: Sequence[str] = (), *, limit_s: float = STEP_S) -> Entrant:
    """Returns the driver that a reference means.

    Args:
        reference: Id, beginning of an id or name of a run; `models:/NAME@ALIAS`; a driver folder;
            `PATH.py:NAME`; `pursuit`; `untrained`.
        settings: Assignments `key=value` to the environment it was made for.
        limit_s: Time of a stranger's driver to answer a frame (s).

    Raises:
        UnknownNameError: There is no such run; it carries the nearest.
        InputError: The file or folder is not there, or a setting is wrong.
        DriverError: The driver folder is damaged.
        StorageError: The store cannot be read.
    """
    usual = configuration.with_settings(EnvironmentConfig(), settings)
    if reference == PURSUIT:
        return pursuit(usual)
    if reference == UNTRAINED:
        return _usual(usual)
    file, _, name = reference.rpartition(":")
    if file.endswith(".py") and name.isidentifier():
        return _foreign(user_paths.path_of(file), name, usual, limit_s)
    if file.endswith(".py") or reference.endswith(".py"):
        raise InputError(
            f"A driver of a file is given as PATH.py:NAME, NAME a class or a function that makes "
            f"one. Received: '{reference}'."
        )
    folder = user_paths.path_of(reference)
    registered = reference.startswith(model_registry.SCHEME)
    if folder.is_dir() and not registered:
        return _learned(ensemble.load(folder), "folder", str(folder), settings)
    if len(folder.parts) > 1 and not registered:
        raise InputError(f"There is no driver folder '{reference}'. {_GIVEN}")
    try:
        stored = stored_runs.find(reference)
    except UnknownNameError as error:
        if registered:
            raise
        near = nearest(reference, [PURSUIT, UNTRAINED, *filter(None, [error.nearest])])
        choices: tuple[str, ...] = (near,) if near else ()
        raise UnknownNameError("driver", reference, choices, remedy=_GIVEN) from None
    loaded = ensemble.load(stored_runs.download_driver(stored))
    return _learned(loaded, "run", f"run {stored.id[:8]}", settings, stored.id)


def pursuit(environment: EnvironmentConfig) -> PursuitEntrant:
    """Returns the expert, known by its code and by the motions that it follows.

    Args:
        environment: Track, car and camera.
    """
    return PursuitEntrant(PURSUIT, PURSUIT, environment, Pursuit.digest())


def of_run(
    driver: learned.Driver | Ensemble, environment: EnvironmentConfig, run_id: str
) -> Entrant:
    """Returns the driver that a run has just trained.

    Args:
        driver: The driver.
        environment: Where it learned.
        run_id: The run.
    """
    return LearnedEntrant(
        f"run {run_id[:8]}",
        "run",
        environment,
        driver.hash,
        run_id,
        driver.description.tracks,
        driver=driver,
    )


def environment_of(driver: learned.Driver | Ensemble) -> EnvironmentConfig:
    """Returns the environment that a driver was made for, by its own description."""
    about = driver.description
    low, high = about.throttle_limits
    return configuration.validate(
        EnvironmentConfig,
        {
            "track": about.tracks[0],
            "vehicle": about.vehicle,
            "camera": about.camera,
            "history": driver.observation.history,
            "throttle_min": low,
            "throttle_max": high,
            "steer_limit": about.steering_limits[1],
        },
    )


def usual_driver(config: EnvironmentConfig) -> learned.Driver:
    """Returns a driver of the usual size that has learned nothing.

    Args:
        config: Its car and camera.
    """
    encoder = LaneEncoder(config.camera.shape, labels.LANE_LABELS)
    features = encoder.features + 2 + 2 * config.history
    actor = networks.actor(features, 2, SACConfig(), seed=0)
    about = DriverDescription(
        agent="sac", vehicle=config.vehicle, tracks=(config.track,), simulator="none", camera={}
    )
    return learned.Driver(encoder, networks.deterministic(actor), about, history=config.history)


def _usual(environment: EnvironmentConfig) -> Entrant:
    fresh = usual_driver(environment)
    return LearnedEntrant(UNTRAINED, UNTRAINED, environment, fresh.hash, driver=fresh)


def _learned(
    driver: learned.Driver | Ensemble,
    kind: Kind,
    name: str,
    settings: Sequence[str],
    run_id: str = "",
) -> Entrant:
    environment = configuration.with_settings(environment_of(driver), settings)
    tracks = driver.description.tracks
    return LearnedEntrant(name, kind, environment, driver.hash, run_id, tracks, driver=driver)


def _foreign(
    path: pathlib.Path, name: str, environment: EnvironmentConfig, limit_s: float
) -> Entrant:
    """Returns a stranger's driver; its file is not run before the race."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(
            f"The driver file '{path}' cannot be read: {error.strerror}. Check its path."
        ) from error
    try:
        ast.parse(content, str(path))
    except (SyntaxError, ValueError) as error:
        line = f" (line {error.lineno})" if isinstance(error, SyntaxError) else ""
        raise InputError(
            f"The driver file '{path}' is not Python: {error.args[0]}{line}. Mend it."
        ) from error
    digest = hashlib.sha256(content + f":{name}".encode()).hexdigest()
    return ForeignEntrant(
        f"{path}:{name}", "file", environment, digest, path=path, made_by=name, limit_s=limit_s
    )
