"""The physical limit: time-optimal laps of the simulator's tracks and cars.

`limits.json` holds what ``donkey-rl tracks limit`` computed, see docs/pace.md. A lap counts for
the road that it was computed for alone: another road of the same name has none.
"""

from __future__ import annotations

import functools
import json
import math
import pathlib
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


@functools.cache
def _stored() -> dict[str, Any]:
    """Returns the tracks of `limits.json` by their names."""
    return dict(json.loads(FILE.read_text(encoding="utf-8"))["tracks"])


def _found(track: str, vehicle: str) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """Returns what is stored of a track, and of a car on it."""
    road = _stored().get(track.removesuffix(_MIRROR), {})
    lap = road.get("vehicles", {}).get(vehicle)
    return None if lap is None else (road, lap)


def lap_s(header: RaceHeader) -> float:
    """Returns the time (s) that no lap of a race can beat, NaN where it is not known.

    That of the time-optimal flying lap, or the race's minimum lap where that is longer: quicker
    ones do not count. It is known for a circuit of the simulator, or its mirror image, with the
    length and the edges for which it was computed, and a car of the simulator.
    """
    found = _found(header.track, header.vehicle)
    if found is None or not header.closed:
        return math.nan
    road, lap = found
    edges = [header.road_left, header.road_right]
    if header.track.endswith(_MIRROR):
        edges = [-header.road_right, -header.road_left]
    given = np.array([header.track_length, *edges])
    if not np.allclose(given, [road["length"], road["left"], road["right"]], rtol=0.0, atol=_SAME):
        return math.nan
    return max(float(lap["lap_s"]), header.min_lap_s)


def line(track: str, vehicle: str) -> OptimalLine | None:
    """Returns the line of the time-optimal lap, None where it is not known.

    Args:
        track: A circuit of the simulator, or ``NAME:mirror``.
        vehicle: A car of the simulator.
    """
    found = _found(track, vehicle)
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
