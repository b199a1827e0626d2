"""Tracks: a road, what stands beside it, and where cars start.

The scenes of the DonkeyCar simulator by their names, and tracks from files of the same format:

>>> from donkey_rl.envs.simulator import track
>>> track.load("generated_track").road_right
2.8
>>> track.load("generated_track:mirror").road_left
-2.8
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import math
import pathlib
import re

import numpy as np

from donkey_rl import errors, user_paths
from donkey_rl.envs.simulator import (
    random_circuit,
    random_road,
    road_shape,
    script_road,
    track_fields,
    track_file,
)
from donkey_rl.envs.simulator.path import Curve, FloatArray, Path
from donkey_rl.envs.simulator.scenery import (
    Barrier,
    Hedge,
    Hill,
    Look,
    Obstacle,
    Palm,
    Pose,
    StartGrid,
    Stripe,
    Sun,
)

FOLDER = pathlib.Path(__file__).with_name("tracks")
MIRROR = ":mirror"
NODE_SPACING = 2.0
START_LINE_AHEAD = 3.0
ROAD_FRICTION = 0.8
GROUND_FRICTION = 0.6
"""Static friction of all scenes, on the road and beside it."""

_SEAM = 2.5
"""Spans around the start of a script from which its last nodes are left out of the path."""


_NAMES = (
    "generated_road",
    "warehouse",
    "sparkfun_avc",
    "generated_track",
    "mountain_track",
    "roboracingleague_1",
    "waveshare",
    "mini_monaco",
    "warren",
    "thunderhill",
    "circuit_launch",
)


@dataclasses.dataclass(frozen=True, eq=False)
class Track:
    """A road and its surroundings; lengths in u, lateral offsets positive to the right.

    Attributes:
        name: By which `load` returns it.
        source: Where its figures come from.
        nodes: ``(n, 2)`` points ``[x, z]`` that the cross-track error is measured from.
        path: The same line, dense.
        road_left: Lateral offset of the road's left edge.
        road_right: Lateral offset of the road's right edge.
        stripes: Surfaces along the road; later ones lie over earlier ones.
        obstacles: Things beside the road.
        barriers: Walls.
        grid: Where cars start.
        start_line: Arc length of the start and finish line.
        look: Colours.
        start_line_drawn: Whether a chequered band is painted on the road.
        quads: Whether edges and lines are straight between the nodes, as in the simulator's
            road meshes.
        hedges: High grass and bushes; no obstacles.
        palms: No obstacles either.
        min_lap_s: Crossings of the line sooner than this after the last are no laps.
        road_friction: Static friction of the road.
        ground_friction: Static friction beside it.
    """

    name: str
    source: str
    nodes: FloatArray
    path: Path
    road_left: float
    road_right: float
    stripes: tuple[Stripe, ...]
    obstacles: tuple[Obstacle, ...]
    barriers: tuple[Barrier, ...]
    grid: StartGrid
    start_line: float
    look: Look
    start_line_drawn: bool = False
    quads: bool = False
    hedges: tuple[Hedge, ...] = ()
    palms: tuple[Palm, ...] = ()
    min_lap_s: float = 10.0
    road_friction: float = ROAD_FRICTION
    ground_friction: float = GROUND_FRICTION

    @property
    def closed(self) -> bool:
        """Whether the road leads back to its start."""
        return self.path.closed

    @property
    def length(self) -> float:
        """Arc length of the path in u."""
        return self.path.length

    @property
    def road_width(self) -> float:
        """Distance of the road's edges."""
        return self.road_right - self.road_left

    @property
    def road_middle(self) -> float:
        """Lateral offset of the middle between the road's edges."""
        return 0.5 * (self.road_left + self.road_right)

    @functools.cached_property
    def digest(self) -> str:
        """SHA-256 of what lap times depend on: nodes, edges, start line, to 1e-4 u, and friction.

        Tracks of one name differ from one version of a scene, or of a file, to another.
        """
        across = [self.road_left, self.road_right, self.start_line]
        friction = (self.road_friction, self.ground_friction)
        # That of all scenes says nothing, so that their digests stay what they were.
        across += friction if friction != (ROAD_FRICTION, GROUND_FRICTION) else ()
        figures = np.round(1e4 * np.append(self.nodes, across)).astype("<i8")
        return hashlib.sha256(b"%d" % self.closed + figures.tobytes()).hexdigest()

    def mirrored(self) -> Track:
        """Returns the image under x -> -x, driven from the same start over the same line.

        Left bends become right ones: twice the roads from the same files. The image of
        ``name`` is called ``name:mirror``, and the image of that ``name`` again.
        """
        mirror = self.name.endswith(MIRROR)
        return dataclasses.replace(
            self,
            name=self.name.removesuffix(MIRROR) if mirror else self.name + MIRROR,
            nodes=self.nodes * np.array([-1.0, 1.0]),
            path=self.path.mirrored(),
            road_left=-self.road_right,
            road_right=-self.road_left,
            stripes=tuple(stripe.mirrored() for stripe in self.stripes),
            obstacles=tuple(obstacle.mirrored() for obstacle in self.obstacles),
            barriers=tuple(barrier.mirrored() for barrier in self.barriers),
            grid=self.grid.mirrored(),
            look=self.look.mirrored(),
            hedges=tuple(hedge.mirrored() for hedge in self.hedges),
            palms=tuple(palm.mirrored() for palm in self.palms),
        )


