"""What a client tells the simulator: every message of that direction as a value.

Names, typing and ranges are those of `TcpMenuHandler`, `TcpCarHandler` and
`TcpPrivateAPIHandler` of the DonkeyCar simulator; where it knows no range, the documented one of
`cam_config` and wide ones elsewhere bound what strangers send.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any, ClassVar, TypeVar

from donkey_rl.envs.link.fields import integer, number, read, rules, text, written
from donkey_rl.errors import MessageError

CommandT = TypeVar("CommandT", bound="type[Command]")

MOST_NAME = 64


@dataclasses.dataclass(frozen=True)
class Command:
    """A message from a client.

    Attributes:
        TYPE: Its `msg_type`.
        SETS_UP: Whether it configures something; the oldest servers lose such messages if others
            follow at once.
    """

    TYPE: ClassVar[str] = ""
    SETS_UP: ClassVar[bool] = False


_KNOWN: dict[str, type[Command]] = {}


def _known(command: CommandT) -> CommandT:
    _KNOWN[command.TYPE] = command
    return command


def types() -> tuple[str, ...]:
    """Returns the `msg_type` of every message that a client may send."""
    return tuple(_KNOWN)


@_known
@dataclasses.dataclass(frozen=True)
class Connected(Command):
    """Asks the menu to say `scene_selection_ready` again."""

    TYPE: ClassVar[str] = "connected"


@_known
@dataclasses.dataclass(frozen=True)
class GetProtocolVersion(Command):
    """Asks for the version of the protocol."""

    TYPE: ClassVar[str] = "get_protocol_version"


@_known
@dataclasses.dataclass(frozen=True)
class GetSceneNames(Command):
    """Asks the menu for the scenes."""

    TYPE: ClassVar[str] = "get_scene_names"


@_known
@dataclasses.dataclass(frozen=True)
class LoadScene(Command):
    """Moves all clients into a scene."""

    TYPE: ClassVar[str] = "load_scene"
    SETS_UP: ClassVar[bool] = True
    scene_name: str = text()


@_known
@dataclasses.dataclass(frozen=True)
class ExitScene(Command):
    """Goes back to the menu."""

    TYPE: ClassVar[str] = "exit_scene"
    SETS_UP: ClassVar[bool] = True


@_known
@dataclasses.dataclass(frozen=True)
class QuitApp(Command):
    """Ends the simulator."""

    TYPE: ClassVar[str] = "quit_app"


@_known
@dataclasses.dataclass(frozen=True)
class Control(Command):
    """Steers a car: right is positive; values outside are clamped, as the simulator does."""

    TYPE: ClassVar[str] = "control"
    steering: float = number(-1.0, 1.0, clamp=True)
    throttle: float = number(-1.0, 1.0, clamp=True)
    brake: float = number(0.0, 1.0, clamp=True)


@_known
@dataclasses.dataclass(frozen=True)
class ResetCar(Command):
    """Puts the car back to its own start."""

    TYPE: ClassVar[str] = "reset_car"


@_known
@dataclasses.dataclass(frozen=True)
class CarConfig(Command):
    """Body, colour (0 to 255) and name of a car."""

    TYPE: ClassVar[str] = "car_config"
    SETS_UP: ClassVar[bool] = True
    body_style: str = text(32)
    body_r: int = integer(0, 255)
    body_g: int = integer(0, 255)
    body_b: int = integer(0, 255)
    car_name: str = text(MOST_NAME)
    font_size: int = integer(1, 1000, default=100, optional=True)


@_known
@dataclasses.dataclass(frozen=True)
class CamConfig(Command):
    """The car's camera; 0 means "leave as it is".

    Offsets in u in the car's axes, angles in degrees. `img_enc` counts if it has three letters.
    """

    TYPE: ClassVar[str] = "cam_config"
    SETS_UP: ClassVar[bool] = True
    fov: float = number(10.0, 200.0, zero=True)
    offset_x: float = number(-100.0, 100.0)
    offset_y: float = number(-100.0, 100.0)
    offset_z: float = number(-100.0, 100.0)
    rot_x: float = number(-360.0, 360.0)
    fish_eye_x: float = number(0.0, 1.0)
    fish_eye_y: float = number(0.0, 1.0)
    img_w: int = integer(16, 512, zero=True)
    img_h: int = integer(16, 512, zero=True)
    img_d: int = integer(1, 3, zero=True)
    img_enc: str = text(8)
    rot_y: float = number(-360.0, 360.0, default=0.0, optional=True)
    rot_z: float = number(-360.0, 360.0, default=0.0, optional=True)


@_known
@dataclasses.dataclass(frozen=True)
class CamConfigB(CamConfig):
    """The car's second camera, which this message switches on."""

    TYPE: ClassVar[str] = "cam_config_b"


