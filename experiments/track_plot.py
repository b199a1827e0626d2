"""A track as a picture from above."""

from __future__ import annotations

import contextlib
import pathlib
from collections.abc import Iterable

import numpy as np

from donkey_rl.envs.simulator import track
from donkey_rl.envs.simulator.track import Track
from donkey_rl.errors import InputError
from donkey_rl.experiments import plots


def draw(road: Track, path: str | pathlib.Path) -> pathlib.Path:
    """Draws a track: road, start, direction, what stands beside it; x to the right, z upwards.

    Args:
        road: The track.
        path: The .png file.

    Returns:
        The file.

    Raises:
        StorageError: It cannot be written.
    """
    drawn = lines(road)
    kind = "circuit" if road.closed else "open road"
    width = road.road_width
    return plots.track(
        drawn,
        plots.Surroundings(
            starts=np.array([[pose.x, pose.z, pose.yaw] for pose in road.grid.poses]),
            start_line=drawn.across(road.start_line),
            things=np.array([[each.x, each.z] for each in road.obstacles]).reshape(-1, 2),
            walls=tuple(wall.points for wall in road.barriers),
        ),
        path,
        f"{road.name}: {kind} of {road.length:.0f} u, road {width:g} u wide",
    )


def road(name: str, digest: str, places: Iterable[str]) -> Track | None:
    """Returns the track that races were driven on, None where it is not known here.

    Args:
        name: As the races have it; a file of one's own may be called like a scene.
        digest: As the races have it, empty in old ones, of which the name decides.
        places: Names and files of tracks that it may be, such as those of a run.
    """
    for each in (name, *places):
        with contextlib.suppress(InputError):
            found = track.load(each)
            if found.digest == digest or (not digest and found.name == name):
                return found
    return None


def lines(road: Track) -> plots.TrackLines:
    """Returns the lines that plots draw of a track."""
    yaw = road.path.yaw
    right = np.stack([np.cos(yaw), -np.sin(yaw)], axis=1)
    points = road.path.points
    return plots.TrackLines(
        points, points + road.road_left * right, points + road.road_right * right, road.closed
    )