def names() -> tuple[str, ...]:
    """Returns the names of the simulator's scenes, in its order."""
    return _NAMES


def load(name_or_path: str) -> Track:
    """Loads a track.

    Args:
        name_or_path: A scene's name, or the path of a ``.json`` track file; with ``:mirror``
            behind it, its mirror image. Of random roads each number is another one:
            ``generated_road:7``, ``random_circuit:7``, ``tight_circuit:7``; without a number it is
            number 0.

    Raises:
        UnknownNameError: No scene has that name. Carries the nearest one.
        TrackError: The file cannot be read or the track cannot be driven.
    """
    wanted = str(name_or_path)
    plain = wanted.removesuffix(MIRROR)
    numbered = re.fullmatch(r"(.+):(\d{1,9})", plain)
    number = int(numbered[2]) if numbered else None
    plain = numbered[1] if numbered else plain
    if plain in random_circuit.NAMES:
        return _circuit(plain, number or 0, wanted.endswith(MIRROR))
    if plain in _NAMES:
        file = FOLDER / f"{plain}.json"
    elif plain.endswith(".json"):
        file = user_paths.path_of(plain)
    else:
        raise errors.UnknownNameError("track", plain, (*_NAMES, *random_circuit.NAMES))
    scene = plain if plain in _NAMES else None
    return _load(file, _changed(file), scene, number, wanted.endswith(MIRROR))


@functools.lru_cache(maxsize=512)
def _circuit(kind: str, number: int, mirrored: bool) -> Track:
    """Lays out a random circuit."""
    name = f"{kind}:{number}"
    track = _build(pathlib.Path(name), random_circuit.fields(kind, number), name, number)
    return track.mirrored() if mirrored else track


def _changed(file: pathlib.Path) -> int:
    """Returns when a file was last changed (ns), 0 if only reading it can say what is wrong."""
    try:
        return file.stat().st_mtime_ns
    except (OSError, ValueError):
        return 0


@functools.lru_cache(maxsize=64)
def _load(
    file: pathlib.Path, changed: int, scene: str | None, number: int | None, mirrored: bool
) -> Track:
    """Reads a file once for each time that it was changed, so that one track is one object."""
    fields = track_file.read(file)
    name = scene or fields.name or file.stem
    if number is not None:
        if fields.random_road is None:
            raise errors.TrackError(
                f"Only a random road takes a number. Received: '{name}:{number}'. "
                f"Leave the number out, or drive '{random_circuit.NAME}:{number}'."
            )
        name = f"{name}:{number}"
    track = _build(file, fields, name, number or 0)
    return track.mirrored() if mirrored else track


def _build(file: pathlib.Path, fields: track_fields.TrackFile, name: str, seed: int) -> Track:
    """Lays out the track that a file describes."""
    nodes, path = _centre_line(file, fields, seed)
    road_shape.check(file, fields, path)
    grid = _grid(fields, path)
    if fields.start_line is None:
        spawn = grid.poses[0]
        line = path.locate([spawn.x, spawn.z])[0] + START_LINE_AHEAD
    else:
        line = path.locate([fields.start_line.x, fields.start_line.z])[0]
    road_shape.check_start_line(file, fields, path, float(line))
    return Track(
        name=name,
        source=fields.source,
        nodes=nodes,
        path=path,
        road_left=fields.road.left,
        road_right=fields.road.right,
        stripes=_stripes(fields),
        obstacles=tuple(_obstacle(obstacle) for obstacle in fields.obstacles),
        barriers=_barriers(fields, path),
        grid=grid,
        start_line=float(np.mod(line, path.length)) if path.closed else float(line),
        start_line_drawn=fields.start_line is not None and fields.start_line.drawn,
        quads=fields.road.quads,
        hedges=tuple(Hedge(np.array(hedge.points), hedge.height) for hedge in fields.hedges),
        palms=tuple(Palm(palm.x, palm.z, palm.height) for palm in fields.palms),
        min_lap_s=fields.min_lap_s,
        road_friction=fields.road.friction,
        ground_friction=fields.ground_friction,
        look=_look(fields.look),
    )


