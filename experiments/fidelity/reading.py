"""What an encoder trained in the embedded simulator alone reads from recorded frames.

The strictest of the comparisons: lines, colours and surroundings of the real simulator may
differ as they like, as long as the lane is still read from them.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
from pydantic import Field

from donkey_rl.configuration import Config
from donkey_rl.envs.labels import LANE_LABELS
from donkey_rl.envs.recordings.recording import Recording
from donkey_rl.envs.recordings.trace import Trace
from donkey_rl.envs.simulator.track import Track
from donkey_rl.envs.simulator.vehicle import Vehicle
from donkey_rl.experiments.fidelity import geometry, poses

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

FEWEST_FRAMES = 20
LAGS = 0.05 * np.arange(-8, 9)
"""Ages of frames (s) that are tried."""

_MOST_FRAMES = 4000
_FRAMES_AT_ONCE = 256
_MOVING = 1.0
"""Below this speed (u/s) the direction of a car is not known."""


class Reader(Protocol):
    """What reads lane labels from images, such as `LaneEncoder`."""

    def predict_labels(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Returns the labels of images (n, h, w, 3), shape (n, 21)."""


class OffsetReport(Config):
    """How well the lateral offset is read.

    Attributes:
        correlation: With the recorded one, at that lag.
        rmse: Root of the mean squared error (u).
        bias: Mean of read minus recorded (u).
        lag_s: Age of the frames against the telemetry at which the correlation is best (s).
        by_lag: Correlation at each of `LAGS`; None where it is known for too few frames.
    """

    correlation: float | None = None
    rmse: float | None = None
    bias: float | None = None
    lag_s: float | None = None
    by_lag: dict[str, float | None] = Field(default_factory=dict)


class HeadingReport(Config):
    """How well the angle between car and road is read, at the same lag.

    Attributes:
        correlation: With the one from the way driven.
        rmse: Root of the mean squared error (rad).
    """

    correlation: float | None = None
    rmse: float | None = None


class ReadingReport(Config):
    """What was read from the frames; None where it could not be measured, see `reason`."""

    frames: int = 0
    lateral_offset: OffsetReport = OffsetReport()
    heading: HeadingReport = HeadingReport()
    reason: str | None = None


class _Truth(NamedTuple):
    """Lateral offset (u) and angle to the road (rad) of each frame; NaN where not known."""

    lateral: FloatArray
    heading: FloatArray


def compare(
    reader: Reader, recording: Recording, trace: Trace, track: Track, vehicle: Vehicle
) -> ReadingReport:
    """Reads the lane from recorded frames and compares it with where the car was.

    Args:
        reader: Trained on frames of the embedded simulator, of the size of the recorded ones.
        recording: With frames.
        trace: Its motion.
        track: What it was driven on.
        vehicle: What was driven.
    """
    chosen = usable_frames(recording, trace)
    if len(chosen) < FEWEST_FRAMES:
        return ReadingReport(
            reason=f"{len(chosen)} frames with a position, at least {FEWEST_FRAMES} needed"
        )
    chosen, labels = _read(reader, recording, chosen)
    if len(chosen) < FEWEST_FRAMES:
        return ReadingReport(
            reason=f"{len(chosen)} frames could be read, at least {FEWEST_FRAMES} needed"
        )
    left, right = (labels[:, LANE_LABELS.index(name)] for name in ("left_edge", "right_edge"))
    lateral = track.road_middle + 0.5 * (left - right)
    heading = labels[:, LANE_LABELS.index("heading_error")]
    return _report(lateral, heading, chosen, (recording, trace, track, vehicle))


def usable_frames(recording: Recording, trace: Trace) -> IntArray:
    """Returns the records with a frame inside a stretch, evenly thinned where there are many."""
    has_frame = np.array([frame is not None for frame in recording.frames], dtype=bool)
    inside = np.zeros(len(recording), dtype=bool)
    for stretch in trace.stretches():
        inside[trace.record[stretch.start] : trace.record[stretch.stop - 1] + 1] = True
    rows = np.flatnonzero(has_frame & inside)
    if len(rows) > _MOST_FRAMES:
        rows = rows[np.linspace(0, len(rows) - 1, _MOST_FRAMES).astype(np.int64)]
    return rows.astype(np.int64)


def _read(reader: Reader, recording: Recording, chosen: IntArray) -> tuple[IntArray, FloatArray]:
    """Returns the records whose frames could be read, and the labels read from them (k, 21).

    A part at a time: all images together may fill gigabytes.
    """
    kept, labels = [chosen[:0]], [np.zeros((0, len(LANE_LABELS)))]
    for start in range(0, len(chosen), _FRAMES_AT_ONCE):
        own, images = recording.images(chosen[start : start + _FRAMES_AT_ONCE])
        if len(own):
            kept.append(own)
            labels.append(reader.predict_labels(images).astype(np.float64))
    return np.concatenate(kept), np.concatenate(labels)


