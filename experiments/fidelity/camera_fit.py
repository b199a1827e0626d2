"""The camera of a recording, estimated from where the track's painted lines are in its frames.

A sideways shift of all lines of the track cannot be told from a camera that sits beside the
middle: it ends in `offset_x`. Fish-eye is not estimated.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Mapping

import numpy as np

from donkey_rl.configuration import Config
from donkey_rl.envs.recordings.recording import Recording
from donkey_rl.envs.recordings.trace import Trace
from donkey_rl.envs.simulator.sensors import CameraConfig
from donkey_rl.envs.simulator.track import Track
from donkey_rl.envs.simulator.vehicle import RIDE_HEIGHT, Vehicle
from donkey_rl.experiments.fidelity import frames, line_fit, lines, projection
from donkey_rl.experiments.fidelity.frames import Frames
from donkey_rl.experiments.fidelity.line_fit import ALL, BOUNDS, FORWARD, Guess
from donkey_rl.experiments.fidelity.lines import Layout

_FRAMES = 200
_SCAN_FRAMES = 40
_TRY_FRAMES = 60
_FOVS = (70.0, 80.0, 90.0, 100.0, 110.0)
_PITCHES = (5.0, 10.0, 15.0, 20.0)
_FRAME_LAGS = (0.0, 0.1, 0.2, 0.3)
_TRIES = 3
_LAST_WINDOWS = (12.0, 8.0, 8.0)

_CHECK_WINDOW = 10.0
_FEWEST_POINTS = 150
_LEAST_SHARE = 0.3
_LARGEST_RESIDUAL = 2.8
"""Pixels of an image 120 high; anything found anywhere in the window would give half of it."""

_LEAST_TURN = 45.0
"""On straight road a longer lens cannot be told from a steeper view: degrees of turning."""

_WIDEST = math.radians(10.0)
"""An angle whose interval reaches farther than this is not known."""

_WELL_KNOWN = 0.1
"""`offset_z` is taken from the fit where its interval reaches no farther than this (u)."""

_PUBLIC = {
    "right": "offset_x", "above": "offset_y", "forward": "offset_z", "pitch": "rot_x",
    "yaw": "rot_y", "roll": "rot_z", "fov": "fov", "lag": "lag_s",
}  # fmt: skip
_ANGLES = ("pitch", "yaw", "roll", "fov")

_SHIFT_NOTE = "offset_x cannot be told from a sideways shift of all painted lines of the track"
_KEPT_NOTE = "offset_z was kept as configured: frame lag, pitch and height hide it"


class Figure(Config):
    """An estimated quantity.

    Attributes:
        value: In the unit of the name under which it is given.
        low: Lower end of its 95 % interval; None where it was not estimated but kept.
        high: Upper end.
    """

    value: float
    low: float | None = None
    high: float | None = None


class CameraEstimate(Config):
    """A recording's camera.

    Attributes:
        camera: As the embedded simulator takes it; None where there is no estimate.
        lag_s: How much older a frame is than the telemetry of its record.
        figures: ``offset_x``, ``offset_y``, ``offset_z`` (u), ``rot_x``, ``rot_y``, ``rot_z``,
            ``fov`` (degrees) and ``lag_s`` with intervals.
        horizon_row: Row of the horizon in the middle of the image when the car is level.
        frames: How many were used.
        points: How many places of lines in them.
        residual_px: Median distance of these to the fitted lines.
        notes: What the reader should know.
        reason: Why there is no estimate.
        contradicted: Whether the lines in the frames are where no camera would show them, as on
            another track or with frames of another drive.
    """

    camera: CameraConfig | None = None
    lag_s: float | None = None
    figures: dict[str, Figure] = {}  # noqa: RUF012 - pydantic copies it
    horizon_row: float | None = None
    frames: int = 0
    points: int = 0
    residual_px: float | None = None
    notes: tuple[str, ...] = ()
    reason: str | None = None
    contradicted: bool = False


def estimate(
    recording: Recording,
    trace: Trace,
    track: Track,
    vehicle: Vehicle,
    start: CameraConfig | None = None,
) -> CameraEstimate:
    """Estimates how the camera of a recording sits, and how old its frames are.

    Args:
        recording: The drive with camera frames.
        trace: Its places on the simulator's clock.
        track: Where it was driven.
        vehicle: With which car.
        start: A first guess; what is not estimated is taken from it. The simulator's own camera
            by default.

    Returns:
        The estimate, or one without figures that says why.
    """
    chosen = frames.choose(recording, trace, track, vehicle, _FRAMES)
    if isinstance(chosen, str):
        return CameraEstimate(reason=chosen)
    return of_frames(chosen, start or CameraConfig())


def of_frames(chosen: Frames, start: CameraConfig) -> CameraEstimate:
    """Estimates the camera from frames; see `estimate`."""
    layout = lines.layout(chosen.track)
    reason = _unsuitable(chosen, layout, start)
    if reason:
        return CameraEstimate(reason=reason, frames=len(chosen))
    some = chosen.some(_TRY_FRAMES)
    tries = [line_fit.fit(some, layout, guess) for guess in _promising(chosen, layout, start)]
    best = max(tries, key=lambda guess: line_fit.match(some, layout, guess))
    sample = None
    for window in _LAST_WINDOWS:
        best, sample = line_fit.fit_round(chosen, layout, best, (window, ALL))
    found = line_fit.quality(chosen, layout, best, _CHECK_WINDOW)
    refused = CameraEstimate(frames=len(chosen), points=found.points, residual_px=found.residual)
    reason = _contradiction(chosen, found)
    if reason:
        return refused.model_copy(update={"reason": reason, "contradicted": True})
    reason = _beyond(best, found)
    if reason or sample is None:
        return refused.model_copy(update={"reason": reason})
    best, ranges = _with_ranges(chosen, layout, best, sample)
    for name in ("pitch", "fov"):
        if ranges[name][1] - ranges[name][0] > 2.0 * _WIDEST:
            reason = f"the road in the frames does not tell the camera's {_PUBLIC[name]}"
            return refused.model_copy(update={"reason": reason})
    return _report(chosen, best, ranges, found, start)


def _unsuitable(chosen: Frames, layout: Layout, start: CameraConfig) -> str | None:
    """Says why frames cannot tell a camera, whatever they show."""
    if start.fish_eye_x > 0.0 or start.fish_eye_y > 0.0:
        return "a camera with fish-eye cannot be estimated"
    if not layout.lines:
        return f"{chosen.track.name} has no painted lines"
    turned = math.degrees(float(np.ptp(np.unwrap(chosen.poses(0.0).yaw))))
    if turned < _LEAST_TURN:
        return f"bends are needed: the car turned by {turned:.0f} of {_LEAST_TURN:g} degrees"
    return None


def _promising(chosen: Frames, layout: Layout, start: CameraConfig) -> list[Guess]:
    """Returns some starting points at which lines are where they are expected, best first."""
    first = projection.mounting(start)
    angles = [(first.pitch, first.fov)]
    angles += [
        (math.radians(pitch), math.radians(fov))
        for pitch, fov in itertools.product(_PITCHES, _FOVS)
    ]
    guesses = [
        Guess(dataclasses.replace(first, pitch=pitch, fov=fov), lag)
        for (pitch, fov), lag in itertools.product(angles, _FRAME_LAGS)
    ]
    few = chosen.some(_SCAN_FRAMES)
    return sorted(guesses, key=lambda guess: -line_fit.match(few, layout, guess))[:_TRIES]


def _contradiction(chosen: Frames, found: line_fit.Quality) -> str | None:
    """Says why no camera explains the frames."""
    if found.points < _FEWEST_POINTS or found.residual is None:
        return f"only {found.points} places of painted lines were found in the frames"
    if found.residual > _LARGEST_RESIDUAL * line_fit.unit(chosen) or found.share < _LEAST_SHARE:
        return (
            f"no camera explains the frames: lines are found in {100 * found.share:.0f} % of "
            f"the rows where they belong, {found.residual:.1f} pixels off in the median; name "
            f"the track that was driven"
        )
    return None


def _beyond(guess: Guess, found: line_fit.Quality) -> str | None:
    """Says why a fit is no estimate although it explains the frames."""
    if found.frames < frames.FEWEST:
        return f"lines were found in {found.frames} frames, {frames.FEWEST} are needed"
    for name, (low, high) in BOUNDS.items():
        if not low + 1e-3 < guess[name] < high - 1e-3:
            return f"the fit ran into the limit of {_PUBLIC[name]}"
    if guess["above"] <= RIDE_HEIGHT:
        return "the fitted camera is below the car's origin"
    return None


def _with_ranges(
    chosen: Frames, layout: Layout, guess: Guess, sample: line_fit.Sample
) -> tuple[Guess, dict[str, tuple[float, float]]]:
    """Returns the estimate with intervals, `offset_z` among them where it is well known."""
    kept = line_fit.ranges(chosen, layout, guess, sample, ALL)
    wider, again = line_fit.fit_round(chosen, layout, guess, (_LAST_WINDOWS[-1], (*ALL, FORWARD)))
    free = line_fit.ranges(chosen, layout, wider, again, (*ALL, FORWARD))
    low, high = free[FORWARD]
    if high - low <= 2.0 * _WELL_KNOWN and wider["above"] > RIDE_HEIGHT:
        return wider, free
    # Whoever keeps `offset_z` does not know the rest any better than one who fits it.
    both = {
        name: (min(kept[name][0], free[name][0]), max(kept[name][1], free[name][1]))
        for name in ALL
    }
    return guess, both


def _report(
    chosen: Frames,
    guess: Guess,
    ranges: Mapping[str, tuple[float, float]],
    found: line_fit.Quality,
    start: CameraConfig,
) -> CameraEstimate:
    """Puts the estimate together."""
    figures = {}
    for name, public in _PUBLIC.items():
        factor = math.degrees(1.0) if name in _ANGLES else 1.0
        shift = RIDE_HEIGHT if name == "above" else 0.0
        low, high = ranges.get(name, (None, None))
        figures[public] = Figure(
            value=factor * (guess[name] - shift),
            low=None if low is None else factor * (low - shift),
            high=None if high is None else factor * (high - shift),
        )
    height, width = chosen.size
    settings = {name: figure.value for name, figure in figures.items() if name != "lag_s"}
    camera = start.model_copy(update={**settings, "img_w": width, "img_h": height})
    kept = figures["offset_z"].low is None
    return CameraEstimate(
        camera=camera,
        lag_s=guess.lag,
        figures=figures,
        horizon_row=guess.camera.horizon(height),
        frames=len(chosen),
        points=found.points,
        residual_px=found.residual,
        notes=(_SHIFT_NOTE, _KEPT_NOTE) if kept else (_SHIFT_NOTE,),
    )
