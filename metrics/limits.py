"""The physical limit: time-optimal laps of the simulator's tracks and cars.

`limits.json` holds what ``donkey-rl tracks limit`` computed, see docs/pace.md; one in the current
folder is the user's own. A lap counts for the road that it was computed for alone: another road of
the same name has none.
"""

from __future__ import annotations

import functools
import json
import logging
import math
import os
import pathlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from donkey_rl.metrics import laps
from donkey_rl.metrics.race import Race, RaceHeader
from donkey_rl.metrics.registry import metric

FloatArray = npt.NDArray[np.float64]

FILE = pathlib.Path(__file__).with_name("limits.json")
UNIT = 0.01
"""Of the stored numbers: 1 cm of Unity's units for places, as much per second for speeds."""

VARIABLE = "DONKEY_RL_LIMITS"
OWN_FILE = "limits.json"
"""In the current folder, where `VARIABLE` names no other."""

LOGGER = logging.getLogger("donkey_rl.metrics")
_MOST_BYTES = 50_000_000
_MIRROR = ":mirror"
_SAME = 0.01
"""Lengths that differ by less (u) are the same."""


class OptimalLine(NamedTuple):
    """The line of a time-optimal lap, from the start line on.

    Attributes:
        x: Place (u), shape (M,).
        z: Place (u), shape (M,).
        speed: Of the car there (u/s), shape (M,).
        distance: Way from the start line, measured along the track's path (u), shape (M,).
        lap_s: Time of the lap (s).
    """

    x: FloatArray
    z: FloatArray
    speed: FloatArray
    distance: FloatArray
    lap_s: float


def own_file() -> pathlib.Path:
    """Returns the file with limits of the user's own, which need not be there."""
    return pathlib.Path(os.environ.get(VARIABLE) or OWN_FILE).absolute()


_LAP = frozenset({"lap_s", "x", "z", "speed"})
"""What there is of the limit of a car."""


@functools.lru_cache(maxsize=8)
def _read(file: pathlib.Path, changed_ns: int) -> dict[str, Any]:
    """Returns the tracks of a file of laps by their names; nothing of one that is none."""
    try:
        if file.stat().st_size > _MOST_BYTES:
            raise ValueError("it is too large")
        content = json.loads(file.read_text(encoding="utf-8"))["tracks"]
        if not all(isinstance(road["vehicles"], dict) for road in content.values()):
            raise TypeError
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        LOGGER.warning("'%s' is passed over, since it holds no limits: %r", file, error)
        return {}
    return dict(content)


def _found(
    track: str, vehicle: str, digest: str, *, own: bool = True
) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Yields what is known of a track, and of a car on it: the user's own first."""
    for file in (own_file(), FILE) if own else (FILE,):
        try:
            changed_ns = file.stat().st_mtime_ns
        except OSError:
            continue
        road = _read(file, changed_ns).get(track.removesuffix(_MIRROR), {})
        lap = road.get("vehicles", {}).get(vehicle)
        # A motion of the expert's, in a file of the user's own, is no limit.
        is_limit = isinstance(lap, dict) and lap.keys() >= _LAP
        if is_limit and (not digest or digest in road.get("digests", (digest,))):
            yield road, lap


def lap_s(header: RaceHeader) -> float:
    """Returns the time (s) that no lap of a race can beat, NaN where it is not known.

    That of the time-optimal flying lap, or the race's minimum lap where that is longer: quicker
    ones do not count. It is known for a circuit of the simulator, or its mirror image, with the
    nodes, the edges and the friction for which it was computed, and a car of the simulator; and
    for what `own_file` holds.
    """
    if not header.closed:
        return math.nan
    edges = [header.road_left, header.road_right]
    if header.track.endswith(_MIRROR):
        edges = [-header.road_right, -header.road_left]
    given = np.array([header.track_length, *edges])
    for road, lap in _found(header.track, header.vehicle, header.track_digest):
        known = [road["length"], road["left"], road["right"]]
        if np.allclose(given, known, rtol=0.0, atol=_SAME):
            return max(float(lap["lap_s"]), header.min_lap_s)
    return math.nan


def line(track: str, vehicle: str, digest: str = "", *, own: bool = True) -> OptimalLine | None:
    """Returns the line of the time-optimal lap, None where it is not known.

    Args:
        track: A circuit of the simulator, or ``NAME:mirror``; or one of `own_file`.
        vehicle: A car of the simulator.
        digest: Of the road, as races have it; without one the name decides.
        own: Whether `own_file` counts.
    """
    found = next(_found(track, vehicle, digest, own=own), None)
    if found is None:
        return None
    road, lap = found
    x, z, speed = (UNIT * np.array(lap[name], np.float64) for name in ("x", "z", "speed"))
    side = -1.0 if track.endswith(_MIRROR) else 1.0
    distance = float(road["length"]) / len(x) * np.arange(len(x), dtype=np.float64)
    return OptimalLine(side * x, z, speed, distance, float(lap["lap_s"]))


@metric(unit="", direction="higher", low=0.0)
def pace(race: Race) -> float:
    """How close the quickest clean lap comes to the time-optimal one, which is 1.

    ``lap_s(header) / best clean lap``: the time-optimal flying lap of this car on this track by
    the best clean lap; undefined without a clean lap, or where the optimal one is not known.

    >>> from donkey_rl.metrics.examples import drive, steady
    >>> road = {"track_length": 214.9723, "road_left": -7.2, "road_right": 2.8}
    >>> race = drive(steady(10.0, 30.0), track="generated_track", vehicle="donkey_2021", **road)
    >>> round(pace(race), 2)  # a lap of 21.5 s, where 16.07 s is the limit
    0.75
    """
    best = laps.best_clean_lap(race)
    return math.nan if best is None else lap_s(race.header) / best.time_s