@_known
@dataclasses.dataclass(frozen=True)
class LidarConfig(Command):
    """The car's lidar, which this message switches on; offsets of 0 keep the place.

    Offsets and range in u, angles in degrees.
    """

    TYPE: ClassVar[str] = "lidar_config"
    SETS_UP: ClassVar[bool] = True
    degPerSweepInc: float = number(0.5, 360.0)  # noqa: N815
    degAngDown: float = number(-90.0, 90.0)  # noqa: N815
    degAngDelta: float = number(-90.0, 90.0)  # noqa: N815
    numSweepsLevels: int = integer(1, 64)  # noqa: N815
    maxRange: float = number(0.1, 1000.0)  # noqa: N815
    noise: float = number(0.0, 100.0)
    offset_x: float = number(-100.0, 100.0)
    offset_y: float = number(-100.0, 100.0)
    offset_z: float = number(-100.0, 100.0)
    rot_x: float = number(-360.0, 360.0)


@_known
@dataclasses.dataclass(frozen=True)
class SetPosition(Command):
    """Puts the car somewhere (u); without a whole quaternion it looks along +Z."""

    TYPE: ClassVar[str] = "set_position"
    pos_x: float = number(-1e5, 1e5)
    pos_y: float = number(-1e5, 1e5)
    pos_z: float = number(-1e5, 1e5)
    Qx: float | None = number(-1.0, 1.0, default=None, optional=True)
    Qy: float | None = number(-1.0, 1.0, default=None, optional=True)
    Qz: float | None = number(-1.0, 1.0, default=None, optional=True)
    Qw: float | None = number(-1.0, 1.0, default=None, optional=True)


@_known
@dataclasses.dataclass(frozen=True)
class GetNodePosition(Command):
    """Asks for a node of the path; there is no answer to an index outside it."""

    TYPE: ClassVar[str] = "node_position"
    index: int = integer(-(2**31), 2**31 - 1)


@_known
@dataclasses.dataclass(frozen=True)
class StepMode(Command):
    """Asks for lock-step ("synchronous") or the simulator's own clock (anything else)."""

    TYPE: ClassVar[str] = "step_mode"
    SETS_UP: ClassVar[bool] = True
    step_mode: str = text(32)
    time_step: float = number(0.0, 10.0)


@_known
@dataclasses.dataclass(frozen=True)
class RegenRoad(Command):
    """Lays a new random road."""

    TYPE: ClassVar[str] = "regen_road"
    SETS_UP: ClassVar[bool] = True
    road_style: int = integer(0, 2**31 - 1)
    rand_seed: int = integer(-(2**31), 2**31 - 1)
    turn_increment: float = number(0.0, 20.0)


@_known
@dataclasses.dataclass(frozen=True)
class RacerInfo(Command):
    """Who races; the same `guid` after a lost connection is the same competitor."""

    TYPE: ClassVar[str] = "racer_info"
    SETS_UP: ClassVar[bool] = True
    racer_name: str = text(MOST_NAME)
    car_name: str = text(MOST_NAME)
    bio: str = text(2000)
    country: str = text(MOST_NAME)
    guid: str = text(128, default="", optional=True)


@_known
@dataclasses.dataclass(frozen=True)
class Verify(Command):
    """Opens the private API with its key."""

    TYPE: ClassVar[str] = "verify"
    private_key: str = text(64)


@_known
@dataclasses.dataclass(frozen=True)
class SetRandomSeed(Command):
    """Sets the seed of the challenges, over the private API."""

    TYPE: ClassVar[str] = "set_random_seed"
    seed: int = integer(-(2**31), 2**31 - 1)


@_known
@dataclasses.dataclass(frozen=True)
class ResetChallenges(Command):
    """Lays out the challenges anew, over the private API."""

    TYPE: ClassVar[str] = "reset_challenges"


def to_fields(command: Command) -> dict[str, str]:
    """Returns the fields of a message, `msg_type` first, all of them text.

    >>> to_fields(Control(0.25, 0.5, 0.0))
    {'msg_type': 'control', 'steering': '0.25', 'throttle': '0.5', 'brake': '0'}
    """
    found = {"msg_type": command.TYPE}
    for name in rules(type(command)):
        value = getattr(command, name)
        if value is not None:
            found[name] = written(value)
    return found


def encode(command: Command) -> bytes:
    """Returns a message as every known server takes it: one flat object, no newline behind it."""
    return json.dumps(to_fields(command), separators=(",", ":")).encode("utf-8")


def parse(fields: Mapping[str, Any], *, strings_only: bool = True) -> Command:
    """Reads a message from a client.

    Args:
        fields: The JSON object.
        strings_only: Whether values must be JSON strings, as the simulator wants them.

    Raises:
        MessageError: The type is unknown, a field is missing or does not fit.
    """
    type_name = fields.get("msg_type")
    if not isinstance(type_name, str):
        raise MessageError("?", "msg_type", "is missing")
    message = _KNOWN.get(type_name)
    if message is None:
        raise MessageError(type_name[:MOST_NAME], "msg_type", "is unknown")
    values: dict[str, Any] = {}
    for name, rule in rules(message).items():
        if name in fields:
            values[name] = read(type_name, name, rule, fields[name], strings_only=strings_only)
        elif not rule.optional:
            raise MessageError(type_name, name, "is missing")
    return message(**values)
