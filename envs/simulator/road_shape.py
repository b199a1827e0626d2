"""What follows from the shape of a road: whether it can be driven, and where barriers stand."""

from __future__ import annotations

import math
import pathlib

import numpy as np

from donkey_rl.envs.simulator import track_fields, track_file
from donkey_rl.envs.simulator.path import FloatArray, Path

MIN_ROAD_WIDTH = 1.5
MAX_FOLD = 1.35
MAX_TURN = 1.0
TOUCH = 1.0
MIN_LENGTH = 10.0
LEAST_LAP = 1.0
START_REACH = 30.0
THING_REACH = 1000.0
_SLACK = 0.02
_CHORD = 0.02
_LONGEST_SIDE = 8.0


def check_length(file: pathlib.Path, length: float) -> None:
    """Checks the length in u of the curve through a file's waypoints, before it is cut up.

    Raises:
        TrackError: Names the file and the length.
    """
    if not MIN_LENGTH <= length <= track_fields.MAX_LENGTH:
        raise track_file.wrong(
            file,
            "waypoints",
            f"a road of {MIN_LENGTH:g} to {track_fields.MAX_LENGTH:g} u",
            f"{length:g} u",
            "Coordinates are in u, 8 to a metre of the real car.",
        )


def check_script(file: pathlib.Path, line: FloatArray) -> None:
    """Checks that a script's nodes lie apart, before a curve is laid through them.

    Args:
        file: Where the script was read from, for messages.
        line: ``(n, 2)`` eased nodes ``[x, z]`` in u.

    Raises:
        TrackError: Two nodes in a row lie at one place. Names the first.
    """
    apart = np.hypot(*np.diff(line, axis=0, append=line[:1]).T)
    if apart.min() < _CHORD:
        x, z = line[apart.argmin()]
        raise track_file.wrong(
            file,
            "script.commands",
            f"nodes that lie at least {_CHORD:g} u apart",
            f"two at one place near [{x:.1f}, {z:.1f}]",
            "Turn by less a node: with DY 180 a road goes back over itself.",
        )


def check(file: pathlib.Path, track: track_fields.TrackFile, path: Path) -> None:
    """Checks that the road of a track file can be driven.

    Args:
        file: Where the track was read from, for messages.
        track: The fields of the file.
        path: Its centre line.

    Raises:
        TrackError: The edges are exchanged or closer than 1.5 u; a bend is so tight that the
            edge inside it folds back (its offset exceeds 1.35 times the radius, a little more
            than in the tightest bend of the simulator's own tracks); an edge comes within 1 u of
            the centre of another part of the road and the file does not declare that; a start
            pose or the start line lies farther than 30 u from the path, or a thing than 1000 u.
            Of random roads the bends and what touches are not checked.
    """
    left, right = track.road.left, track.road.right
    if right - left < MIN_ROAD_WIDTH:
        raise track_file.wrong(
            file,
            "road",
            f"left < right, at least {MIN_ROAD_WIDTH} u apart",
            f"left={left:g}, right={right:g}",
            "Offsets are negative to the left of the path and positive to the right.",
        )
    for index, barrier in enumerate(track.barriers):
        if barrier.offset is not None and barrier.offset < max(-left, right):
            raise track_file.wrong(
                file,
                f"barriers[{index}].offset",
                f"at least {max(-left, right):g}, the distance of the road's edge",
                f"{barrier.offset:g}",
                "Move the barrier off the road.",
            )
    _check_places(file, track, path)
    if not path.closed and track.waypoints is None:
        # Drawn at random, as the simulator draws it.
        return
    _check_bends(file, path, left, right)
    if not track.crosses_itself:
        _check_touching(file, path, left, right)