def _report(
    lateral: FloatArray,
    heading: FloatArray,
    chosen: IntArray,
    drive: tuple[Recording, Trace, Track, Vehicle],
) -> ReadingReport:
    """Compares readings with the truth at the lag that fits best."""
    truths = [_truth(chosen, float(lag), *drive) for lag in LAGS]
    fits = [_correlation(lateral, truth.lateral) for truth in truths]
    by_lag = {f"{lag:.2f}": fit for lag, fit in zip(LAGS, fits, strict=True)}
    known = [k for k, fit in enumerate(fits) if fit is not None]
    if not known:
        return ReadingReport(
            frames=len(chosen),
            lateral_offset=OffsetReport(by_lag=by_lag),
            reason=_why_none(lateral, truths),
        )
    best = max(known, key=lambda k: fits[k] or 0.0)
    truth = truths[best]
    own = np.isfinite(truth.lateral) & np.isfinite(lateral)
    error = (lateral - truth.lateral)[own]
    turned = np.isfinite(truth.heading) & np.isfinite(heading)
    missed = (heading - truth.heading)[turned]
    return ReadingReport(
        frames=int(own.sum()),
        lateral_offset=OffsetReport(
            correlation=fits[best],
            rmse=float(np.sqrt((error**2).mean())),
            bias=float(error.mean()),
            lag_s=float(LAGS[best]),
            by_lag=by_lag,
        ),
        heading=HeadingReport(
            correlation=_correlation(heading, truth.heading),
            rmse=float(np.sqrt((missed**2).mean())) if len(missed) else None,
        ),
    )


def _why_none(lateral: FloatArray, truths: list[_Truth]) -> str:
    """Says why readings cannot be compared."""
    places = max(int(np.isfinite(truth.lateral).sum()) for truth in truths)
    if places < FEWEST_FRAMES:
        return f"the place of {places} frames is known, at least {FEWEST_FRAMES} needed"
    readings = lateral[np.isfinite(lateral)]
    if len(readings) < FEWEST_FRAMES:
        return f"{len(readings)} of {len(lateral)} readings are numbers"
    return (
        "the recorded lateral offset hardly changes"
        if geometry.correlation(readings, readings) is not None
        else "the same lateral offset is read from all frames"
    )


def _correlation(read: FloatArray, truth: FloatArray) -> float | None:
    known = np.isfinite(truth) & np.isfinite(read)
    if known.sum() < FEWEST_FRAMES:
        return None
    return geometry.correlation(read[known], truth[known])


def _truth(
    chosen: IntArray, lag: float, recording: Recording, trace: Trace, track: Track, car: Vehicle
) -> _Truth:
    """Returns where the car was when frames of that age were taken."""
    grip = poses.grip(car, track)
    where = poses.at(recording, trace, car, chosen, lag=lag, grip=grip)
    known = where.known
    lateral, heading = np.full(len(chosen), np.nan), np.full(len(chosen), np.nan)
    if known.any():
        arc, offset = track.path.locate(np.stack([where.x[known], where.z[known]], axis=1))
        _, _, yaw = track.path.at(arc)
        turn = np.mod(where.yaw[known] - yaw + np.pi, 2.0 * np.pi) - np.pi
        lateral[known] = offset
        heading[known] = np.where(where.speed[known] > _MOVING, turn, np.nan)
    recorded = _recorded_offset(chosen, lag, recording, trace)
    return _Truth(np.where(np.isfinite(recorded), recorded, lateral), heading)


def _recorded_offset(
    chosen: IntArray, lag: float, recording: Recording, trace: Trace
) -> FloatArray:
    """Interpolates the recorded cte (u) at the time of frames; NaN where none was recorded."""
    offset = np.full(len(chosen), np.nan)
    clock = recording.time_s[chosen] - lag
    cte = recording.cte[trace.record]
    cte = np.where((cte == 0.0) & (trace.speed > _MOVING), np.nan, cte)
    for stretch in trace.stretches():
        own = (chosen >= trace.record[stretch.start]) & (chosen <= trace.record[stretch.stop - 1])
        known = np.isfinite(cte[stretch])
        if own.any() and known.sum() > 1:
            times = trace.recorded_time[stretch][known]
            offset[own] = np.interp(
                clock[own], times, cte[stretch][known], left=np.nan, right=np.nan
            )
    return offset
