"""Everything that describes a simulator served on TCP."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from donkey_rl.configuration import Config
from donkey_rl.envs.serving.race.config import RaceRules
from donkey_rl.envs.simulator.randomisation import Randomisation

MOST_CLIENTS = 256


class ServerConfig(Config):
    """The address, the scene and the manners of a served simulator.

    Attributes:
        track: Scene that runs from the start: a scene's name, `NAME:mirror`,
            `generated_road:7` or the path of a track file; None starts in the menu.
        host: Address to listen on; `0.0.0.0` is every address of this machine.
        port: Port for drivers; 0 takes a free one.
        private_port: Port of the private API, 0 takes a free one; None does without it. There is
            none in 2020 either, when it did not exist.
        generation: Whose car, parser, heartbeat and messages are served.
        tolerant: Whether clients may end messages with newlines and write numbers as numbers,
            which the simulator of no generation takes.
        time_scale: Simulation seconds per second, or "max": as fast as the clients answer, in
            lock-step.
        lockstep_patience_s: A car whose client does not answer for so long is not waited for in
            lock-step until it answers again.
        max_clients: More connections than this are closed at once.
        idle_s: A car that moves less than 1 u in so long (simulation time) is sent away.
        allow_quit: Whether `quit_app` of a client ends the server.
        extended_telemetry: Whether telemetry holds cte, place and velocity, and cars may be put
            somewhere; a race has its own setting.
        private_key: What `verify` must say; 16 random hexadecimal digits by default.
        seed: Of randomisation and cones.
        cones: Traffic cones put on the road at random, which cannot be hit but are counted.
        race: The rules of a race evening; None: everybody drives as they like.
    """

    track: str | None = None
    host: str = "127.0.0.1"
    port: int = Field(default=9091, ge=0, le=65535)
    private_port: int | None = Field(default=9092, ge=0, le=65535)
    generation: Literal[2020, 2021, 2022] = 2022
    tolerant: bool = False
    time_scale: float | Literal["max"] = 1.0
    lockstep_patience_s: float = Field(default=1.0, ge=0.05, le=600.0)
    max_clients: int = Field(default=32, ge=1, le=MOST_CLIENTS)
    idle_s: float = Field(default=300.0, ge=1.0, le=1e6, description="simulation time")
    allow_quit: bool = False
    extended_telemetry: bool = True
    private_key: str | None = Field(default=None, min_length=1, max_length=64)
    seed: int = Field(default=0, ge=0, le=2**31 - 1)
    cones: int = Field(default=0, ge=0, le=100)
    randomisation: Randomisation = Field(default_factory=Randomisation)
    race: RaceRules | None = None

    @field_validator("time_scale", mode="before")
    @classmethod
    def _scale_or_max(cls, value: Any) -> Any:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if value == "max" or (number and 0.1 <= value <= 20.0):
            return value
        raise ValueError("should be 0.1 to 20, or 'max'")

    @field_validator("randomisation")
    @classmethod
    def _starts_on_the_grid(cls, value: Randomisation) -> Randomisation:
        if value.varies_start:
            raise ValueError(
                "cars start on their own place, where clients wait for them after a reset; leave "
                "start_anywhere, start_lateral, start_yaw and start_speed out"
            )
        return value

    @model_validator(mode="after")
    def _ports_apart(self) -> Self:
        if self.port != 0 and self.port == self.private_port:
            raise ValueError(f"port and private_port must differ, received {self.port} for both")
        return self

    @model_validator(mode="after")
    def _lets_racers_in(self) -> Self:
        if self.race is not None and self.race.min_competitors > self.max_clients:
            raise ValueError(
                f"race.min_competitors must not be above max_clients, received "
                f"{self.race.min_competitors} and {self.max_clients}"
            )
        return self

    @property
    def vehicle(self) -> str:
        """The car of the generation."""
        return f"donkey_{self.generation}"
