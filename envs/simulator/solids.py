"""What stands on a track (cones, boxes, barriers), as arrays that the kernels read."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from donkey_rl.envs.simulator.cues import Posts
from donkey_rl.envs.simulator.scenery import Sun
from donkey_rl.envs.simulator.track import Track

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

CIRCLE, BOX, WALL = range(3)

NEAR_REACH = 3.0
"""A car can touch what lies within this distance of its centre (u)."""

SIGHT = 70.0
"""Things beyond this distance are not drawn (u)."""

_FAR_CELL = 24.0

CONE_RADIUS = 0.45
"""Foot of a cone of `with_cones` (u): that of the track files' smaller cones, assumed."""

_CONE_HEIGHT = 1.6
_CONE_COLOUR = (226.0, 108.0, 38.0)

_POST_SIZE = (0.8, 0.8, 2.2)
_POST_COLOUR = (235.0, 70.0, 190.0)

_LAMP = Sun(azimuth=math.radians(-60.0), elevation=math.radians(50.0))


class Cells(NamedTuple):
    """For each square cell of the ground, the things within reach of it.

    Attributes:
        start: Shape (rows * columns + 1,): where a cell's part of `items` starts.
    """

    origin_x: float
    origin_z: float
    cell: float
    columns: int
    rows: int
    start: IntArray
    items: IntArray


class Solids(NamedTuple):
    """The things of a track, one entry each. Lengths in u, colours 0 to 255.

    Attributes:
        thing: Index of the named thing that each entry belongs to: all walls of a barrier are one.
        shape: `CIRCLE` (a cone; `half_width` is its radius), `BOX`, or `WALL` (a segment from
            (x, z) to (end_x, end_z)).
        bend: For a post of `with_posts` the number of its bend, else -1.
        right: For a post whether it stands to the right of the road, 1 or 0, else 0.
        sun: Direction towards the sun, of length 1: x, z and up.
        near: Cells for collisions.
        far: Cells for the camera.
    """

    thing: IntArray
    shape: IntArray
    x: FloatArray
    z: FloatArray
    end_x: FloatArray
    end_z: FloatArray
    cos_yaw: FloatArray
    sin_yaw: FloatArray
    half_width: FloatArray
    half_length: FloatArray
    height: FloatArray
    colour: FloatArray
    solid: npt.NDArray[np.bool_]
    bend: IntArray
    right: IntArray
    sun: tuple[float, float, float]
    near: Cells
    far: Cells


def names(track: Track) -> tuple[str, ...]:
    """Returns the name that each thing reports when it is hit, in the order of `Solids.thing`."""
    obstacles = tuple(obstacle.name for obstacle in track.obstacles)
    return obstacles + tuple(barrier.name for barrier in track.barriers)


def build(track: Track) -> Solids:
    """Collects the obstacles and barriers of a track."""
    rows: list[tuple[float, ...]] = []
    owners = list(range(len(track.obstacles)))
    for thing in track.obstacles:
        round_one = thing.shape == "cone"
        half_width = thing.width / 2.0
        rows.append(
            (
                CIRCLE if round_one else BOX,
                *(thing.x, thing.z, thing.x, thing.z, thing.yaw),
                *(half_width, thing.length / 2.0, thing.height),
                *thing.colour,
                float(thing.solid),
            )
        )
    for owner, wall in enumerate(track.barriers, len(track.obstacles)):
        owners += [owner] * (len(wall.points) - 1)
        for (ax, az), (bx, bz) in zip(wall.points, wall.points[1:], strict=False):
            rows.append((WALL, ax, az, bx, bz, 0.0, 0.0, 0.0, wall.height, *wall.colour, 1.0))
    table = np.array(rows, dtype=np.float64).reshape(-1, 13)
    ends = (table[:, 1:3], table[:, 3:5])
    reach = np.hypot(table[:, 6], table[:, 7])
    return Solids(
        thing=np.array(owners, dtype=np.int64),
        shape=table[:, 0].astype(np.int64),
        x=table[:, 1].copy(),
        z=table[:, 2].copy(),
        end_x=table[:, 3].copy(),
        end_z=table[:, 4].copy(),
        cos_yaw=np.cos(table[:, 5]),
        sin_yaw=np.sin(table[:, 5]),
        half_width=table[:, 6].copy(),
        half_length=table[:, 7].copy(),
        height=table[:, 8].copy(),
        colour=table[:, 9:12].copy(),
        solid=table[:, 12] > 0.0,
        bend=np.full(len(table), -1),
        right=np.zeros(len(table), dtype=np.int64),
        sun=_sun(track),
        near=cells(ends, reach + NEAR_REACH, 8.0),
        far=cells(ends, reach + SIGHT, _FAR_CELL),
    )


