"""What a training run can be told."""

from __future__ import annotations

import pathlib
from typing import Any, Self

import pydantic
from pydantic import Field

from donkey_rl import configuration, user_paths
from donkey_rl.agents.encoders.config import EncoderChoice, LaneEncoderConfig
from donkey_rl.agents.features import Measurement
from donkey_rl.agents.imitation.config import NO_EXPERT, ImitationConfig
from donkey_rl.agents.ppo.config import PPOConfig
from donkey_rl.agents.sac.config import SACConfig
from donkey_rl.configuration import Config
from donkey_rl.envs import simulators
from donkey_rl.envs.latency import LatencyConfig
from donkey_rl.envs.link.config import LinkConfig
from donkey_rl.envs.opponents import OpponentConfig
from donkey_rl.envs.settings import EnvironmentConfig, driving_link
from donkey_rl.envs.simulator import track, vehicle
from donkey_rl.envs.simulator.randomisation import Randomisation
from donkey_rl.envs.simulator.sensors import CameraConfig
from donkey_rl.envs.tasks import TaskConfig
from donkey_rl.errors import UnknownNameError
from donkey_rl.experiments import check_config, splits
from donkey_rl.experiments.check_config import CheckConfig

AGENTS = ("sac", "ppo")
"""Algorithms that a driver can be trained with."""

_GRIP_SHARE = 0.65
"""Share of the tyres' grip that full throttle may take, so that some is left to steer."""

_PAUSE_OF_A_CAR = 800
"""Steps of a car between two checkpoints: two episodes as long as they may be."""

_LEAST_PAUSE = 5_000


def _training_randomisation() -> Randomisation:
    """Looks and cameras around the calibrated ones; starts anywhere on the road.

    The ranges cover what calibration cannot know: docs/fidelity.md has the ablation.
    """
    return Randomisation(
        colours=0.3,
        light=0.3,
        gamma=0.2,
        contrast=0.3,
        texture=0.5,
        surroundings=True,
        shadows=4.0,
        bonnet=0.2,
        noise=6.0,
        blur=0.5,
        jpeg=50,
        camera_offset=0.1,
        camera_pitch=2.0,
        camera_yaw=1.0,
        camera_roll=1.0,
        fov=4.0,
        start_anywhere=True,
        start_lateral=0.6,
        start_yaw=15.0,
        start_speed=10.0,
    )


class RaceConfig(Config):
    """The races of the finished driver.

    Attributes:
        races: Races on each track, from different starts.
        laps: Laps of a race.
        tracks: Tracks to race on, as `TrainingConfig.track` names them; by default those of the
            training.
    """

    races: int = Field(default=5, ge=1, le=256)
    laps: int = Field(default=3, ge=1, le=100)
    tracks: str | None = None

    @pydantic.field_validator("tracks")
    @classmethod
    def _known_tracks(cls, value: str | None) -> str | None:
        return value if value is None else check_config.loaded(value)


class CheckpointConfig(Config):
    """What a run keeps so that it can be continued: docs/tracking.md.

    Attributes:
        every: Environment steps between two checkpoints, each of which starts all episodes anew;
            by default 800 of each car, and 5,000 at least.
        keep: Whether they stay when the run has finished.
    """

    every: int | None = Field(default=None, ge=1)
    keep: bool = False


class StartConfig(Config):
    """What a run begins with.

    Attributes:
        driver: A run or a driver folder, whose encoder, policy and, where it has some, critics
            are taken over; None for networks that know nothing.
    """

    driver: str | None = None


