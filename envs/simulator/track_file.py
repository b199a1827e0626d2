"""The format of track files: JSON, checked field by field.

`docs/tracks.md` describes every field and holds a minimal example.
"""

from __future__ import annotations

import json
import math
import pathlib
from typing import Annotated, Literal, get_args

import pydantic

from donkey_rl import errors
from donkey_rl.configuration import Config
from donkey_rl.envs.simulator.scenery import Shape, Surroundings

MIN_WAYPOINTS = 8
MIN_GAP = 0.01

Channel = Annotated[int, pydantic.Field(ge=0, le=255)]
Colour = tuple[Channel, Channel, Channel]
Coordinate = Annotated[float, pydantic.Field(ge=-20_000.0, le=20_000.0)]
Point = tuple[Coordinate, Coordinate]
Material = Literal[
    "road", "road_grain", "edge_line", "centre_line", "shoulder", "ground", "ground_grain"
]
Positive = Annotated[float, pydantic.Field(gt=0.0)]

DEFAULT_COLOURS: dict[str, Colour] = {
    "road": (104, 106, 108),
    "road_grain": (138, 140, 141),
    "edge_line": (226, 228, 228),
    "centre_line": (214, 164, 56),
    "shoulder": (146, 142, 132),
    "ground": (98, 112, 58),
    "ground_grain": (112, 96, 70),
}


class Road(Config):
    """The drivable surface; lateral offsets in u are positive to the right of the path."""

    left: float = pydantic.Field(default=-5.0, description="lateral offset of the left edge, u")
    right: float = pydantic.Field(default=5.0, description="lateral offset of the right edge, u")
    friction: float = pydantic.Field(default=0.8, gt=0.0, le=2.0, description="static friction")


class Stripe(Config):
    """A painted or paved band along the road."""

    start: float = pydantic.Field(description="lateral offset of its left side, u")
    end: float = pydantic.Field(description="lateral offset of its right side, u")
    material: Material
    dash: tuple[Positive, Positive] | None = pydantic.Field(
        None, description="painted and unpainted length, u"
    )


class Obstacle(Config):
    """A cone or a box beside the road."""

    name: str = pydantic.Field(min_length=1)
    shape: Shape
    x: float
    z: float
    yaw_deg: float = 0.0
    width: Positive
    length: Positive | None = pydantic.Field(default=None, description="u; without it the width")
    height: Positive
    colour: Colour
    solid: bool = True


class Barrier(Config):
    """A wall: along the road at `offset`, around the track at `margin`, or through `points`."""

    name: str = pydantic.Field(min_length=1)
    offset: Positive | None = pydantic.Field(
        default=None, description="u from the path, both sides"
    )
    margin: Positive | None = pydantic.Field(
        default=None, description="u around the path's bounding box"
    )
    points: tuple[Point, ...] | None = pydantic.Field(default=None, min_length=2)
    height: Positive = 1.0
    colour: Colour = (150, 150, 155)


class Pose(Config):
    """A start pose; yaw in degrees, clockwise from +Z."""

    x: float
    z: float
    yaw_deg: float


class Grid(Config):
    """The start grid; without poses, cars start at the first waypoint."""

    poses: tuple[Pose, ...] = ()
    columns: int = pydantic.Field(default=2, ge=1, le=16)
    column_spacing: Positive = 4.5
    row_spacing: Positive = 5.0


class StartLine(Config):
    """A point of the start and finish line, which crosses the road at a right angle."""

    x: float
    z: float
    drawn: bool = True


class Look(Config):
    """Colours and surroundings; colours that are not given are those of asphalt and grass."""

    colours: dict[Material, Colour] = pydantic.Field(default_factory=dict)
    grain: float = pydantic.Field(default=0.5, ge=0.0, le=1.0)
    scenery: Surroundings = "hills"
    sky_top: Colour = (70, 106, 172)
    sky_horizon: Colour = (182, 198, 222)
    indoor: bool = False


class RandomRoad(Config):
    """The parameters of the random walk of `random_road.walk`."""

    x: float
    z: float
    nodes: int = pydantic.Field(default=1000, ge=MIN_WAYPOINTS, le=10000)
    span: float = pydantic.Field(default=2.0, gt=0.0, description="u from node to node")
    turn_increment: float = pydantic.Field(
        default=1.0, ge=0.0, le=30.0, description="degrees per node"
    )


class TrackFile(Config):
    """One track: a closed line of `waypoints`, or a `random_road`."""

    format: Literal[1] = 1
    name: str = pydantic.Field(default="", description="without one, the file's name")
    source: str = ""
    note: str = ""
    waypoints: tuple[Point, ...] | None = None
    random_road: RandomRoad | None = None
    source_nodes: int | None = pydantic.Field(default=None, ge=MIN_WAYPOINTS, le=100_000)
    crosses_itself: bool = False
    road: Road = Road()
    ground_friction: float = pydantic.Field(default=0.6, gt=0.0, le=2.0)
    stripes: tuple[Stripe, ...] | None = None
    obstacles: tuple[Obstacle, ...] = ()
    barriers: tuple[Barrier, ...] = ()
    grid: Grid = Grid()
    start_line: StartLine | None = None
    min_lap_s: float = pydantic.Field(default=10.0, gt=0.0)
    look: Look = Look()


