"""Where the lines of a straight road meet in an image: the horizon, without any calibration."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from donkey_rl.envs.simulator.track import Track
from donkey_rl.experiments.fidelity import projection
from donkey_rl.experiments.fidelity.poses import Poses
from donkey_rl.experiments.fidelity.projection import Mounting

FloatArray = npt.NDArray[np.float64]

FEWEST = 5
"""Frames on straight road from which a figure is given."""

_STRAIGHT = 0.015
"""A road is straight as far as its direction changes by less than this (rad)."""

_SHORTEST = 14.0
_LONGEST = 40.0
_FEWEST_ROWS = 8
_LEAST_ANGLE = 0.5
"""Lines must differ by this many columns per row to meet at a known place."""


def straight_ahead(track: Track, poses: Poses) -> FloatArray:
    """Returns how far the road ahead of k cars is straight (u), 0 where that is too short."""
    arc = track.path.locate(np.nan_to_num(np.column_stack([poses.x, poses.z])))[0]
    step = np.arange(0.0, _LONGEST + 0.1, 0.5)
    along = arc[:, None] + step
    yaw = np.unwrap(track.path.at(along)[2], axis=1)
    bent = np.abs(yaw - yaw[:, :1]) > _STRAIGHT
    if not track.closed:
        bent |= along > track.length
    reach = np.where(bent.any(axis=1), step[bent.argmax(axis=1)], _LONGEST)
    return np.where((reach >= _SHORTEST) & poses.known, reach, 0.0)


def rows(
    column: FloatArray,
    reach: FloatArray,
    view: tuple[Poses, Mounting, tuple[int, int]],
) -> FloatArray:
    """Returns the row in which the lines of each image meet.

    Args:
        column: Where they were found, shape (lines, k, h).
        reach: How far ahead of each car the road is straight (u), shape (k,); 0: not at all.
        view: The cars, their camera, height and width of the image.

    Returns:
        Shape (k,), NaN where the road is not straight or fewer than two lines are seen.
    """
    poses, camera, size = view
    sight = projection.sight(poses, camera, size)
    ahead = np.column_stack([np.sin(poses.yaw), np.cos(poses.yaw)])
    end = np.column_stack([poses.x, poses.z]) + reach[:, None] * ahead
    first = projection.pixels(sight, end[:, None, :])[:, 0, 1]
    met = np.full(len(poses), np.nan)
    centre = np.arange(size[0]) + 0.5
    for k in np.flatnonzero(reach > 0.0):
        near = centre >= first[k]
        fits = []
        for line in range(len(column)):
            seen = np.isfinite(column[line, k]) & near
            if seen.sum() >= _FEWEST_ROWS:
                fits.append(_straight(centre[seen], column[line, k, seen]))
        slopes = np.array([fit[0] for fit in fits])
        if len(fits) < 2 or slopes.max() - slopes.min() < _LEAST_ANGLE:
            continue
        # u - slope * v = start for every line.
        left = np.column_stack([-slopes, np.ones(len(fits))])
        met[k] = np.linalg.lstsq(left, np.array([fit[1] for fit in fits]), rcond=None)[0][0]
    return met


def _straight(row: FloatArray, column: FloatArray) -> tuple[float, float]:
    """Returns slope and start of the line ``column = start + slope * row`` through most places."""
    weight = np.ones(len(row))
    slope, start = 0.0, 0.0
    for _ in range(8):
        slope, start = np.polyfit(row, column, 1, w=np.sqrt(weight))
        gap = column - start - slope * row
        weight = 1.0 / (1.0 + gap**2)
    return float(slope), float(start)