class TrainingConfig(Config):
    """A whole training run.

    Attributes:
        agent: The algorithm.
        simulator: `embedded`, or others as `EnvironmentConfig.simulator` names them: each drives
            one car, whatever `cars` says.
        link: How the connection to such a simulator is kept.
        track: Scene name, `NAME:mirror`, or a track file; several with commas, over which the
            cars are spread; `random_circuit:1-20` are twenty random circuits, and
            `generalist:train` the tracks to learn on of the split `generalist`.
        seed: Decides weights, world and exploration.
        steps: Environment steps, all cars together; none leaves the policy as lessons made it.
        minutes: Wall time of the run after which no further step is taken; None for no limit.
        cars: Cars that drive side by side, each alone on its track.
        vehicle: Car generation.
        history: Number of past commands that the driver sees.
        latency: How late commands arrive, and how many are lost; checks race over the same
            range.
        blind_to: Measurements that it does not read: `speed`, `yaw_rate`, `last_actions`. Blind
            to all of them it drives by the image alone, as donkeycar's own pilots do.
        throttle_min: Throttle at action -1.
        throttle_max: Throttle at action +1; by default what leaves the tyres grip to steer.
        camera: The car's camera.
        opponents: Other cars on the road of each car.
        task: Reward and end of an episode.
        randomisation: What changes from one episode to the next.
        encoder: What turns the image into features; `encoder.name` chooses it.
        sac: Soft actor-critic.
        ppo: Proximal policy optimisation.
        start: A driver to go on with.
        imitation: Demonstrations to learn from before the policy drives by itself.
        check: Races while learning.
        evaluation: Races of the finished driver.
        checkpoint: What is kept to continue the run.
    """

    agent: str = "sac"
    simulator: str = simulators.EMBEDDED
    link: LinkConfig = Field(default_factory=driving_link)
    track: str = "generated_track"
    seed: int = Field(default=0, ge=0, lt=2**31)
    steps: int = Field(default=200_000, ge=0)
    minutes: float | None = Field(default=None, gt=0.0)
    cars: int = Field(default=64, ge=1, le=4096)
    vehicle: str = vehicle.DEFAULT_VEHICLE
    history: int = Field(default=3, ge=1, le=100)
    latency: LatencyConfig = Field(default_factory=LatencyConfig)
    blind_to: tuple[Measurement, ...] = ()
    throttle_min: float = Field(default=0.0, ge=-1.0, le=1.0)
    throttle_max: float | None = Field(default=None, ge=-1.0, le=1.0)
    camera: CameraConfig = Field(default_factory=CameraConfig)
    opponents: OpponentConfig = Field(default_factory=OpponentConfig)
    task: TaskConfig = Field(default_factory=lambda: TaskConfig(time_limit_s=20.0, whole_car=True))
    randomisation: Randomisation = Field(default_factory=_training_randomisation)
    encoder: EncoderChoice = Field(default_factory=LaneEncoderConfig)
    sac: SACConfig = Field(
        default_factory=lambda: SACConfig(final_learning_rate=1e-4, gradient_steps=16)
    )
    ppo: PPOConfig = Field(
        default_factory=lambda: PPOConfig(
            learning_rate=1e-3,
            final_learning_rate=1e-4,
            hidden=(128, 128),
            n_steps=32,
            batch_size=512,
            gamma=0.97,
            initial_log_std=-0.7,
        )
    )
    start: StartConfig = Field(default_factory=StartConfig)
    imitation: ImitationConfig = Field(default_factory=ImitationConfig)
    check: CheckConfig = Field(default_factory=CheckConfig)
    evaluation: RaceConfig = Field(default_factory=RaceConfig)
    checkpoint: CheckpointConfig = Field(default_factory=CheckpointConfig)

    @pydantic.field_validator("agent")
    @classmethod
    def _known_agent(cls, value: str) -> str:
        if value not in AGENTS:
            raise UnknownNameError("agent", value, AGENTS)
        return value

    @pydantic.field_validator("simulator")
    @classmethod
    def _known_simulator(cls, value: str) -> str:
        simulators.parse(value)
        return value

    @pydantic.field_validator("vehicle")
    @classmethod
    def _known_vehicle(cls, value: str) -> str:
        vehicle.load(value)
        return value

    @pydantic.field_validator("track")
    @classmethod
    def _known_track(cls, value: str) -> str:
        return check_config.loaded(value)

    @pydantic.model_validator(mode="after")
    def _fits_together(self) -> Self:
        if len(self.tracks) > 1 and self.simulator != simulators.EMBEDDED:
            raise ValueError(
                f"track names one track where simulator={self.simulator}, received {self.track}; "
                "several are driven in the embedded simulator only"
            )
        for name, part in (("check", self.check), ("evaluation", self.evaluation)):
            if part.tracks is not None and self.simulator != simulators.EMBEDDED:
                raise ValueError(
                    f"{name}.tracks is for the embedded simulator, received simulator="
                    f"{self.simulator}; others are raced on the track that they have loaded"
                )
        if self.cars < len(self.tracks):
            raise ValueError(
                f"cars must be one for each track at least, received cars={self.cars} for "
                f"{len(self.tracks)} tracks"
            )
        frames = getattr(self.encoder, "frames", None)
        is_rendered = getattr(self.encoder, "data", None) is None
        if frames is not None and frames < len(self.tracks) and is_rendered:
            raise ValueError(
                f"encoder.frames must be one for each track at least, received {frames} for "
                f"{len(self.tracks)} tracks"
            )
        fewest = (self.sac.n_steps + 1) * self.driven
        if self.agent == "sac" and (self.checkpoint.every or fewest) < fewest:
            raise ValueError(
                f"checkpoint.every must be {fewest} at least here, since each checkpoint begins "
                f"all episodes anew: (sac.n_steps + 1) for each of {self.driven} cars. Received "
                f"{self.checkpoint.every}"
            )
        shown, fewest = self.imitation, 2 + self.latency.spanned_steps
        for name, steps, counts in (
            ("steps", shown.steps, shown.expert != NO_EXPERT),
            ("round_steps", shown.round_steps, shown.rounds > 0),
        ):
            if counts and steps < fewest * self.driven:
                raise ValueError(
                    f"imitation.{name} must be {fewest} for each car at least, one to check by "
                    f"and those under way, received {steps} of {self.driven} cars; lower cars"
                )
        shown.check_rows(shown.steps - self.latency.spanned_steps * self.driven)
        if self.agent == "sac" and self.sac.train_unit == "episode" and self.driven > 1:
            raise ValueError(
                f"sac.train_unit=episode is for one car, received cars={self.driven}; set cars=1, "
                "or sac.train_unit=step"
            )
        if self.start.driver is not None and self.encoder.name in ("cnn", "own"):
            raise ValueError(
                "start.driver brings its encoder along, received "
                f"encoder.name={self.encoder.name} as well; leave one of them out"
            )
        self.environments()
        self.encoder.check(self.camera.shape)
        if self.encoder.name == "cnn":
            agent = self.ppo if self.agent == "ppo" else self.sac
            agent.cnn.check_image(self.encoder.reduced(self.camera.shape))
        return self

    @property
    def tracks(self) -> tuple[str, ...]:
        """The tracks to learn on, each once."""
        return splits.tracks(self.track)

    def environments(self) -> tuple[EnvironmentConfig, ...]:
        """Returns the environments to learn in, one for each track.

        Raises:
            ConfigurationError: The limits of the throttle do not fit.
        """
        first = self.environment()
        return tuple(first.model_copy(update={"track": name}) for name in self.tracks)

    def race_environments(self) -> tuple[EnvironmentConfig, ...]:
        """Returns where the finished driver is raced: no latency is added, as in evaluations."""
        first, names = self.environment(), self.tracks
        if self.evaluation.tracks is not None:
            names = splits.tracks(self.evaluation.tracks)
        none = LatencyConfig()
        return tuple(first.model_copy(update={"track": n, "latency": none}) for n in names)

    def environment(self) -> EnvironmentConfig:
        """Returns the environment to learn in, of several that on the first track.

        Raises:
            ConfigurationError: The limits of the throttle do not fit.
        """
        return configuration.validate(
            EnvironmentConfig,
            {
                "simulator": self.simulator,
                "link": self.link,
                "track": self.tracks[0],
                "vehicle": self.vehicle,
                "camera": self.camera,
                "randomisation": self.randomisation,
                "task": self.task,
                "history": self.history,
                "latency": self.latency,
                "throttle_min": self.throttle_min,
                "throttle_max": self.highest_throttle,
                "opponents": self.opponents,
            },
        )

    def check_environments(self) -> tuple[EnvironmentConfig, ...]:
        """Returns the environments of the checks, one for each track."""
        if self.check.tracks is None:
            return self.environments()
        first = self.environment()
        names = splits.tracks(self.check.tracks)
        return tuple(first.model_copy(update={"track": name}) for name in names)

    @property
    def check_scene(self) -> Randomisation:
        """What the checks' races have of the randomisation: at least the cues, to be seen."""
        if self.check.randomised:
            return self.randomisation
        return Randomisation(cues=self.randomisation.cues)

    @property
    def driven(self) -> int:
        """How many cars are driven: one for each simulator, or `cars` in the embedded one."""
        return simulators.count(self.simulator) or self.cars

    @property
    def steps_between_checkpoints(self) -> int:
        """Environment steps between two checkpoints, all cars together."""
        return self.checkpoint.every or max(_LEAST_PAUSE, _PAUSE_OF_A_CAR * self.driven)

    @property
    def highest_throttle(self) -> float:
        """Throttle at action +1: as set, or what takes two thirds of the grip at a standstill.

        Of several tracks the most slippery one counts.
        """
        if self.throttle_max is not None:
            return self.throttle_max
        car = vehicle.load(self.vehicle)
        row = vehicle.parameter_row(car)
        friction = car.friction_longitudinal
        if car.friction_from_ground:
            friction *= min(track.load(name).road_friction for name in self.tracks)
        full = row[vehicle.DRIVE_FORCE] / row[vehicle.MASS]
        return round(min(1.0, _GRIP_SHARE * friction * vehicle.GRAVITY / float(full)), 3)


def lasting(tracks: str) -> str:
    """Returns the names of tracks so that they are found from any folder.

    >>> lasting("warren"), pathlib.PurePath(lasting("my.json")).is_absolute()
    ('warren', True)
    >>> lasting("warren, warehouse,warren")
    'warren,warehouse'
    """
    return ",".join(
        str(user_paths.path_of(name).resolve()) if pathlib.PurePath(name).suffix else name
        for name in dict.fromkeys(part.strip() for part in tracks.split(","))
    )


def lasting_code(reference: str) -> str:
    """Returns a reference `PATH.py:NAME` so that it is found from any folder.

    >>> lasting_code(str(pathlib.Path("my.py").resolve()) + ":f") == lasting_code("my.py:f")
    True
    """
    file, _, name = reference.rpartition(":")
    return f"{user_paths.path_of(file).resolve()}:{name}"


def flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Returns nested settings under dotted keys.

    >>> flat({"a": 1, "b": {"c": 2}})
    {'a': 1, 'b.c': 2}
    """
    result: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, dict):
            result |= flat(value, f"{prefix}{name}.")
        else:
            result[prefix + name] = value
    return result
