"""Everything that describes an environment."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from pydantic import Field, field_validator, model_validator

from donkey_rl.configuration import Config
from donkey_rl.envs.latency import LatencyConfig
from donkey_rl.envs.link.config import LinkConfig
from donkey_rl.envs.opponents import OpponentConfig
from donkey_rl.envs.simulator import vehicle as vehicles
from donkey_rl.envs.simulator.randomisation import Randomisation
from donkey_rl.envs.simulator.sensors import CameraConfig
from donkey_rl.envs.tasks import TaskConfig


def driving_link() -> LinkConfig:
    """Returns how a connection is kept while driving: a simulator may be started again."""
    return LinkConfig(reconnect_attempts=3)


class EnvironmentConfig(Config):
    """A track, a car with its camera, and a task.

    Attributes:
        simulator: `embedded`, `HOST:PORT` of a running simulator, or the path of one to start;
            several of the latter two with commas, one for each car.
        link: How the connection to such a simulator is kept.
        track: Scene name, `NAME:mirror`, or the path of a track file.
        vehicle: Car generation.
        history: Number of past commands in the observation.
        latency: How late commands arrive.
        throttle_min: Throttle at action -1.
        throttle_max: Throttle at action +1.
        steer_limit: Steering command at action +1.
        opponents: Other cars on the road of each car.
    """

    simulator: str = "embedded"
    link: LinkConfig = Field(default_factory=driving_link)
    track: str = "generated_track"
    vehicle: str = vehicles.DEFAULT_VEHICLE
    camera: CameraConfig = Field(default_factory=CameraConfig)
    randomisation: Randomisation = Field(default_factory=Randomisation)
    task: TaskConfig = Field(default_factory=TaskConfig)
    history: int = Field(default=3, ge=1, le=100)
    latency: LatencyConfig = Field(default_factory=LatencyConfig)
    throttle_min: float = Field(default=0.0, ge=-1.0, le=1.0)
    throttle_max: float = Field(default=1.0, ge=-1.0, le=1.0)
    steer_limit: float = Field(default=1.0, gt=0.0, le=1.0)
    opponents: OpponentConfig = Field(default_factory=OpponentConfig)

    @field_validator("link", mode="before")
    @classmethod
    def _over_a_driving_link(cls, value: Any) -> Any:
        """What is not named is as while driving, not as of a connection alone."""
        if isinstance(value, LinkConfig):
            value = {name: getattr(value, name) for name in value.model_fields_set}
        return {**driving_link().model_dump(), **value} if isinstance(value, Mapping) else value

    @model_validator(mode="after")
    def _limits_in_order(self) -> Self:
        if self.throttle_min >= self.throttle_max:
            raise ValueError(
                f"throttle_min must be below throttle_max, "
                f"received {self.throttle_min} and {self.throttle_max}"
            )
        return self

    @model_validator(mode="after")
    def _history_spans_latency(self) -> Self:
        self.latency.check_history(self.history)
        return self

    @model_validator(mode="after")
    def _is_done_elsewhere(self) -> Self:
        drawn, cues = self.randomisation, self.randomisation.cues.present
        alone = {
            f"randomisation.cues.{cues[0] if cues else ''} can only be shown": bool(cues),
            "randomisation.start_at_failures can only be used": drawn.start_at_failures,
            "opponents.count can only be more than 0": self.opponents.count,
        }
        asked = [text for text, value in alone.items() if value]
        if asked and self.simulator != "embedded":
            raise ValueError(
                f"{asked[0]} in the embedded simulator, received simulator={self.simulator}"
            )
        return self