def _look(fields: track_fields.Look) -> Look:
    """Returns the colours of a file, those of asphalt and grass where it names none."""
    sun = fields.sun
    return Look(
        colours=track_fields.DEFAULT_COLOURS | {str(k): v for k, v in fields.colours.items()},
        grain=fields.grain,
        scenery=fields.scenery,
        sky_top=fields.sky_top,
        sky_horizon=fields.sky_horizon,
        indoor=fields.indoor,
        wear=fields.wear,
        worn_lines=fields.worn_lines,
        sheen=fields.sheen,
        sun=Sun(math.radians(sun.azimuth_deg), math.radians(sun.elevation_deg)) if sun else None,
        hills=tuple(Hill(*(math.radians(angle) for angle in hill)) for hill in fields.hills_deg),
    )


def _centre_line(
    file: pathlib.Path, fields: track_fields.TrackFile, seed: int
) -> tuple[FloatArray, Path]:
    """Returns the nodes and the dense path."""
    if fields.random_road is not None:
        road = fields.random_road
        nodes = random_road.walk(
            (road.x, road.z),
            nodes=road.nodes,
            span=road.span,
            turn_increment=road.turn_increment,
            seed=seed,
        )
        curve = Curve(nodes, closed=False)
        road_shape.check_length(file, curve.length)
        return nodes, curve.path()
    if fields.script is not None:
        script = fields.script
        nodes = script_road.lay((script.x, script.z), script.span, script.commands)
        # A script seldom ends where it began: the last nodes give way to a smooth seam.
        seam = np.hypot(*(nodes - nodes[0]).T) < _SEAM * script.span
        seam[: len(nodes) // 2] = False
        line = script_road.eased(nodes[~seam])
        road_shape.check_script(file, line)
        curve = Curve(line, closed=True)
        road_shape.check_length(file, curve.length)
        return nodes, curve.path()
    curve = Curve(np.array(fields.waypoints, dtype=np.float64), closed=fields.closed)
    road_shape.check_length(file, curve.length)
    by_length = max(track_fields.MIN_WAYPOINTS, round(curve.length / NODE_SPACING))
    return curve.nodes(fields.source_nodes or by_length), curve.path()


def _grid(fields: track_fields.TrackFile, path: Path) -> StartGrid:
    """Returns the start grid, at the path's first point if the file gives no pose."""
    poses = tuple(Pose(pose.x, pose.z, math.radians(pose.yaw_deg)) for pose in fields.grid.poses)
    if not poses:
        poses = (Pose(float(path.points[0, 0]), float(path.points[0, 1]), float(path.yaw[0])),)
    return StartGrid(
        poses=poses,
        columns=fields.grid.columns,
        column_spacing=fields.grid.column_spacing,
        row_spacing=fields.grid.row_spacing,
    )


def _stripes(fields: track_fields.TrackFile) -> tuple[Stripe, ...]:
    """Returns the stripes of the file, or asphalt with two white lines and a yellow one."""
    if fields.stripes is not None:
        return tuple(
            Stripe(stripe.start, stripe.end, stripe.material, stripe.dash)
            for stripe in fields.stripes
        )
    left, right = fields.road.left, fields.road.right
    width = min(0.3, 0.06 * (right - left))
    middle = 0.5 * (left + right)
    return (
        Stripe(left - 4.0 * width, right + 4.0 * width, "shoulder"),
        Stripe(left, right, "road"),
        Stripe(left + width, left + 2.0 * width, "edge_line"),
        Stripe(right - 2.0 * width, right - width, "edge_line"),
        Stripe(middle - 0.5 * width, middle + 0.5 * width, "centre_line"),
    )


def _obstacle(fields: track_fields.Obstacle) -> Obstacle:
    """Converts one obstacle of a file."""
    return Obstacle(
        name=fields.name,
        shape=fields.shape,
        x=fields.x,
        z=fields.z,
        yaw=math.radians(fields.yaw_deg),
        width=fields.width,
        length=fields.length or fields.width,
        height=fields.height,
        colour=fields.colour,
        solid=fields.solid,
    )


def _barriers(fields: track_fields.TrackFile, path: Path) -> tuple[Barrier, ...]:
    """Returns the walls of a file: listed ones, ones along the road, ones around the track."""
    walls: list[Barrier] = []
    for wall in fields.barriers:
        lines: list[FloatArray]
        if wall.points is not None:
            lines = [np.array(wall.points, dtype=np.float64)]
        elif wall.margin is not None:
            lines = [road_shape.box_around(path, wall.margin)]
        else:
            lines = road_shape.lines_beside(path, wall.offset or 0.0)
        walls.extend(Barrier(wall.name, line, wall.height, wall.colour) for line in lines)
    return tuple(walls)
