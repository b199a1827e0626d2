"""Where a recorded car was: on which track; recorded against computed cte and progress."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from donkey_rl.configuration import Config
from donkey_rl.envs.recordings.recording import Recording
from donkey_rl.envs.recordings.trace import Trace
from donkey_rl.envs.simulator import following
from donkey_rl.envs.simulator import track as tracks
from donkey_rl.envs.simulator.track import Track

FloatArray = npt.NDArray[np.float64]

SCALES = (1.0, 8.0)
"""Unity units a recorded unit is worth: the simulator of 2022 divides positions by 8."""

FEWEST = 10
"""Samples below which nothing is said."""

_BESIDE = 3.0
"""A car this far off (u) in one of five places drives on another track."""

_NEAR = 1.0
"""A car less far off than this (u) needs no other evidence in its cte."""

_LEAST_AGREEMENT = 0.5
"""Least correlation of computed and recorded cte on the right track."""

_ACROSS = 0.6
"""A car that crosses the path at this angle (rad), in the median, drives on another track; one
that weaves from edge to edge has 0.3."""

_ANGLE_WORTH = 3.0
"""Distance (u) that a radian counts for between tracks: small drives lie on any broad road."""

_MOVING = 1.0
"""u/s."""

_SHARPEST = 0.2
"""Least ratio of the car's radius to the path's that is believed."""

_MOST = 80.0
"""Share of the places, in per cent, that must lie on a track; tracks may begin alike."""

_FEWEST_SPREAD = 1e-3
_MOST_PLACES = 400


class CteReport(Config):
    """The recorded against the computed cross-track error.

    Attributes:
        samples: Fresh records compared.
        dropped: Records of a moving car with a cte of exactly 0: what the simulator sends where
            its path begins anew, not a measurement.
        correlation: Of both; None where one of them never changes.
        mean_difference: Mean absolute difference (u).
        bias: Mean of computed minus recorded (u).
        largest_difference: Of one sample (u).
    """

    samples: int = 0
    dropped: int = 0
    correlation: float | None = None
    mean_difference: float | None = None
    bias: float | None = None
    largest_difference: float | None = None


class ProgressReport(Config):
    """Progress along the path against the way driven.

    Attributes:
        laps: Progress in lengths of the path.
        way_u: Recorded speed along the path's direction, summed over time; on the inside of a
            bend it counts for more, by the ratio of the radii (u).
        progress_u: Computed progress (u).
        correlation: Of their increments from sample to sample.
    """

    laps: float | None = None
    way_u: float | None = None
    progress_u: float | None = None
    correlation: float | None = None


class GeometryReport(Config):
    """What the positions say; what could not be measured is None, `reason` says why."""

    cte: CteReport = CteReport()
    progress: ProgressReport = ProgressReport()
    reason: str | None = None


class Match(NamedTuple):
    """A track that a recording may have been driven on.

    Attributes:
        name: The track's name.
        scale: What positions and speeds are multiplied by to be in u.
        distance: How far off the places are (u), four of five by less: |computed - recorded|
            cte, or where none was recorded the distance from the road and a tenth of the lateral
            offset.
        angle: Between the way driven and the path, either way round, median (rad); 0 where the
            car did not move.
        agreement: Correlation of computed and recorded cte; None where one of them is unknown
            or hardly changes.
    """

    name: str
    scale: float
    distance: float
    angle: float
    agreement: float | None


def identify(
    recordings: Sequence[tuple[Recording, Trace]], names: Sequence[str] | None = None
) -> Match | None:
    """Finds the track and the unit of length of recordings.

    Args:
        recordings: With their traces, positions as recorded.
        names: Tracks to choose from; all scenes by default.

    Returns:
        The best match, even a poor one (see `fits`); None without positions.
    """
    rows = [
        np.column_stack([trace.place, trace.course, recording.cte[trace.record]])
        for recording, trace in recordings
        if len(trace)
    ]
    if not rows:
        return None
    every = np.concatenate(rows)
    driven = every[np.linspace(0, len(every) - 1, min(len(every), _MOST_PLACES)).astype(int)]
    matches = [
        _match(name, scale, driven)
        for name in (tracks.names() if names is None else names)
        for scale in SCALES
    ]
    return min(matches, key=lambda match: match.distance + _ANGLE_WORTH * match.angle)


def fits(match: Match) -> bool:
    """Whether a recording can have been driven on the track of a match."""
    if match.distance >= _BESIDE or match.angle >= _ACROSS:
        return False
    agreement = match.agreement
    return match.distance < _NEAR or agreement is None or agreement > _LEAST_AGREEMENT


def _match(name: str, scale: float, driven: FloatArray) -> Match:
    """Holds x, z, course and cte of places as recorded, shape (k, 4), against a track."""
    track = tracks.load(name)
    place, course, cte = scale * driven[:, :2], driven[:, 2], driven[:, 3]
    arc, lateral = track.path.locate(place)
    # What lies neither to the right nor to the left: a car beyond the end of an open road.
    beyond = track.path.clearance(place) - np.abs(lateral) - track.path.spacing
    _, _, yaw = track.path.at(arc)
    turned = np.abs(np.sin((course - yaw)[np.isfinite(course)]))
    angle = float(np.median(np.arcsin(turned))) if len(turned) else 0.0
    known = np.isfinite(cte) & (cte != 0.0)
    if known.sum() >= FEWEST and float(np.std(cte[known])) > _FEWEST_SPREAD:
        # A car may well be off the road, as long as its cte says so.
        off = np.maximum(np.abs(lateral - cte), beyond)[known]
        agreement = correlation(lateral[known], cte[known])
        return Match(name, scale, float(np.percentile(off, _MOST)), angle, agreement)
    beside = np.maximum(track.road_left - lateral, lateral - track.road_right)
    off = np.maximum(np.maximum(beside, beyond), 0.0)
    # The road's width alone would favour wide roads.
    off += 0.1 * float(np.median(np.abs(lateral)))
    return Match(name, scale, float(np.percentile(off, _MOST)), angle, None)


def compare(recording: Recording, trace: Trace, track: Track) -> GeometryReport:
    """Compares recorded cte and speed with what the track's path makes of the positions."""
    if len(trace) < FEWEST:
        return GeometryReport(reason=f"{len(trace)} fresh positions, at least {FEWEST} needed")
    followed = _follow(trace, track)
    recorded = recording.cte[trace.record]
    empty = (recorded == 0.0) & (trace.speed > _MOVING)
    known = np.isfinite(recorded) & ~empty
    reason = None
    cte = CteReport(dropped=int(empty.sum()))
    if known.sum() < FEWEST:
        reason = f"{int(known.sum())} records with a cte, at least {FEWEST} needed"
    else:
        cte = _cte(followed.cte[known], recorded[known], cte.dropped)
        if cte.correlation is None:
            reason = "the cte hardly changes, recorded or computed: no correlation"
    return GeometryReport(cte=cte, progress=_progress(followed, track), reason=reason)