def with_cones(solids: Solids, places: FloatArray) -> Solids:
    """Returns what stands on a track with more cones, which are seen and not felt.

    Args:
        solids: What stands there already.
        places: x and z of each cone (u), shape (k, 2).

    Returns:
        The same things in the same order, then the cones; the cells for collisions stay as they
        are, since nothing collides with these cones.
    """
    size = (CONE_RADIUS, CONE_RADIUS, _CONE_HEIGHT)
    none = np.full(len(places), -1)
    cones = Posts(places, np.zeros(len(places)), none, np.zeros_like(none))
    return _with_more(solids, CIRCLE, cones, size, _CONE_COLOUR)


def with_posts(solids: Solids, posts: Posts) -> Solids:
    """Returns what stands on a track with posts, which are seen and not felt."""
    width, length, height = _POST_SIZE
    return _with_more(solids, BOX, posts, (0.5 * width, 0.5 * length, height), _POST_COLOUR)


def _with_more(
    solids: Solids,
    shape: int,
    posts: Posts,
    size: tuple[float, float, float],
    colour: tuple[float, float, float],
) -> Solids:
    """Returns what stands on a track with more things of one shape, size and colour.

    Args:
        solids: What stands there already.
        shape: `CIRCLE` or `BOX`.
        posts: Where they stand, and who sees them.
        size: Half width, half length and height (u).
        colour: Red, green and blue, 0 to 255.
    """
    count = len(posts.places)
    if not count:
        return solids
    x, z = posts.places[:, 0], posts.places[:, 1]
    more: dict[str, npt.NDArray[Any]] = {
        "thing": np.full(count, -1),
        "shape": np.full(count, shape),
        **{"x": x, "z": z, "end_x": x, "end_z": z},
        **{"cos_yaw": np.cos(posts.yaw), "sin_yaw": np.sin(posts.yaw)},
        **{"half_width": np.full(count, size[0]), "half_length": np.full(count, size[1])},
        "height": np.full(count, size[2]),
        "colour": np.tile(colour, (count, 1)),
        "solid": np.zeros(count, dtype=np.bool_),
        **{"bend": posts.bend, "right": posts.right},
    }
    joined: dict[str, Any] = {
        key: np.concatenate([getattr(solids, key), rows]) for key, rows in more.items()
    }
    begin = np.column_stack([joined["x"], joined["z"]])
    end = np.column_stack([joined["end_x"], joined["end_z"]])
    reach = np.hypot(joined["half_width"], joined["half_length"]) + SIGHT
    return solids._replace(**joined, far=cells((begin, end), reach, _FAR_CELL))


def _sun(track: Track) -> tuple[float, float, float]:
    """Returns the direction of the light; without a sun it comes from above on the left."""
    sun = track.look.sun or _LAMP
    level = math.cos(sun.elevation)
    return (
        level * math.sin(sun.azimuth),
        level * math.cos(sun.azimuth),
        math.sin(sun.elevation),
    )


def cells(ends: tuple[FloatArray, FloatArray], reach: FloatArray, cell: float) -> Cells:
    """Sorts things into cells.

    Args:
        ends: Both ends of each thing's core, shape (n, 2) each.
        reach: Distance from that core within which a cell lists it, shape (n,).
        cell: Side of a cell.
    """
    empty = np.zeros(0, dtype=np.int64)
    if not len(reach):
        return Cells(0.0, 0.0, cell, 0, 0, np.zeros(1, dtype=np.int64), empty)
    # Pieces no longer than a cell: the box around a long slanting wall would be mostly empty.
    way = ends[1] - ends[0]
    pieces = np.maximum(1, np.ceil(np.hypot(*way.T) / cell)).astype(np.int64)
    thing, piece = _counted(pieces)
    step = (way / pieces[:, None])[thing]
    begin = ends[0][thing] + piece[:, None] * step
    low = np.minimum(begin, begin + step) - reach[thing, None]
    high = np.maximum(begin, begin + step) + reach[thing, None]
    origin = low.min(axis=0)
    columns, rows = (math.ceil(v / cell) + 1 for v in high.max(axis=0) - origin)
    first = ((low - origin) // cell).astype(np.int64)
    last = ((high - origin) // cell).astype(np.int64)
    width, depth = (last - first + 1).T
    box, place = _counted(width * depth)
    row = first[box, 1] + place // width[box]
    column = first[box, 0] + place % width[box]
    entries = np.unique((row * columns + column) * len(reach) + thing[box])
    start = np.searchsorted(entries, np.arange(columns * rows + 1) * len(reach))
    return Cells(
        float(origin[0]),
        float(origin[1]),
        cell,
        columns,
        rows,
        start.astype(np.int64),
        entries % len(reach),
    )


def _counted(counts: IntArray) -> tuple[IntArray, IntArray]:
    """Returns each index repeated ``counts[index]`` times, and beside it 0, 1, 2, ... of each."""
    index = np.repeat(np.arange(len(counts)), counts)
    before = np.cumsum(counts) - counts
    return index, np.arange(len(index)) - before[index]
