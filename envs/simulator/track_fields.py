"""The fields of track files and the ranges of their values.

`docs/tracks.md` describes every field and holds a minimal example.
"""

from __future__ import annotations

from typing import Annotated, Literal

import pydantic

from donkey_rl.configuration import Config
from donkey_rl.envs.simulator.scenery import Shape, Surroundings

MIN_WAYPOINTS = 8
MAX_WAYPOINTS = 20_000
MAX_LENGTH = 25_000.0
MIN_GAP = 0.01
MAX_GAP = 1000.0

Channel = Annotated[int, pydantic.Field(ge=0, le=255)]
Colour = tuple[Channel, Channel, Channel]
Coordinate = Annotated[float, pydantic.Field(ge=-20_000.0, le=20_000.0)]
Point = tuple[Coordinate, Coordinate]
Material = Literal[
    "road", "road_grain", "edge_line", "centre_line", "shoulder", "ground", "ground_grain"
]
Length = Annotated[float, pydantic.Field(gt=0.0, le=200.0)]
Edge = Annotated[float, pydantic.Field(ge=-30.0, le=30.0)]
Offset = Annotated[float, pydantic.Field(ge=-100.0, le=100.0)]
Share = Annotated[float, pydantic.Field(ge=0.0, le=1.0)]
HillSize = Annotated[float, pydantic.Field(gt=0.0, le=60.0)]
Degrees = Annotated[float, pydantic.Field(ge=-360.0, le=360.0)]
Name = Annotated[str, pydantic.Field(min_length=1, max_length=100)]

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

    left: Edge = pydantic.Field(default=-5.0, description="lateral offset of the left edge, u")
    right: Edge = pydantic.Field(default=5.0, description="lateral offset of the right edge, u")
    friction: float = pydantic.Field(default=0.8, gt=0.0, le=2.0, description="static friction")
    quads: bool = pydantic.Field(
        default=False, description="edges and lines are straight between nodes"
    )


class Stripe(Config):
    """A painted or paved band along the road."""

    start: Offset = pydantic.Field(description="lateral offset of its left side, u")
    end: Offset = pydantic.Field(description="lateral offset of its right side, u")
    material: Material
    dash: tuple[Length, Length] | None = pydantic.Field(
        default=None, description="painted and unpainted length, u"
    )


class Obstacle(Config):
    """A cone or a box beside the road."""

    name: Name
    shape: Shape
    x: Coordinate
    z: Coordinate
    yaw_deg: Degrees = 0.0
    width: Length
    length: Length | None = pydantic.Field(default=None, description="u; without it the width")
    height: Length
    colour: Colour = (224, 100, 40)
    solid: bool = True


class Barrier(Config):
    """A wall: along the road at `offset`, around the track at `margin`, or through `points`."""

    name: Name
    offset: Length | None = pydantic.Field(default=None, description="u from the path, both sides")
    margin: Length | None = pydantic.Field(
        default=None, description="u around the path's bounding box"
    )
    points: tuple[Point, ...] | None = pydantic.Field(default=None, min_length=2, max_length=256)
    height: Length = 1.0
    colour: Colour = (150, 150, 155)


class Hedge(Config):
    """A line of high grass or bushes through `points`; no obstacle."""

    points: tuple[Point, ...] = pydantic.Field(min_length=2, max_length=256)
    height: Length = 1.2


class Palm(Config):
    """A palm; no obstacle."""

    x: Coordinate
    z: Coordinate
    height: Length = 8.0


class Pose(Config):
    """A start pose; yaw in degrees, clockwise from +Z."""

    x: Coordinate
    z: Coordinate
    yaw_deg: Degrees


class Grid(Config):
    """The start grid; without poses, cars start at the first waypoint."""

    poses: tuple[Pose, ...] = pydantic.Field(default=(), max_length=64)
    columns: int = pydantic.Field(default=2, ge=1, le=16)
    column_spacing: Length = 4.5
    row_spacing: Length = 5.0


class StartLine(Config):
    """A point of the start and finish line, which crosses the road at a right angle."""

    x: Coordinate
    z: Coordinate
    drawn: bool = True


class Sun(Config):
    """Where the sun stands; azimuth clockwise from +Z."""

    azimuth_deg: Degrees = 150.0
    elevation_deg: float = pydantic.Field(default=50.0, ge=10.0, le=90.0)


class Look(Config):
    """Colours and surroundings; colours that are not given are those of asphalt and grass."""

    colours: dict[Material, Colour] = pydantic.Field(default_factory=dict)
    grain: float = pydantic.Field(default=0.5, ge=0.0, le=1.0)
    scenery: Surroundings = "hills"
    sky_top: Colour = (70, 106, 172)
    sky_horizon: Colour = (182, 198, 222)
    indoor: bool = False
    wear: tuple[tuple[Offset, Share], ...] = pydantic.Field(
        default=(), max_length=64, description="share of road_grain over the lateral offset, u"
    )
    worn_lines: Share = 0.0
    sheen: Share = 0.0
    sun: Sun | None = None
    hills_deg: tuple[tuple[Degrees, HillSize, HillSize], ...] = pydantic.Field(
        default=(), max_length=64, description="azimuth, half width and elevation of each hill"
    )


class RandomRoad(Config):
    """The parameters of the random walk of `random_road.walk`."""

    x: Coordinate
    z: Coordinate
    nodes: int = pydantic.Field(default=1000, ge=MIN_WAYPOINTS, le=10000)
    span: float = pydantic.Field(default=2.0, ge=0.5, le=200.0, description="u from node to node")
    turn_increment: float = pydantic.Field(
        default=1.0, ge=0.0, le=30.0, description="degrees per node"
    )


class ScriptRoad(Config):
    """A closed line of nodes from a track script, see `script_road`."""

    x: Coordinate
    z: Coordinate
    span: float = pydantic.Field(default=2.0, ge=0.5, le=200.0, description="u from node to node")
    commands: str = pydantic.Field(max_length=10_000)


class TrackFile(Config):
    """One track: a line of `waypoints`, a `script`, or a `random_road`."""

    format: Literal[1] = 1
    name: str = pydantic.Field(
        default="",
        max_length=100,
        pattern=r"^[^\x00-\x1f\x7f]*$",
        description="without one, the file's name",
    )
    source: str = ""
    note: str = ""
    waypoints: tuple[Point, ...] | None = pydantic.Field(default=None, max_length=MAX_WAYPOINTS)
    closed: bool = pydantic.Field(
        default=True, description="whether the line leads back to its first waypoint"
    )
    script: ScriptRoad | None = None
    random_road: RandomRoad | None = None
    source_nodes: int | None = pydantic.Field(default=None, ge=MIN_WAYPOINTS, le=100_000)
    crosses_itself: bool = False
    road: Road = Road()
    ground_friction: float = pydantic.Field(default=0.6, gt=0.0, le=2.0)
    stripes: tuple[Stripe, ...] | None = pydantic.Field(default=None, min_length=1, max_length=64)
    obstacles: tuple[Obstacle, ...] = pydantic.Field(default=(), max_length=1000)
    barriers: tuple[Barrier, ...] = pydantic.Field(default=(), max_length=32)
    hedges: tuple[Hedge, ...] = pydantic.Field(default=(), max_length=64)
    palms: tuple[Palm, ...] = pydantic.Field(default=(), max_length=256)
    grid: Grid = Grid()
    start_line: StartLine | None = None
    min_lap_s: float = pydantic.Field(default=10.0, gt=0.0, le=3600.0)
    look: Look = Look()
