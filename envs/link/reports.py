"""What the simulator tells its clients: every message of that direction as a value.

Reading is tolerant, since a report comes from somebody else's server: numbers may be text, and
optional parts may be missing. What is required and cannot be read is a `MessageError`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from donkey_rl.envs.link.fields import as_finite, as_integer, as_text
from donkey_rl.errors import MessageError

Vector = tuple[float, float, float]

PROTOCOL_VERSION = "2"
_MOST_SCENES = 1000
_MOST_BEAMS = 100_000
_MOST_IMAGE = 4_000_000
"""Characters of an encoded image, at most."""


@dataclasses.dataclass(frozen=True)
class Report:
    """A message from the simulator."""


@dataclasses.dataclass(frozen=True)
class Heartbeat(Report):
    """Says nothing but that the connection lives: `{}`, in 2020 `ping`."""


@dataclasses.dataclass(frozen=True)
class SceneSelectionReady(Report):
    """The menu is there."""

    loaded: str = "1"


@dataclasses.dataclass(frozen=True)
class ProtocolVersion(Report):
    """The version of the protocol."""

    version: str = PROTOCOL_VERSION


@dataclasses.dataclass(frozen=True)
class SceneNames(Report):
    """The scenes that can be loaded."""

    names: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class CarLoaded(Report):
    """This client has a car."""


@dataclasses.dataclass(frozen=True)
class NeedCarConfig(Report):
    """A race host wants `racer_info` and `car_config` before there is a car."""


@dataclasses.dataclass(frozen=True)
class RaceStart(Report):
    """Go: the controls count from now on."""


@dataclasses.dataclass(frozen=True)
class RaceStop(Report):
    """The race was reset."""


@dataclasses.dataclass(frozen=True)
class CrossStart(Report):
    """The start line was crossed; the time (s) of the lap before, 0 for the first crossing."""

    lap_time: float


@dataclasses.dataclass(frozen=True)
class Disqualified(Report):
    """`DQ`: a checkpoint was missed, or the car left the world."""

    missed_cp: bool


@dataclasses.dataclass(frozen=True)
class MissedCheckpoint(Report):
    """A checkpoint was missed."""


@dataclasses.dataclass(frozen=True)
class StartingLine(Report):
    """A car's body entered a starting line; the private API names the car."""

    index: int
    time_stamp: float
    car_name: str | None = None


@dataclasses.dataclass(frozen=True)
class ConeTouched(Report):
    """`collision_with_cone`, on the private API only."""

    index: int
    time_stamp: float
    car_name: str


@dataclasses.dataclass(frozen=True)
class Verified(Report):
    """The private API's key was right."""


@dataclasses.dataclass(frozen=True)
class PrivateKeyError(Report):
    """The private API's key was wrong, or missing."""

    error_message: str


@dataclasses.dataclass(frozen=True)
class NodePosition(Report):
    """A node of the path: place (u) and rotation (x, y, z, w)."""

    index: int
    position: Vector
    rotation: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 1.0)


@dataclasses.dataclass(frozen=True)
class Unknown(Report):
    """A message of a type that is not known."""

    type_name: str


class Beam(NamedTuple):
    """One lidar return: distance (u), angle around and angle down (degrees)."""

    d: float
    rx: float
    ry: float


@dataclasses.dataclass(frozen=True)
class Telemetry(Report):
    """What a car senses; units as its generation reports them.

    Attributes:
        image: The picture of camera A, encoded (JPEG, PNG or TGA) and as base64 text.
        time: Simulation time (s).
        speed: Never negative.
        steering: The last command, -1 to 1.
        throttle: The last command, -1 to 1.
        hit: What was touched since the last message, "none" for nothing.
        accel: Acceleration right, up, forward.
        gyro: Angular velocity (rad/s) of the car of 2022, part of a quaternion before.
        gyro_w: The rest of the quaternion, before 2022.
        image_b: The picture of camera B.
        lidar: Returns, None where there is no lidar.
        odometry: Wheel revolutions: rear right, rear left, front right, front left.
        angles: Pitch, yaw, roll in degrees.
        cte: Cross-track error (u), only outside races.
        node: Index of the path's node.
        nodes: Number of the path's nodes.
        position: Place, only outside races.
        velocity: In the car's axes, only outside races.
        on_road: Whether the car is on the road, before 2022.
        path_progress: Share of the shortest way that was driven, before 2022.
    """

    image: str
    time: float
    speed: float
    steering: float = 0.0
    throttle: float = 0.0
    hit: str = "none"
    accel: Vector | None = None
    gyro: Vector | None = None
    gyro_w: float | None = None
    image_b: str | None = None
    lidar: tuple[Beam, ...] | None = None
    odometry: tuple[float, float, float, float] | None = None
    angles: Vector | None = None
    cte: float | None = None
    node: int | None = None
    nodes: int | None = None
    position: Vector | None = None
    velocity: Vector | None = None
    on_road: bool | None = None
    path_progress: float | None = None

    @property
    def is_of_2022(self) -> bool:
        """Whether the car of 2022 or a newer one sent this: it reports angles and divides by 8."""
        return self.angles is not None