def _cte(computed: FloatArray, recorded: FloatArray, dropped: int) -> CteReport:
    difference = computed - recorded
    return CteReport(
        samples=len(recorded),
        dropped=dropped,
        correlation=correlation(computed, recorded),
        mean_difference=float(np.abs(difference).mean()),
        bias=float(difference.mean()),
        largest_difference=float(np.abs(difference).max()),
    )


def correlation(first: FloatArray, second: FloatArray) -> float | None:
    """Returns Pearson's correlation, or None where one of both hardly changes."""
    if len(first) < 3 or min(first.std(), second.std()) < _FEWEST_SPREAD:
        return None
    return float(np.corrcoef(first, second)[0, 1])


class _Followed(NamedTuple):
    """A trace on the path: cte at each sample; way and progress between neighbours (u)."""

    cte: FloatArray
    way: FloatArray
    progress: FloatArray


def _follow(trace: Trace, track: Track) -> _Followed:
    """Follows the path by the simulator's own rules, anew at the start of each stretch."""
    route = following.route(track)
    cte = np.empty(len(trace))
    ways: list[float] = []
    gains: list[float] = []
    for stretch in trace.stretches():
        first = stretch.start
        arc = float(track.path.locate(trace.place[first])[0])
        node = int(((track.nodes - trace.place[first]) ** 2).sum(axis=1).argmin())
        for k in range(first, stretch.stop):
            x, z = trace.place[k]
            arc, gain, lateral, at = following.locate(route, float(x), float(z), arc)
            behind = (node - 2) % len(track.nodes) if track.closed else max(node - 2, 0)
            cte[k], node = following.cross_track_error(
                route, float(x), float(z), behind if k == first else node
            )
            if k > first:
                step = trace.time[k] - trace.time[k - 1]
                # A car that stands throughout a stretch has no course, and makes no way.
                along = np.nan_to_num(np.cos(trace.course[k - 1 : k + 1] - route.yaw[at]))
                inside = max(1.0 - float(track.path.curvature[at]) * lateral, _SHARPEST)
                ways.append(float(step * (trace.speed[k - 1 : k + 1] * along).mean() / inside))
                gains.append(float(gain))
    return _Followed(cte, np.array(ways), np.array(gains))


def _progress(followed: _Followed, track: Track) -> ProgressReport:
    if len(followed.way) < FEWEST:
        return ProgressReport()
    progress = float(followed.progress.sum())
    return ProgressReport(
        laps=progress / track.length,
        way_u=float(followed.way.sum()),
        progress_u=progress,
        correlation=correlation(followed.way, followed.progress),
    )