def check_start_line(
    file: pathlib.Path, track: track_fields.TrackFile, path: Path, arc: float
) -> None:
    """Checks that something is left to drive behind the start line of an open road.

    Args:
        file: Where the track was read from, for messages.
        track: The fields of the file.
        path: Its centre line.
        arc: Arc length of the start line (u).

    Raises:
        TrackError: It lies at the end.
    """
    if path.closed or path.length - arc >= LEAST_LAP:
        return
    raise track_file.wrong(
        file,
        "grid.poses[0]" if track.start_line is None else "start_line",
        f"a start line {LEAST_LAP:g} u or more before the end of an open road",
        f"one at {arc:.1f} u of {path.length:.1f} u",
        "An open road is driven once, from the line to its last point: leave start_line out, or "
        "put it at the beginning.",
    )


def _check_places(file: pathlib.Path, track: track_fields.TrackFile, path: Path) -> None:
    """Checks that starts and things are not far away from the road.

    Raises:
        TrackError: Names the first field that is, and its distance.
    """
    places = [
        (f"grid.poses[{index}]", pose.x, pose.z, START_REACH)
        for index, pose in enumerate(track.grid.poses)
    ]
    if track.start_line is not None:
        places.append(("start_line", track.start_line.x, track.start_line.z, START_REACH))
    places += [
        (f"obstacles[{index}]", thing.x, thing.z, THING_REACH)
        for index, thing in enumerate(track.obstacles)
    ]
    places += [
        (f"barriers[{index}].points[{corner}]", x, z, THING_REACH)
        for index, barrier in enumerate(track.barriers)
        for corner, (x, z) in enumerate(barrier.points or ())
    ]
    distances = path.clearance(np.array([place[1:3] for place in places]).reshape(-1, 2))
    for (field, x, z, reach), distance in zip(places, distances, strict=True):
        if distance > reach:
            raise track_file.wrong(
                file,
                field,
                f"a place within {reach:g} u of the path",
                f"[{x:g}, {z:g}], which is {distance:.1f} u from it",
                "Move it to the road; x and z are in u.",
            )


def _check_bends(file: pathlib.Path, path: Path, left: float, right: float) -> None:
    """Checks that the path does not turn round on the spot and no edge folds back in a bend.

    Raises:
        TrackError: Names the side and the tightest place.
    """
    turn = np.diff(path.yaw, append=path.yaw[:1] if path.closed else path.yaw[-1:])
    turn = np.abs(np.mod(turn + np.pi, 2.0 * np.pi) - np.pi)
    worst = int(np.argmax(turn))
    if turn[worst] > MAX_TURN:
        x, z = path.points[worst]
        raise track_file.wrong(
            file,
            "waypoints",
            "a line that leads on",
            f"one that turns by {math.degrees(turn[worst]):.0f} degrees on the spot near "
            f"[{x:.1f}, {z:.1f}]",
            "Lay a bend through more waypoints there.",
        )
    for field, offset in (("road.left", left), ("road.right", right)):
        fold = offset * path.curvature
        worst = int(np.argmax(fold))
        if fold[worst] > MAX_FOLD:
            radius = 1.0 / abs(path.curvature[worst])
            x, z = path.points[worst]
            raise track_file.wrong(
                file,
                field,
                f"no bend with a radius below {abs(offset) / MAX_FOLD:.2f} u on that side",
                f"{offset:g} with a radius of {radius:.2f} u near [{x:.1f}, {z:.1f}]",
                "Make the road narrower or move the waypoints there further apart.",
            )


def _check_touching(file: pathlib.Path, path: Path, left: float, right: float) -> None:
    """Checks that no edge reaches the centre of another part of the road.

    Raises:
        TrackError: Names the side and the place.
    """
    s = np.arange(len(path.points)) * path.spacing
    for field, offset in (("road.left", left), ("road.right", right)):
        distance = path.clearance(path.beside(s, offset))
        place = int(np.argmin(distance))
        # The edge's own part of the path lies at |offset|: that must never count as another one.
        if distance[place] < min(TOUCH, 0.9 * abs(offset)):
            x, z = path.points[place]
            raise track_file.wrong(
                file,
                field,
                f"an edge more than {TOUCH:g} u from the centre of any other part of the road",
                f"{offset:g}, which is {distance[place]:.2f} u from another part near "
                f"[{x:.1f}, {z:.1f}]",
                "Move the waypoints apart, make the road narrower, or declare "
                '"crosses_itself": true if it is meant.',
            )