def read(file: pathlib.Path) -> TrackFile:
    """Reads and checks the fields of a track file.

    What only the finished road shows (bends, touching edges) is checked by `road_shape`.

    Args:
        file: A JSON file.

    Raises:
        TrackError: The file cannot be read, is not JSON, or a field is unknown or wrong. The
            message names the file and the field.
    """
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8 text"
        raise errors.TrackError(
            f"{file}: expected a readable track file. Received: {reason}. Check the path."
        ) from error
    try:
        content = json.loads(text)
    except json.JSONDecodeError as error:
        raise errors.TrackError(
            f"{file}: expected JSON. Received: {error.msg} at line {error.lineno}, column "
            f"{error.colno}. Mend the text there."
        ) from error
    if not isinstance(content, dict):
        raise errors.TrackError(
            f"{file}: expected a JSON object with a field 'waypoints'. "
            f"Received: {type(content).__name__}. Put the track into {{...}}."
        )
    try:
        parsed = TrackFile.model_validate(content)
    except pydantic.ValidationError as error:
        raise errors.TrackError(f"{file}: {_describe(error)}") from error
    _check_values(file, parsed)
    return parsed


def wrong(file: pathlib.Path, field: str, expected: str, received: str, remedy: str) -> Exception:
    """Returns the error for one field of a track file."""
    return errors.TrackError(
        f"{file}: field '{field}': expected {expected}. Received: {received}. {remedy}"
    )


def _check_values(file: pathlib.Path, track: TrackFile) -> None:
    """Checks what concerns more than one field.

    Raises:
        TrackError: Names the file and the field.
    """
    if (track.waypoints is None) == (track.random_road is None):
        both = "both" if track.waypoints is not None else "neither"
        raise wrong(
            file, "waypoints", "either 'waypoints' or 'random_road'", both, "Give exactly one."
        )
    if track.waypoints is not None:
        _check_waypoints(file, track.waypoints)
    for index, stripe in enumerate(track.stripes or ()):
        if not stripe.start < stripe.end:
            raise wrong(
                file,
                f"stripes[{index}]",
                "start < end (offsets are negative to the left)",
                f"start={stripe.start:g}, end={stripe.end:g}",
                "Exchange the two.",
            )
    for index, barrier in enumerate(track.barriers):
        given = [
            field
            for field in ("offset", "margin", "points")
            if getattr(barrier, field) is not None
        ]
        if len(given) != 1:
            raise wrong(
                file,
                f"barriers[{index}]",
                "exactly one of 'offset', 'margin' and 'points'",
                ", ".join(given) or "none",
                "Say in one way where the barrier stands.",
            )


def _check_waypoints(file: pathlib.Path, waypoints: tuple[Point, ...]) -> None:
    """Checks the number of waypoints and that neighbours are apart.

    Raises:
        TrackError: Names the file and the waypoint.
    """
    if len(waypoints) < MIN_WAYPOINTS:
        raise wrong(
            file,
            "waypoints",
            f"at least {MIN_WAYPOINTS} points",
            f"{len(waypoints)} points",
            "Add points along the centre line, one every 5 to 10 u.",
        )
    for index, point in enumerate(waypoints):
        following = (index + 1) % len(waypoints)
        if math.dist(point, waypoints[following]) < MIN_GAP:
            remedy = (
                "Remove one of them."
                if following
                else "Remove the last: the road is closed without it."
            )
            raise wrong(
                file,
                f"waypoints[{index}]",
                f"a point other than waypoints[{following}], at least {MIN_GAP} u away",
                f"{list(point)} and {list(waypoints[following])}",
                remedy,
            )


def _describe(error: pydantic.ValidationError) -> str:
    """Says in one sentence what is wrong with the first wrong field."""
    first = error.errors(include_url=False)[0]
    field = ""
    for part in first["loc"]:
        field += f"[{part}]" if isinstance(part, int) else f".{part}"
    field = field.lstrip(".")
    if first["type"] == "extra_forbidden":
        known = _fields_beside(first["loc"])
        unknown = str(first["loc"][-1])
        near = errors.nearest(unknown, known)
        hint = f"Did you mean '{near}'?" if near else f"Choose from: {', '.join(known)}."
        return f"field '{field}': expected a known field. Received: '{unknown}'. {hint}"
    if first["type"] == "missing":
        return f"field '{field}': expected a value. Received: nothing. Add the field."
    expected = first["msg"].removeprefix("Input should be ").removeprefix("Value error, ")
    return (
        f"field '{field}': expected {expected}. Received: {first['input']!r}. "
        "See docs/tracks.md for the format."
    )


def _fields_beside(location: tuple[int | str, ...]) -> list[str]:
    """Returns the fields of the model in which an unknown key stands."""
    model: type[pydantic.BaseModel] = TrackFile
    for part in location[:-1]:
        if isinstance(part, str):
            model = _model_in(model.model_fields[part].annotation) or model
    return list(model.model_fields)


def _model_in(annotation: object) -> type[pydantic.BaseModel] | None:
    """Returns the model within an annotation such as ``tuple[Stripe, ...] | None``."""
    if isinstance(annotation, type) and issubclass(annotation, pydantic.BaseModel):
        return annotation
    found = (_model_in(argument) for argument in get_args(annotation))
    return next((model for model in found if model is not None), None)