def parse(fields: Mapping[str, Any]) -> Report:
    """Reads a message from a simulator.

    Raises:
        MessageError: A required field is missing or cannot be read.
    """
    if not fields:
        return Heartbeat()
    type_name = fields.get("msg_type")
    if not isinstance(type_name, str):
        raise MessageError("?", "msg_type", "is missing")
    reader = _READERS.get(type_name)
    return reader(fields) if reader else Unknown(type_name[:64])


def _need(fields: Mapping[str, Any], name: str, found: Any) -> Any:
    if found is None:
        type_name = str(fields.get("msg_type"))
        shown = repr(fields.get(name))[:60] if name in fields else "nothing"
        raise MessageError(type_name, name, f"cannot be read. Received: {shown}")
    return found


def _required(fields: Mapping[str, Any], name: str) -> float:
    return float(_need(fields, name, as_finite(fields.get(name))))


def _all(fields: Mapping[str, Any], names: tuple[str, ...]) -> Any:
    """Returns several numbers, None unless all are there."""
    found = tuple(as_finite(fields.get(name)) for name in names)
    return None if None in found else found


def _telemetry(fields: Mapping[str, Any]) -> Telemetry:
    image = _need(fields, "image", as_text(fields.get("image"), _MOST_IMAGE))
    second = fields.get("imageb", fields.get("image_b"))
    on_road = as_finite(fields.get("on_road"))
    return Telemetry(
        image=image,
        time=_required(fields, "time"),
        speed=_required(fields, "speed"),
        steering=as_finite(fields.get("steering_angle")) or 0.0,
        throttle=as_finite(fields.get("throttle")) or 0.0,
        hit=as_text(fields.get("hit")) or "none",
        accel=_all(fields, ("accel_x", "accel_y", "accel_z")),
        gyro=_all(fields, ("gyro_x", "gyro_y", "gyro_z")),
        gyro_w=as_finite(fields.get("gyro_w")),
        image_b=as_text(second, _MOST_IMAGE),
        lidar=_lidar(fields.get("lidar")),
        odometry=_all(fields, ODOMETRY),
        angles=_all(fields, ("pitch", "yaw", "roll")),
        cte=as_finite(fields.get("cte")),
        node=as_integer(fields.get("activeNode")),
        nodes=as_integer(fields.get("totalNodes")),
        position=_all(fields, ("pos_x", "pos_y", "pos_z")),
        velocity=_all(fields, ("vel_x", "vel_y", "vel_z")),
        on_road=None if on_road is None else bool(on_road),
        path_progress=as_finite(fields.get("progress_on_shortest_path")),
    )


ODOMETRY = ("rear_right_odom", "rear_left_odom", "front_right_odom", "front_left_odom")


def _lidar(value: Any) -> tuple[Beam, ...] | None:
    if not isinstance(value, list) or len(value) > _MOST_BEAMS:
        return None
    beams = []
    for each in value:
        if isinstance(each, Mapping):
            found = _all(each, ("d", "rx", "ry"))
            if found is not None:
                beams.append(Beam(*found))
    return tuple(beams)


def _scene_names(fields: Mapping[str, Any]) -> SceneNames:
    names = fields.get("scene_names")
    if not isinstance(names, list) or len(names) > _MOST_SCENES:
        raise MessageError("scene_names", "scene_names", "must be a list of names")
    return SceneNames(tuple(name for name in names if as_text(name, 256) is not None))


def _cross_start(fields: Mapping[str, Any]) -> CrossStart:
    return CrossStart(_required(fields, "lap_time"))