def lines_beside(path: Path, offset: float) -> list[FloatArray]:
    """Returns lines along both sides of a path that never come nearer to it than ``offset``.

    Where the line would stand nearer to another part of the path (inside of tight bends, at
    crossings) it is left out, and what remains on both sides is joined if it meets.

    Args:
        path: The centre line.
        offset: Distance in u.

    Returns:
        Polylines ``(k, 2)`` in u. One that goes all round repeats its first point.
    """
    s = np.arange(len(path.points)) * path.spacing
    lines: list[FloatArray] = []
    for lateral in (-offset, offset):
        points = path.beside(s, lateral)
        kept = path.clearance(points) > offset - _SLACK
        lines.extend(_polylines(points, kept, path))
    return lines


def box_around(path: Path, margin: float) -> FloatArray:
    """Returns the ``(5, 2)`` corners, first one repeated, of a rectangle around a path.

    Args:
        path: The centre line.
        margin: Distance in u from the path's bounding box.
    """
    west, south = path.points.min(axis=0) - margin
    east, north = path.points.max(axis=0) + margin
    corners = [[west, south], [west, north], [east, north], [east, south], [west, south]]
    return np.array(corners, dtype=np.float64)


def _polylines(points: FloatArray, kept: np.ndarray, path: Path) -> list[FloatArray]:
    """Cuts an offset line where points are left out, joins near ends, and thins it out."""
    if not kept.any():
        return []
    if path.closed and kept.all():
        return _walls([np.vstack([points, points[:1]])])
    if path.closed:
        # Start behind a gap, so that no piece runs over the end of the array.
        shift = int(np.argmax(~kept))
        points, kept = np.roll(points, -shift, axis=0), np.roll(kept, -shift)
    edges = np.flatnonzero(np.diff(np.concatenate([[0], kept.astype(np.int8), [0]])))
    pieces = [points[first:last] for first, last in edges.reshape(-1, 2)]
    joined = [pieces[0]]
    for piece in pieces[1:]:
        if math.dist(joined[-1][-1], piece[0]) < 2.0 * path.spacing:
            joined[-1] = np.vstack([joined[-1], piece])
        else:
            joined.append(piece)
    if path.closed and math.dist(joined[-1][-1], joined[0][0]) < 2.0 * path.spacing:
        last = joined.pop() if len(joined) > 1 else joined[0][:0]
        joined[0] = np.vstack([last, joined[0]])
        if not len(last):
            joined[0] = np.vstack([joined[0], joined[0][:1]])
    return _walls(joined)


def _walls(lines: list[FloatArray]) -> list[FloatArray]:
    """Thins lines out and drops those without any length."""
    walls = (_apart(_thinned(line)) for line in lines if len(line) > 1)
    return [wall for wall in walls if len(wall) > 1]


def _apart(line: FloatArray) -> FloatArray:
    """Leaves out points too near to the one before, as where a bend's centre is the offset."""
    kept = [0]
    for index in range(1, len(line)):
        if math.dist(line[index], line[kept[-1]]) >= track_fields.MIN_GAP:
            kept.append(index)
    return line[kept]


def _thinned(line: FloatArray) -> FloatArray:
    """Leaves out points of a line that lie within 2 cm of the side across them, up to 8 u long."""
    sides = np.diff(line, axis=0)
    lengths = np.hypot(*sides.T).tolist()
    turns = np.abs(np.diff(np.unwrap(np.arctan2(*sides.T)))).tolist()
    kept = [0]
    run, turned = lengths[0], 0.0
    for index in range(1, len(sides)):
        turned += turns[index - 1]
        longer = run + lengths[index]
        # The chord of an arc that turns by an angle lies length * angle / 8 inside it.
        if longer * turned > 8.0 * _CHORD or longer > _LONGEST_SIDE:
            kept.append(index)
            run, turned = lengths[index], 0.0
        else:
            run = longer
    return np.ascontiguousarray(line[[*kept, len(line) - 1]])