def _disqualified(fields: Mapping[str, Any]) -> Disqualified:
    value = fields.get("missed_cp")
    return Disqualified(str(value).strip().lower() in ("true", "1"))


def _line(fields: Mapping[str, Any]) -> StartingLine:
    index = _need(fields, "starting_line_index", as_integer(fields.get("starting_line_index")))
    name = as_text(fields.get("car_name"))
    return StartingLine(index, _required(fields, "timeStamp"), name)


def _cone(fields: Mapping[str, Any]) -> ConeTouched:
    index = _need(fields, "cone_index", as_integer(fields.get("cone_index")))
    return ConeTouched(index, _required(fields, "timeStamp"), str(fields.get("car_name", "")))


def _node(fields: Mapping[str, Any]) -> NodePosition:
    index = _need(fields, "index", as_integer(fields.get("index")))
    place = _need(fields, "pos_x", _all(fields, ("pos_x", "pos_y", "pos_z")))
    rotation = _all(fields, ("Qx", "Qy", "Qz", "Qw"))
    return NodePosition(index, place, rotation or (0.0, 0.0, 0.0, 1.0))


def _selection(fields: Mapping[str, Any]) -> SceneSelectionReady:
    return SceneSelectionReady(str(fields.get("loaded", "1"))[:8])


def _version(fields: Mapping[str, Any]) -> ProtocolVersion:
    return ProtocolVersion(str(fields.get("version", ""))[:16])


def _key_error(fields: Mapping[str, Any]) -> PrivateKeyError:
    return PrivateKeyError(str(fields.get("error_message", ""))[:256])


_READERS: dict[str, Callable[[Mapping[str, Any]], Report]] = {
    "scene_selection_ready": _selection,
    "protocol_version": _version,
    "scene_names": _scene_names,
    "car_loaded": lambda _: CarLoaded(),
    "telemetry": _telemetry,
    "node_position": _node,
    "collision_with_starting_line": _line,
    "collision_with_cone": _cone,
    "need_car_config": lambda _: NeedCarConfig(),
    "cross_start": _cross_start,
    "race_start": lambda _: RaceStart(),
    "race_stop": lambda _: RaceStop(),
    "DQ": _disqualified,
    "missed_checkpoint": lambda _: MissedCheckpoint(),
    "ping": lambda _: Heartbeat(),
    "verified": lambda _: Verified(),
    "private_key_error": _key_error,
}

_PLAIN: dict[type[Report], str] = {
    CarLoaded: "car_loaded",
    NeedCarConfig: "need_car_config",
    RaceStart: "race_start",
    RaceStop: "race_stop",
    MissedCheckpoint: "missed_checkpoint",
    Verified: "verified",
}


def to_fields(report: Report) -> dict[str, Any]:
    """Returns the fields of a message in the simulator's order.

    Telemetry is written by `donkey_rl.envs.simulator.telemetry`, which knows the order of each
    generation.
    """
    match report:
        case SceneSelectionReady(loaded):
            return {"msg_type": "scene_selection_ready", "loaded": loaded}
        case ProtocolVersion(version):
            return {"msg_type": "protocol_version", "version": version}
        case SceneNames(names):
            return {"scene_names": list(names), "msg_type": "scene_names"}
        case CrossStart(lap_time):
            return {"msg_type": "cross_start", "lap_time": f"{lap_time:.7g}"}
        case Disqualified(missed_cp):
            return {"msg_type": "DQ", "missed_cp": missed_cp}
        case StartingLine(index, stamp, name):
            named = {} if name is None else {"car_name": name}
            fields = {"starting_line_index": index, "timeStamp": stamp}
            return {"msg_type": "collision_with_starting_line", **named, **fields}
        case ConeTouched(index, stamp, name):
            return {
                "msg_type": "collision_with_cone",
                "car_name": name,
                "cone_index": index,
                "timeStamp": stamp,
            }
        case PrivateKeyError(message):
            return {"msg_type": "private_key_error", "error_message": message}
        case NodePosition(index, place, rotation):
            found: dict[str, Any] = {"msg_type": "node_position", "index": index}
            found |= dict(zip(("pos_x", "pos_y", "pos_z"), place, strict=True))
            return found | dict(zip(("Qx", "Qy", "Qz", "Qw"), rotation, strict=True))
        case Heartbeat():
            return {}
    return {"msg_type": _PLAIN[type(report)]}
